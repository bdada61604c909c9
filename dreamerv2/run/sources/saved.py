"""What a run has saved, found and read without changing anything in its folder."""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from common import config as config_lib
from common import specs
from common.records import files
from dreamerv2 import settings
from dreamerv2.run import checkpoint

_LOG = logging.getLogger(__name__)

NEWEST = "newest"


class Saved(NamedTuple):
    """A snapshot as it was read.

    Attributes:
      path: Its folder.
      state: What its `state.json` holds.
      tensors: All arrays by name.
    """

    path: pathlib.Path
    state: dict[str, Any]
    tensors: dict[str, np.ndarray]

    @property
    def spaces(self) -> specs.Spaces | None:
        """What its agent observes and does; None in those of older versions."""
        known = self.state.get("spaces")
        return known and specs.Spaces.from_state(known)


def folder_of(logdir: str | os.PathLike) -> pathlib.Path:
    """Returns the folder of a run, which may be named as one of `settings.SHIPPED`."""
    shipped = settings.SHIPPED.get(str(logdir))
    return shipped or pathlib.Path(logdir).expanduser().resolve()


def read_config(folder: pathlib.Path) -> config_lib.Config:
    """Returns a run's configuration; what this version does not know is left out.

    Raises:
      ValueError: If there is no run in the folder.
    """
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


def read(folder: pathlib.Path, config: config_lib.Config, step: int | str) -> Saved:
    """Returns a snapshot of a run, which may be under way.

    Args:
      folder: The run's folder.
      config: Its configuration.
      step: Step of the snapshot, or `NEWEST`, the newest that is whole.

    Raises:
      ValueError: If there is none, or none of that step.
      CheckpointError: If every snapshot is damaged, or that of the step is.
    """
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
                    return Saved(path, state, checkpoint.load_tensors(path))
            except checkpoint.CheckpointError as error:
                fault = str(error)
            if path.exists():
                damaged.add(path)
                _LOG.warning("The snapshot %s is damaged (%s).", path, fault)
    raise checkpoint.CheckpointError(
        f"No snapshot of {'any' if step == NEWEST else 'this'} step in "
        f"{folder / files.CHECKPOINTS} can be read, {len(damaged)} are damaged. Put "
        "back a copy, or choose another step."
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
