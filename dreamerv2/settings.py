"""The configuration blocks of configs.yaml, wherever the package is installed."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from common import config as config_lib


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
def _help_texts() -> dict[str, str]:
    return config_lib.comments(config_path())


class Settings(config_lib.Config):
    """A Config whose command line knows `--configs` and tells what keys mean."""

    __slots__ = ()

    def parse_flags(
        self, argv: Sequence[str] | None = None, **options: Any
    ) -> Settings:
        """As `Config.parse_flags`, with the blocks and comments of configs.yaml."""
        ours = {"blocks": configs, "help_texts": _help_texts()}
        return super().parse_flags(argv, **{**ours, **options})


configs: dict[str, dict[str, Any]] = config_lib.load_blocks(config_path())
defaults = Settings(configs.pop("defaults"))
