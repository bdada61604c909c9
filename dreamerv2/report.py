"""Makes the report of many runs: tables, curves, matrices and what the replay did.

python -m dreamerv2.report --indir logs --outdir report
"""

from __future__ import annotations

import argparse
import logging
import os
import pathlib
from collections.abc import Sequence

from common import report_results, report_runs, report_tables, report_text
from dreamerv2 import cli

PAGE = "report.md"
_LOG = logging.getLogger(__name__)


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
    text = f"folder for {PAGE}, report.json, *.csv and the pictures"
    parser.add_argument("--outdir", required=True, help=text)
    text = "count negative values as 0, as the paper's tables do"
    parser.add_argument("--clip_negative", action="store_true", help=text)
    args = parser.parse_args(argv)
    path = write(args.indir, args.outdir, clip_negative=args.clip_negative)
    print(f"Written: {path}")


def write(
    indirs: Sequence[str | os.PathLike],
    outdir: str | os.PathLike,
    *,
    clip_negative: bool = False,
) -> pathlib.Path:
    """Writes the report of all runs below some folders.

    Args:
      indirs: Folders with runs, at any depth.
      outdir: Where to write report.md, report.json, the CSV files and the pictures.
      clip_negative: Count negative values as 0, as the paper's tables do.

    Returns:
      The path of report.md.

    Raises:
      ValueError: There is no run, or the folder cannot be written.
    """
    records, left_out = report_runs.load(indirs)
    benchmarks = report_results.evaluate(records, clip_negative)
    folder = pathlib.Path(outdir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = report_tables.to_json(benchmarks, left_out, clip_negative)
        report_tables.write(content, folder)
        figures = _draw(benchmarks, folder)
        text = report_text.render(benchmarks, left_out, figures, clip_negative)
        path = folder / PAGE
        path.write_text(text)
    except OSError as error:
        raise ValueError(
            f"The report cannot be written to {folder}: {error.strerror or error}. "
            "Choose another --outdir."
        ) from error
    return path


def _draw(
    benchmarks: Sequence[report_results.Benchmark], folder: pathlib.Path
) -> dict[int, list[tuple[str, str]]]:
    """Draws all pictures; none, with a warning, where Matplotlib is missing."""
    return {}


if __name__ == "__main__":
    cli.run(main, "Nothing was written.")
