"""The same tasks under several replays, one run after the other: what does each keep?

python interference.py --configs forgetting
python train_minigrid.py --cl --minlen 5 --compare fifo,split --logdir runs --tag three

The run of each retention lies in a folder of its own below that of the comparison. The
same command goes on where it was stopped.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common import specs
from common.config import coerce, plugins
from common.curves import continual, evaluations
from common.records import files
from common.replay.strategies import make, retention
from dreamerv2 import success
from dreamerv2.run import rundir
from dreamerv2.run import tasks as tasks_lib

METRICS = ("eval_success", "eval_return")  # the first that every run has is compared


class Outcome(NamedTuple):
    """What a run has come to.

    Attributes:
      performance: [K] value of each trained task at the end.
      forgetting: Mean over tasks of the value when its training ended minus that.
    """

    performance: np.ndarray
    forgetting: float


def train(tasks: tasks_lib.TaskList, config: config_lib.Config, *, script: str) -> bool:
    """Trains under each retention that `compare` names, or once if it names none.

    Args:
      tasks: As in `loop.train`.
      config: The configuration of all runs.
      script: As in `loop.train`.

    Returns:
      Whether all runs are finished; False if a stop was asked for.

    Raises:
      ValueError: As `loop.train`; an unknown retention, or one that is named twice.
    """
    # Late, so that --help and a mistyped flag do not wait for TensorFlow.
    from dreamerv2.run import loop

    if not config.compare:
        return loop.train(tasks, config, script=script)
    runs = variants(config)
    check(tasks, runs)
    if not (config.overwrite or config.resume):
        for run in runs.values():  # of all of them before the first is trained
            rundir.check_same(run)
    for number, (name, run) in enumerate(runs.items(), start=1):
        print(f"\nReplay {number} of {len(runs)}: {name}")
        if not loop.train(tasks, run, script=script):
            return False
    folders = {name: rundir.path_of(run) for name, run in runs.items()}
    names = [task.name for task in tasks.trained]
    print(conclude(rundir.path_of(config), folders, names))
    return True


def variants(config: config_lib.Config) -> dict[str, config_lib.Config]:
    """Returns the configuration of each run by the name of its folder.

    Raises:
      ConfigError: An unknown retention, or one that is named twice.
    """
    folder, runs = rundir.path_of(config), {}
    for retained in map(str, config.compare):
        plugins.choose("compare", retained, retention.RETENTION)
        name = retained.rpartition(":")[2]
        if name in runs:
            raise coerce.ConfigError(
                f"compare is {list(config.compare)}, which names {name} twice; name "
                "each retention once."
            )
        runs[name] = config.update(
            {"logdir": str(folder), "tag": name, "compare": []},
            {"replay.retention": retained},
        )
    return runs


class _Observing:
    """As much of an agent as there is before one is made: what it will observe."""

    def __init__(self, obs_specs: Mapping[str, specs.ArraySpec]):
        self.obs_specs = obs_specs

    def embedding(self, *args: object, **settings: object) -> None:
        """Nothing is embedded."""


def check(tasks: tasks_lib.TaskList, runs: Mapping[str, config_lib.Config]) -> None:
    """Lets each retention of ours see the observations before the first is trained.

    Raises:
      ValueError: If one cannot work with them, or with the settings.
    """
    from dreamerv2.run import build

    first = next(iter(runs.values()))
    observing = _Observing(build.spaces_of(tasks.trained[0].make, first).obs_specs)
    for run in runs.values():
        if run.replay.retention in retention.RETENTION:
            make.make_retention(run, observing)


def conclude(
    folder: pathlib.Path, runs: Mapping[str, pathlib.Path], names: Sequence[str]
) -> str:
    """Draws all runs into one picture; returns a table and a sentence for people.

    Args:
      folder: Of the comparison; `success.png` is written there.
      runs: The folder of each run by the name of its retention.
      names: Of the trained tasks, by number.
    """
    drawn = success.draw_runs(folder, runs, names)
    for metric in METRICS:
        outcomes = {
            name: _outcome(run, metric, len(names)) for name, run in runs.items()
        }
        if all(outcomes.values()):
            return f"\n{_table(outcomes, names)}\n\n{_sentence(outcomes)}\n{drawn}"
    return f"Not every run was evaluated on every task by its end.\n{drawn}"


def _outcome(folder: pathlib.Path, metric: str, count: int) -> Outcome | None:
    """What the log of a run says; None if a task was not evaluated in time."""
    ends = dict(files.read_tasks(folder).ends)
    curves = evaluations.read(folder / files.METRICS, metric)
    if not all(k in curves and curves[k].steps[0] <= ends[k] for k in range(count)):
        return None
    arguments = [curves[k] for k in range(count)], [ends[k] for k in range(count)]
    return Outcome(
        continual.task_performance(*arguments),
        continual.average_forgetting(*arguments),
    )


def _table(outcomes: Mapping[str, Outcome], names: Sequence[str]) -> str:
    """A row for each replay: every task at the end, their mean, what was forgotten."""
    heads = [*names, "mean", "forgotten"]
    width = max(len("at the end"), *map(len, outcomes))
    rows = ["  ".join([f"{'at the end':<{width}}", *heads])]
    for name, outcome in outcomes.items():
        performance = outcome.performance
        values = [*performance, performance.mean(), outcome.forgetting]
        cells = [f"{v:>{len(h)}.2f}" for h, v in zip(heads, values, strict=True)]
        rows.append("  ".join([f"{name:<{width}}", *cells]))
    return "\n".join(rows)


def _sentence(outcomes: Mapping[str, Outcome]) -> str:
    """Who has forgotten most and who least, in the numbers of the table."""
    ranked = sorted(outcomes, key=lambda name: outcomes[name].forgetting)
    least, most = ranked[0], ranked[-1]
    if len(ranked) == 1:
        return f"Forgotten with {least}: {outcomes[least].forgetting:.2f}."
    if round(outcomes[most].forgetting, 2) <= 0:
        return (
            "Nothing was forgotten, whatever the replay: on average a task is worth at "
            "the end what it was when its training ended, or more."
        )
    return (
        f"The same agent with another replay: with {most} it has lost "
        f"{outcomes[most].forgetting:.2f} of what a task was worth when its training "
        f"ended, with {least} {outcomes[least].forgetting:.2f}."
    )
