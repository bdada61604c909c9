"""Learning curves of many runs: read from their logs, named, sorted by task and method.

Every metrics.jsonl below a folder is one run. Its tasks, method and seed come from the
tasks.json and config.yaml beside it: the method is the tag without its seed
(`rs_s3_1M` -> `rs_1M`; if nothing is left, as of `s3`, the folder above names it).
Without a configuration or a tag its place says it, `.../task/method/seed/metrics.jsonl`
or `.../tag/metrics.jsonl`. Runs of one name whose configurations differ are different
methods.

`common.curves.bands` joins the curves of a method's seeds, `common.curves.scores` knows
published ones and what is said over many tasks.
"""

import logging
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from common import config as config_lib
from common.config import coerce, kinds
from common.records import files, jsonl

_LOG = logging.getLogger(__name__)

ALL_TASKS = "all_tasks"  # stands for the task of a metric over several
_SEED = re.compile(r"(?:^|(?<=[_-]))(?:s|seed[_-]?)(\d+)(?:[_-]|$)")


class Log(NamedTuple):
    """The metrics of one run.

    Attributes:
      series: metric -> points [n, 2], x rising; of several at one x the last counts.
      keys: names of all metrics in the file, also of those that were not asked for.
      last: the largest x of all records; 0 if there are none.
    """

    series: dict[str, np.ndarray]
    keys: frozenset[str]
    last: float = 0.0


@dataclass(frozen=True)
class Run:
    """One run, its metrics, and what its place and configuration say about it.

    Attributes:
      path: its metrics.jsonl.
      method: what it has in common with its other seeds.
      seed: what tells it from them.
      tasks: names of its tasks by number; those beyond them are called task_1, ...
      log: its metrics.
      settings: its configuration by dotted key; empty if there is none.
    """

    path: pathlib.Path
    method: str
    seed: str
    tasks: tuple[str, ...]
    log: Log
    settings: Mapping[str, Any]

    def task(self, index: int) -> str:
        """The name of a task."""
        return self.tasks[index] if index < len(self.tasks) else f"task_{index + 1}"

    @property
    def continual(self) -> bool:
        """Whether it trains on several tasks."""
        return len(self.tasks) > 1 or len(self.intervals()) > 1

    def indices(self, metric: str) -> list[int]:
        """The k for which `{metric}_{k}` was recorded."""
        pattern = re.compile(re.escape(metric) + r"_(\d+)")
        matches = map(pattern.fullmatch, self.log.series)
        return sorted(int(match[1]) for match in matches if match)

    def intervals(self) -> list[tuple[int, float, float]]:
        """(task, start, end) of each stretch of training, from the metric `task`."""
        found: list[tuple[int, float, float]] = []
        for x, task in self.log.series.get("task", ()):
            end = found[-1][2] if found else 0.0
            if found and found[-1][0] == task:
                found[-1] = (int(task), found[-1][1], float(x))
            else:
                found.append((int(task), end, float(x)))
        return found


class Curve(NamedTuple):
    """One metric of one run on one task; points [n, 2], x rising."""

    task: str
    method: str
    seed: str
    points: np.ndarray


def load_runs(
    indirs: Iterable[str | os.PathLike],
    xaxis: str = "step",
    metric: str | None = None,
    wanted: re.Pattern | None = None,
) -> list[Run]:
    """Reads every metrics.jsonl below the folders; unusable files cause a warning.

    Args:
      indirs: folders with runs at any depth.
      xaxis: the metric along the x axis; lines without it are passed over.
      metric: keeps only this metric and `{metric}_{k}` (and `task`); None keeps all,
        which takes the memory of the logs.
      wanted: keeps the metrics with these names instead.
    """
    if metric is not None:
        wanted = re.compile(rf"{re.escape(metric)}(_\d+)?|task")
    paths: dict[pathlib.Path, None] = {}
    for indir in indirs:
        found = sorted(pathlib.Path(indir).expanduser().rglob(files.METRICS))
        if not found:
            _LOG.warning("%s: no %s below it.", indir, files.METRICS)
        paths.update(dict.fromkeys(path.resolve() for path in found))
    runs, known = [], {}
    for path in paths:
        log = read_log(path, xaxis, wanted)
        if log.keys:
            runs.append(_describe(path, log, known))
    return _split_methods(runs)


def read_log(
    path: pathlib.Path, xaxis: str = "step", wanted: re.Pattern | None = None
) -> Log:
    """Reads a metrics.jsonl; warns of lines that are no records.

    Values that are no finite numbers (null, NaN) are left out.
    """
    series: dict[str, dict[float, float]] = {}
    keys: set[str] = set()
    bad, last = [], 0.0
    try:
        for number, record in enumerate(jsonl.read(path), 1):
            if record is None:
                bad.append(number)
                continue
            keys.update(record)
            if not _is_number(x := record.get(xaxis)):
                continue
            last = max(last, float(x))
            for key, value in record.items():
                if (not wanted or wanted.fullmatch(key)) and _is_number(value):
                    series.setdefault(key, {})[float(x)] = float(value)
    except OSError as error:
        _LOG.warning("%s: left out: %s", path, error)
        return Log({}, frozenset())
    if bad:
        shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        _LOG.warning("%s: left out what is no record: line %s.", path, shown)
    if not keys:
        _LOG.warning("%s: holds no records.", path)
    points = {key: np.array(sorted(found.items())) for key, found in series.items()}
    return Log(points, frozenset(keys), last)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _describe(path: pathlib.Path, log: Log, known: dict[str, dict]) -> Run:
    """Names a run by its configuration and its folders."""
    settings = _settings(path.with_name(files.CONFIG), known)
    task, method, seed = _name(path, settings)
    tasks = files.read_tasks(path.parent).names
    tasks = tasks or tuple(map(str, settings.get("tasks", ())))
    task = str(settings.get("task", task))
    if not tasks and not settings.get("cl"):
        tasks = (task,) if task else (method,)
    seed = seed or str(settings.get("seed", ""))
    return Run(path, method, seed, tasks, log, settings)


def _name(path: pathlib.Path, settings: Mapping[str, Any]) -> tuple[str, str, str]:
    """Task, method and seed of a run, each empty if it is not known."""
    *_, above, parent, last = ("", "", *path.parts[:-1])
    tag = str(settings.get("tag", ""))
    tag = "" if tag.isdigit() else tag
    if last.isdigit() and not tag:
        return above, parent, last
    word = tag or last
    match = _SEED.search(word)
    seed = match[1] if match and not tag else ""  # the configuration knows better
    left = (_SEED.sub("", name).strip("_-") for name in (word, parent))
    return "", next(filter(None, left), word), seed


def _settings(path: pathlib.Path, known: dict[str, dict]) -> dict[str, Any]:
    """The configuration; `known` spares parsing what differs in name and seed only."""
    if not path.exists():
        return {}
    text = path.read_text("utf-8", errors="replace")
    own = re.compile(r"^(logdir|tag|seed): *(.*?) *\n", re.MULTILINE)
    rest = own.sub("", text)
    try:
        if rest not in known:
            known[rest] = config_lib.Config.read(path).flat
    except coerce.ConfigError as error:
        _LOG.warning("%s: %s", path, error)
        return {}
    found = {match[1]: match[2].strip("'\"") for match in own.finditer(text)}
    return {**known[rest], **found}


def _split_methods(runs: list[Run]) -> list[Run]:
    """Gives runs of one name another one where their configurations differ.

    A key that only some of them have is no difference: versions add keys.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        key = (run.tasks, run.method) if run.settings else run.path
        groups.setdefault(key, []).append(run)
    names: dict[pathlib.Path, str] = {}
    for group in groups.values():
        values: dict[str, set[str]] = {}
        for run in group:
            for key, value in run.settings.items():
                values.setdefault(key, set()).add(str(value))
        keys = [key for key in values if len(values[key]) > 1]
        differing = [key for key in keys if kinds.makes_another_method(key)]
        if differing:
            _LOG.warning(
                "Runs called %r differ in %s; each gets a line of its own.",
                group[0].method,
                ", ".join(differing),
            )
        for run in group:
            parts = [f"{key}={run.settings.get(key, 'unset')}" for key in differing]
            names[run.path] = run.method + (f" ({', '.join(parts)})" if parts else "")
    return [replace(run, method=names[run.path]) for run in runs]


def curves_of(runs: Iterable[Run], metric: str) -> list[Curve]:
    """The curves of a metric, one for each run and each task it was recorded for.

    `{metric}_{k}` is that of task k. Without such numbers the metric belongs to the
    run's only task, or to "all_tasks" of a continual run. A run without the metric
    causes a warning.
    """
    curves = []
    for run in runs:
        found = [(run.task(k), f"{metric}_{k}") for k in run.indices(metric)]
        if not found and metric in run.log.series:
            name = ALL_TASKS if run.continual else run.task(0)
            found = [(name, metric)]
        if not found:
            _LOG.warning("%s: has no values of %s.", run.path, metric)
        for name, key in found:
            points = run.log.series[key]
            curves.append(Curve(name, run.method, run.seed, points))
    return curves


def group(curves: Iterable[Curve]) -> dict[str, dict[str, list[Curve]]]:
    """Task -> method -> the curves of its seeds, in the order in which they come."""
    groups: dict[str, dict[str, list[Curve]]] = {}
    for curve in curves:
        methods = groups.setdefault(curve.task, {})
        methods.setdefault(curve.method, []).append(curve)
    return groups
