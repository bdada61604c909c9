"""Runs several implementations in turn, each in a process of its own.

Machines drift: two programs measured one after the other differ by what else happened
meanwhile. Here all of them are alive at the same time, one works while the others wait
for a request without using CPU, and a round has one go of each; ratios are taken
within rounds. `benchmarks.turns.host` is the other end of the pipe.
"""

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ADAPTERS = HERE.parent / "adapters"
OURS = ADAPTERS / "ours.py"
LINES = 20  # of what a process printed, shown if it dies


class Source(NamedTuple):
    """An implementation: the adapter that calls it and where it is found."""

    file: pathlib.Path = OURS
    python: str = sys.executable
    path: pathlib.Path | None = ROOT  # put on the import path


class Worker:
    """A process that runs an adapter."""

    def __init__(self, source: Source):
        """Starts it and waits until the adapter is imported.

        Raises:
          SystemExit: If the interpreter or the adapter is missing or broken.
        """
        self._source = source
        self._started = time.perf_counter()
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        env.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        if source.path is not None:
            env["PYTHONPATH"] = str(source.path)
        self._log = tempfile.TemporaryFile("w+")
        command = [source.python, str(HERE / "host.py"), str(source.file)]
        try:
            self._process = subprocess.Popen(
                command,
                env=env,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
            )
        except OSError as error:
            raise SystemExit(f"Cannot start {source.python!r}: {error}.") from error
        hello = self._reply()
        self.name: str = hello["name"] or source.file.stem
        self.versions: dict[str, str] = hello["versions"]

    def __enter__(self) -> "Worker":
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the process."""
        self.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self._started

    def make(self, kind: str, case: Mapping[str, Any], name: str = "") -> None:
        """Has the adapter make an update or a policy."""
        self._ask(make=kind, name=name, case=dict(case))

    def trace(self, name: str = "") -> float | None:
        """Seconds in which the graph is built; None if it cannot be built apart."""
        wall = self._ask(trace=name)["wall"]
        return wall[0] if wall else None

    def run(self, count: int = 1, name: str = "") -> dict[str, Any]:
        """Calls what was made; returns the reply that `host` documents."""
        return self._ask(run=name, count=count)

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):  # the reply says how it ended
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        file = self._source.file
        if not line:
            code = self._process.wait()
            self._log.seek(0)
            print("".join(self._log.readlines()[-LINES:]), file=sys.stderr)
            raise SystemExit(f"The process of {file} ended with status {code}.")
        reply = json.loads(line)
        if "error" in reply:
            print(reply["traceback"], file=sys.stderr)
            self.close()
            raise SystemExit(f"{file} failed: {reply['error']}")
        return reply


def rounds(count: int, names: Sequence[str]) -> Iterator[str]:
    """Yields all names in turn, `count` times, each time another one first.

    Whoever is first after a pause may find a faster or a slower machine.
    """
    for number in range(count):
        first = number % len(names)
        yield from (*names[first:], *names[:first])


def ratio(mine: Sequence[float], first: Sequence[float]) -> float:
    """Median of the quotients of two series that were measured in the same rounds."""
    return statistics.median(a / b for a, b in zip(mine, first, strict=True))


def table(
    columns: Mapping[str, Mapping[str, float | None]],
    ratios: Mapping[str, Mapping[str, float]],
) -> str:
    """Lays figures out, one line for each, one column for each implementation.

    Args:
      columns: {implementation: {figure: value}}; None is shown as a dash.
      ratios: {implementation: {figure: ratio to the first}}, shown in brackets.
    """
    lines = [["", *columns]]
    for figure in next(iter(columns.values())):
        cells = [figure]
        for name, values in columns.items():
            value, quotient = values.get(figure), ratios.get(name, {}).get(figure)
            cell = "-" if value is None else f"{value:.3f}"
            cells.append(cell if quotient is None else f"{cell} ({quotient:.2f})")
        lines.append(cells)
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )
