"""How well a run keeps and transfers what it learned, from its evaluation curves.

Notation: T tasks in sequence; task k is trained from the end of task k - 1 (or 0) up to
step e_k, its *end*; e_T is the end of the run. p_k(t) is the value (return or success
rate) of the last evaluation of task k at or before step t. AUC_k is the mean of the
evaluations of task k inside its own interval (e_{k-1}, e_k]; the evaluation at the
interval's start, before the first step on the task, is not part of it.

The definitions are those of Kessler et al., "The Effectiveness of World Models for
Continual Reinforcement Learning" (CoLLAs 2023). Its tables clip negative returns to 0,
which `clip_negative` does here. Each metric is a mean over tasks; `task_*` gives the
terms of it, an array [T].
"""

from collections.abc import Sequence

import numpy as np

from common.curves import evaluations

Curves = Sequence[evaluations.Curve]
References = Sequence[evaluations.Curve | Curves | float]


def average_performance(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> float:
    """Mean over k of p_k(e_T): what is known at the end of the run.

    Args:
      curves: one for each task, in the order of training.
      ends: e_1 ... e_T, the step at which the training on each task ends.
      clip_negative: counts negative values as 0.

    Raises:
      ValueError: counts differ, the ends do not increase, or an evaluation is missing.
    """
    return float(np.mean(task_performance(curves, ends, clip_negative)))


def task_performance(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> np.ndarray:
    """p_k(e_T) of each task; see `average_performance`."""
    curves, ends = _prepare(curves, ends, clip_negative)
    return np.array([curve.at(ends[-1]) for curve in curves])


def average_forgetting(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> float:
    """Mean over k of p_k(e_k) - p_k(e_T): what was lost since each task ended.

    The last task contributes 0; negative forgetting is a gain. Arguments and errors as
    in `average_performance`.
    """
    return float(np.mean(task_forgetting(curves, ends, clip_negative)))


def task_forgetting(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> np.ndarray:
    """p_k(e_k) - p_k(e_T) of each task; see `average_forgetting`."""
    curves, ends = _prepare(curves, ends, clip_negative)
    pairs = zip(curves, ends, strict=True)
    return np.array([curve.at(end) - curve.at(ends[-1]) for curve, end in pairs])


def max_forgetting(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> float:
    """Mean over k of max p_k(t) - p_k(e_T), t up to e_T: what was lost since the best.

    The best evaluation may come before, at or after the end of the task's own training,
    so that this is never negative and never less than `average_forgetting`. Arguments
    and errors as in `average_performance`.
    """
    return float(np.mean(task_max_forgetting(curves, ends, clip_negative)))


def task_max_forgetting(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> np.ndarray:
    """The best p_k(t), t up to e_T, minus p_k(e_T) of each; see `max_forgetting`."""
    curves, ends = _prepare(curves, ends, clip_negative)
    return np.array([c.best(ends[-1]) - c.at(ends[-1]) for c in curves])


def worst_performance(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> float:
    """The least p_k(e_T): the task that is known worst at the end of the run.

    Arguments and errors as in `average_performance`.
    """
    return float(np.min(task_performance(curves, ends, clip_negative)))


def worst_in_second_half(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> float:
    """The least p_k(t) at the evaluations in (e_T / 2, e_T], of the tasks learned by t.

    A task counts from e_k on, the end of its training: what it is worth before says
    nothing of what is kept.

    Args:
      curves: one for each task, in the order of training.
      ends: e_1 ... e_T. If the sequence is gone through several times, the ends of all
        rounds: a task counts from its first, and the run ends with the last.
      clip_negative: counts negative values as 0.

    Raises:
      ValueError: the ends do not increase, there are fewer than tasks, or there is no
        evaluation.
    """
    ends = _increasing(ends)
    if len(curves) > len(ends):
        raise ValueError(f"{len(curves)} curves for {len(ends)} ends; give one a task.")
    least = []
    for curve, end in zip(curves, ends, strict=False):
        counts = (curve.steps > ends[-1] / 2) & (curve.steps <= ends[-1])
        least += curve.values[counts & (curve.steps >= end)].tolist()
    if not least:
        raise ValueError(f"No evaluation in ({ends[-1] / 2}, {ends[-1]}].")
    return max(0.0, min(least)) if clip_negative else min(least)


def forward_transfer(
    curves: Curves,
    ends: Sequence[float],
    references: References,
    clip_negative: bool = False,
) -> float:
    """Mean over k of (AUC_k - AUC_k^ref) / (1 - AUC_k^ref).

    AUC_k^ref is the same mean over a run on task k alone, as long as the task's
    interval. A task whose reference is perfect (AUC^ref = 1) makes the result nan.

    Args:
      curves: one for each task, in the order of training.
      ends: e_1 ... e_T, the step at which the training on each task ends.
      references: single-task curves, in the same order; their steps start at 0.
        Several curves for a task are seeds, whose AUC are averaged; a number is
        what `reference_areas` has made of them.
      clip_negative: counts negative values as 0.

    Raises:
      ValueError: counts differ, the ends do not increase, or an evaluation is missing.
    """
    return float(
        np.mean(task_forward_transfer(curves, ends, references, clip_negative))
    )


def task_forward_transfer(
    curves: Curves,
    ends: Sequence[float],
    references: References,
    clip_negative: bool = False,
) -> np.ndarray:
    """(AUC_k - AUC_k^ref) / (1 - AUC_k^ref) of each; see `forward_transfer`."""
    area, reference = _areas(curves, ends, references, clip_negative)
    return _ratio(area - reference, 1.0 - reference)


def forward_transfer_reference(
    curves: Curves,
    ends: Sequence[float],
    references: References,
    clip_negative: bool = False,
) -> float:
    """Mean over k of (AUC_k - AUC_k^ref) / (1 - AUC_k), as the released script did.

    Arguments and errors as in `forward_transfer`; nan if an AUC_k is 1.
    """
    return float(
        np.mean(
            task_forward_transfer_reference(curves, ends, references, clip_negative)
        )
    )


def reference_areas(
    ends: Sequence[float], references: References, clip_negative: bool = False
) -> np.ndarray:
    """AUC_k^ref of each task, [T]; see `forward_transfer`.

    Many runs that are compared with the same references need it once.
    """
    ends = _increasing(ends)
    if len(references) != len(ends):
        raise ValueError(
            f"{len(references)} references for {len(ends)} ends; give one a task."
        )
    areas = []
    for seeds, length in zip(references, np.diff(ends, prepend=0.0), strict=True):
        if isinstance(seeds, float):
            areas.append(seeds)
            continue
        seeds = [seeds] if isinstance(seeds, evaluations.Curve) else seeds
        seeds = [seed.clipped() for seed in seeds] if clip_negative else seeds
        areas.append(np.mean([seed.mean(0.0, length) for seed in seeds]))
    return np.array(areas)


def task_forward_transfer_reference(
    curves: Curves,
    ends: Sequence[float],
    references: References,
    clip_negative: bool = False,
) -> np.ndarray:
    """(AUC_k - AUC_k^ref) / (1 - AUC_k); see `forward_transfer_reference`."""
    area, reference = _areas(curves, ends, references, clip_negative)
    return _ratio(area - reference, 1.0 - area)


def task_matrix(
    curves: Curves, ends: Sequence[float], clip_negative: bool = False
) -> np.ndarray:
    """The value of every task before and after the training on each.

    Above the diagonal of the rows 1 ... T stands zero-shot transfer: what is known of a
    task that was never trained on.

    Args:
      curves: one for each task in the order of training; further ones, of tasks that
        are evaluated only, become further columns.
      ends: the step at which each stretch of training ends, more of them than tasks if
        the sequence is gone through several times.
      clip_negative: counts negative values as 0.

    Returns:
      [1 + len(ends), len(curves)]. Row i is the value at the i-th end. Row 0 is the
      run's first evaluation, if it comes before the first end: a run is first
      evaluated after its prefill and first updates, which is as near to "before any
      training" as there is. nan where there is no evaluation.

    Raises:
      ValueError: the ends do not increase.
    """
    ends = _increasing(ends)
    curves = [curve.clipped() for curve in curves] if clip_negative else curves
    matrix = np.full((1 + len(ends), len(curves)), np.nan)
    for column, curve in zip(matrix.T, curves, strict=True):
        if curve.steps[0] < ends[0]:
            column[0] = curve.values[0]
        for i, end in enumerate(ends):
            column[1 + i] = curve.at(end) if curve.steps[0] <= end else np.nan
    return matrix


def zero_shot_transfer(matrix: np.ndarray) -> float:
    """What is known of each task just before its training, beyond the beginning.

    Mean over k > 1 of R[k - 1, k] - R[0, k] for the matrix R of `task_matrix` over T
    tasks: the forward transfer of Lopez-Paz & Ranzato, "Gradient Episodic Memory"
    (2017). It needs no references. nan for one task, or if a value is missing.

    Args:
      matrix: [1 + T or more rows, T or more columns].
    """
    count = min(matrix.shape[0] - 1, matrix.shape[1])
    gains = [matrix[k - 1, k - 1] - matrix[0, k - 1] for k in range(2, count + 1)]
    return float(np.mean(gains)) if gains else float("nan")


def _prepare(
    curves: Curves, ends: Sequence[float], clip_negative: bool
) -> tuple[list[evaluations.Curve], np.ndarray]:
    """Checks the counts and the order; clips if asked to."""
    if len(curves) != len(ends) or not len(ends):
        raise ValueError(
            f"{len(curves)} curves for {len(ends)} ends; give one of each a task."
        )
    clipped = [curve.clipped() for curve in curves] if clip_negative else list(curves)
    return clipped, _increasing(ends)


def _increasing(ends: Sequence[float]) -> np.ndarray:
    ends = np.asarray(ends, np.float64)
    if not len(ends) or (np.diff(ends, prepend=0.0) <= 0).any():
        raise ValueError(
            f"The ends of the tasks have to increase from above 0: {ends}."
        )
    return ends


def _areas(
    curves: Curves,
    ends: Sequence[float],
    references: References,
    clip_negative: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """AUC_k and AUC_k^ref, each [T]."""
    curves, ends = _prepare(curves, ends, clip_negative)
    starts = np.concatenate([[0.0], ends[:-1]])
    intervals = zip(curves, starts, ends, strict=True)
    area = [curve.mean(start, end) for curve, start, end in intervals]
    return np.array(area), reference_areas(ends, references, clip_negative)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return above / np.where(below == 0.0, np.nan, below)
