"""Settings: an immutable tree, its YAML files, its command line, its type rules."""

from common.config.coerce import ConfigError
from common.config.files import load, load_blocks
from common.config.tree import Config, differences, parse_named

__all__ = ["Config", "ConfigError", "differences", "load", "load_blocks", "parse_named"]
