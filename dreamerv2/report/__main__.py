"""Makes the report of many runs: tables, curves, matrices and what the replay did.

python -m dreamerv2.report --indir logs --outdir report
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from common.curves import paper
from dreamerv2 import cli
from dreamerv2.report import writer


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the report that the command line asks for.

    Raises:
      ValueError: There is no run below the folders.
    """
    parser = argparse.ArgumentParser(
        prog="python -m dreamerv2.report",
        description=(__doc__ or "").splitlines()[0],
        allow_abbrev=False,
    )
    text = "folders with runs, at any depth"
    parser.add_argument("--indir", nargs="+", required=True, help=text)
    text = f"folder for {writer.PAGE}, report.json, *.csv and the pictures"
    parser.add_argument("--outdir", required=True, help=text)
    text = "count negative values as 0, as the paper's tables do"
    parser.add_argument("--clip_negative", action="store_true", help=text)
    text = f"write the tables to {writer.TABLES} as well, for LaTeX with booktabs"
    parser.add_argument("--latex", action="store_true", help=text)
    text = f"write {writer.WEB} as well, one page that holds its pictures"
    parser.add_argument("--html", action="store_true", help=text)
    paper.add_flags(parser)
    args = parser.parse_args(argv)
    path = writer.write(
        args.indir,
        args.outdir,
        clip_negative=args.clip_negative,
        formats=args.format or ("png",),
        labels=paper.labels(args.labels),
        latex=args.latex,
        html=args.html,
    )
    print(f"Written: {path}")
    if args.html:
        print(f"Written: {path.with_name(writer.WEB)}")


if __name__ == "__main__":
    cli.run(main, "Nothing was written.")
