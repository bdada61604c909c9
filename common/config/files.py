"""YAML files of settings: reading them, and writing them all or nothing."""

import contextlib
import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ruamel.yaml

from common.config import coerce

MOST_VALUES = 100_000  # of a file, when all aliases are written out
MOST_DEPTH = 50  # mappings and lists inside each other


class _Constructor(ruamel.yaml.SafeConstructor):
    """Makes values only of what is of a size that settings have."""

    def construct_document(self, node: ruamel.yaml.Node) -> Any:
        _measure(node, {})
        return super().construct_document(node)


def load(path: str | os.PathLike) -> dict[str, Any]:
    """Reads one YAML 1.2 mapping; merge keys and aliases are resolved.

    Raises:
      ConfigError: the file cannot be read, is not YAML, or is not a mapping; or it
        is larger, with its aliases written out, than any settings are.
    """
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        text = pathlib.Path(path).expanduser().read_text(encoding="utf-8")
        content = yaml.load(text)
    except (OSError, UnicodeDecodeError, ruamel.yaml.error.YAMLError) as error:
        raise coerce.ConfigError(f"Cannot read {path}: {error}") from error
    except _SizeError as error:
        raise coerce.ConfigError(
            f"Cannot read {path}: {error}; no settings are. Write out its aliases, or "
            "put back the file that the run has saved."
        ) from error
    except RecursionError:
        raise coerce.ConfigError(
            f"Cannot read {path}: its brackets are nested too deeply for settings."
        ) from None
    if not isinstance(content, dict):
        raise coerce.ConfigError(
            f"Cannot read {path}: it has to hold a mapping of keys."
        )
    return content


def load_blocks(path: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Reads a file of named blocks, such as configs.yaml.

    Raises:
      ConfigError: as `load`, or a block is not a mapping.
    """
    blocks = load(path)
    for name, block in blocks.items():
        if not isinstance(block, dict):
            raise coerce.ConfigError(
                f"Block {name!r} of {path} has to be a mapping of keys."
            )
    return blocks


def save(path: str | os.PathLike, settings: Mapping[str, Any]) -> None:
    """Writes a mapping to a file, all or nothing; makes the folder."""
    path = pathlib.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(dump(settings))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def dump(settings: Mapping[str, Any]) -> str:
    """A mapping as YAML, with one line for a group of scalars."""
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.width = 2**20
    yaml.representer.sort_base_mapping_type_on_output = False
    stream = io.StringIO()
    yaml.dump(settings, stream)
    return stream.getvalue()


class _SizeError(ValueError):
    """A document that is too large, or has no end."""


def _measure(
    node: ruamel.yaml.Node, known: dict[ruamel.yaml.Node, tuple[int, int] | None]
) -> tuple[int, int]:
    """Returns how many values a node has with its aliases written out, and how deep.

    Args:
      node: of a document that is read, but not yet made into values.
      known: what it returned for nodes before; None for those that it is inside of.

    Raises:
      _SizeError: it contains itself, or there are too many.
    """
    if isinstance(node, ruamel.yaml.ScalarNode):
        return 1, 0
    if node in known:
        if known[node] is None:
            raise _SizeError("an alias stands inside of what it stands for")
        return known[node]
    known[node] = None
    size, depth = 1, 0
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            inner, below = _measure(part, known)
            size, depth = size + inner, max(depth, 1 + below)
    if size > MOST_VALUES or depth > MOST_DEPTH:
        raise _SizeError(
            f"with its aliases written out it has more than {MOST_VALUES} values, or "
            f"more than {MOST_DEPTH} levels"
        )
    known[node] = size, depth
    return size, depth
