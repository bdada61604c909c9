"""What an agent reaches in tasks, counted in whole episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dreamerv2.trained import player as player_lib
from dreamerv2.trained import tasks as tasks_lib


class Result(NamedTuple):
    """What an agent reached in a task."""

    task: int
    name: str
    episodes: list[player_lib.Episode]  # without transitions

    @property
    def returns(self) -> list[float]:
        """The sum of rewards of each episode."""
        return [episode.score for episode in self.episodes]

    @property
    def lengths(self) -> list[int]:
        """The steps of each episode."""
        return [episode.length for episode in self.episodes]

    @property
    def success(self) -> list[bool]:
        """Whether each episode was one; empty if the task does not tell."""
        return [e.success for e in self.episodes if e.success is not None]

    @property
    def means(self) -> dict[str, float]:
        """The means of `values` over the episodes."""
        return {name: float(np.mean(v)) for name, v in self.values().items()}

    def values(self) -> dict[str, list[float]]:
        """Returns one number for each episode: return, length, success if known."""
        values = {
            "return": self.returns,
            "length": list(map(float, self.lengths)),
            "success": list(map(float, self.success)),
        }
        return {name: numbers for name, numbers in values.items() if numbers}


def evaluate(
    player: player_lib.Player, tasks: tasks_lib.Tasks, episodes: int
) -> list[Result]:
    """Plays episodes of each task.

    Raises:
      ValueError: If `episodes` is below 1, or the environments do not fit.
    """
    check_positive(episodes=episodes)
    return [
        Result(number, task.name, list(player.play(task, number, episodes)))
        for number, task in tasks.items()
    ]


def table(results: Sequence[Result]) -> str:
    """Returns a line for each task: mean, std, min and max over the episodes."""
    width = max(len("task"), *(len(result.name) for result in results))
    head = f"{'task':>4}  {'name':<{width}}  {'':<7}  {'mean':>8}  {'std':>8}"
    lines = [f"{head}  {'min':>8}  {'max':>8}  episodes"]
    for result in results:
        start = f"{result.task:>4}  {result.name:<{width}}"
        for name, numbers in result.values().items():
            stats = "  ".join(f"{x:>8.4g}" for x in _statistics(numbers).values())
            lines.append(f"{start}  {name:<7}  {stats}  {len(numbers):>8}")
            start = " " * (6 + width)
    return "\n".join(lines)


def summary(player: player_lib.Player, results: Sequence[Result]) -> dict[str, Any]:
    """Returns what was played and the results, fit for JSON."""
    tasks = [
        {
            "task": result.task,
            "name": result.name,
            "episodes": len(result.episodes),
            **{
                name: {**_statistics(numbers), "values": numbers}
                for name, numbers in result.values().items()
            },
        }
        for result in results
    ]
    return {
        "checkpoint": str(player.snapshot.path),
        "step": player.snapshot.step,
        "policy": player.policy,
        "seed": player.config.seed,
        "tasks": tasks,
    }


def check_positive(**numbers: int) -> None:
    """Raises ValueError for a number below 1, which it names."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}; give at least 1.")


def _statistics(numbers: Sequence[float]) -> dict[str, float]:
    functions: dict[str, Callable] = {
        "mean": np.mean,
        "std": np.std,  # of the episodes, not of the mean
        "min": np.min,
        "max": np.max,
    }
    return {name: float(function(numbers)) for name, function in functions.items()}
