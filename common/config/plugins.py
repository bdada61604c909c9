"""A user's own parts, found by name: `plugins: [module]` and `module:Name`.

Wherever a setting names a part (a retention, a behaviour, an optimiser, ...), it may
name one of ours, one that a module of `plugins` has added to the table of ours, or any
other as `module:Name`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pathlib
import re
import sys
import traceback
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from common.config import coerce, faults

T = TypeVar("T")

_PATH = re.compile(r"(.+\.py)((?::\w+)?)")

_FILES: dict[str, str] = {}  # paths of the modules that were imported from a file


def load(modules: Sequence[str]) -> None:
    """Imports a user's modules, which may add their parts to our tables.

    Args:
      modules: Dotted names, or paths of files that end in `.py`. Each is imported once
        in a process.

    Raises:
      ConfigError: If one is not there, or fails while it is imported.
    """
    for name in modules:
        _import("plugins", name)


def choose(key: str, name: str, known: Mapping[str, T]) -> T:
    """Returns the part that a setting names.

    Args:
      key: The setting, for the message.
      name: A key of `known`, or `module:Name` (a path that ends in `.py` is a module
        too).
      known: Our parts by name.

    Raises:
      ConfigError: If there is no such part; the message names the nearest.
    """
    if name in known:
        return known[name]
    if ":" not in name:
        raise coerce.ConfigError(
            f"Unknown {key} {name!r}; choose from {sorted(known)}, or give your own as "
            f"module:Name.{_hint(name, known)}"
        )
    module_name, _, attribute = name.rpartition(":")
    module = _import(key, module_name)
    if not hasattr(module, attribute):
        raise coerce.ConfigError(
            f"{key} is {name!r}, but {module_name} has no {attribute!r}."
            f"{_hint(attribute, dir(module))}"
        )
    return getattr(module, attribute)


def require(fits: bool, key: str, name: str, kind: str) -> None:
    """Makes sure that the part that a setting names is of the right kind.

    Args:
      fits: Whether it is.
      key: The setting.
      name: Its value.
      kind: What the part has to be, for the message.

    Raises:
      ConfigError: If it is not.
    """
    if not fits:
        raise coerce.ConfigError(f"{key} is {name!r}, but it must name {kind}.")


def absolute(value: T) -> T:
    """Returns a setting whose paths of `.py` files hold from any folder.

    Args:
      value: Of any setting; what is neither the path of such a file nor
        `path.py:Name`, alone or in a list, is returned as it is.
    """
    if isinstance(value, tuple):
        return tuple(map(absolute, value))
    found = _PATH.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return value
    return f"{pathlib.Path(found[1]).expanduser().resolve()}{found[2]}"


def find_module(name: str) -> types.ModuleType:
    """Imports a module by its dotted name, or its path, which ends in `.py`; once.

    Raises:
      ImportError: If it exits while it is imported.
      Exception: Whatever the module raises while it is imported.
    """
    with _staying():
        if name.endswith(".py"):
            return _import_file(pathlib.Path(name).expanduser().resolve())
        return importlib.import_module(name)


def run_file(path: pathlib.Path, name: str) -> types.ModuleType:
    """Imports a file as a module of that name, anew.

    Raises:
      ImportError: If it exits while it is imported.
      Exception: Whatever it raises while it is imported.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, so that it can be pickled
    try:
        with _staying():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def problem(error: BaseException) -> str:
    """Says what went wrong in a user's module: type, message, file and line."""
    steps = [
        f", in {step.f_code.co_filename}, line {line}"
        for step, line in traceback.walk_tb(error.__traceback__)
        if not step.f_code.co_filename.startswith("<")  # importlib's own
        and not faults.is_ours(step.f_code.co_filename)
    ]
    place = steps[-1] if steps else ""
    return f"{type(error).__name__}: {error}{place}"


def reference(name: str) -> str:
    """Returns how another process finds a module: by its name, or by its path."""
    return _FILES.get(name, name)


def from_anywhere(name: str, known: Iterable[str] = ()) -> str:
    """Returns how a program in any folder finds a module that this one has.

    Args:
      name: The module, `__main__` or the name of the main script's file too, or a path.
      known: Modules that every program finds by name.

    Returns:
      The path of its file; the name itself if it is known, or has no file.
    """
    if not name or name in known or name.endswith(".py"):
        return absolute(name)
    main, module = sys.modules.get("__main__"), sys.modules.get(name)
    if (
        module is None
        and pathlib.Path(getattr(main, "__file__", None) or "").stem == name
    ):
        module = main
    file = getattr(module, "__file__", None) or ""
    return str(pathlib.Path(file).resolve()) if file.endswith(".py") else name


def _hint(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, if one is near."""
    near = coerce.nearest(name, known, limit=1)
    return f" Did you mean {near[0]}?" if near else ""


def _import(key: str, name: str) -> types.ModuleType:
    try:
        return find_module(name)
    except Exception as error:  # whatever a user's module raises while it is imported
        raise coerce.ConfigError(
            f"{key} names the module {name!r}, which cannot be imported "
            f"({problem(error)}). {_way_out(name, error)}"
        ) from error


def _way_out(name: str, error: BaseException) -> str:
    """What to do about a module that cannot be imported."""
    if isinstance(error, ImportError) and (
        lacks := faults.missing_package(error, name)
    ):
        return f"It needs the package {lacks}, which is not installed: use pip."
    if faults.find(error):
        return "Mend it, or have it do less when it is imported."
    return (
        "Give a module that Python finds from here, such as one on PYTHONPATH, or the "
        "path of a file that ends in .py."
    )


def _import_file(path: pathlib.Path) -> types.ModuleType:
    """Imports a file under its own name, once."""
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None:
        raise ImportError(f"another module is called {path.stem}; rename the file")
    module = run_file(path, path.stem)
    _FILES[path.stem] = str(path)
    return module


@contextlib.contextmanager
def _staying() -> Iterator[None]:
    """Makes an error of a module that ends the program while it is imported."""
    try:
        yield
    except SystemExit as error:
        raise ImportError(
            f"it exits, with {error.code!r}; what it does when it is run belongs "
            'behind if __name__ == "__main__":'
        ) from error
