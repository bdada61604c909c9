"""The folder of a run: made, recognised, and never overwritten by accident."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from common import config as config_lib
from common.records import jsonl
from dreamerv2 import settings

METRICS = jsonl.FILE
CONFIG = "config.yaml"
TASKS = "tasks.json"
REPLAY = "train_replay"
EVAL_REPLAY = "eval_replay"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
WANDB_ID = "wandb_id.txt"
LOCK = ".lock"

_OURS = (
    *(METRICS, CONFIG, TASKS, REPLAY, EVAL_REPLAY, CHECKPOINTS),
    *(TENSORBOARD, WANDB_ID),
)
# Keys that say where and how to run, not what is computed.
_FREE = (
    *("logdir", "overwrite", "resume", "force", "del_exp_replay"),
    *("envs_parallel", "devices", "wandb.*", "checkpoint_*"),
)


class RunDirError(ValueError):
    """The folder holds something else, or cannot be written."""


def path_of(config: config_lib.Config) -> pathlib.Path:
    """Returns the folder of a run: `logdir/tag`, or `logdir` without a tag."""
    return (pathlib.Path(config.logdir).expanduser() / config.tag).resolve()


def prepare(config: config_lib.Config) -> pathlib.Path:
    """Makes the folder ready for a run of this configuration.

    A folder that holds a run of the same configuration is continued. For another
    configuration `overwrite` deletes that run, and `resume` goes on with it.

    Returns:
      The folder, with the configuration saved in it.

    Raises:
      RunDirError: If the folder cannot be written, or holds a run of another
        configuration and neither `overwrite` nor `resume` is given.
    """
    folder = path_of(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_writable(folder)
        if config.overwrite:
            clear(folder)
        elif not config.resume:
            check_same(config)
        config.update(overwrite=False, resume=False).save(folder / CONFIG)
    except OSError as error:
        raise _unusable(folder, error) from error
    return folder


def check_same(config: config_lib.Config) -> None:
    """Makes sure that the folder of a run holds no run of another configuration.

    Raises:
      RunDirError: If it does; the message names the keys.
    """
    folder = path_of(config)
    if not _has_begun(folder):
        return
    before = settings.complete(config_lib.Config.read(folder / CONFIG))
    now = settings.complete(config)
    differences = [
        (key, old, new)
        for key, old, new in config_lib.differences(before, now)
        if not any(pathlib.PurePath(key).match(pattern) for pattern in _FREE)
        and (key, new) != ("precision", "auto")  # the run's machine has chosen
    ]
    if differences:
        lines = [
            f"  {key}: {old!r} there, {new!r} now" for key, old, new in differences
        ]
        raise RunDirError(
            f"The logdir {folder} holds a run of another configuration:\n"
            + "\n".join(lines)
            + "\nChoose another --logdir or --tag, go on with that run under the new "
            "configuration with --resume, or delete it with --overwrite."
        )


def save_tasks(
    folder: pathlib.Path,
    script: str,
    names: Sequence[str],
    ends: Sequence[tuple[int, int]] = (),
) -> None:
    """Notes which tasks a run has, when, and which script knows how to make them.

    Args:
      folder: The run's folder.
      script: A module with a function `make_tasks(config)`; empty if the environments
        were given by a program.
      names: Names of all tasks, by number.
      ends: Which task each phase trains, and the frame at which it ends.

    Raises:
      RunDirError: If the folder cannot be written.
    """
    path = folder / TASKS
    partial = path.with_name(f"{TASKS}.{os.getpid()}.partial")
    try:
        noted = {"script": script, "tasks": list(names), "ends": list(ends)}
        partial.write_text(json.dumps(noted) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise _unusable(folder, error) from error


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Holds the folder for this process; the lock ends with the process.

    Raises:
      RunDirError: If another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+")  # noqa: SIM115  closed below
    except OSError as error:
        raise _unusable(folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RunDirError(
                f"The run in {folder} is under way already, in process "
                f"{file.read().strip() or 'unknown'}. Stop that one, or choose "
                "another --logdir or --tag."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_locked(folder: pathlib.Path) -> bool:
    """Whether a process holds the folder: one here, or one that shares its locks."""
    try:
        with open(folder / LOCK, "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nothing there
        return False
    return False


def clear(folder: pathlib.Path) -> None:
    """Deletes what a run has written into its folder, and nothing else."""
    for name in _OURS:
        _delete(folder / name)


def forget_unsaved(folder: pathlib.Path) -> None:
    """Deletes what a run that never came to a snapshot has left behind."""
    for name in (METRICS, REPLAY, EVAL_REPLAY, TENSORBOARD):
        _delete(folder / name)


def _delete(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unusable(folder: pathlib.Path, error: OSError) -> RunDirError:
    return RunDirError(
        f"The logdir {folder} cannot be used: {error.strerror or error}. "
        "Free or unlock it, or choose another with --logdir."
    )


def _check_writable(folder: pathlib.Path) -> None:
    probe = folder / f".{os.getpid()}.probe"
    probe.write_bytes(b"dreamerv2")
    probe.unlink()


def _has_begun(folder: pathlib.Path) -> bool:
    """Whether a run has got so far that something would be lost."""
    metrics = folder / METRICS
    begun = metrics.exists() and metrics.stat().st_size > 0
    return (folder / CONFIG).exists() and (begun or (folder / CHECKPOINTS).exists())
