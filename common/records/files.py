"""The files of a run's folder: their names, and what a run has noted of its tasks."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

METRICS = "metrics.jsonl"
CONFIG = "config.yaml"
TASKS = "tasks.json"
RUN = "run.json"
REPLAY = "train_replay"
EVAL_REPLAY = "eval_replay"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
WANDB_ID = "wandb_id.txt"
WANDB_SENT = "wandb_sent.txt"
LOCK = ".lock"


class Identity(NamedTuple):
    """What tells a file or folder from another one of the same name."""

    device: int
    inode: int


def identity(path: pathlib.Path) -> Identity | None:
    """Returns what a path names at present, None if there is nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Identity(status.st_dev, status.st_ino)


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
    noted = {"script": tasks.script, "tasks": tasks.names, "ends": tasks.ends}
    _write(folder / TASKS, noted)


def read_saved(folder: pathlib.Path) -> bool | None:
    """Returns whether the run has ever saved a snapshot; None if that is unknown."""
    saved = read_run(folder).get("saved")
    return None if saved is None else bool(saved)


def write_saved(folder: pathlib.Path, saved: bool) -> None:
    """Notes in `run.json` whether the run has ever saved a snapshot.

    Raises:
      OSError: If the folder cannot be written.
    """
    write_run(folder, {"saved": saved})


def read_run(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what `run.json` says; nothing where it is missing or damaged."""
    try:
        noted = json.loads((folder / RUN).read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def write_run(folder: pathlib.Path, about: Mapping[str, Any]) -> None:
    """Notes something in `run.json`, beside what it says already.

    Raises:
      OSError: If the folder cannot be written.
    """
    _write(folder / RUN, {**read_run(folder), **about})


def _write(path: pathlib.Path, content: object) -> None:
    """Writes a JSON file, all or nothing."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(content) + "\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
