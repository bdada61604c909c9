"""What an episode, a run under way and a whole run have come to."""

from __future__ import annotations

import logging
import math
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common import config as config_lib
from common.curves import continual, evaluations
from common.records import files, jsonl, timing
from dreamerv2.run import phases

_LOG = logging.getLogger(__name__)

CURVES = "curves.png"
# What a run measures the seconds of; `clocks` sorts them.
SECTIONS = ("collect", "policy", "add", "sample", "update", "evaluation", "save")
_REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max}


class EndError(RuntimeError):
    """A run has come to its end, but what it has come to could not be written."""


class Summary(NamedTuple):
    """Metrics of a whole run, a table for people, and what the curves are of."""

    metrics: dict[str, float]
    text: str
    curves: str = ""  # `eval_success` or `eval_return`; empty if nothing can be drawn


def episode_metrics(
    logs: Mapping[str, np.ndarray], config: config_lib.Config
) -> dict[str, float]:
    """Reduces what an environment logs over an episode.

    Args:
      logs: `log_*` keys to values [length, ...].
      config: Gives `log_keys_sum`, `log_keys_mean` and `log_keys_max`.

    Returns:
      `success` for environments that tell it, and `{sum,mean,max}_{key}`.
    """
    metrics = {}
    if "log_success" in logs:
        metrics["success"] = float(np.max(logs["log_success"]))
    for name, reduce in _REDUCTIONS.items():
        for key, values in logs.items():
            if re.match(config[f"log_keys_{name}"], key):
                metrics[f"{name}_{key}"] = float(reduce(values))
    return metrics


def clocks(seconds: Mapping[str, float]) -> dict[str, float]:
    """Sorts the seconds of a timer: policy and replay are no part of `collect`.

    Args:
      seconds: `time_*` of a run's sections.

    Returns:
      `time_environment`, `time_policy`, `time_replay` and the other sections.
    """
    seconds = dict(seconds)
    inner = seconds.pop("time_policy", 0.0), seconds.pop("time_add", 0.0)
    return {
        "time_environment": seconds.pop("time_collect", 0.0) - sum(inner),
        "time_policy": inner[0],
        "time_replay": inner[1] + seconds.pop("time_sample", 0.0),
        **seconds,
    }


class OnlineMetrics:
    """Performance and forgetting while a run is under way, as far as they are defined.

    Remembers what each task was worth when its training ended, its best value, and the
    least value of a learned task in the second half of the run. At the end of the run
    they are what `summarize` computes from the whole curves.
    """

    def __init__(self, schedule: phases.Schedule, envs: int = 1):
        """Takes the schedule of the run, and how many environments step together."""
        self._schedule = schedule
        self._half = schedule.logged_ends(envs, 1)[-1][1] / 2  # steps
        self._ends: dict[int, float] = {}  # task -> value when its training last ended
        self._best: dict[int, float] | None = {}  # by task; None: it was not noted
        self._worst_half: float | None = None

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
          `cl_max_forgetting`: the mean, over the same tasks, of the best value so far
          minus the value now.
          `cl_worst`: the least value now of the tasks whose training has begun.
          `cl_worst_half`: the least value, since the first half of the run is over, of
          the tasks whose training had ended by then.
          The forgettings are left out before the first task ends, `cl_worst_half`
          before the second half, and all if a task is not evaluated. What asks for all
          evaluations so far is left out in a run that an older version began.
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
        now = [values[k] for k in sorted(begun)]
        result = {"cl_performance": float(np.mean(now)), "cl_worst": min(now)}
        if self._ends:
            lost = [end - values[k] for k, end in sorted(self._ends.items())]
            result["cl_forgetting"] = float(np.mean(lost))
        return result | self._since_the_start(step, values)

    def _since_the_start(
        self, step: int, values: Mapping[int, float]
    ) -> dict[str, float]:
        """What asks for all evaluations of the run so far."""
        if self._best is None:
            return {}
        for k, value in values.items():
            self._best[k] = max(value, self._best.get(k, value))
        learned = [values[k] for k in sorted(self._ends)]
        if learned and step > self._half:
            before = [] if self._worst_half is None else [self._worst_half]
            self._worst_half = min(learned + before)
        result = {}
        if learned:
            lost = [self._best[k] - values[k] for k in sorted(self._ends)]
            result["cl_max_forgetting"] = float(np.mean(lost))
        if self._worst_half is not None:
            result["cl_worst_half"] = self._worst_half
        return result

    def get_state(self) -> dict[str, Any]:
        """Returns what a snapshot needs, fit for JSON."""
        return {
            "ends": sorted(self._ends.items()),
            "best": self._best and sorted(self._best.items()),
            "worst_half": self._worst_half,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a snapshot; what an older version did not note is unknown."""
        self._ends = {int(task): value for task, value in state.get("ends", ())}
        best = state.get("best")
        self._best = None if best is None else {int(task): v for task, v in best}
        self._worst_half = state.get("worst_half")


def conclude(
    folder: pathlib.Path,
    names: Sequence[str],
    schedule: phases.Schedule,
    config: config_lib.Config,
    frame: int,
    write: Callable[[Mapping[str, float]], None],
) -> None:
    """Logs, draws and prints what a run has come to, as far as that is not done yet.

    Args:
      folder: The run's folder.
      names: Names of the tasks, those that were trained first.
      schedule: When they were trained.
      config: The run's configuration.
      frame: At which it has ended.
      write: Logs metrics at that frame.

    Raises:
      EndError: If the metrics are not in the log afterwards.
    """
    try:
        result = summarize(folder, names, schedule, config)
        is_done = _is_logged(folder, frame, result.metrics)
        if not is_done:
            write(result.metrics)
            if not _is_logged(folder, frame, result.metrics):
                raise OSError(f"{files.METRICS} does not take the last metrics")
    except OSError as error:
        raise EndError(
            f"The run is finished and saved, but what it has come to could not be "
            f"written: {error}. The same command does that, as soon as it can be."
        ) from error
    is_drawn = is_done and (folder / CURVES).exists()
    drawn = result.curves and not is_drawn and _draw(folder, names, result.curves)
    if drawn or not is_done or not result.curves:
        print(f"{result.text}\n{drawn or ''}{_finished(folder, frame)}")


def _finished(folder: pathlib.Path, frame: int) -> str:
    """The last line of a run: how far it came, in what time, and where things lie."""
    records = jsonl.read(folder / files.METRICS)
    walls = [record.get(jsonl.WALL) for record in records if record]
    seconds = max((wall for wall in walls if isinstance(wall, int | float)), default=0)
    took = f", {timing.duration(seconds)} after it began" * (seconds > 0)
    return f"Finished: {frame:,} frames{took}. Everything is in {folder}."


def _is_logged(folder: pathlib.Path, frame: int, metrics: Mapping[str, float]) -> bool:
    """Whether the log holds the record that ends a run, which has no others."""
    records = jsonl.read(folder / files.METRICS)
    return not metrics or any(
        jsonl.step_of(record) == frame
        and "cl_performance" in record
        and record.keys() <= {"step", jsonl.WALL, *metrics}
        for record in records
    )


def summarize(
    folder: pathlib.Path,
    names: Sequence[str],
    schedule: phases.Schedule,
    config: config_lib.Config,
) -> Summary:
    """Reads a run's evaluations and computes its metrics.

    Args:
      folder: The run's folder.
      names: Names of the tasks, those that were trained first.
      schedule: When they were trained.
      config: Gives `envs`, whose last step may go beyond the end of a task, and
        `action_repeat`, as evaluations are logged at frames.

    Returns:
      `cl_performance` and `cl_forgetting` (Kessler et al. 2023, section 5),
      `cl_max_forgetting`, `cl_worst` and `cl_worst_half`, and a table; only a line that
      says so if a task was not evaluated by its end.

    Raises:
      OSError: If the log cannot be read.
    """
    path = folder / files.METRICS
    rounds = schedule.logged_ends(config.envs, config.action_repeat)
    ends = dict(rounds)
    for metric in ("eval_success", "eval_return"):
        curves = evaluations.read(path, metric)
        if all(k in curves and curves[k].steps[0] <= ends[k] for k in ends):
            break
    else:
        text = "The run is finished; not every task was evaluated in time for a table."
        return Summary({}, text)
    ends = [ends[k] for k in range(len(ends))]
    curves = [curves[k] for k in range(len(ends))]
    metrics = {
        "cl_performance": continual.average_performance(curves, ends),
        "cl_forgetting": continual.average_forgetting(curves, ends),
        "cl_max_forgetting": continual.max_forgetting(curves, ends),
        "cl_worst": continual.worst_performance(curves, ends),
        "cl_worst_half": continual.worst_in_second_half(
            curves, [end for _, end in rounds]
        ),
    }
    word = metric.removeprefix("eval_")
    table = _table(names[: len(ends)], curves, ends, word)
    text = (
        f"\n{table}\n\nAverage performance {metrics['cl_performance']:.2f}, average "
        f"forgetting {metrics['cl_forgetting']:.2f}."
    )
    return Summary(metrics, text, metric)


def _table(
    names: Sequence[str],
    curves: Sequence[evaluations.Curve],
    ends: Sequence[int],
    word: str,
) -> str:
    width = max(len("task"), *(len(name) for name in names))
    rows = [f"{'task':<{width}}  best {word}  after its training  at the end"]
    for name, curve, end in zip(names, curves, ends, strict=True):
        best = max(v for v in curve.values if not math.isnan(v))
        rows.append(
            f"{name:<{width}}  {best:>{5 + len(word)}.2f}  {curve.at(end):>18.2f}  "
            f"{curve.at(ends[-1]):>10.2f}"
        )
    return "\n".join(rows)


def _draw(folder: pathlib.Path, names: Sequence[str], metric: str) -> str:
    """Draws the curves; returns a line about them. No picture ends a run."""
    try:
        from common import plot
    except ImportError as error:
        return f"No curves drawn ({error}): pip install 'dreamerv2[plot]'.\n"
    path = folder / CURVES
    try:
        plot.plot_continual(folder / files.METRICS, path, names, metric)
    except Exception as error:  # matplotlib and disks fail in many ways
        _LOG.warning("The curves are not drawn: %s: %s", type(error).__name__, error)
        return "The curves are not drawn; the same command tries it again.\n"
    return f"The curves are drawn in {path}.\n"
