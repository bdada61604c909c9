"""Draws learning curves from metrics.jsonl files; imports nothing of this repository.

    python3 common/plot.py --indir ~/logdir --outdir ~/plots --yaxis eval_return

Every metrics.jsonl below the input folders is one run. `.../task/method/seed` folders
name it; otherwise the folder's name does, without its seed (`rs_s3_1M` -> `rs_1M`).
A config.yaml beside the file tells the task. Each task has a panel, each method
a colour; seeds are joined to a mean line with a band of one standard deviation.
A single seed with many values is drawn as dots with a running mean over a twentieth.
Continual runs, which evaluate several tasks (`eval_return_0`, `eval_return_1`, ...),
have a panel for each of them, shaded where that task was trained.
"""

import argparse
import collections
import json
import logging
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib
import matplotlib.axes
import matplotlib.figure
import matplotlib.lines
import matplotlib.ticker
import numpy as np

_LOG = logging.getLogger("plot")

# Okabe and Ito's palette, told apart by colour-blind readers; yellow comes late.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e6e6e6",
    "text.color": "#222222",
    "axes.labelcolor": "#222222",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
}
INK = "#555555"  # of annotations


@dataclass(frozen=True)
class Run:
    """One run: its records and what its place says about it."""

    path: pathlib.Path
    task: str
    method: str
    task_names: tuple[str, ...]
    records: list[dict]

    def series(self, xaxis: str, key: str) -> np.ndarray:
        """The points [n, 2] of one metric against another, sorted by x."""
        points = {
            float(record[xaxis]): float(record[key])
            for record in self.records
            if _is_number(record.get(xaxis)) and _is_number(record.get(key))
        }
        return np.array(sorted(points.items()), np.float64).reshape(-1, 2)

    def indices(self, yaxis: str) -> list[int]:
        """The k for which `{yaxis}_{k}` was recorded."""
        pattern = re.compile(re.escape(yaxis) + r"_(\d+)")
        keys = {key for record in self.records for key in record}
        return sorted(int(match[1]) for match in map(pattern.fullmatch, keys) if match)

    def intervals(self, xaxis: str) -> list[tuple[int, float, float]]:
        """(task, start, end) of each stretch of training, from the records' `task`."""
        found: list[tuple[int, float, float]] = []
        for x, task in self.series(xaxis, "task"):
            end = found[-1][2] if found else 0.0
            if found and found[-1][0] == task:
                found[-1] = (int(task), found[-1][1], x)
            else:
                found.append((int(task), end, x))
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Draws what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--indir", nargs="+", required=True, help="folders with runs")
    parser.add_argument("--outdir", required=True, help="folder for the picture")
    parser.add_argument("--xaxis", default="step", help="metric (default: step)")
    parser.add_argument("--yaxis", default="eval_return", help="metric")
    parser.add_argument(
        "--bins", type=float, default=0.0, help="width in x over which to average"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    runs = load_runs(args.indir)
    figure = draw(runs, args.xaxis, args.yaxis, args.bins)
    if figure is None:
        keys = sorted({key for run in runs for record in run.records for key in record})
        _LOG.error(
            "Nothing to draw: no run has %r and %r. Metrics found: %s.",
            *(args.xaxis, args.yaxis, ", ".join(keys) or "none"),
        )
        return 1
    path = pathlib.Path(args.outdir).expanduser() / f"{args.yaxis}.png"
    _save(figure, path)
    print(f"Drew {len(runs)} runs: {path}")
    return 0


def plot_continual(
    metrics_path: str | os.PathLike,
    out_png: str | os.PathLike,
    task_names: Sequence[str],
    yaxis: str = "eval_success",
) -> bool:
    """Draws one continual run: a panel a task, shaded where the task was trained.

    Args:
      metrics_path: the run's metrics.jsonl.
      out_png: the picture to write; its folder is made.
      task_names: titles of the panels; tasks beyond them are numbered.
      yaxis: the metrics are `{yaxis}_{k}` for task k.

    Returns:
      False if there was nothing to draw; a warning says why.
    """
    path = pathlib.Path(metrics_path).expanduser()
    run = Run(path, "", "", tuple(task_names), read_records(path))
    figure = draw([run], "step", yaxis)
    if figure is None:
        _LOG.warning("%s: no %s_0, %s_1, ... to draw.", path, yaxis, yaxis)
        return False
    _save(figure, pathlib.Path(out_png).expanduser())
    return True


def load_runs(indirs: Iterable[str | os.PathLike]) -> list[Run]:
    """Reads every metrics.jsonl below the folders; unusable files cause a warning."""
    runs = []
    for indir in indirs:
        paths = sorted(pathlib.Path(indir).expanduser().rglob("metrics.jsonl"))
        if not paths:
            _LOG.warning("%s: no metrics.jsonl below it.", indir)
        for path in paths:
            if records := read_records(path):
                runs.append(_describe(path.resolve(), records))
    return runs


def read_records(path: pathlib.Path) -> list[dict]:
    """The JSON objects of a file, one a line; other lines cause one warning."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        _LOG.warning("%s: left out: %s", path, error)
        return []
    records, bad = [], 0
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            bad += 1
    if bad:
        _LOG.warning("%s: left out %d lines that are no records.", path, bad)
    if not records:
        _LOG.warning("%s: holds no records.", path)
    return records


def _describe(path: pathlib.Path, records: list[dict]) -> Run:
    """Names a run by its folders and its config.yaml."""
    *_, task, method, last = ("", "", *path.parts[:-1])
    if not last.isdigit():  # the method's name with the seed in it
        method = re.sub(r"(^|_)s(eed)?_?\d+(?=_|$)", "", last).strip("_") or last
        task = ""
    config = path.with_name("config.yaml")
    text = config.read_text("utf-8", errors="replace") if config.exists() else ""
    names = _setting(text, "tasks").strip("[]").split(",")
    names = tuple(name.strip(" '\"") for name in names if name)
    return Run(path, _setting(text, "task") or task, method, names, records)


def _setting(text: str, key: str) -> str:
    match = re.search(rf"^{key}: *(.*?) *$", text, re.MULTILINE)
    return match[1].strip("'\"") if match else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and np.isfinite(value)


@dataclass
class Panel:
    """What one task's panel shows."""

    title: str
    curves: dict[str, list[np.ndarray]]  # method -> points [n, 2] of each seed
    intervals: list[tuple[float, float]]  # where this task was trained


def draw(
    runs: Sequence[Run], xaxis: str, yaxis: str, bins: float = 0.0
) -> matplotlib.figure.Figure | None:
    """Draws a panel for each task; None if no run has the metrics.

    Args:
      runs: the runs; those of one method are its seeds.
      xaxis: metric along the x axis.
      yaxis: metric along the y axis, or its part before `_{k}`.
      bins: width in x over which values are averaged; 0 chooses one where the seeds
        were not recorded at the same x.
    """
    panels = list(_panels(runs, xaxis, yaxis).values())
    if not panels:
        return None
    methods = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    size = (max(3.1 * columns, 4.6), 2.5 * rows + 0.35 * (len(methods) > 1))
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey="success" in yaxis)
        for index, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
            offset = index if len(methods) == 1 else 0  # of the first colour
            colors = {
                m: COLORS[(i + offset) % len(COLORS)] for i, m in enumerate(methods)
            }
            _draw_panel(axes, panel, colors, bins)
            axes.set_xlabel(_words(xaxis) if index + columns >= len(panels) else "")
            axes.set_ylabel(_words(yaxis) if index % columns == 0 else "")
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        if "success" in yaxis:
            grid[0, 0].set_ylim(-0.04, 1.14)
            grid[0, 0].set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
        if len(methods) > 1:
            _legend(figure, colors, panels)
    return figure


def _panels(runs: Sequence[Run], xaxis: str, yaxis: str) -> dict[tuple, Panel]:
    panels: dict[tuple, Panel] = {}
    for run in runs:
        indices = run.indices(yaxis)
        keys = [(None, yaxis)] if not indices else []
        keys += [(k if len(indices) > 1 else None, f"{yaxis}_{k}") for k in indices]
        for k, key in keys:
            points = run.series(xaxis, key)
            if not len(points):
                _LOG.warning("%s: has no %s.", run.path, key)
                continue
            title = _title(run, k)
            panel = panels.setdefault((run.task, title), Panel(title, {}, []))
            panel.curves.setdefault(run.method, []).append(points)
            panel.intervals = panel.intervals or [
                (start, end)
                for task, start, end in run.intervals(xaxis)
                if task == k and k is not None
            ]
    return panels


def _title(run: Run, k: int | None) -> str:
    if k is None:
        return run.task or (run.task_names[0] if run.task_names else run.method)
    return run.task_names[k] if k < len(run.task_names) else f"Task {k + 1}"


def _draw_panel(
    axes: matplotlib.axes.Axes, panel: Panel, colors: dict[str, str], bins: float
) -> None:
    shade = INK if len(colors) > 1 else next(iter(colors.values()))
    for start, end in panel.intervals:
        axes.axvspan(start, end, color=shade, alpha=0.10, linewidth=0)
        place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top"}
        axes.text(
            (start + end) / 2, 0.985, "training", color=INK, fontsize=7.5, **place
        )
    for method, seeds in panel.curves.items():
        color = colors[method]
        xs, mean, std = aggregate(seeds, bins)
        if len(seeds) > 1:
            low, high = mean - std, mean + std
            axes.fill_between(xs, low, high, alpha=0.18, linewidth=0, color=color)
        elif not bins and len(xs) > 60:
            axes.plot(xs, mean, ".", markersize=2.5, alpha=0.35, color=color)
            mean = running_mean(mean, len(xs) // 20)
        marker = "o" if len(xs) < 25 else ""
        axes.plot(xs, mean, linewidth=1.7, marker=marker, markersize=3, color=color)
    axes.set_title(panel.title, loc="left", fontsize=min(10.5, 380 / len(panel.title)))
    axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.margins(x=0.02)


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the `width` values up to each one; of fewer at the beginning."""
    total = np.cumsum(values)
    count = np.minimum(np.arange(1, len(values) + 1), width)
    return (total - np.concatenate([np.zeros(width), total])[: len(values)]) / count


def aggregate(
    seeds: Sequence[np.ndarray], bins: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins the seeds of a method.

    Args:
      seeds: points [n, 2] of each seed.
      bins: width of the bins (i * bins, (i + 1) * bins], each drawn at its end; 0 takes
        the points as they are if all seeds have the same x, else 50 bins.

    Returns:
      x, mean over seeds and standard deviation over seeds, each [m]. A seed counts
      where it has values.
    """
    first = seeds[0][:, 0]
    if not bins and not all(np.array_equal(first, points[:, 0]) for points in seeds):
        bins = max(points[:, 0].max() for points in seeds) / 50 or 1.0
    values: dict[float, list[float]] = collections.defaultdict(list)
    for points in seeds:
        edges = np.ceil(points[:, 0] / bins - 1e-9) * bins if bins else points[:, 0]
        for edge in np.unique(edges):
            values[float(edge)].append(points[edges == edge, 1].mean())
    xs = np.array(sorted(values))
    means = np.array([np.mean(values[x]) for x in xs])
    stds = np.array([np.std(values[x]) for x in xs])
    return xs, means, stds


def _legend(
    figure: matplotlib.figure.Figure, colors: dict[str, str], panels: Sequence[Panel]
) -> None:
    """Names the methods below the panels."""
    handles = []
    for method, color in colors.items():
        count = max(len(panel.curves.get(method, ())) for panel in panels)
        label = f"{method} ({count} seed{'s' * (count > 1)})"
        handles.append(matplotlib.lines.Line2D([], [], color=color, lw=2, label=label))
    longest = max(len(handle.get_label()) for handle in handles)
    fit = int(figure.get_figwidth() / (0.085 * longest + 0.5))
    columns = max(1, min(len(handles), fit))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def _words(name: str) -> str:
    name = "environment steps" if name == "step" else name
    return name.replace("eval_", "evaluation ").replace("_", " ")


def _save(figure: matplotlib.figure.Figure, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, dpi=160)


if __name__ == "__main__":
    raise SystemExit(main())
