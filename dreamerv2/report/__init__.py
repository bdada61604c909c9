"""Reports: `runs` are read, `results` computed, `tables`, `text` and `figures` made."""

from dreamerv2.report.writer import write

__all__ = ["write"]
