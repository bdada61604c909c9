"""YAML files of settings: reading them, and writing them all or nothing."""

import contextlib
import io
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ruamel.yaml

from common.config import coerce


def load(path: str | os.PathLike) -> dict[str, Any]:
    """Reads one YAML 1.2 mapping; merge keys and aliases are resolved.

    Raises:
      ConfigError: the file cannot be read, is not YAML, or is not a mapping.
    """
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    try:
        text = pathlib.Path(path).expanduser().read_text(encoding="utf-8")
        content = yaml.load(text)
    except (OSError, UnicodeDecodeError, ruamel.yaml.error.YAMLError) as error:
        raise coerce.ConfigError(f"Cannot read {path}: {error}") from error
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
