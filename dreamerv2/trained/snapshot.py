"""Reads what a run has saved, without changing anything in its folder.

`quickstart` is an agent that comes with this package: where a folder of a run is asked
for, its name will do.
"""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common import config as config_lib
from common import specs
from common.config import plugins
from common.envs import statistics
from common.records import files
from dreamerv2 import settings
from dreamerv2.run import checkpoint

_LOG = logging.getLogger(__name__)

NEWEST = "newest"
SHIPPED = {"quickstart": pathlib.Path(__file__).resolve().parent / "quickstart"}


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
      logdir: The folder of the run, `logdir/tag`, or a name of `SHIPPED`.
      step: Step of the snapshot, or `newest`, the newest that is whole.

    Raises:
      ValueError: If there is no run, no snapshot of that step, or a plugin of the run
        cannot be imported.
      CheckpointError: If every snapshot is damaged, or that of the step is.
    """
    folder = SHIPPED.get(str(logdir), pathlib.Path(logdir).expanduser().resolve())
    config = _read_config(folder)
    plugins.load(config.get("plugins", ()))
    noted = files.read_tasks(folder)
    path, state, tensors = _read_snapshot(folder, config, step)
    spaces = specs.Spaces.from_state(state["spaces"]) if "spaces" in state else None
    noted = noted.script, noted.names
    kept = _wrappers(state)
    return Snapshot(path, config, *noted, state["step"], tensors, spaces, kept)


def _wrappers(state: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """What the wrappers of the training environments kept, by task."""
    found = {
        int(task): statistics.only(driver["envs"][0]["env"])
        for task, driver in state.get("drivers", {}).items()  # none in one that ships
    }
    return {task: kept for task, kept in found.items() if kept}


def _read_config(folder: pathlib.Path) -> config_lib.Config:
    """The run's configuration; what this version does not know is left out."""
    path = folder / files.CONFIG
    if not path.is_file():
        below = sorted(folder.glob(f"*/{files.CONFIG}"))
        runs = ", ".join(str(found.parent) for found in below[:5])
        raise ValueError(
            f"There is no run in {folder}: it has no {files.CONFIG}. "
            + (f"There are runs in {runs}." if runs else "Give the folder of a run.")
        )
    saved = config_lib.Config.read(path).flat
    known = settings.defaults.flat
    unknown = sorted(set(saved) - set(known))
    if unknown:
        _LOG.warning("%s: unknown keys %s are left out.", path, ", ".join(unknown))
    return settings.defaults.update({k: v for k, v in saved.items() if k in known})


def _read_snapshot(
    folder: pathlib.Path, config: config_lib.Config, step: int | str
) -> tuple[pathlib.Path, dict[str, Any], dict[str, np.ndarray]]:
    """Path, state and tensors of the newest snapshot that is whole."""
    snapshots = checkpoint.Checkpoints(folder / files.CHECKPOINTS)
    damaged: set[pathlib.Path] = set()
    for _ in range(3):  # a run under way may delete what was listed, and write anew
        for path in _choose(snapshots.paths(), folder, config, step):
            if path in damaged:
                continue
            fault = checkpoint.find_fault(path)
            try:
                if fault is None:
                    state = checkpoint.load_state(path)
                    return path, state, checkpoint.load_tensors(path)
            except checkpoint.CheckpointError as error:
                fault = str(error)
            if path.exists():
                damaged.add(path)
                _LOG.warning("The snapshot %s is damaged (%s).", path, fault)
    raise checkpoint.CheckpointError(
        f"No snapshot of {'any' if step == NEWEST else 'this'} step in "
        f"{folder / files.CHECKPOINTS} can be read, {len(damaged)} are damaged. Put "
        "back a copy, or choose another with --checkpoint STEP."
    )


def _choose(
    paths: Sequence[pathlib.Path],
    folder: pathlib.Path,
    config: config_lib.Config,
    step: int | str,
) -> list[pathlib.Path]:
    """The snapshots in question, the newest first."""
    if not paths:
        raise ValueError(
            f"The run in {folder} has saved no snapshot yet. It does so every "
            f"{config.checkpoint_every} steps, every {config.checkpoint_minutes} "
            "minutes (checkpoint_every, checkpoint_minutes; 0 = no matter) and at the "
            "end of each task; wait for that."
        )
    if step == NEWEST:
        return list(reversed(paths))
    steps = {str(checkpoint.step_of(path)): path for path in paths}
    if str(step) not in steps:
        raise ValueError(
            f"The run in {folder} has no snapshot of step {step}; choose from "
            f"{', '.join(steps)} and {NEWEST}."
        )
    return [steps[str(step)]]
