"""The folder of a run: made, recognised, and never overwritten by accident."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

from common import config as config_lib
from common.config import kinds
from common.records import files
from dreamerv2 import settings

_OURS = (
    *(files.METRICS, files.CONFIG, files.TASKS, files.REPLAY, files.EVAL_REPLAY),
    *(files.CHECKPOINTS, files.TENSORBOARD, files.WANDB_ID),
)
_REPLAYS = (files.REPLAY, files.EVAL_REPLAY)


class RunDirError(ValueError):
    """The folder holds something else, or cannot be written."""


def path_of(config: config_lib.Config) -> pathlib.Path:
    """Returns the folder of a run: `logdir/tag`, or `logdir` without a tag."""
    return (pathlib.Path(config.logdir).expanduser() / config.tag).resolve()


@contextlib.contextmanager
def opened(
    config: config_lib.Config, tasks: files.Tasks, is_saved: Callable[[], object]
) -> Iterator[pathlib.Path]:
    """Holds the folder of a run of this configuration, ready to be trained in.

    It is locked first, then checked and prepared, and the tasks are noted. What a run
    that never came to a snapshot has left behind is deleted last.

    Args:
      config: The run's configuration.
      tasks: Which tasks the run has.
      is_saved: Whether there is a snapshot; asked when the folder is prepared.

    Yields:
      The folder.

    Raises:
      RunDirError: As `locked` and `prepare`.
    """
    folder = path_of(config)
    with locked(folder):
        prepare(config)
        with _usable(folder):
            files.write_tasks(folder, tasks)
        if not is_saved():
            forget_unsaved(folder)
        yield folder


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
    with _usable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _check_writable(folder)
        if config.overwrite:
            clear(folder)
        elif not config.resume:
            check_same(config)
        config.update(overwrite=False, resume=False).save(folder / files.CONFIG)
    return folder


def check_same(config: config_lib.Config) -> None:
    """Makes sure that the folder of a run holds no run of another configuration.

    Raises:
      RunDirError: If it does; the message names the keys.
    """
    folder = path_of(config)
    if not _has_begun(folder):
        return
    before = settings.complete(config_lib.Config.read(folder / files.CONFIG))
    now = settings.complete(config)
    differences = [
        (key, old, new)
        for key, old, new in config_lib.differences(before, now)
        if kinds.makes_another_run(key)
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


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Holds the folder for this process; the lock ends with the process.

    Raises:
      RunDirError: If another process holds it, or the folder cannot be written.
    """
    with _usable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / files.LOCK, "a+")  # noqa: SIM115  closed below
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
        with open(folder / files.LOCK, "a") as file:
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
    for name in (files.METRICS, *_REPLAYS, files.TENSORBOARD):
        _delete(folder / name)


def delete_replays(folder: pathlib.Path) -> None:
    """Deletes the experience of a run, as far as it can be deleted."""
    for name in _REPLAYS:
        shutil.rmtree(folder / name, ignore_errors=True)


def _delete(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _usable(folder: pathlib.Path) -> Iterator[None]:
    """Turns what a disk refuses into an error that names the folder."""
    try:
        yield
    except OSError as error:
        raise RunDirError(
            f"The logdir {folder} cannot be used: {error.strerror or error}. "
            "Free or unlock it, or choose another with --logdir."
        ) from error


def _check_writable(folder: pathlib.Path) -> None:
    probe = folder / f".{os.getpid()}.probe"
    probe.write_bytes(b"dreamerv2")
    probe.unlink()


def _has_begun(folder: pathlib.Path) -> bool:
    """Whether a run has got so far that something would be lost."""
    metrics = folder / files.METRICS
    begun = metrics.exists() and metrics.stat().st_size > 0
    saved = (folder / files.CHECKPOINTS).exists()
    return (folder / files.CONFIG).exists() and (begun or saved)
