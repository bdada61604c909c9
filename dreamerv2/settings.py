"""The configuration blocks of configs.yaml, wherever the package is installed."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from common import config as config_lib
from common.config import notes


def config_path() -> pathlib.Path:
    """Returns configs.yaml: beside the package in a checkout, inside it in a wheel.

    Raises:
      FileNotFoundError: If neither place has it.
    """
    package = pathlib.Path(__file__).resolve().parent
    for path in (package.parent / "configs.yaml", package / "configs.yaml"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"configs.yaml is neither in {package.parent} nor in {package}; "
        "install the package again with pip."
    )


@functools.cache  # a sweep reads the flags of many runs
def _notes() -> dict[str, dict[str, str]]:
    return notes.read(config_path())._asdict()


class Settings(config_lib.Config):
    """A Config whose command line knows `--configs` and tells what keys mean."""

    __slots__ = ()

    def parse_flags(
        self, argv: Sequence[str] | None = None, **options: Any
    ) -> Settings:
        """As `Config.parse_flags`, with the blocks and comments of configs.yaml."""
        ours = {"blocks": configs, **_notes()}
        return super().parse_flags(argv, **{**ours, **options})


configs: dict[str, dict[str, Any]] = config_lib.load_blocks(config_path())
defaults = Settings(configs.pop("defaults"))


def complete(saved: config_lib.Config) -> config_lib.Config:
    """Adds keys that a run's version did not have, each with the default of today."""
    return config_lib.Config({**defaults.flat, **saved.flat})
