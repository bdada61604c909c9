"""Returns in bins, their means over runs, the differences, and intervals of both."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.learning import runs
from benchmarks.turns import cases
from common.curves import intervals

WIDTH = 500  # steps of a bin
OF_A_RUN = {"logdir", "seed"}  # settings that differ between any two runs
NOTHING = intervals.Interval(np.nan, np.nan, np.nan)
Returns = Sequence[tuple[int, float]]  # (step at which an episode ends, its return)
Columns = dict[str, dict[int, np.ndarray]]  # {agent: {seed: values [bins + 1]}}


def ends_of(case: cases.Case) -> list[int]:
    """Returns the last step of each bin."""
    return [*range(case["prefill"] + WIDTH, case["steps"], WIDTH), case["steps"]]


def binned(returns: Returns, case: cases.Case) -> np.ndarray:
    """Returns the mean return [bins] of the episodes that end in each bin.

    A bin has the steps after the end of the one before up to its own, included; nan
    where no episode ends.
    """
    steps, values = np.array(returns, float).reshape(-1, 2).T
    means, start = [], case["prefill"]
    for end in ends_of(case):
        inside = values[(start < steps) & (steps <= end)]
        means.append(inside.mean() if len(inside) else np.nan)
        start = end
    return np.array(means)


def columns(records: Mapping[runs.Job, Any], case: cases.Case) -> Columns:
    """Returns the bins of each run, and behind them their mean."""
    found: Columns = {}
    for job, record in records.items():
        means = binned(record["returns"], case)
        there = means[np.isfinite(means)]
        overall = there.mean() if len(there) else np.nan
        found.setdefault(job.agent, {})[job.seed] = np.append(means, overall)
    return found


def mean(values: np.ndarray) -> intervals.Interval:
    """Returns the mean of runs [N] with its interval; nan do not count."""
    there = values[np.isfinite(values)]
    if not len(there):
        return NOTHING
    return intervals.stratified_bootstrap(there, np.random.default_rng(0), np.mean)


def difference(mine: np.ndarray, other: np.ndarray) -> intervals.Interval:
    """Returns mean(mine) - mean(other) with its interval.

    Args:
      mine: [N], of the seeds that both have. Where either is nan, neither counts.
      other: [N], of the same seeds; runs are drawn without regard to them.
    """
    pairs = np.stack([mine, other], 1)
    pairs = pairs[np.isfinite(pairs).all(1)]
    if not len(pairs):
        return NOTHING
    return intervals.stratified_bootstrap(
        pairs,
        np.random.default_rng(0),
        lambda drawn: drawn[:, 0].mean() - drawn[:, 1].mean(),
    )


def compare(found: Columns) -> dict[str, list[intervals.Interval]]:
    """Returns the intervals [bins + 1] of each agent and of the differences.

    A difference is `original - ours`, of the second agent and those after it to the
    first: of the seeds that both have.
    """
    rows = {
        agent: [mean(column) for column in np.array([*each.values()]).T]
        for agent, each in found.items()
    }
    first, *others = found
    for agent in others:
        both = sorted({*found[first]} & {*found[agent]})
        if both:
            mine, other = (
                np.array([found[name][seed] for seed in both]).T
                for name in (agent, first)
            )
            pairs = zip(mine, other, strict=True)
            rows[f"{agent} - {first}"] = [difference(*pair) for pair in pairs]
    return rows


def differing(records: Mapping[runs.Job, Any]) -> list[str]:
    """Returns a line for each setting that agents share by name and not by value."""
    settings: dict[str, dict[str, Any]] = {}
    for job, record in records.items():
        settings.setdefault(job.agent, record["settings"])
    shared = set.intersection(*map(set, settings.values())) - OF_A_RUN
    lines = []
    for key in sorted(shared):
        values = {agent: _plain(each[key]) for agent, each in settings.items()}
        if len({json.dumps(value) for value in values.values()}) > 1:
            text = ", ".join(f"{agent} {value!r}" for agent, value in values.items())
            lines.append(f"`{key}`: {text}")
    return lines


def _plain(value: Any) -> Any:
    """The value; a number also if it is written in quotation marks."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value
