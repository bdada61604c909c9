"""The unfinished episodes, at most one of each worker."""

from collections.abc import Mapping
from typing import Any

from common.replay import episodes, layouts


class Ongoing:
    """Builds the episodes that are under way, and shows them as they are so far."""

    def __init__(self) -> None:
        """Starts with none."""
        self._builders: dict[int, episodes.Builder] = {}  # by worker
        self._shown: dict[int, episodes.Episode] = {}  # built since the last step

    def append(
        self,
        transition: Mapping[str, Any],
        layout: layouts.Layout | None,
        worker: int,
        task: int,
    ) -> episodes.Builder | None:
        """Takes in a transition; returns its episode if that has ended with it.

        Args:
          transition: A value for each key. With `is_first` an episode begins, and what
            was under way is forgotten.
          layout: What a transition consists of; None is possible unless one begins.
          worker: Number of the environment.
          task: Number of the task, the same during an episode.

        Raises:
          ValueError: It neither begins an episode nor goes on with one of the task, or
            does not fit the layout.
        """
        if transition["is_first"]:
            self._builders[worker] = episodes.Builder(layout, task)
        builder = self._builders.get(worker)
        if builder is None or builder.task != task:
            under_way = "none" if builder is None else f"one of task {builder.task}"
            raise ValueError(
                f"Worker {worker} goes on with an episode of task {task}, but "
                f"{under_way} is under way. Reset the environment first; the reset's "
                "transition has is_first."
            )
        builder.append(transition)
        self._shown.pop(worker, None)
        return self._builders.pop(worker) if transition["is_last"] else None

    def clear(self) -> None:
        """Forgets all of them."""
        self._builders.clear()
        self._shown.clear()

    def has(self, minlen: int) -> bool:
        """Whether one of them has at least `minlen` steps."""
        return any(builder.total > minlen for builder in self._builders.values())

    def so_far(self, minlen: int) -> list[episodes.Episode]:
        """The episodes of at least `minlen` steps, by worker; their index is -1."""
        for worker, builder in self._builders.items():
            if worker not in self._shown and builder.total > minlen:
                self._shown[worker] = builder.build()
        return [self._shown[worker] for worker in sorted(self._shown)]

    def check_valid(self) -> None:
        """Raises AssertionError if what is shown is not what is under way."""
        for worker, episode in self._shown.items():
            assert worker in self._builders, (
                f"worker {worker} shows a forgotten episode"
            )
            builder = self._builders[worker]
            assert (episode.index, episode.task, episode.total) == (
                *(-1, builder.task),
                builder.total,
            ), f"worker {worker} shows {episode.name}, {builder.total} transitions done"
