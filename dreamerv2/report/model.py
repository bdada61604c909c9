"""What became of the world model: its losses on episodes set aside before training.

Shapes: R runs, T trained tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from common.curves import continual
from dreamerv2.report import results
from dreamerv2.report import runs as runs_lib

METRIC = "eval_model"
_NAME = re.compile(rf"{METRIC}_(.+)_\d+")
_LAST = ("reward", "discount", "kl")  # after the observations


class Reading(NamedTuple):
    """A loss in nats a step, by run and task.

    Attributes:
      end: [R, T] at the end of the run.
      rise: [R, T] the same minus the loss at the end of the task's own training.
      runs: that tell it.
    """

    end: np.ndarray
    rise: np.ndarray
    runs: list[runs_lib.Record]


def losses(benchmarks: Iterable[results.Benchmark]) -> list[str]:
    """Names of the losses that any run tells, finished or not; observations first."""
    methods = [m for benchmark in benchmarks for m in benchmark.methods.values()]
    return _names(run for m in methods for run in (*m.finished, *m.unfinished))


def _names(runs: Iterable[runs_lib.Record]) -> list[str]:
    matches = [_NAME.fullmatch(key) for run in runs for key in run.log.series]
    names = {match[1] for match in matches if match}
    return [*sorted(names - {*_LAST}), *(name for name in _LAST if name in names)]


def of_method(method: results.Method) -> dict[str, Reading]:
    """Every loss that finished runs of a method tell."""
    found = {loss: _read(method, loss) for loss in _names(method.finished)}
    return {loss: reading for loss, reading in found.items() if reading}


def _read(method: results.Method, loss: str) -> Reading | None:
    found = []
    for run in method.finished:
        curves, ends = run.curves(f"{METRIC}_{loss}"), run.last_ends
        if all(k in curves and curves[k].steps[0] <= end for k, end in enumerate(ends)):
            ours = [curves[k] for k in range(len(ends))]
            end = continual.task_performance(ours, ends)
            found.append((end, -continual.task_forgetting(ours, ends), run))
    if not found:
        return None
    ends, rises, runs = zip(*found, strict=True)
    return Reading(np.stack(ends), np.stack(rises), list(runs))
