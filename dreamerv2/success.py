"""Success on every task over time in one axes: what interference looks like.

python -m dreamerv2.success --indir logs/run_s0 logs/run_s1 --out interference.png
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from common.records import files

if TYPE_CHECKING:  # Drawing is an extra: `pip install 'dreamerv2[plot]'`.
    import matplotlib.axes
    import matplotlib.figure

    from common.curves import logs

FIGURE = "success.png"
METRICS = ("eval_success", "eval_return")  # the first that was recorded is drawn
MARKERS = "os^Dv"  # of the tasks


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the runs below some folders; returns the exit status."""
    from common.curves import logs, paper

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--indir", nargs="+", required=True, help="folders with runs")
    parser.add_argument(
        "--out", required=True, help="the picture to write; .png, .pdf, .svg"
    )
    parser.add_argument("--names", nargs="*", default=[], help="of the tasks, in order")
    text = "an axes for each run instead of each method"
    parser.add_argument("--each", action="store_true", help=text)
    paper.add_flags(parser)
    args = parser.parse_args(argv)
    runs = logs.load_runs(args.indir)
    try:
        labels = paper.labels(args.labels)
        paper.check_methods(labels, [run.method for run in runs])
    except ValueError as error:
        parser.error(str(error))
    named = [labels.get(run.method, run.method) for run in runs]
    pairs = zip(runs, named, strict=True)
    runs = [dataclasses.replace(run, method=name) for run, name in pairs]
    if args.each:
        names = [f"{run.method}, seed {run.seed}" for run in runs]
        pairs = zip(runs, names, strict=True)
        runs = [dataclasses.replace(run, method=name) for run, name in pairs]
    path = pathlib.Path(args.out).expanduser()
    figure = draw(runs, args.names)
    if figure is None:
        print(f"Nothing to draw: no run has {' or '.join(METRICS)}_0.", file=sys.stderr)
        return 1
    written = _save(figure, path, args.format)
    print(f"Drew {len(runs)} runs: {', '.join(map(str, written))}")
    return 0


def draw_run(folder: pathlib.Path, names: Sequence[str]) -> str:
    """Draws one run into its folder; returns a line about it for people.

    Args:
      folder: The run's folder; `success.png` is written there.
      names: Names of the evaluated tasks, by number.
    """
    return draw_runs(folder, {folder.name: folder}, names)


def draw_runs(
    folder: pathlib.Path, runs: Mapping[str, pathlib.Path], names: Sequence[str]
) -> str:
    """Draws runs of the same tasks side by side; returns a line about it for people.

    No picture ends a run: if it cannot be drawn the line says why.

    Args:
      folder: Where `success.png` is written.
      runs: The folder of each run, by the title of its axes.
      names: Names of the evaluated tasks, by number.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        return f"No figure drawn ({error}): pip install 'dreamerv2[plot]'."
    from common.curves import logs

    path = folder / FIGURE
    read = [
        logs.Run(run, title, "", tuple(names), logs.read_log(run / files.METRICS), {})
        for title, run in runs.items()
    ]
    short = [name.removeprefix("MiniGrid-").removesuffix("-v0") for name in names]
    try:
        figure = draw(read, short)
        if figure is None:
            return "No figure drawn: the run was not evaluated."
        _save(figure, path)
    except Exception as error:  # matplotlib and disks fail in many ways
        return (
            f"No figure drawn ({type(error).__name__}: {error}); the same command "
            "tries it again."
        )
    return f"All tasks together are drawn in {path}."


def draw(
    runs: Sequence[logs.Run], names: Sequence[str]
) -> matplotlib.figure.Figure | None:
    """Draws an axes for each method, with a colour for each task.

    Lines are means over seeds, each of which is a thin line; where a task was trained
    is shaded in its colour.

    Args:
      runs: The runs; those of one method are its seeds.
      names: Names of the tasks by number; further ones have their number alone.

    Returns:
      None if no run was evaluated.
    """
    import matplotlib
    import matplotlib.figure

    from common.curves import drawing

    metric = next((m for m in METRICS if any(r.indices(m) for r in runs)), "")
    methods: dict[str, list[logs.Run]] = {}
    for run in runs:
        if metric and run.indices(metric):
            methods.setdefault(run.method, []).append(run)
    if not methods:
        return None
    with matplotlib.rc_context(drawing.STYLE):
        size = (max(4.2 * len(methods), 6.0), 3.4)
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        grid = figure.subplots(1, len(methods), squeeze=False, sharey=True)[0]
        for axes, (method, seeds) in zip(grid, methods.items(), strict=True):
            _draw_method(axes, seeds, metric, names)
            count = f" ({len(seeds)} seeds)" if len(seeds) > 1 else ""
            axes.set_title(f"{method}{count}", loc="left")
        grid[0].set_ylabel(metric.replace("eval_", "evaluation "))
        handles, labels = max(
            (axes.get_legend_handles_labels() for axes in grid),
            key=lambda entries: len(entries[1]),
        )
        fit = int(size[0] / (0.085 * max(map(len, labels)) + 0.7))
        columns = max(1, min(len(labels), fit))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _save(
    figure: matplotlib.figure.Figure, path: pathlib.Path, formats: Sequence[str] = ()
) -> list[pathlib.Path]:
    from common.curves import drawing

    return drawing.save(figure, path, formats)


def _draw_method(
    axes: matplotlib.axes.Axes,
    seeds: Sequence[logs.Run],
    metric: str,
    names: Sequence[str],
) -> None:
    """One axes: all tasks of the seeds of a method."""
    import matplotlib.ticker

    from common.curves import bands, drawing

    colors = drawing.PLAIN.colors
    intervals = seeds[0].intervals()
    for task, start, end in intervals:
        color = colors[task % len(colors)]
        axes.axvspan(start, end, color=color, alpha=0.10, linewidth=0)
        if end - start > 0.15 * intervals[-1][2]:  # else the words would not fit
            place = {"transform": axes.get_xaxis_transform(), "ha": "center"}
            words = f"training on {task + 1}"
            axes.text((start + end) / 2, 0.94, words, color=color, fontsize=8, **place)
    for k in sorted({k for run in seeds for k in run.indices(metric)}):
        color = colors[k % len(colors)]
        key = f"{metric}_{k}"
        series = [run.log.series[key] for run in seeds if key in run.log.series]
        if len(series) > 1:
            for points in series:
                axes.plot(*points.T, color=color, linewidth=0.7, alpha=0.4)
        xs, mean, *_ = bands.aggregate(series)
        marker = MARKERS[k % len(MARKERS)] if len(xs) < 40 else ""
        name = names[k] if k < len(names) else ""
        label = f"{k + 1}: {name}" if name else f"task {k + 1}"
        width = max(3.0 - 0.9 * k, 1.2)  # thin on thick: neither hides the other
        style = {"linewidth": width, "marker": marker, "markersize": 2.2 * width}
        axes.plot(xs, mean, color=color, label=label, **style)
    if metric == "eval_success":
        axes.set_ylim(-0.04, 1.14)
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    axes.margins(x=0.02)


if __name__ == "__main__":
    raise SystemExit(main())
