"""Makes the report of many runs: tables, curves, matrices and what the replay did.

python -m dreamerv2.report --indir logs --outdir report
"""

from __future__ import annotations

import argparse
import logging
import os
import pathlib
import types
from collections.abc import Sequence
from typing import Any

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
    """Draws all pictures; none, with a warning, where Matplotlib is missing.

    Returns:
      The number of a benchmark -> (name of the file, caption), as `report_text.render`
      takes them.
    """
    try:
        from common import drawing, report_figures
    except ImportError as error:
        _LOG.warning("No pictures (%s): pip install -e '.[plot]'", error)
        return {}
    found: dict[int, list[tuple[str, str]]] = {}
    for number, pictures in _pictures(benchmarks, report_figures).items():
        for name, figure, caption in pictures:
            if figure is not None:
                path = folder / f"{name}_{number}.png"
                drawing.save(figure, path)
                found.setdefault(number, []).append((path.name, caption))
    return found


def _pictures(
    benchmarks: Sequence[report_results.Benchmark], figures: types.ModuleType
) -> dict[int, list[tuple[str, Any, str]]]:
    """(name, figure or None, caption) of every picture by number of the benchmark."""
    found: dict[int, list[tuple[str, Any, str]]] = {}
    for number, benchmark in enumerate(benchmarks, 1):
        if not benchmark.continual:
            continue
        signal = next(iter(benchmark.signals), "return")
        found[number] = [
            (
                "curves",
                figures.evaluation_curves([benchmark], signal),
                f"Evaluation {signal} of each task, mean and standard deviation over "
                "seeds. Grey: the task is being trained.",
            ),
            (
                "matrix",
                figures.matrices(benchmark, signal),
                f"Evaluation {signal} of each task (columns) at first and after the "
                "training on each (rows), mean over seeds. Right of the line the task "
                "has not been trained on: zero-shot.",
            ),
            (
                "replay",
                figures.replay(benchmark),
                "Share of each task in what the replay holds and in what is drawn from "
                "it, mean over seeds.",
            ),
            (
                "drawn",
                figures.arrivals(benchmark),
                "How often each episode was drawn from the replay over the whole run, "
                "from the first episode to the newest, mean over seeds. The colour "
                "says which task was being trained when it was drawn.",
            ),
        ]
    single = [benchmark for benchmark in benchmarks if not benchmark.continual]
    signal = "success" if any("success" in b.signals for b in single) else "return"
    found[0] = [
        (
            "single",
            figures.evaluation_curves(single, signal),
            f"Evaluation {signal} of runs on one task alone.",
        )
    ]
    return found


if __name__ == "__main__":
    cli.run(main, "Nothing was written.")
