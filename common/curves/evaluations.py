"""Evaluation curves of one run, by task, read from its metrics.jsonl."""

import logging
import math
import os
import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.records import jsonl

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

    def best(self, step: float) -> float:
        """The highest value of the evaluations at or before `step`.

        Raises:
          ValueError: there is none.
        """
        self.at(step)
        return float(self.values[self.steps <= step].max())

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

    def clipped(self) -> "Curve":
        """The curve with negative values counted as 0."""
        return Curve(self.steps, self.values.clip(min=0.0))


def read(path: str | os.PathLike, metric: str = "eval_return") -> dict[int, Curve]:
    """Reads the curves `{metric}_{k}` from a metrics.jsonl.

    Missing values (null) are left out; of several evaluations of a task at one step,
    the last counts. Lines that are no records are left out with one warning.

    Returns:
      Task index k -> curve, by rising k; empty if the file has no evaluations.

    Raises:
      OSError: the file cannot be read.
    """
    pattern = re.compile(re.escape(metric) + r"_(\d+)")
    found: dict[int, dict[int, float]] = {}
    bad = 0
    for record in jsonl.read(pathlib.Path(path).expanduser()):
        step = jsonl.step_of(record)
        if step == math.inf:
            bad += 1
            continue
        for key, value in record.items():
            match = pattern.fullmatch(key)
            if match and isinstance(value, int | float):
                found.setdefault(int(match[1]), {})[int(step)] = float(value)
    if bad:
        _LOG.warning("%s: left out %d lines that are no records.", path, bad)
    return {task: _curve(found[task]) for task in sorted(found)}


def _curve(points: Mapping[int, float]) -> Curve:
    steps = sorted(points)
    return Curve(np.array(steps), np.array([points[step] for step in steps]))
