"""Errors of a user's own code, told with the lines where they arose.

An environment, plugin or script of the user's fails inside of calls of ours and of
libraries. Of the traceback only the part is told that is about the user's own files.
"""

from __future__ import annotations

import pathlib
import sysconfig
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from common.config import coerce

# What of the folder that this package lies in is ours; the scripts lie there too.
OURS = (
    *("common", "dreamerv2", "gym_minigrid"),
    *("interference.py", "train_minigrid.py", "train_minihack.py"),
)
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_LIBRARIES = ("site-packages", "dist-packages")
_STANDARD = pathlib.Path(sysconfig.get_paths()["stdlib"]).resolve()
_HEAD = "Traceback (most recent call last), from your code on:\n"
_TOLD = "_dreamerv2_told"  # on an exception that comes from another process


class Fault(NamedTuple):
    """An error that a user's own code has raised, or has made a library raise.

    Attributes:
      error: It: the error that was looked at, or one that is a cause of it.
      text: Its traceback from the first line of the user's on.
    """

    error: BaseException
    text: str


def find(error: BaseException) -> Fault | None:
    """Returns the fault of a user's code in an error and its causes, None without one.

    A ConfigError is none, whoever raises it: its message is meant for people.
    """
    for each in _causes(error):
        text = getattr(each, _TOLD, "") or _tell(each)
        if text:
            return Fault(each, text)
    return None


def describe(error: BaseException) -> str:
    """Returns the traceback of a user's code, or the whole one if it has no part."""
    fault = find(error)
    return fault.text if fault else "".join(traceback.format_exception(error))


def attach(error: BaseException, text: str) -> None:
    """Makes an error tell a fault that `describe` has told in another process."""
    if text.startswith(_HEAD):
        setattr(error, _TOLD, text)


def missing_package(error: ImportError, module: str) -> str:
    """Returns the package that a user's module lacks, '' if it is itself not there.

    Args:
      error: Of the import of the module.
      module: Its dotted name, or its path.
    """
    names = [each.name for each in _causes(error) if isinstance(each, ImportError)]
    name = next((name for name in names if name), "")
    itself = name and (module == name or module.startswith(f"{name}."))
    return "" if itself else name


def is_ours(name: str) -> bool:
    """Whether a file of this name is one of ours."""
    path = pathlib.Path(name)
    return path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[:1] in [
        (part,) for part in OURS
    ]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        follows = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or follows


def _tell(error: BaseException) -> str:
    """The traceback behind our last frame, '' if the user has no part in it."""
    if isinstance(error, coerce.ConfigError):
        return ""
    whole = traceback.TracebackException.from_exception(error)
    frames = list(whole.stack)
    ours = [index for index, frame in enumerate(frames) if is_ours(frame.filename)]
    frames = frames[ours[-1] + 1 if ours else 0 :]
    users = [i for i, frame in enumerate(frames) if _is_users(frame.filename)]
    spelled = isinstance(error, SyntaxError) and _is_users(error.filename or "<>")
    if not users and not spelled:
        return ""
    shown = traceback.StackSummary.from_list(frames[users[0] :] if users else [])
    return "".join([_HEAD, *shown.format(), *whole.format_exception_only()])


def _is_users(name: str) -> bool:
    """Whether a file is neither ours nor of a library."""
    path = pathlib.Path(name)
    library = path.is_relative_to(_STANDARD) or any(p in path.parts for p in _LIBRARIES)
    return not (name.startswith("<") or library or is_ours(name))
