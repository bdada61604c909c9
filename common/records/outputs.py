"""Where records go on this machine: the terminal and a file of JSON lines."""

import collections
import contextlib
import itertools
import logging
import math
import os
import pathlib
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

import numpy as np

from common.records import appending, jsonl, logger, timing

_LOG = logging.getLogger(__name__)

SHOWN = (
    r"eval_success_\d+",
    r"eval_return_\d+",
    "model_error",
    "kl_loss",
    "actor_loss",
    "critic_loss",
)


class TerminalOutput:
    """One readable line a record; episodes are gathered so that they never flood.

        [14:02  12.4k/750k   1.7%  DoorKey-9x9  212 fps  2h05m left]  return 0.91

    On a terminal a line is cut where the terminal ends; a file or a pipe has it all.

    A record with `return` is an episode. Episodes only print a line if none was printed
    for a while; the next line gives their mean return and length, unless it is that of
    an evaluation, which has its own, of all tasks.
    """

    def __init__(
        self,
        total: int = 0,
        task_names: Sequence[str] = (),
        *,
        shown: Sequence[str] = SHOWN,
        stream: TextIO | None = None,
        pause: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        width: Callable[[], int] | None = None,
    ) -> None:
        """Prints nothing yet.

        Args:
          total: steps of the whole run, 0 if not known.
          task_names: names for the numbers that `task` takes.
          shown: patterns of the metrics to print, besides `return` and `length`.
          stream: where to print; `sys.stdout` if None.
          pause: least seconds before an episode prints a line; if None, 2 on a
            terminal and 20 elsewhere (a log file).
          clock: returns seconds.
          width: returns the columns of a line, 0 for any number; if None, those of
            the terminal.
        """
        self._stream = sys.stdout if stream is None else stream
        tty = bool(getattr(self._stream, "isatty", lambda: False)())
        self._bold = tty and "NO_COLOR" not in os.environ
        self._pause = (2.0 if tty else 20.0) if pause is None else pause
        self._width = width or (self._columns if tty else lambda: 0)
        self._task_names = tuple(map(short_name, task_names))
        self._shown = [re.compile(pattern) for pattern in shown]
        self._clock = clock
        self._progress = timing.Progress(total, clock=clock)
        self._printed = -math.inf
        self._task: int | float | None = None
        self._episodes: list[tuple[float, float]] = []

    def write(self, record: logger.Record) -> None:
        """Prints the record, or keeps an episode for the next line."""
        scalars = record.scalars
        self._progress.update(record.step)
        self._task = scalars.get("task", self._task)
        metrics = self._metrics(scalars)
        if "return" in scalars:
            self._episodes.append((scalars["return"], scalars.get("length", math.nan)))
            if not metrics and self._clock() - self._printed < self._pause:
                return
        elif not metrics:
            return
        evaluated = any(metric.startswith("eval_") for metric in metrics)
        head = self._head(record.step, brief=evaluated)
        means = [] if evaluated else self._means()
        line = _fitting("  ".join([head, *means, *metrics]), self._width())
        if self._bold:
            line = f"\x1b[1m{line[: len(head)]}\x1b[0m{line[len(head) :]}"
        print(line, file=self._stream, flush=True)
        self._printed = self._clock()

    def close(self) -> None:
        """Leaves the stream open: it belongs to the caller."""

    def _columns(self) -> int:
        """Of the terminal, which may change its width; 0 if it does not tell."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            return 0

    def _head(self, step: int, brief: bool) -> str:
        """Time and steps and, unless it is to be brief, task and speed."""
        total, left = self._progress.total, self._progress.left
        parts = [time.strftime("%H:%M"), short_number(step)]
        if total:
            parts[1:] = [f"{parts[1]}/{short_number(total)}", f"{step / total:6.1%}"]
        if brief:
            return f"[{'  '.join(parts)}]"
        if self._task is not None:
            index = int(self._task)
            known = 0 <= index < len(self._task_names)
            parts.append(self._task_names[index] if known else f"task {index}")
        fps = self._progress.fps
        parts += [f"{fps:.3g} fps"] if fps else []
        parts += [f"{timing.duration(left)} left"] if left is not None else []
        return f"[{'  '.join(parts)}]"

    def _means(self) -> list[str]:
        if not self._episodes:
            return []
        count = len(self._episodes)
        score, length = np.mean(self._episodes, axis=0)
        self._episodes.clear()
        size = [] if math.isnan(length) else [f"length {_short_value(length)}"]
        size.append(f"{count} episode{'s' * (count > 1)}")
        return [f"return {_short_value(score)}", *size]

    def _metrics(self, scalars: dict[str, int | float]) -> list[str]:
        """The chosen metrics; `name_0`, `name_1`, ... share one word."""
        groups: dict[str, list[str]] = {}
        for pattern in self._shown:
            for name, value in scalars.items():
                if pattern.fullmatch(name):
                    name = re.sub(r"_\d+$", "", name)
                    groups.setdefault(name, []).append(_short_value(value))
        return [f"{name} {' '.join(values)}" for name, values in groups.items()]


def tell(text: str) -> None:
    """Prints a line about the run, folded at 80 columns; the same in a file."""
    lines = textwrap.wrap(
        text, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    print("\n".join(lines), flush=True)


def tell_now(text: str) -> None:
    """Prints what has just happened, with the time of day; never stops the run."""
    with contextlib.suppress(OSError, ValueError):  # nobody reads any more
        print(f"[{time.strftime('%H:%M')}]  {text}", flush=True)


@contextlib.contextmanager
def timed(text: str) -> Iterator[None]:
    """Tells what was done inside, and the seconds that it took, unless it failed."""
    start = time.perf_counter()
    yield
    tell_now(f"{text}, {time.perf_counter() - start:.1f}s")


def _fitting(line: str, width: int) -> str:
    """As much of a line as fits, its end marked; all of it where the width is 0."""
    return line if not width or len(line) <= width else f"{line[: width - 1]}…"


def _short_value(value: float) -> str:
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def short_name(task: str) -> str:
    """The name of a task without what a line has no room for."""
    return re.sub(r"^(MiniGrid|MiniHack)-|-v\d+$", "", task)


def short_number(value: float) -> str:
    """A count in three digits: 300, 12.4k, 750k, 2.4M."""
    for size, unit in ((1, ""), (1e3, "k"), (1e6, "M")):
        if round(value / size) < 1000:
            return f"{value / size:.3g}{unit}"
    return f"{value / 1e9:.3g}G"


class JSONLOutput:
    """Scalars as lines of a file, see `common.records.jsonl`.

    A line is written as a whole and at once. When the disk is full or gone, lines wait
    in memory (the newest `_WAITING`) and are tried again with the next record.

    Each line may tell the seconds since the run began, `time_wall`. They never fall,
    whatever the machine's clock does, and count the time between two programs too.
    """

    _WAITING = 10_000

    def __init__(self, path: str | os.PathLike, since: float | None = None) -> None:
        """Opens the file to append; a line cut off by a crash is removed.

        Args:
          path: the file.
          since: when the run began, in seconds since 1970; None leaves out `time_wall`.

        Raises:
          OSError: the file cannot be created or read.
        """
        self._path = pathlib.Path(path).expanduser()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._mend()
        self._lines = appending.Appender(self._path, self._WAITING)
        self._lines.open()
        self._begun = None  # of `time_wall`, on a clock that nobody sets
        if since is not None:
            passed = max(time.time() - since, self._last_wall())
            self._begun = time.perf_counter() - passed

    @property
    def lost(self) -> int:
        """Lines that waited too long and are in no file."""
        return self._lines.lost

    def write(self, record: logger.Record) -> None:
        """Appends a line, unless the record has no scalars.

        Raises:
          OSError: nothing could be written; the line waits for the next call.
        """
        if record.scalars:
            wall = {}
            if self._begun is not None:
                wall = {jsonl.WALL: time.perf_counter() - self._begun}
            self._lines.append(jsonl.encode(record.step, {**record.scalars, **wall}))
        else:
            self._lines.flush()

    def flush(self) -> None:
        """Writes the lines that wait.

        Raises:
          OSError: they cannot be written.
        """
        self._lines.flush()

    def last_step(self) -> int:
        """Returns the largest step in the file, -1 if it has no lines."""
        steps = map(jsonl.step_of, jsonl.read(self._path))
        return max((int(step) for step in steps if step < math.inf), default=-1)

    def _last_wall(self) -> float:
        """The largest `time_wall` in the file, 0 if there is none."""
        values = [(record or {}).get(jsonl.WALL) for record in jsonl.read(self._path)]
        return max((v for v in values if isinstance(v, int | float)), default=0.0)

    def rewind(self, step: int) -> int:
        """Removes the lines of later steps, for a run that goes on from `step`.

        Returns:
          How many lines were removed; lines that are not JSON objects are among them.
        """
        self._lines.flush()
        kept = [jsonl.step_of(record) <= step for record in jsonl.read(self._path)]
        if not all(kept):
            if any(kept[kept.index(False) :]):
                self._leave_out(kept)
            else:  # as a run leaves it; needs no space on the disk
                with open(self._path, "rb") as lines:
                    end = sum(map(len, itertools.compress(lines, kept)))
                os.truncate(self._path, end)
            self._lines.open()
        return kept.count(False)

    def close(self) -> None:
        """Writes what waits and closes the file.

        Raises:
          OSError: waiting lines could not be written; they are lost.
        """
        self._lines.close()

    def _leave_out(self, kept: Sequence[bool]) -> None:
        """Writes the file anew without some of its lines, all or nothing."""
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
        try:
            with open(self._path, "rb") as lines, open(partial, "wb") as file:
                file.writelines(itertools.compress(lines, kept))
            os.replace(partial, self._path)
        finally:
            partial.unlink(missing_ok=True)

    def _mend(self) -> None:
        """Ends the last line: with a line feed if it is whole, else by removing it."""
        with open(self._path, "a+b") as lines:
            lines.seek(0)
            last = collections.deque(lines, maxlen=1)
            if not last or last[0].endswith(b"\n"):
                return
            (tail,) = last
            if jsonl.step_of(jsonl.decode(tail)) < math.inf:
                lines.write(b"\n")
                return
        os.truncate(self._path, self._path.stat().st_size - len(tail))
        _LOG.warning(
            "%s ended in the middle of a line; removed %d bytes.", self._path, len(tail)
        )
