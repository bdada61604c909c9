"""Reads what a run has saved, without changing anything in its folder.

`quickstart` is an agent that comes with this package: where a folder of a run is asked
for, its name will do.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common import config as config_lib
from common import specs
from common.config import plugins
from common.envs import statistics
from common.records import files
from dreamerv2.run.sources import saved

NEWEST = saved.NEWEST


class Snapshot(NamedTuple):
    """An agent as it was saved."""

    path: pathlib.Path
    config: config_lib.Config
    script: str  # makes the tasks; empty if only the user's program can
    task_names: tuple[str, ...]  # empty if the run did not note them
    step: int
    tensors: dict[str, np.ndarray]
    spaces: specs.Spaces | None  # None in snapshots of older versions
    wrappers: dict[int, dict[str, Any]] = {}  # what those of a task keep, by its number


def load(logdir: str | os.PathLike, step: int | str = NEWEST) -> Snapshot:
    """Reads a snapshot of a run, which may be under way, and imports its plugins.

    Nothing is changed in the run's folder.

    Args:
      logdir: The folder of the run, `logdir/tag`, or a name of `settings.SHIPPED`.
      step: Step of the snapshot, or `newest`, the newest that is whole.

    Raises:
      ValueError: If there is no run, no snapshot of that step, or a plugin of the run
        cannot be imported.
      CheckpointError: If every snapshot is damaged, or that of the step is.
    """
    folder = saved.folder_of(logdir)
    config = saved.read_config(folder)
    plugins.load(config.get("plugins", ()))
    noted = files.read_tasks(folder)
    found = saved.read(folder, config, step)
    return Snapshot(
        path=found.path,
        config=config,
        script=noted.script,
        task_names=noted.names,
        step=found.state["step"],
        tensors=found.tensors,
        spaces=found.spaces,
        wrappers=_wrappers(found.state),
    )


def _wrappers(state: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """What the wrappers of the training environments kept, by task."""
    found = {
        int(task): statistics.only(driver["envs"][0]["env"])
        for task, driver in state.get("drivers", {}).items()  # none in one that ships
    }
    return {task: kept for task, kept in found.items() if kept}
