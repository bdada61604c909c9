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
from common.records import belongings, files
from dreamerv2 import settings


class RunDirError(ValueError):
    """The folder holds something else, or cannot be written."""


def path_of(config: config_lib.Config) -> pathlib.Path:
    """Returns the folder of a run: `logdir/tag`, or `logdir` without a tag.

    Raises:
      RunDirError: If the tag leads out of the logdir.
    """
    tag = pathlib.PurePath(config.tag)
    if tag.is_absolute() or ".." in tag.parts:
        raise RunDirError(
            f"tag is {config.tag!r}, which leads out of the logdir; give a name, or "
            "another --logdir."
        )
    return (pathlib.Path(config.logdir).expanduser() / tag).resolve()


@contextlib.contextmanager
def opened(config: config_lib.Config) -> Iterator[pathlib.Path]:
    """Holds the folder of a run of this configuration, and writes nothing but a lock.

    Yields:
      The folder. It is made if need be, and deleted again if nothing has come into it.

    Raises:
      RunDirError: As `locked`, or the folder cannot be written, or holds what no run
        of ours has written.
    """
    folder = path_of(config)
    is_new = not folder.exists()
    try:
        with locked(folder):
            with _usable(folder):
                _check_writable(folder)
            _check_ours(folder)
            yield folder
    finally:
        if is_new and folder.is_dir() and os.listdir(folder) == [files.LOCK]:
            shutil.rmtree(folder, ignore_errors=True)


def check(
    config: config_lib.Config, tasks: files.Tasks, saved: int | None = None
) -> None:
    """Makes sure that a run of this configuration may go on in its folder, or begin.

    With `overwrite` it begins anew whatever the folder holds.

    Args:
      config: The run's configuration.
      tasks: Which tasks the run has, and when.
      saved: The frame of the snapshot that it would go on from, None if there is none.

    Raises:
      RunDirError: If the folder holds a run of another configuration or other tasks
        and `resume` is not given; if a key differs that cannot change even so; if what
        it has been trained on would get another schedule; or if the run had snapshots,
        and there are none.
    """
    folder = path_of(config)
    if config.overwrite or not _is_ours(folder):
        return
    if not config.resume:
        check_same(config, tasks)
    if saved is not None:
        _check_fixed(config)
        _check_schedule(folder, tasks, saved)
    elif _has_begun(folder) and files.read_saved(folder) is not False:
        raise RunDirError(
            f"The logdir {folder} holds a run, but none of its snapshots: is "
            f"{files.CHECKPOINTS}/ on a disk that is not mounted, or was it moved? "
            "Put it back to go on; begin anew with --overwrite, which deletes that "
            "run, or with another --logdir."
        )


def begin(
    config: config_lib.Config, tasks: files.Tasks, is_saved: bool
) -> pathlib.Path:
    """Notes in the folder that a run of this configuration begins or goes on there.

    With `overwrite` the run there is deleted; without a snapshot, what it has left.

    Args:
      config: The run's configuration.
      tasks: Which tasks the run has.
      is_saved: Whether the run goes on from a snapshot.

    Returns:
      The folder.

    Raises:
      RunDirError: If it cannot be written.
    """
    folder = path_of(config)
    with _usable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if config.overwrite:
            clear(folder)
        elif not is_saved:
            forget_unsaved(folder)
        config.update(overwrite=False, resume=False).save(folder / files.CONFIG)
        files.write_tasks(folder, tasks)
        files.write_saved(folder, is_saved)
    return folder


def check_same(config: config_lib.Config, tasks: files.Tasks | None = None) -> None:
    """Makes sure that the folder of a run holds no run of another configuration.

    Args:
      config: The run's configuration.
      tasks: Which tasks it has; None if that follows from the configuration.

    Raises:
      RunDirError: If it does; the message names the keys.
    """
    folder = path_of(config)
    if not _has_begun(folder):
        return
    lines = _differences(config, kinds.makes_another_run)
    noted = files.read_tasks(folder)
    if tasks and noted.names and not lines and noted.names != tasks.names:
        lines = [
            f"  tasks: {', '.join(noted.names)} there, {', '.join(tasks.names)} now"
        ]
    if lines:
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
    belongings.delete(folder, belongings.ALL)


def forget_unsaved(folder: pathlib.Path) -> None:
    """Deletes what a run that never came to a snapshot has left behind."""
    belongings.delete(folder, (*belongings.EXPERIENCE, *belongings.MEASURED))


def delete_replays(folder: pathlib.Path) -> None:
    """Deletes the experience of a run, as far as it can be deleted."""
    with contextlib.suppress(OSError):
        belongings.delete(folder, belongings.EXPERIENCE)


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


def _is_ours(folder: pathlib.Path) -> bool:
    """Whether the folder has the configuration of a run.

    Raises:
      ConfigError: If its `config.yaml` cannot be read.
    """
    path = folder / files.CONFIG
    keys = {*config_lib.Config.read(path).flat} if path.exists() else set()
    return {"logdir", "seed", "replay.capacity"} <= keys


def _check_ours(folder: pathlib.Path) -> None:
    """Makes sure that a run would find nothing in its way that is not of a run."""
    snapshots = folder / files.CHECKPOINTS
    if not snapshots.is_dir() and (snapshots.exists() or snapshots.is_symlink()):
        where = f"a link to {os.readlink(snapshots)}" if snapshots.is_symlink() else ""
        raise RunDirError(
            f"{snapshots} is {where or 'a file'}, which is no folder: nothing could be "
            "saved. Mount its disk or remove it, or choose another --logdir."
        )
    found = belongings.found(folder)
    if found and not _is_ours(folder):
        raise RunDirError(
            f"The logdir {folder} holds {', '.join(found)}, but no configuration of a "
            "run: they are somebody else's, and stay as they are. Choose another "
            "--logdir or --tag, or move them away."
        )


def _differences(config: config_lib.Config, wanted: Callable[[str], bool]) -> list[str]:
    """Lines that tell in which of the wanted keys the run in the folder differs."""
    path = path_of(config) / files.CONFIG
    before = settings.complete(config_lib.Config.read(path))
    return [
        f"  {key}: {old!r} there, {new!r} now"
        for key, old, new in config_lib.differences(before, settings.complete(config))
        if wanted(key)
        and (key, new) != ("precision", "auto")  # the run's machine has chosen
        and not (
            key == "init_from" and settings.split_source(old)[0] == new
        )  # its step
    ]


def _check_fixed(config: config_lib.Config) -> None:
    """Makes sure that a run goes on with what it was begun with for good."""
    lines = _differences(config, lambda key: not kinds.may_change(key))
    if lines:
        raise RunDirError(
            f"The run in {path_of(config)} cannot go on with\n"
            + "\n".join(lines)
            + "\nThat cannot change in a run that has begun; choose another --logdir "
            "or --tag."
        )


def _check_schedule(folder: pathlib.Path, tasks: files.Tasks, frame: int) -> None:
    """Makes sure that what was trained up to a frame keeps its place and its length.

    The last phase that has begun may become longer, unless another one follows it.
    """
    noted = files.read_tasks(folder)
    if noted.names != tasks.names[: len(noted.names)]:
        raise RunDirError(
            f"The run in {folder} has the tasks {', '.join(noted.names)}, not "
            f"{', '.join(tasks.names)}. Tasks can be added behind them; for others "
            "choose another --logdir or --tag."
        )
    start = 0
    for index, (task, end) in enumerate(noted.ends):
        if start >= frame > 0:
            return
        there = f"task {noted.names[task]}, frames {start} to {end}"
        same = tasks.ends[index : index + 1] == ((task, end),)
        last = end >= frame and (frame < end or index == len(noted.ends) - 1)
        later = index < len(tasks.ends) and tasks.ends[index][0] == task
        if not same and not (last and later and tasks.ends[index][1] >= frame):
            raise RunDirError(
                f"The run in {folder} has been trained up to frame {frame}. Its phase "
                f"{index + 1} was {there}, and can get no other place or length any "
                "more: performance and forgetting would be read at the wrong moment. "
                "Give other steps only to what has not begun (--unbalanced_steps), or "
                "choose another --logdir or --tag."
            )
        start = end


def _has_begun(folder: pathlib.Path) -> bool:
    """Whether a run has got so far that something would be lost."""
    metrics = folder / files.METRICS
    begun = metrics.exists() and metrics.stat().st_size > 0
    saved = (folder / files.CHECKPOINTS).exists()
    return (folder / files.CONFIG).exists() and (begun or saved)
