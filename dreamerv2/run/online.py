"""Performance and forgetting while a run is under way, as far as they are defined.

At the end of the run they are what `common.curves.continual` computes afterwards from
the whole curves, and `dreamerv2.run.summary` writes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamerv2.run import phases


class OnlineMetrics:
    """Remembers what each task was worth when its training ended."""

    def __init__(self, schedule: phases.Schedule):
        """Takes the schedule of the run."""
        self._schedule = schedule
        self._ends: dict[int, float] = {}  # task -> value when its training last ended

    def __call__(
        self, phase: phases.Phase, step: int, evaluated: Mapping[str, Any]
    ) -> dict[str, float]:
        """Takes in one evaluation.

        Values are success rates if every trained task tells success, else returns.

        Args:
          phase: The phase under way, or that ends with this step.
          step: Of the run.
          evaluated: `eval_return_{k}` and `eval_success_{k}`.

        Returns:
          `cl_performance`: the mean value now of the tasks whose training has begun.
          `cl_forgetting`: the mean, over the tasks whose training has ended, of the
          value when it last ended minus the value now; a task that ends now counts 0.
          The latter is left out before the first task ends, both if a task is not
          evaluated.
        """
        trained = range(1 + max(each.task for each in self._schedule.phases))
        for metric in ("eval_success", "eval_return"):
            if all(f"{metric}_{k}" in evaluated for k in trained):
                values = {k: float(evaluated[f"{metric}_{k}"]) for k in trained}
                break
        else:
            return {}
        if step >= phase.end:
            self._ends[phase.task] = values[phase.task]
        begun = {each.task for each in self._schedule.phases[: phase.index + 1]}
        result = {"cl_performance": _mean([values[k] for k in sorted(begun)])}
        if self._ends:
            lost = [end - values[k] for k, end in sorted(self._ends.items())]
            result["cl_forgetting"] = _mean(lost)
        return result

    def get_state(self) -> dict[str, Any]:
        """Returns what a snapshot needs, fit for JSON."""
        return {"ends": sorted(self._ends.items())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a snapshot; an empty state, of an older version, is none."""
        self._ends = {int(task): value for task, value in state.get("ends", ())}


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
