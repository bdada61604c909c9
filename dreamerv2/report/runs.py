"""What the folders of runs say, for a report: schedule, progress, evaluations.

A run's tasks and the frames at which the training on each ends come from its
tasks.json, or, if an older version wrote it, from its config.yaml. A run is finished if
it reached the end of its schedule and was evaluated on every task at the end of the
task and of the run; whatever lacks one of these is told apart, with the reason.
"""

import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.curves import evaluations, logs
from common.records import files
from dreamerv2.run import phases

METRICS = ("eval_success", "eval_return")  # in the order in which they are reported
_WANTED = re.compile(
    r"eval_(return|success|model_\w+)_\d+|er_steps_\d+|drawn_task_\d+|drawn_(width|bin_\d+)"
    r"|total_episodes"
)
_HELD = re.compile(r"er_task_\d+")


@dataclass(frozen=True)
class Record:
    """One run as the report sees it.

    Attributes:
      folder: where it lies.
      place: the same as seen from above the folder that was asked for.
      method: its tag without its seed, with what tells it from others of that name.
      seed: of its configuration.
      tasks: names of all evaluated tasks, those that are trained first.
      ends: (task, frame of its end) of each stretch of training, in their order.
      log: its metrics.
      settings: its configuration by dotted key.
      fault: why it is not finished; empty if it is.
    """

    folder: pathlib.Path
    place: str
    method: str
    seed: str
    tasks: tuple[str, ...]
    ends: tuple[tuple[int, int], ...]
    log: logs.Log
    settings: Mapping[str, Any]
    fault: str = ""

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the tasks that are trained, in their order."""
        return self.tasks[: 1 + max(task for task, _ in self.ends)]

    @property
    def total(self) -> int:
        """Frames of the whole run."""
        return self.ends[-1][1]

    @property
    def intervals(self) -> list[tuple[int, int, int]]:
        """(task, start, end) of each stretch of training, in frames."""
        starts = [0, *(end for _, end in self.ends)]
        return [(k, s, e) for (k, e), s in zip(self.ends, starts, strict=False)]

    @property
    def first_ends(self) -> list[int]:
        """The end of the first training on each task, in frames."""
        return [end for _, end in self.ends[: len(self.trained)]]

    @property
    def last_ends(self) -> list[int]:
        """The end of the last training on each task, in frames."""
        ends = dict(self.ends)
        return [ends[k] for k in range(len(self.trained))]

    def curves(self, metric: str) -> dict[int, evaluations.Curve]:
        """The evaluation curves `{metric}_{k}` by task number."""
        found = {}
        for k in range(len(self.tasks)):
            points = self.log.series.get(f"{metric}_{k}")
            if points is not None:
                found[k] = evaluations.Curve(*points.T)
        return found

    def family(self, prefix: str) -> dict[int, np.ndarray]:
        """Points [n, 2] of the metrics `{prefix}_{k}` by k."""
        pattern = re.compile(re.escape(prefix) + r"_(\d+)")
        matches = map(pattern.fullmatch, self.log.series)
        numbers = sorted(int(match[1]) for match in matches if match)
        return {k: self.log.series[f"{prefix}_{k}"] for k in numbers}


def load(indirs: Sequence[str | os.PathLike]) -> tuple[list[Record], dict[str, str]]:
    """Reads every run below the folders.

    Args:
      indirs: folders with runs at any depth.

    Returns:
      The runs, and folder -> reason for those that say too little to be reported.

    Raises:
      ValueError: there is no run at all.
    """
    runs = logs.load_runs(indirs, wanted=_WANTED)
    records, left_out = [], {}
    for run in runs:
        try:
            records.append(_describe(run, _place(run.path.parent, indirs)))
        except ValueError as error:
            left_out[_place(run.path.parent, indirs)] = str(error)
    known = {run.path.parent for run in runs}
    for folder in sorted(_begun(indirs) - known):
        left_out[_place(folder, indirs)] = "it has logged nothing yet"
    if not records and not left_out:
        raise ValueError(
            f"No run below {', '.join(map(str, indirs))}: no folder there has a "
            "metrics.jsonl. Give folders that --logdir was set to, or above."
        )
    return sorted(records, key=_order), left_out


def _begun(indirs: Sequence[str | os.PathLike]) -> set[pathlib.Path]:
    """Folders in which a run has begun, though it may have logged nothing."""
    noted = {p.parent for d in _resolved(indirs) for p in d.rglob(files.TASKS)}
    return {folder for folder in noted if (folder / files.CONFIG).exists()}


def _place(folder: pathlib.Path, indirs: Sequence[str | os.PathLike]) -> str:
    """The folder as seen from above the one that was asked for."""
    above = (d for d in _resolved(indirs) if folder.is_relative_to(d))
    return folder.relative_to(next(above).parent).as_posix()


def _resolved(indirs: Sequence[str | os.PathLike]) -> list[pathlib.Path]:
    return [pathlib.Path(indir).expanduser().resolve() for indir in indirs]


def _order(record: Record) -> tuple:
    number = int(record.seed) if record.seed.isdigit() else math.inf
    return record.method, number, str(record.folder)


def _describe(run: logs.Run, place: str) -> Record:
    """The record of a run; ValueError if it says too little."""
    folder = run.path.parent
    if not run.settings:
        raise ValueError("it has no config.yaml that can be read")
    noted = files.read_tasks(folder)
    names = noted.names or _evaluated(run)
    ends = noted.ends or _planned(run, len(names))
    log = run.log
    if not any(key.startswith("er_steps_") for key in log.series):
        held = logs.read_log(run.path, wanted=_HELD)  # of an older version
        log = log._replace(series={**log.series, **_thinned(held.series)})
    seed = str(run.settings.get("seed", run.seed))
    record = Record(
        folder, place, run.method, seed, names, tuple(ends), log, dict(run.settings)
    )
    return replace(record, fault=_fault(record))


def _evaluated(run: logs.Run) -> tuple[str, ...]:
    """Names of as many tasks as were evaluated."""
    indices = [k for metric in METRICS for k in run.indices(metric)]
    return tuple(run.task(k) for k in range(max(indices, default=0) + 1))


def _planned(run: logs.Run, evaluated: int) -> list[tuple[int, int]]:
    """Ends by the configuration alone, of a version that did not note them."""
    settings = run.settings
    steps = _list(settings.get("unbalanced_steps"))
    count = len(steps) or len(_list(settings.get("tasks")))
    count = count or int(settings.get("num_tasks", 0))
    if not count:
        count = evaluated if settings.get("cl") else 1
    try:
        schedule = phases.Schedule(
            [int(s) for s in steps or [settings["steps"]] * count],
            int(settings.get("num_task_repeats", 1)),
        )
        envs, repeat = (int(settings.get(k, 1)) for k in ("envs", "action_repeat"))
        return schedule.logged_ends(envs, repeat)
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"its config.yaml does not tell its steps ({error})") from None


def _list(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple) else []


def _thinned(series: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """At most about a thousand points of each, the last one among them."""
    return {key: v[:: -max(1, len(v) // 1000)][::-1] for key, v in series.items()}


def _fault(record: Record) -> str:
    """Why a run is not finished; empty if it is."""
    last, total = record.log.last, record.total
    if last < total:
        return f"at step {int(last)} of {total}"
    missing = []
    found = record.curves("eval_return")
    for task, end in {*enumerate(record.last_ends), *enumerate(record.first_ends)}:
        for step in {end, total}:
            if task not in found or step not in found[task].steps:
                missing.append((task, step))
    if not missing:
        return ""
    task, step = min(missing, key=lambda pair: (pair[1], pair[0]))
    more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"no evaluation of {record.tasks[task]} at step {step}{more}"
