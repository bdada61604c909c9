"""Where the seconds go, how fast a run is, and when it will be done."""

import collections
import time
from collections.abc import Callable, Iterable


class Timer:
    """Adds up the wall-clock seconds spent in named sections.

    with timer.section("environment"):
        env.step(action)

    A section may contain sections of other names, but not itself.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.process_time,
        sections: Iterable[str] = (),
    ) -> None:
        """Starts at no seconds.

        Args:
          clock: Returns seconds.
          cpu_clock: Returns CPU seconds.
          sections: Names that are told from the start, also before they are entered.
        """
        self._clock = clock
        self._sections = {name: _Section(clock) for name in sections}
        self._clocks = {"total": clock, "cpu": cpu_clock}
        self._since = {name: clock() for name, clock in self._clocks.items()}

    def section(self, name: str) -> "_Section":
        """Returns a context manager whose seconds are added to `name`."""
        section = self._sections.get(name)
        if section is None:
            section = self._sections[name] = _Section(self._clock)
        return section

    def take(self) -> dict[str, float]:
        """Returns `{"time_{name}": seconds}` since the last call, and starts anew.

        Besides the sections there are `time_total`, all seconds, and `time_cpu`, those
        of all threads of this process on a core.
        """
        seconds = {f"time_{name}": s.take() for name, s in self._sections.items()}
        for name, clock in self._clocks.items():
            now = clock()
            seconds[f"time_{name}"] = now - self._since[name]
            self._since[name] = now
        return seconds


class _Section:
    """The seconds of one section; used again and again, for it is on a hot path."""

    __slots__ = ("_clock", "_seconds", "_start")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = self._clock()

    def __exit__(self, *error: object) -> None:
        self._seconds += self._clock() - self._start

    def take(self) -> float:
        seconds, self._seconds = self._seconds, 0.0
        return seconds


class Progress:
    """Steps per second over a recent window, and the seconds that are left."""

    def __init__(
        self,
        total: int = 0,
        window: float = 120.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Starts without a measurement.

        Args:
          total: the step at which the run ends; 0 if that is not known.
          window: seconds over which the speed is taken; longer if calls are rarer.
          clock: returns seconds.
        """
        self.total = total
        self._window = window
        self._clock = clock
        self._seen: collections.deque[tuple[float, int]] = collections.deque()

    def update(self, step: int) -> None:
        """Tells that the run has come to `step`."""
        now = self._clock()
        self._seen.append((now, int(step)))
        while len(self._seen) > 2 and now - self._seen[1][0] > self._window:
            self._seen.popleft()

    @property
    def fps(self) -> float:
        """Steps per second; 0 before two calls of `update`."""
        if len(self._seen) < 2:
            return 0.0
        (start, first), (end, last) = self._seen[0], self._seen[-1]
        return (last - first) / (end - start) if end > start else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until `total` at the present speed, None if that is not known."""
        if not self.total or not self.fps:
            return None
        return max(0, self.total - self._seen[-1][1]) / self.fps


def duration(seconds: float) -> str:
    """Seconds as people say them: 45s, 12m30s, 2h05m, 3d04h."""
    seconds = round(seconds)
    for (size, unit), (part, below) in zip(_UNITS[:-1], _UNITS[1:], strict=True):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // part:02d}{below}"
    return f"{seconds}s"


_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
