"""One number for many runs, and an interval around it (Agarwal et al., 2021).

The interquartile mean of n values leaves out the floor(n / 4) smallest and largest. An
interval is the percentile interval of a statistic over samples of the runs, drawn with
replacement for each task (stratum) on its own.

As in NumPy, the functions of scores take numbers that are all there, and those called
`nan_` take curves, in which nan stands for what a seed lacks and does not count. Each
has its own order of drawing and of adding up, which reported numbers depend on.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

SAMPLES = 1000  # resampled sets of runs behind an interval
Statistic = Callable[[np.ndarray], np.ndarray | float]


class MeanStd(NamedTuple):
    """Mean and sample standard deviation."""

    mean: float
    std: float


class Interval(NamedTuple):
    """A point estimate with the ends of its confidence interval."""

    point: float
    low: float
    high: float


def mean_std(values: Sequence[float]) -> MeanStd:
    """Mean and sample standard deviation over seeds; nan of a single one."""
    std = sample_deviation(values) if len(values) > 1 else np.nan
    return MeanStd(float(np.mean(values)), float(std))


def sample_deviation(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Standard deviation along the first axis with n - 1: [n, ...] -> [...].

    It is what every ± and every band means. nan are left out; a single value has 0,
    none at all nan.
    """
    values = np.asarray(values, np.float64)
    count = np.isfinite(values).sum(axis=0)
    total = np.where(np.isfinite(values), values, 0.0).sum(axis=0)
    mean = total / np.where(count, count, np.nan)
    squares = np.nansum((values - mean) ** 2, axis=0)
    return np.sqrt(squares / np.where(count, np.maximum(count - 1, 1), np.nan))


def interquartile_mean(values: np.ndarray) -> float:
    """Mean of the middle half of all values (of any shape), which outliers leave be."""
    return float(_middle_mean(np.ravel(values)))


def stratified_bootstrap(
    scores: np.ndarray,
    rng: np.random.Generator,
    statistic: Statistic = interquartile_mean,
    samples: int = SAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Interval of a statistic over runs and tasks.

    Args:
      scores: [runs, tasks], or [runs] for a single score a run.
      rng: source of randomness.
      statistic: maps an array of the shape [runs, tasks] to a number.
      samples: number of resampled arrays.
      confidence: share of the samples inside the interval.

    Raises:
      ValueError: `scores` is empty or of another rank.
    """
    scores = np.asarray(scores, np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"Scores have shape {scores.shape}; give [runs, tasks].")
    draws = rng.integers(len(scores), size=(samples, *scores.shape))
    columns = np.arange(scores.shape[1])
    if statistic is interquartile_mean:  # all at once, which is much faster
        values = _middle_mean(scores[draws, columns].reshape(samples, -1))
    else:
        values = [statistic(scores[rows, columns]) for rows in draws]
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(float(statistic(scores)), float(low), float(high))


def probability_of_improvement(
    ours: np.ndarray,
    others: np.ndarray,
    rng: np.random.Generator,
    samples: int = SAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """How likely a run of one method is to be better than one of another.

    P(X > Y) + P(X = Y) / 2 over all pairs of a run of each, averaged over the tasks;
    0.5 is no difference. The interval draws the runs of both methods for each task.

    Args:
      ours: [R, tasks], the scores X.
      others: [S, tasks], the scores Y on the same tasks.
      rng: source of randomness.
      samples: number of resampled pairs of arrays.
      confidence: share of the samples inside the interval.

    Raises:
      ValueError: an array is empty or of another rank, or the tasks differ.
    """
    ours, others = np.asarray(ours, np.float64), np.asarray(others, np.float64)
    fits = ours.ndim == others.ndim == 2 and ours.size and others.size
    if not fits or ours.shape[1] != others.shape[1]:
        raise ValueError(
            f"Scores have shapes {ours.shape} and {others.shape}; give [runs, tasks] "
            "of both methods, on the same tasks."
        )
    pairs = ours[:, None] - others[None]  # [R, S, tasks]
    wins = (np.sign(pairs) + 1) / 2  # 1, 0, or 0.5 where they are equal
    values = np.zeros(samples)
    drawn = _drawn(len(ours), len(others), ours.shape[1], rng, samples)
    for task, (rows, against) in enumerate(drawn):
        # Sums of halves are exact in whatever order they are added up.
        values += ((rows @ wins[:, :, task]) * against).sum(axis=1)
    values /= wins.size
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(float(wins.mean()), float(low), float(high))


def _drawn(
    ours: int, others: int, tasks: int, rng: np.random.Generator, samples: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """How often each run is in each sample, for each task: [samples, R or S].

    Counts in place of the runs spare looking up each pair of runs in each sample.
    """
    found = [
        (np.zeros((samples, ours)), np.zeros((samples, others))) for _ in range(tasks)
    ]
    for sample in range(samples):
        sizes = (ours, others)
        draws = [rng.integers(size, size=(size, tasks)) for size in sizes]
        for task in range(tasks):
            for counts, rows, size in zip(found[task], draws, sizes, strict=True):
                counts[sample] = np.bincount(rows[:, task], minlength=size)
    return found


def nan_interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the middle half along the first axis: [n, ...] -> [...].

    nan are left out; where there is nothing else, the result is nan.
    """
    values = np.sort(values, axis=0)  # nan come last
    count = np.isfinite(values).sum(0)
    cut = count // 4
    index = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    inside = (index >= cut) & (index < count - cut)
    return np.where(inside, values, 0.0).sum(0) / np.where(count, inside.sum(0), np.nan)


def nan_bootstrap(
    values: np.ndarray, statistic: Statistic, samples: int = SAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of a statistic of curves; the same at every call.

    Args:
      values: [seeds, strata, ...]; each stratum (task) draws seeds of its own, as many
        as it has. The seeds that it lacks are nan throughout.
      statistic: maps such an array to anything of a fixed shape.
      samples: number of draws.
    """
    rng = np.random.default_rng(0)
    count, strata = values.shape[:2]
    there = np.isfinite(values).any(axis=tuple(range(2, values.ndim)))  # [S, strata]
    draws = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a draw without any value
        for _ in range(samples):
            rows = np.tile(np.arange(count)[:, None], strata)
            for column, seeds in zip(rows.T, there.T, strict=True):
                column[seeds] = rng.choice(column[seeds], seeds.sum())
            draws.append(statistic(values[rows, np.arange(strata)]))
        low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    return low, high


def _middle_mean(values: np.ndarray) -> np.ndarray:
    """Interquartile means along the last axis, nan where one is: [..., n] -> [...]."""
    count = values.shape[-1]
    cut = count // 4
    parted = np.partition(values, (cut, count - cut - 1), axis=-1)
    means = parted[..., cut : count - cut].mean(axis=-1)
    return np.where(np.isnan(values).any(axis=-1), np.nan, means)
