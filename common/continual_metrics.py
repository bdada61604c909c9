"""How well a run keeps and transfers what it learned, from its evaluation curves.

Notation: T tasks in sequence; task k is trained from the end of task k - 1 (or 0) up to
step e_k, its *end*; e_T is the end of the run. p_k(t) is the value (return or success
rate) of the last evaluation of task k at or before step t. AUC_k is the mean of the
evaluations of task k inside its own interval (e_{k-1}, e_k]; the evaluation at the
interval's start, before the first step on the task, is not part of it.

The definitions are those of Kessler et al., "The Effectiveness of World Models for
Continual Reinforcement Learning" (CoLLAs 2023). Its tables clip negative returns to 0,
which `clip_negative` does here.
"""

import json
import logging
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.stats

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Curve:
    """Evaluations of one task over a run.

    Attributes:
      steps: [n] increasing environment steps of the whole run.
      values: [n] mean return or success rate at these steps.

    Raises:
      ValueError: the lengths differ, there are none, or the steps do not increase.
    """

    steps: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        steps = np.asarray(self.steps, np.int64)
        values = np.asarray(self.values, np.float64)
        if steps.shape != values.shape or steps.ndim != 1 or not steps.size:
            raise ValueError(
                f"A curve needs as many steps as values, at least one, in a row; "
                f"got shapes {steps.shape} and {values.shape}."
            )
        if (np.diff(steps) <= 0).any():
            raise ValueError(f"The steps of a curve have to increase: {steps}.")
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "values", values)

    def at(self, step: float) -> float:
        """p(step), the value of the last evaluation at or before `step`.

        Raises:
          ValueError: there is none.
        """
        index = np.searchsorted(self.steps, step, side="right") - 1
        if index < 0:
            raise ValueError(
                f"No evaluation at or before step {step}; the first is at "
                f"step {self.steps[0]}."
            )
        return float(self.values[index])

    def mean(self, start: float, end: float) -> float:
        """AUC, the mean of the evaluations in (start, end].

        Raises:
          ValueError: there is none.
        """
        inside = (self.steps > start) & (self.steps <= end)
        if not inside.any():
            raise ValueError(
                f"No evaluation in ({start}, {end}]; they are at {self.steps}."
            )
        return float(self.values[inside].mean())


class MeanStd(NamedTuple):
    """Mean and standard deviation."""

    mean: float
    std: float


class Interval(NamedTuple):
    """A point estimate with the ends of its confidence interval."""

    point: float
    low: float
    high: float


def average_performance(
    curves: Sequence[Curve], ends: Sequence[float], clip_negative: bool = False
) -> float:
    """Mean over k of p_k(e_T): what is known at the end of the run.

    Args:
      curves: one for each task, in the order of training.
      ends: e_1 ... e_T, the step at which the training on each task ends.
      clip_negative: counts negative values as 0.

    Raises:
      ValueError: counts differ, the ends do not increase, or an evaluation is missing.
    """
    curves, ends = _prepare(curves, ends, clip_negative)
    return float(np.mean([curve.at(ends[-1]) for curve in curves]))


def average_forgetting(
    curves: Sequence[Curve], ends: Sequence[float], clip_negative: bool = False
) -> float:
    """Mean over k of p_k(e_k) - p_k(e_T): what was lost since each task ended.

    The last task contributes 0; negative forgetting is a gain. Arguments and errors as
    in `average_performance`.
    """
    curves, ends = _prepare(curves, ends, clip_negative)
    lost = [
        curve.at(end) - curve.at(ends[-1])
        for curve, end in zip(curves, ends, strict=True)
    ]
    return float(np.mean(lost))


def forward_transfer(
    curves: Sequence[Curve],
    ends: Sequence[float],
    references: Sequence[Curve],
    clip_negative: bool = False,
) -> float:
    """Mean over k of (AUC_k - AUC_k^ref) / (1 - AUC_k^ref).

    AUC_k^ref is the same mean over a run on task k alone, as long as the task's
    interval. A task whose reference is perfect (AUC^ref = 1) makes the result nan.

    Args:
      curves: one for each task, in the order of training.
      ends: e_1 ... e_T, the step at which the training on each task ends.
      references: single-task curves, in the same order; their steps start at 0.
      clip_negative: counts negative values as 0.

    Raises:
      ValueError: counts differ, the ends do not increase, or an evaluation is missing.
    """
    area, reference = _areas(curves, ends, references, clip_negative)
    return _mean_ratio(area - reference, 1.0 - reference)


def forward_transfer_reference(
    curves: Sequence[Curve],
    ends: Sequence[float],
    references: Sequence[Curve],
    clip_negative: bool = False,
) -> float:
    """Mean over k of (AUC_k - AUC_k^ref) / (1 - AUC_k), as the released script did.

    Arguments and errors as in `forward_transfer`; nan if an AUC_k is 1.
    """
    area, reference = _areas(curves, ends, references, clip_negative)
    return _mean_ratio(area - reference, 1.0 - area)


def mean_std(values: Sequence[float]) -> MeanStd:
    """Mean and population standard deviation (ddof 0) across seeds."""
    return MeanStd(float(np.mean(values)), float(np.std(values)))


def interquartile_mean(values: np.ndarray) -> float:
    """Mean of the middle half of all values (of any shape), which outliers leave be."""
    return float(scipy.stats.trim_mean(np.asarray(values), 0.25, axis=None))


def stratified_bootstrap(
    scores: np.ndarray,
    rng: np.random.Generator,
    statistic: Callable[[np.ndarray], float] = interquartile_mean,
    samples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic over runs and tasks (Agarwal et al., 2021).

    Each sample draws, for each task on its own, as many runs as there are, with
    replacement.

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
    values = [statistic(scores[rows, columns]) for rows in draws]
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(float(statistic(scores)), float(low), float(high))


def read_evaluations(
    path: str | os.PathLike, metric: str = "eval_return"
) -> dict[int, Curve]:
    """Reads the curves `{metric}_{k}` from a metrics.jsonl.

    Missing values (null) are left out; of several evaluations of a task at one step,
    the last counts. Lines that are no JSON object are left out with one warning.

    Returns:
      Task index k -> curve, by rising k; empty if the file has no evaluations.

    Raises:
      OSError: the file cannot be read.
    """
    pattern = re.compile(re.escape(metric) + r"_(\d+)")
    found: dict[int, dict[int, float]] = {}
    bad = 0
    for line in pathlib.Path(path).expanduser().read_bytes().splitlines():
        try:
            record = json.loads(line)
            step = int(record["step"])
        except (ValueError, KeyError, TypeError):
            bad += 1
            continue
        for key, value in record.items():
            match = pattern.fullmatch(key)
            if match and isinstance(value, int | float):
                found.setdefault(int(match[1]), {})[step] = float(value)
    if bad:
        _LOG.warning("%s: left out %d lines that are no records.", path, bad)
    return {task: _curve(found[task]) for task in sorted(found)}


def _curve(points: dict[int, float]) -> Curve:
    steps = sorted(points)
    return Curve(np.array(steps), np.array([points[step] for step in steps]))


def _prepare(
    curves: Sequence[Curve], ends: Sequence[float], clip_negative: bool
) -> tuple[list[Curve], np.ndarray]:
    """Checks the counts and the order; clips if asked to."""
    ends = np.asarray(ends, np.float64)
    if len(curves) != len(ends) or not len(ends):
        raise ValueError(
            f"{len(curves)} curves for {len(ends)} ends; give one of each a task."
        )
    if (np.diff(ends, prepend=0.0) <= 0).any():
        raise ValueError(
            f"The ends of the tasks have to increase from above 0: {ends}."
        )
    if clip_negative:
        curves = [Curve(curve.steps, curve.values.clip(min=0.0)) for curve in curves]
    return list(curves), ends


def _areas(
    curves: Sequence[Curve],
    ends: Sequence[float],
    references: Sequence[Curve],
    clip_negative: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """AUC_k and AUC_k^ref, each [T]."""
    curves, ends = _prepare(curves, ends, clip_negative)
    references, _ = _prepare(references, ends, clip_negative)
    starts = np.concatenate([[0.0], ends[:-1]])
    area, reference = [], []
    for curve, single, start, end in zip(curves, references, starts, ends, strict=True):
        area.append(curve.mean(start, end))
        reference.append(single.mean(0.0, end - start))
    return np.array(area), np.array(reference)


def _mean_ratio(above: np.ndarray, below: np.ndarray) -> float:
    below = np.where(below == 0.0, np.nan, below)
    return float(np.mean(above / below))
