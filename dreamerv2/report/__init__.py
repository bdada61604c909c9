"""Reports: `runs` are read, `results` computed, `tables` and `figures` made.

    from dreamerv2 import report
    report.write(["logs"], "report")

`replay` has what was held and drawn, `published` the paper's figures, `notes` what to
know before one compares, `pages` the forms of the page, and `writer` writes it all.
"""

from dreamerv2.report.writer import write

__all__ = ["write"]
