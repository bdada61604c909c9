"""Published learning curves, reference scores, and one number over many tasks.

The data in `published/` are the DreamerV2 authors'; see the README there. The
human-normalised scores are those of Hafner et al., "Mastering Atari with Discrete World
Models" (2021), section 3: (score - random) / (human - random) for each game, then the
mean or median over games; "record" takes the human world record (Toromanoff et al.,
2019) in place of the gamer, "clip" at most 1 a game.

Shapes: S seeds, T tasks, m values of x.
"""

import functools
import gzip
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from common.curves import bands, intervals, logs

PUBLISHED = ("published", "published_schedules", "nosched", "montezuma")  # methods
FOLDER = pathlib.Path(__file__).resolve().parent / "published"
STATISTICS = (
    *("mean", "median", "iqm", "gamer_mean", "gamer_median", "gamer_iqm"),
    *("record_mean", "record_median", "clip_record_mean"),
)
_NAME = re.compile(r"(clip_)?(?:(gamer|record)_)?(mean|median|iqm)")
_HUMANS = {
    "": set(),
    "gamer": {"random", "human_gamer"},
    "record": {"random", "human_record"},
}
_SAMPLES = 200  # resampled sets of seeds; each costs a statistic over all tasks


def _read(name: str) -> object:
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


@functools.cache
def published() -> tuple[logs.Curve, ...]:
    """Every published curve: x in environment frames, y the episode return.

    Methods: `published` (DreamerV2), `published_schedules` (with annealed entropy and
    gradient mixing), `nosched`, `montezuma` (settings for that one game).
    """
    found = []
    for run in (*_read("atari"), *_read("dmc")):
        points = np.stack([run["xs"], run["ys"]], axis=1).astype(np.float64)
        found.append(logs.Curve(run["task"], run["method"], run["seed"], points))
    return tuple(found)


@functools.cache
def references() -> Mapping[str, Mapping[str, float]]:
    """Task -> name (`random`, `human_gamer`, ...) -> score."""
    return _read("references")


def baseline_names() -> list[str]:
    """Names of all published curves and reference scores."""
    return sorted({*PUBLISHED}.union(*references().values()))


def over_tasks(name: str, scores: Mapping[str, Sequence[float]]) -> float:
    """One number for the scores of several tasks, one score for each seed.

    `mean` and `median` are over the tasks' means over seeds, `iqm` is over all seeds
    and tasks at once. Tasks without the references that the name asks for are left out.

    Raises:
      ValueError: an unknown statistic, or no task is left.
    """
    scores = {task: scores[task] for task in having_references(name, scores)}
    if not scores:
        raise ValueError(f"No task has the reference scores that {name} needs.")
    values = np.full((max(map(len, scores.values())), len(scores)), np.nan)  # [S, T]
    for k, (task, seeds) in enumerate(scores.items()):
        values[: len(seeds), k] = _normalize(name, task, np.asarray(seeds))
    return float(_reduce(name, values))


def curve_over_tasks(
    name: str, tasks: Mapping[str, Sequence[np.ndarray]], bins: float = 0.0
) -> bands.Band | None:
    """The statistic of a method along x, with a stratified bootstrap interval (95 %).

    It ends where the shortest task ends, so that no task drops out on the way. Between
    the values of a seed it goes straight.

    Args:
      name: one of STATISTICS.
      tasks: task -> points [n, 2] of each seed; each task has the references.
      bins: as of `bands.aggregate`, over all tasks.

    Returns:
      None if there is no x at which every task has a value.

    Raises:
      ValueError: an unknown statistic.
    """
    all_seeds = [points for seeds in tasks.values() for points in seeds]
    width = bands.bin_width(all_seeds, bins)
    binned = {
        task: [bands.bin_points(points, width) for points in seeds]
        for task, seeds in tasks.items()
    }
    everything = [points[:, 0] for seeds in binned.values() for points in seeds]
    xs = np.unique(np.concatenate(everything))
    values = np.full((max(map(len, tasks.values())), len(tasks), len(xs)), np.nan)
    for k, (task, seeds) in enumerate(binned.items()):
        for row, points in zip(values[:, k], seeds, strict=False):
            ys = _normalize(name, task, points[:, 1])
            row[:] = np.interp(xs, points[:, 0], ys, left=np.nan, right=np.nan)
    shared = np.isfinite(values).any(0).all(0)  # [m]
    if not shared.any():
        return None
    xs, values = xs[shared], values[..., shared]
    mid = low = high = _reduce(name, values)
    if len(values) > 1:
        low, high = intervals.nan_bootstrap(
            values, lambda v: _reduce(name, v), _SAMPLES
        )
    return bands.Band(bands.until_end(xs, all_seeds), mid, low, high)


def having_references(name: str, tasks: Iterable[str]) -> list[str]:
    """Those of the tasks that have the reference scores that a statistic needs.

    Raises:
      ValueError: an unknown statistic.
    """
    need = _HUMANS[_parse(name)[1]]
    return [task for task in tasks if need <= set(references().get(task, ()))]


def _parse(name: str) -> tuple[bool, str, str]:
    """Whether to clip, against whom to normalise, and the kind of statistic."""
    match = _NAME.fullmatch(name)
    if not match or (match[1] and not match[2]):
        raise ValueError(
            f"Unknown statistic {name!r}; choose from {', '.join(STATISTICS)}."
        )
    return bool(match[1]), match[2] or "", match[3]


def _normalize(name: str, task: str, values: np.ndarray) -> np.ndarray:
    human = _parse(name)[1]
    if not human:
        return values
    known = references()[task]
    return (values - known["random"]) / (known[f"human_{human}"] - known["random"])


def _reduce(name: str, values: np.ndarray) -> np.ndarray:
    """[S, T, ...] -> [...]; missing seeds are nan."""
    clip, _, kind = _parse(name)
    if kind == "iqm":
        return intervals.nan_interquartile_mean(values.reshape(-1, *values.shape[2:]))
    means = np.nanmean(values, axis=0)
    means = np.minimum(means, 1.0) if clip else means
    return np.mean(means, axis=0) if kind == "mean" else np.median(means, axis=0)
