"""Shows the trials of a sweep: a table that is drawn anew, or a line now and then."""

from __future__ import annotations

import collections
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from common.records import outputs, timing
from dreamerv2.sweep import supervisor

# What is looked at comes first.
ORDER = (
    *(supervisor.FAILED, supervisor.RUNNING, supervisor.STOPPED),
    *(supervisor.WAITING, supervisor.FINISHED),
)


class Table:
    """On a terminal a table; elsewhere a line for what changes, and one a minute."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        pause: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Prints nothing yet.

        Args:
          stream: Where to print; `sys.stdout` if None.
          pause: Seconds between two lines where there is no terminal.
          clock: Returns seconds.
        """
        self._stream = sys.stdout if stream is None else stream
        self._live = self._stream.isatty()
        self._pause, self._clock = pause, clock
        self._height = 0  # lines of the table that is on the terminal
        self._printed = clock()
        self._states: dict[str, tuple[str, str]] = {}

    def show(self, statuses: Sequence[supervisor.Status]) -> None:
        """Tells how the trials are."""
        if self._live:
            self._draw(statuses)
        else:
            self._report(statuses)

    def _draw(self, statuses: Sequence[supervisor.Status]) -> None:
        width, height = shutil.get_terminal_size()
        lines = [line[: width - 1] for line in table(statuses, max(3, height - 2))]
        up = f"\x1b[{self._height}F" if self._height else ""
        print(f"{up}\x1b[J" + "\n".join(lines), file=self._stream, flush=True)
        self._height = len(lines)

    def _report(self, statuses: Sequence[supervisor.Status]) -> None:
        for status in statuses:
            now = (status.state, status.problem)
            before = self._states.get(status.trial.tag)
            self._states[status.trial.tag] = now
            if now != before and (before or status.state == supervisor.RUNNING):
                print(row(status), file=self._stream, flush=True)
        if self._clock() - self._printed >= self._pause:
            self._printed = self._clock()
            print(head(statuses), file=self._stream, flush=True)


def head(statuses: Sequence[supervisor.Status]) -> str:
    """Returns one line about the whole sweep."""
    counts = collections.Counter(status.state for status in statuses)
    parts = [f"{counts[state]} {state}" for state in reversed(ORDER) if counts[state]]
    done = sum(status.step for status in statuses)
    total = sum(status.trial.total for status in statuses)
    parts.append(f"{done / total:.0%} of {outputs.short_number(total)} steps")
    seconds = left(statuses)
    parts += [] if seconds is None else [f"about {timing.duration(seconds)} left"]
    return f"{len(statuses)} trials: {', '.join(parts)}"


def left(statuses: Sequence[supervisor.Status]) -> float | None:
    """Returns the seconds that all trials take at the speed of those that run."""
    running = [s for s in statuses if s.state == supervisor.RUNNING and s.progress]
    speeds = [status.progress.fps for status in running]
    if not running or not all(speeds):
        return None
    ends = (supervisor.RUNNING, supervisor.WAITING)
    steps = sum(s.trial.total - s.step for s in statuses if s.state in ends)
    longest = max(status.left or 0.0 for status in running)
    return max(steps / sum(speeds), longest)


def row(status: supervisor.Status, width: int = 0) -> str:
    """Returns one line about a trial."""
    total = status.trial.total
    short = outputs.short_number
    parts = [
        f"{status.trial.tag:<{width}}",
        f"{status.state:<8}",
        f"{short(status.step):>6}/{short(total):<5} {status.step / total:4.0%}",
    ]
    if status.left is not None:
        parts.append(f"{timing.duration(status.left):>7} left")
    if status.state == supervisor.RUNNING:
        parts.append(f"on {status.host}")
    if status.problem and status.state != supervisor.FINISHED:
        parts.append(f"({status.problem}; failures: {status.failures})")
    return "  ".join(parts)


def table(statuses: Sequence[supervisor.Status], height: int = 1000) -> list[str]:
    """Returns the lines of the table, at most `height` of them."""
    width = max(len(status.trial.tag) for status in statuses)
    ordered = sorted(statuses, key=lambda status: ORDER.index(status.state))
    lines = [row(status, width) for status in ordered]
    if len(lines) >= height:
        hidden = len(lines) - (height - 2)
        lines = [*lines[: height - 2], f"... and {hidden} more"]
    return [head(statuses), *lines]
