"""The files of a run's folder: their names, and what a run has noted of its tasks."""

from __future__ import annotations

import json
import os
import pathlib
from typing import NamedTuple

METRICS = "metrics.jsonl"
CONFIG = "config.yaml"
TASKS = "tasks.json"
REPLAY = "train_replay"
EVAL_REPLAY = "eval_replay"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
WANDB_ID = "wandb_id.txt"
LOCK = ".lock"


class Tasks(NamedTuple):
    """Which tasks a run has, when, and which script knows how to make them.

    Attributes:
      script: A module with a function `make_tasks(config)`; empty if the environments
        were given by a program.
      names: Of all tasks by number, those that are trained first; empty if unknown.
      ends: (task, frame at which it ends) of each phase; empty if unknown.
    """

    script: str = ""
    names: tuple[str, ...] = ()
    ends: tuple[tuple[int, int], ...] = ()


def read_tasks(folder: pathlib.Path) -> Tasks:
    """Returns what `tasks.json` says; nothing where it is missing or damaged."""
    try:
        noted = json.loads((folder / TASKS).read_text())
        return Tasks(
            str(noted.get("script", "")),
            tuple(map(str, noted["tasks"])),
            tuple((int(task), int(end)) for task, end in noted.get("ends", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Tasks()


def write_tasks(folder: pathlib.Path, tasks: Tasks) -> None:
    """Writes `tasks.json`, all or nothing.

    Raises:
      OSError: If the folder cannot be written.
    """
    path = folder / TASKS
    partial = path.with_name(f"{TASKS}.{os.getpid()}.partial")
    noted = {"script": tasks.script, "tasks": tasks.names, "ends": tasks.ends}
    partial.write_text(json.dumps(noted) + "\n")
    os.replace(partial, path)
