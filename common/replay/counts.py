"""Counts what is drawn from the replay, by task and by time of arrival."""

import collections
from collections.abc import Mapping
from typing import Any

BINS = 32  # at most; when they are full, each two become one


class Counts:
    """Windows drawn since the beginning of the run.

    By time of arrival they are counted in bins of equal width over the numbers of the
    episodes. The width is a power of two that doubles whenever the bins do not reach
    the newest episode that was drawn, so that the counts stay few and exact.
    """

    def __init__(self) -> None:
        """Starts at nothing."""
        self._tasks: collections.Counter[int] = collections.Counter()
        self._bins = [0]
        self._width = 1  # episodes

    def add(self, task: int, index: int) -> None:
        """Counts a window.

        Args:
          task: Of its episode.
          index: The episode's number by arrival, from 0.
        """
        self._tasks[task] += 1
        while index >= BINS * self._width:
            even, odd = self._bins[::2], [*self._bins[1::2], 0]
            self._bins = [a + b for a, b in zip(even, odd, strict=False)]
            self._width *= 2
        place = index // self._width
        self._bins += [0] * (place + 1 - len(self._bins))
        self._bins[place] += 1

    def by_task(self) -> dict[str, int]:
        """`drawn_task_{k}`: windows of task k."""
        return {f"drawn_task_{k}": count for k, count in sorted(self._tasks.items())}

    def by_arrival(self) -> dict[str, int]:
        """`drawn_bin_{i}`: windows of episodes i * width to (i + 1) * width - 1.

        The width is `drawn_width`.
        """
        bins = {f"drawn_bin_{i}": count for i, count in enumerate(self._bins)}
        return {"drawn_width": self._width, **bins}

    def check_valid(self) -> None:
        """Raises AssertionError unless both counts are of the same windows."""
        windows = sum(self._tasks.values())
        assert sum(self._bins) == windows, f"{self._bins} of {windows} windows"
        assert 1 <= len(self._bins) <= BINS, f"{len(self._bins)} bins"
        assert self._width & (self._width - 1) == 0, f"a width of {self._width}"

    def get_state(self) -> dict[str, Any]:
        """JSON-able state."""
        return {
            "tasks": sorted(self._tasks.items()),
            "bins": list(self._bins),
            "width": self._width,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self._tasks = collections.Counter({int(k): n for k, n in state["tasks"]})
        self._bins = list(state["bins"])
        self._width = state["width"]
