"""Shows a trained agent: as a video, or as a table of evaluations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.records import video
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.watch import film
from dreamerv2.watch import player as player_lib


class Result(NamedTuple):
    """What an agent reached in a task."""

    task: int
    name: str
    episodes: list[player_lib.Episode]  # without transitions

    def values(self) -> dict[str, list[float]]:
        """Returns one number for each episode: return, length, success if known."""
        values = {
            "return": [episode.score for episode in self.episodes],
            "length": [float(episode.length) for episode in self.episodes],
            "success": [
                float(e.success) for e in self.episodes if e.success is not None
            ],
        }
        return {name: numbers for name, numbers in values.items() if numbers}


Tasks = Mapping[int, tasks_lib.Task]  # by their numbers in the run


def choose(tasks: Sequence[tasks_lib.Task], chosen: Iterable[Any]) -> Tasks:
    """Returns tasks by number.

    Args:
      tasks: All tasks of the run.
      chosen: Numbers or names; all tasks if empty.

    Raises:
      ValueError: If there is no such task.
    """
    known = {str(number): number for number in range(len(tasks))}
    known.update({task.name: number for number, task in enumerate(tasks)})
    numbers = []
    for word in map(str, chosen):
        if word not in known:
            names = ", ".join(f"{k} {task.name}" for k, task in enumerate(tasks))
            raise ValueError(f"There is no task {word!r} in this run; it has {names}.")
        numbers.append(known[word])
    return {k: tasks[k] for k in dict.fromkeys(numbers or range(len(tasks)))}


def evaluate(player: player_lib.Player, tasks: Tasks, episodes: int) -> list[Result]:
    """Plays episodes of each task.

    Raises:
      ValueError: If `episodes` is below 1, or the environments do not fit.
    """
    _check_positive(episodes=episodes)
    return [
        Result(number, task.name, list(player.play(task, number, episodes)))
        for number, task in tasks.items()
    ]


def record(
    player: player_lib.Player,
    tasks: Tasks,
    episodes: int,
    out: str | os.PathLike,
    *,
    fps: float = 10,
    scale: int = 4,
    context: int = film.CONTEXT,
    horizon: int = 50,
) -> list[Result]:
    """Plays episodes of each task and shows them in one video.

    Args:
      player: Plays.
      tasks: What is played.
      episodes: How many of each task.
      out: The video, `.mp4` or `.gif`.
      fps: Frames a second.
      scale: Pixels of the video for one of an image.
      context: Images that the model sees before it predicts.
      horizon: Steps after which it sees as many again.

    Raises:
      ValueError: If a number or the name is not valid, or there is no image to show.
      VideoError: If the video cannot be written.
    """
    _check_positive(episodes=episodes, scale=scale)
    results, predictor = [], None
    with video.Writer(out, fps) as writer:
        for number, task in tasks.items():
            results.append(Result(number, task.name, []))
            for episode in player.play(task, number, episodes, keep=True):
                if predictor is None:
                    predictor = film.Predictor(
                        player.agent, context, horizon, player.config.seed
                    )
                title = f"{task.name}\nepisode {len(results[-1].episodes) + 1}"
                for frame in _draw(player, predictor, episode, title, scale):
                    writer.add(frame)
                for _ in range(round(fps / 2)):  # time to see how it ended
                    writer.add(frame)
                results[-1].episodes.append(episode._replace(transitions={}))
    return results


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


def _draw(
    player: player_lib.Player,
    predictor: film.Predictor,
    episode: player_lib.Episode,
    title: str,
    scale: int,
) -> Iterator[np.ndarray]:
    """The frames of an episode, with the model's images if it decodes any."""
    key, decoded = _image_key(player)
    truth = episode.transitions[key]
    model = predictor(episode.transitions)[key] if decoded else None
    ahead = [predictor.ahead(time) for time in range(len(truth))]
    scores = np.cumsum(episode.transitions["reward"])
    captions = []
    for time, steps in enumerate(ahead):
        caption = f"{title}   step {time}   return {scores[time]:.2f}"
        words = f"predicts {steps} steps ahead" if steps else "sees this image"
        captions.append(f"{caption}\nthe model {words}" if decoded else caption)
    return film.frames(truth, model, ahead, captions, scale)


def _image_key(player: player_lib.Player) -> tuple[str, bool]:
    """The image to show, and whether the model decodes it."""
    specs = player.agent.obs_specs
    images = [key for key, spec in specs.items() if spec.dtype == np.uint8]
    decoded = player.agent.model.heads["decoder"].cnn_keys
    ours = [key for key in player.config.log_keys_video if key in images]
    order = [*(k for k in ours if k in decoded), *decoded, *ours, *images]
    if not order:
        raise ValueError(
            f"The observations are {', '.join(specs)}, without an image to show; "
            "evaluate without a video: --eval 20."
        )
    return order[0], order[0] in decoded


def _check_positive(**numbers: int) -> None:
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
