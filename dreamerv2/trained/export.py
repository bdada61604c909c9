"""Writes an agent into a folder, for programs that do not have this package.

policy/              a SavedModel: observations and state in, action and state out
weights.safetensors  all weights, float32, by name
agent/               what `dv2.load` reads: configuration, tasks, weights
export.json          which agent it is; names, shapes and types of all tensors
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np
import safetensors.numpy
import tensorflow as tf

from common.records import files
from dreamerv2 import settings
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import checkpoint
from dreamerv2.trained import evaluation, policy, tasks, weights
from dreamerv2.trained import snapshot as snapshot_lib

NOTE, POLICY, WEIGHTS, AGENT = "export.json", "policy", "weights.safetensors", "agent"


def export(
    snapshot: snapshot_lib.Snapshot,
    out: str | os.PathLike,
    *,
    batch: int = 1,
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes everything, or nothing.

    Args:
      snapshot: The agent.
      out: The folder, which is made.
      batch: N, the rows that the policy takes at a time.
      overwrite: Whether an export that lies there is replaced.

    Returns:
      The folder.

    Raises:
      ValueError: If the folder holds something else, or an export that may not be
        replaced; if it cannot be written; if `batch` is below 1.
      CheckpointError: If the weights do not fit.
    """
    evaluation.check_positive(batch=batch)
    folder = pathlib.Path(out).expanduser().resolve()
    _check_free(folder, overwrite)
    config = weights.config_of(snapshot)
    spaces = tasks.find_spaces(snapshot)
    agent = weights.build(snapshot, config, spaces)
    acting = policy.Policy(agent, snapshot.step, batch)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as made:
            partial = pathlib.Path(made)
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(
                acting.module, str(partial / POLICY), acting.graphs, options
            )
            named = agent.named_weights()
            arrays = {name: np.asarray(weight) for name, weight in named.items()}
            (partial / WEIGHTS).write_bytes(safetensors.numpy.save(arrays))
            save_agent(snapshot, agent, partial / AGENT)
            note = _note(snapshot, acting, arrays)
            (partial / NOTE).write_text(json.dumps(note, indent=2) + "\n")
            _move(partial, folder)
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be written: {error.strerror or error}. Free or unlock "
            "it, or give another --out."
        ) from error
    return folder


def save_agent(
    snapshot: snapshot_lib.Snapshot, agent: agent_lib.Agent, folder: pathlib.Path
) -> None:
    """Writes what a run's folder needs to be loaded, watched and evaluated.

    Moments of optimisers, the replay and what is logged are left out: it cannot be
    trained on.
    """
    folder.mkdir(parents=True)
    config = snapshot.config.update(
        logdir=settings.defaults.logdir,
        tag="",
        init_from="",
        init_from_parts="",
        offline="",
    )
    config.save(folder / files.CONFIG)
    files.write_tasks(folder, files.Tasks(snapshot.script, snapshot.task_names))
    spaces = weights.spaces_of(agent)
    checkpoint.Checkpoints(folder / files.CHECKPOINTS).save(
        snapshot.step,
        agent.named_weights(),
        {"step": snapshot.step, "spaces": spaces.to_state()},
    )


def _check_free(folder: pathlib.Path, overwrite: bool) -> None:
    """Raises ValueError unless the folder is free, or an export to be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / NOTE).is_file():
        raise ValueError(
            f"{folder} holds something that is no export (it has no {NOTE}), and is "
            "left alone; give another --out."
        )
    if not overwrite:
        raise ValueError(
            f"{folder} holds an export; replace it with --overwrite, or give another "
            "--out."
        )


def _move(partial: pathlib.Path, folder: pathlib.Path) -> None:
    """Puts what is complete in place of an older export; other files there stay."""
    folder.mkdir(exist_ok=True)
    for name in (NOTE, POLICY, WEIGHTS, AGENT):
        target = folder / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
    for name in (POLICY, WEIGHTS, AGENT, NOTE):
        os.replace(partial / name, folder / name)


def _note(
    snapshot: snapshot_lib.Snapshot, acting: policy.Policy, arrays: dict[str, Any]
) -> dict[str, Any]:
    return {
        "step": snapshot.step,
        "tasks": list(snapshot.task_names),
        "tensorflow": tf.__version__,
        "policy": acting.describe(),
        "weights": {name: list(array.shape) for name, array in arrays.items()},
    }
