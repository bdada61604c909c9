"""What an episode and a whole run have come to."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common.curves import continual, evaluations
from dreamerv2.run import phases, rundir

CURVES = "curves.png"
_REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max}


class Summary(NamedTuple):
    """Metrics of a whole run and a table for people."""

    metrics: dict[str, float]
    text: str


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


def summarize(
    folder: pathlib.Path,
    names: Sequence[str],
    schedule: phases.Schedule,
    config: config_lib.Config,
) -> Summary:
    """Reads a run's evaluations, draws its curves and computes its metrics.

    Args:
      folder: The run's folder; `curves.png` is written there.
      names: Names of the tasks, those that were trained first.
      schedule: When they were trained.
      config: Gives `envs`, whose last step may go beyond the end of a task, and
        `action_repeat`, as evaluations are logged at frames.

    Returns:
      `cl_performance` and `cl_forgetting` (SPEC: Kessler et al. 2023, section 5), and
      a table; only a line that says so if a task was not evaluated by its end.
    """
    path = folder / rundir.METRICS
    ends = dict(schedule.logged_ends(config.envs, config.action_repeat))
    for metric in ("eval_success", "eval_return"):
        curves = evaluations.read(path, metric)
        if all(k in curves and curves[k].steps[0] <= ends[k] for k in ends):
            break
    else:
        text = "The run is finished; not every task was evaluated in time for a table."
        return Summary({}, f"{text} Everything is in {folder}.")
    ends = [ends[k] for k in range(len(ends))]
    curves = [curves[k] for k in range(len(ends))]
    metrics = {
        "cl_performance": continual.average_performance(curves, ends),
        "cl_forgetting": continual.average_forgetting(curves, ends),
    }
    drawn = _draw(folder, names, metric)
    word = metric.removeprefix("eval_")
    table = _table(names[: len(ends)], curves, ends, word)
    text = (
        f"\n{table}\n\nAverage performance {metrics['cl_performance']:.2f}, average "
        f"forgetting {metrics['cl_forgetting']:.2f}.\n{drawn}Everything is in {folder}."
    )
    return Summary(metrics, text)


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
    """Draws the curves; returns a line about them."""
    try:
        from common import plot
    except ImportError as error:
        return f"No curves drawn ({error}): pip install 'dreamerv2[plot]'.\n"
    path = folder / CURVES
    plot.plot_continual(folder / rundir.METRICS, path, names, metric)
    return f"The curves are drawn in {path}.\n"
