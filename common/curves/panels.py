"""What a figure shows, before it is drawn: panels of curves, and their JSON."""

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.curves import bands, logs, scores

_LOG = logging.getLogger(__name__)
_LEAST = 0.05  # of a published curve's length that is shown beside short runs


@dataclass
class Panel:
    """One task, or a statistic over several.

    Attributes:
      name: the task or the statistic.
      seeds: method -> its curves.
      joined: method -> the same as one line with a band.
      intervals: x from where to where the task was trained, in a continual run.
      lines: reference score -> its value.
      tasks: what a statistic is over; empty for a task.
    """

    name: str
    seeds: dict[str, list[logs.Curve]] = field(default_factory=dict)
    joined: dict[str, bands.Band] = field(default_factory=dict)
    intervals: list[tuple[float, float]] = field(default_factory=list)
    lines: dict[str, float] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)


def choose(
    found: Iterable[logs.Curve], tasks: Sequence[str], methods: Sequence[str]
) -> list[logs.Curve]:
    """The curves whose task and method match one of the patterns (searched for).

    They come in the order of the first pattern that matches, by task, then by method.
    No patterns match everything and leave the order.
    """

    def place(name: str, patterns: Sequence[str]) -> int:
        hits = [i for i, p in enumerate(patterns) if re.search(p, name)]
        return hits[0] if hits else -1 if patterns else 0

    kept = [c for c in found if place(c.task, tasks) >= 0 <= place(c.method, methods)]
    return sorted(kept, key=lambda c: (place(c.task, tasks), place(c.method, methods)))


def match_baselines(patterns: Sequence[str]) -> list[str]:
    """Names of published curves and reference scores that match the patterns.

    Raises:
      ValueError: a pattern matches none.
    """
    names = scores.baseline_names()
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            raise ValueError(
                f"No baseline matches {pattern!r}; there are {', '.join(names)}."
            )
    return [name for name in names if any(re.search(p, name) for p in patterns)]


def add_baselines(
    own: Sequence[logs.Curve],
    baselines: Sequence[str],
    tasks: Sequence[str],
    whole: bool = False,
) -> list[logs.Curve]:
    """The published curves of the tasks of one's own runs, or of all if there are none.

    Args:
      own: curves of one's own runs.
      baselines: which of the published methods.
      tasks: patterns that choose tasks where there are no runs.
      whole: keeps all of them. Otherwise they end where the longest of one's own runs
        does, but not before a 20th of their length.
    """
    found = [curve for curve in scores.published() if curve.method in baselines]
    if not own:
        return choose(found, tasks, ())
    names = {curve.task for curve in own}
    end = math.inf if whole else max(curve.points[-1, 0] for curve in own)
    return [
        cut(curve, (-math.inf, max(end, _LEAST * curve.points[-1, 0])))
        for curve in found
        if curve.task in names
    ]


def cut(curve: logs.Curve, limits: tuple[float, float]) -> logs.Curve:
    """The part of a curve with x inside the limits, ends included."""
    low, high = limits
    xs = curve.points[:, 0]
    return curve._replace(points=curve.points[(xs >= low) & (xs <= high)])


def of_tasks(
    found: Iterable[logs.Curve],
    intervals: Mapping[str, list[tuple[float, float]]],
    baselines: Sequence[str] = (),
    bins: float = 0.0,
    rule: bands.Rule = bands.MEAN,
) -> list[Panel]:
    """A panel for each task; see `bands.aggregate` for bins and rule."""
    panels = []
    for task, seeds in logs.group(c for c in found if len(c.points)).items():
        panel = Panel(task, seeds, intervals=intervals.get(task, []))
        for method, group in seeds.items():
            points = [curve.points for curve in group]
            panel.joined[method] = bands.aggregate(points, bins, rule)
        known = scores.references().get(task, {})
        panel.lines = {name: known[name] for name in baselines if name in known}
        panels.append(panel)
    return panels


def training_intervals(
    runs: Iterable[logs.Run],
) -> dict[str, list[tuple[float, float]]]:
    """Task -> where it was trained, of the first continual run that knows.

    ALL_TASKS has all of these intervals.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        ours: dict[str, list[tuple[float, float]]] = {}
        for k, start, end in run.intervals() if run.continual else ():
            for task in (run.task(k), logs.ALL_TASKS):
                ours.setdefault(task, []).append((start, end))
        found = {**ours, **found}
    return found


def over_tasks(name: str, panels: Sequence[Panel], bins: float = 0.0) -> Panel | None:
    """A panel with a statistic over the tasks that every method has.

    Methods without any of the tasks that have the references are left out. None, with
    a warning, if nothing is left.

    Raises:
      ValueError: an unknown statistic.
    """
    known = scores.having_references(name, [panel.name for panel in panels])
    usable = {panel.name: panel for panel in panels if panel.name in known}
    methods = dict.fromkeys(m for panel in usable.values() for m in panel.seeds)
    tasks = [t for t, panel in usable.items() if all(m in panel.seeds for m in methods)]
    if len(tasks) < len(usable):
        _LOG.warning("%s: over %d of %d tasks.", name, len(tasks), len(usable))
    result = Panel(name, tasks=tasks)
    for method in methods if tasks else ():
        seeds = {task: usable[task].seeds[method] for task in tasks}
        points = {task: [c.points for c in group] for task, group in seeds.items()}
        band = scores.curve_over_tasks(name, points, bins)
        if band:
            result.joined[method] = band
            result.seeds[method] = max(seeds.values(), key=len)
    if not result.joined:
        _LOG.warning("%s: no task that all methods and its references share.", name)
        return None
    shared = [usable[task].lines for task in tasks]
    for line in set.intersection(*map(set, shared)):
        values = {task: [usable[task].lines[line]] for task in tasks}
        result.lines[line] = scores.over_tasks(name, values)
    return result


def to_json(panels: Iterable[Panel]) -> dict[str, list[dict[str, Any]]]:
    """Everything in the panels: `runs`, `bands`, `statistics`, `references`.

    Numbers that are not finite become None.
    """
    found = {"runs": [], "bands": [], "statistics": [], "references": []}
    for panel in panels:
        where = {"statistic" if panel.tasks else "task": panel.name}
        for method, band in panel.joined.items():
            numbers = {key: _plain(column) for key, column in band._asdict().items()}
            if panel.tasks:
                entry = {**where, "method": method, "tasks": panel.tasks, **numbers}
                found["statistics"].append(entry)
                continue
            group = panel.seeds[method]
            for c in group:
                xs, ys = map(_plain, c.points.T)
                found["runs"].append(
                    {**where, "method": method, "seed": c.seed, "xs": xs, "ys": ys}
                )
            found["bands"].append(
                {**where, "method": method, "seeds": len(group), **numbers}
            )
        for name, value in panel.lines.items():
            found["references"].append({**where, "name": name, "value": value})
    return found


def _plain(values: np.ndarray) -> list[float | int | None]:
    return [
        None if not math.isfinite(v) else int(v) if v == int(v) else float(f"{v:.7g}")
        for v in values.tolist()
    ]
