"""Writes the report of many runs into a folder: the page, its data, its pictures."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
import types
from collections.abc import Mapping, Sequence
from typing import Any

from common.curves import paper
from dreamerv2.report import model as model_lib
from dreamerv2.report import results, tables
from dreamerv2.report import runs as runs_lib
from dreamerv2.report.pages import latex as latex_lib
from dreamerv2.report.pages import text as text_lib
from dreamerv2.report.pages import web as web_lib

PAGE = "report.md"
TABLES = "report.tex"
WEB = "report.html"
_LOG = logging.getLogger(__name__)


def write(
    indirs: Sequence[str | os.PathLike],
    outdir: str | os.PathLike,
    *,
    clip_negative: bool = False,
    formats: Sequence[str] = ("png",),
    labels: Mapping[str, str] | None = None,
    latex: bool = False,
    html: bool = False,
) -> pathlib.Path:
    """Writes the report of all runs below some folders.

    Args:
      indirs: Folders with runs, at any depth.
      outdir: Where to write report.md, report.json, the CSV files and the pictures.
      clip_negative: Count negative values as 0, as the paper's tables do.
      formats: Of the pictures, of `paper.FORMATS`; the page shows PNG, or the first.
      labels: Method -> what to call it.
      latex: Write the tables to report.tex as well.
      html: Write report.html as well, one page that holds its pictures, as SVG if that
        is of the formats; if neither this nor PNG is, they are drawn as PNG too.

    Returns:
      The path of report.md.

    Raises:
      ValueError: There is no run, a label is of no method or of two, or the folder
        cannot be written.
    """
    records, left_out = runs_lib.load(indirs)
    records = _named(records, labels or {})
    benchmarks = results.evaluate(records, clip_negative)
    folder = pathlib.Path(outdir).expanduser()
    if html and not set(formats) & set(web_lib.KINDS):
        formats = [*formats, "png"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = tables.to_json(benchmarks, left_out, clip_negative)
        tables.write(content, folder)
        figures = _draw(benchmarks, folder, formats)
        text = text_lib.render(benchmarks, left_out, figures, clip_negative)
        path = folder / PAGE
        path.write_text(text)
        if latex:
            (folder / TABLES).write_text(latex_lib.render(text))
        if html:
            kind = next(each for each in web_lib.KINDS if each in formats)
            (folder / WEB).write_text(web_lib.render(text, folder, kind))
    except OSError as error:
        raise ValueError(
            f"The report cannot be written to {folder}: {error.strerror or error}. "
            "Choose another --outdir."
        ) from error
    return path


def _named(
    records: Sequence[runs_lib.Record], labels: Mapping[str, str]
) -> list[runs_lib.Record]:
    """The runs, of methods that are called by their labels."""
    paper.check_methods(labels, [record.method for record in records])
    return [
        dataclasses.replace(record, method=labels.get(record.method, record.method))
        for record in records
    ]


def _draw(
    benchmarks: Sequence[results.Benchmark],
    folder: pathlib.Path,
    formats: Sequence[str],
) -> dict[int, list[tuple[str, str]]]:
    """Draws all pictures; none, with a warning, where Matplotlib is missing.

    Returns:
      The number of a benchmark -> (name of the file, caption), as `text.render` takes
      them.
    """
    try:
        from common.curves import drawing
        from dreamerv2.report import figures as figures_lib
    except ImportError as error:
        _LOG.warning("No pictures (%s): pip install -e '.[plot]'", error)
        return {}
    found: dict[int, list[tuple[str, str]]] = {}
    for number, pictures in _pictures(benchmarks, figures_lib).items():
        for name, figure, caption in pictures:
            if figure is not None:
                path = folder / f"{name}_{number}.png"
                written = drawing.save(figure, path, formats)
                shown = path if path in written else written[0]
                found.setdefault(number, []).append((shown.name, caption))
    return found


def _pictures(
    benchmarks: Sequence[results.Benchmark], figures: types.ModuleType
) -> dict[int, list[tuple[str, Any, str]]]:
    """(name, figure or None, caption) of every picture by number of the benchmark."""
    found = {
        number: _continual_pictures(benchmark, figures)
        for number, benchmark in enumerate(benchmarks, 1)
        if benchmark.continual
    }
    single = [benchmark for benchmark in benchmarks if not benchmark.continual]
    signal = next(iter(_signals(single)), "return")
    figure = figures.evaluation_curves(single, results.SIGNALS[signal])
    caption = f"Evaluation {signal} of runs on one task alone."
    return found | {0: [("single", figure, caption), *_model_pictures(single, figures)]}


def _continual_pictures(
    benchmark: results.Benchmark, figures: types.ModuleType
) -> list[tuple[str, Any, str]]:
    """The same for one benchmark of several tasks."""
    signal = next(iter(benchmark.signals or _signals([benchmark])), "return")
    return [
        (
            "curves",
            figures.evaluation_curves([benchmark], results.SIGNALS[signal]),
            f"Evaluation {signal} of each task, mean and sample standard deviation "
            "over seeds. Grey: the task is being trained.",
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
        *_model_pictures([benchmark], figures),
    ]


def _model_pictures(
    benchmarks: Sequence[results.Benchmark], figures: types.ModuleType
) -> list[tuple[str, Any, str]]:
    """One for each loss of the world model that any run tells."""
    return [
        (
            f"model_{loss}",
            figures.evaluation_curves(
                benchmarks, f"{model_lib.METRIC}_{loss}", f"{loss} loss (nats)"
            ),
            f"World model, {loss}: its loss on random episodes of each task that were "
            "set aside before training, in nats a step, mean and sample "
            "standard deviation over seeds. It rises where the model forgets.",
        )
        for loss in model_lib.losses(benchmarks)
    ]


def _signals(benchmarks: Sequence[results.Benchmark]) -> list[str]:
    """Keys of `results.SIGNALS` that any run on them, finished or not, has."""
    methods = [m for benchmark in benchmarks for m in benchmark.methods.values()]
    runs = [run for m in methods for run in (*m.finished, *m.unfinished)]
    return [
        signal
        for signal, metric in results.SIGNALS.items()
        if any(run.curves(metric) for run in runs)
    ]
