"""The configuration blocks of configs.yaml, wherever the package is installed."""

from __future__ import annotations

import pathlib
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


configs: dict[str, dict[str, Any]] = config_lib.load_blocks(config_path())
defaults = config_lib.Config(configs.pop("defaults"))
