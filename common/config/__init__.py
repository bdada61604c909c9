"""Settings: an immutable tree, its YAML files, its command line, its type rules."""

from common.config.coerce import ConfigError
from common.config.config import Config, comments, differences, load, load_blocks

__all__ = ["Config", "ConfigError", "comments", "differences", "load", "load_blocks"]
