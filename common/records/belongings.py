"""What in a run's folder a run of this project wrote, and what somebody else did.

Only names and contents tell. What is not recognised is never moved or deleted, not
even where it lies in a folder of ours.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

from common.records import files

# In the order in which they are deleted: what makes the folder one of ours comes last.
EXPERIENCE = (files.REPLAY, files.EVAL_REPLAY)
MEASURED = (files.TENSORBOARD, files.METRICS)
IDENTITY = (files.WANDB_ID, files.WANDB_SENT, files.TASKS, files.RUN, files.CONFIG)
ALL = (files.CHECKPOINTS, *EXPERIENCE, *MEASURED, *IDENTITY)

_EPISODE = r"\d{6,9}-task\d{1,6}-len\d{4,9}\.npz(\.tmp|\.corrupt(-\d+)?)?"
_NAMES = {  # of the files in a folder of ours, by its name
    files.REPLAY: (_EPISODE, rf"evicted/{_EPISODE}"),
    files.EVAL_REPLAY: (_EPISODE,),
    files.TENSORBOARD: (r"events\.out\.tfevents\..*", r"partial\.\d+"),
    files.CHECKPOINTS: (
        r"(damaged-)*step-\d{12,}(-\d+)?(\.partial)?"
        r"/(tensors\.(index|data-\d+-of-\d+)|state\.json|checksums\.json)",
    ),
}


def found(folder: pathlib.Path) -> list[str]:
    """Returns the parts of a run's folder that are there, whoever has written them.

    Empty folders, such as those that another disk is mounted at, are none.
    """
    return [name for name in ALL if any(_files(folder / name))]


def delete(folder: pathlib.Path, names: tuple[str, ...]) -> None:
    """Deletes of these parts of a run's folder what is ours; links stay.

    Raises:
      OSError: If something cannot be deleted.
    """
    for name in names:
        path = folder / name
        if name not in _NAMES:
            path.unlink(missing_ok=True)
            continue
        patterns = [re.compile(pattern) for pattern in _NAMES[name]]
        for file in list(_files(path)):
            below = file.relative_to(path).as_posix()
            if any(pattern.fullmatch(below) for pattern in patterns):
                file.unlink(missing_ok=True)
        _delete_empty(path)


def _files(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The file of that name, or those in the folder of that name, at any depth."""
    if path.is_dir():
        yield from (each for each in path.rglob("*") if not each.is_dir())
    elif path.exists() or path.is_symlink():
        yield path


def _delete_empty(path: pathlib.Path) -> None:
    """Deletes the folders in which nothing is left, itself among them."""
    if not path.is_dir() or path.is_symlink():
        return
    for folder in sorted(path.rglob("*"), reverse=True):
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
    if not any(path.iterdir()):
        path.rmdir()
