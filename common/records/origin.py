"""Where a run comes from: code, versions, machine, command; noted in `run.json`.

Each program that begins the run or goes on with it adds an entry to `programs`, with
its start and, unless it was killed, its end. `started` is when the run began. Nothing
here ever stops a run: what cannot be found out is null, what cannot be written a
warning.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import logging
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from common.records import files

_LOG = logging.getLogger(__name__)
_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "numpy": ("numpy",),
    "dreamerv2": ("dreamerv2",),
}
_PATIENCE = 5  # seconds for git, which a network disk may hold up


@contextlib.contextmanager
def noted(folder: pathlib.Path, *, is_new: bool, device: str = "") -> Iterator[None]:
    """Notes in a run's folder that this program works on it, and when it ends.

    Args:
      folder: The run's folder, which may be written.
      is_new: Whether the run begins; what is noted of another one is forgotten then.
      device: What it computes on, for people.
    """
    program = describe() | {"device": device, "start": _now(), "end": None}
    before = {} if is_new else files.read_run(folder)
    programs = before.get("programs")
    programs = [*programs, program] if isinstance(programs, list) else [program]
    started = before.get("started") or program["start"]
    _note(folder, {"started": started, "programs": programs})
    identity = files.identity(folder)
    try:
        yield
    finally:
        program["end"] = _now()
        if files.identity(folder) == identity:  # not moved away, another in its place
            _note(folder, {"programs": programs})


def started(folder: pathlib.Path) -> float | None:
    """Returns when a run began, in seconds since 1970; None if that is not noted."""
    try:
        text = files.read_run(folder)["started"]
        return datetime.datetime.fromisoformat(text).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def describe() -> dict[str, Any]:
    """Returns code, versions, machine and command of this program.

    `commit` is of this package's files and null where git does not keep them; `changed`
    says whether any file that git keeps differs from it.
    """
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed": _is_changed(),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(names) for name, names in _PACKAGES.items()},
        },
        "host": platform.node(),
        "command": shlex.join(getattr(sys, "orig_argv", sys.argv)),
    }


def code() -> str:
    """Returns the commit of this package's files, for people; empty if git has none."""
    commit = _git("rev-parse", "--short", "HEAD")
    return f"commit {commit}{', changed' * bool(_is_changed())}" if commit else ""


def _git(*words: str) -> str | None:
    """What git answers about this package; None if it does not keep its files."""
    here = pathlib.Path(__file__).resolve()
    settings = {"capture_output": True, "text": True, "check": True}
    try:
        for command in (("ls-files", "--error-unmatch", here.name), words):
            line = ["git", "--no-optional-locks", "-C", str(here.parent), *command]
            done = subprocess.run(line, timeout=_PATIENCE, **settings)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _is_changed() -> bool | None:
    found = _git("status", "--porcelain", "--untracked-files=no")
    return None if found is None else bool(found)


def _version(names: tuple[str, ...]) -> str | None:
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _note(folder: pathlib.Path, about: dict[str, Any]) -> None:
    try:
        files.write_run(folder, about)
    except (OSError, ValueError) as error:
        _LOG.warning("%s could not be written: %s", folder / files.RUN, error)
