"""The pictures of a report: curves, task-by-task matrices, and what the replay did."""

import math
from collections.abc import Callable, Sequence

import matplotlib
import matplotlib.axes
import matplotlib.axis
import matplotlib.colors
import matplotlib.figure
import matplotlib.lines
import matplotlib.patches
import matplotlib.ticker
import numpy as np

from common.curves import drawing, logs, panels
from dreamerv2.report import replay as replay_lib
from dreamerv2.report import results as results_lib
from dreamerv2.report import tables as tables_lib

Figure = matplotlib.figure.Figure
_MAP = "viridis"
_TASKS = (*drawing.PALETTES["okabe"], "#F0E442", "#AAAAAA", "#8C564B")
_ACROSS = 4  # most methods beside each other


def evaluation_curves(
    benchmarks: Sequence[results_lib.Benchmark], metric: str, ylabel: str = ""
) -> Figure | None:
    """A panel for each task, a line for each method; None if there is nothing.

    Runs that are not finished are lines of their own, and say so.

    Args:
      benchmarks: one, or several of a single task each.
      metric: what a task's number is put behind, such as `eval_return`.
      ylabel: of the y axis; the metric's name if empty.
    """
    found, intervals = [], {}
    for benchmark in benchmarks:
        names = tables_lib.labels(benchmark)
        for method in benchmark.methods.values():
            for run in (*method.finished, *method.unfinished):
                label = names[method.name] + (" (unfinished)" if run.fault else "")
                for k in range(len(run.tasks)):
                    points = run.log.series.get(f"{metric}_{k}")
                    if points is not None:
                        curve = logs.Curve(run.tasks[k], label, run.seed, points)
                        found.append((k, curve))
        if benchmark.continual:
            start = 0
            for k, end in benchmark.ends:
                intervals.setdefault(benchmark.tasks[k], []).append((start, end))
                start = end
    if not found:
        return None
    ordered = [curve for _, curve in sorted(found, key=lambda pair: pair[0])]
    continual = [benchmark for benchmark in benchmarks if benchmark.continual]
    total = continual[0].ends[-1][1] if continual else 0
    limits = (-0.015 * total, 1.01 * total) if total else None
    found = panels.of_tasks(ordered, intervals)
    look = drawing.Look(xlim=limits, labels={metric: ylabel})
    return drawing.draw(found, "step", metric, look=look)


def matrices(benchmark: results_lib.Benchmark, signal: str) -> Figure | None:
    """The mean matrix of each method; None if there is none.

    Rows are moments, columns tasks. Right of the stepped line a task has not been
    trained on yet.
    """
    names = tables_lib.labels(benchmark)
    found = {
        names[method.name]: _mean(method.matrices[signal])
        for method in benchmark.methods.values()
        if signal in method.matrices
    }
    if not found:
        return None
    runs = benchmark.records()
    tasks = max((run.tasks for run in runs), key=len)
    moments = ["at first", *(f"after {k + 1}" for k, _ in benchmark.ends)]
    rows, columns = len(moments), len(tasks)
    values = np.concatenate([matrix.ravel() for matrix in found.values()])
    limits = _limits(values)
    size = (0.55 * columns + 1.0, 0.34 * rows + 1.0)
    longest = max(len(tables_lib.short(task)) for task in tasks)
    with matplotlib.rc_context({**drawing.STYLE, "axes.grid": False}):
        figure, grid = _grid(len(found), (max(size[0], 2.4), size[1] + 0.05 * longest))
        scale = matplotlib.colors.Normalize(*limits)
        for axes, (name, matrix) in zip(grid, found.items(), strict=True):
            _draw_matrix(axes, matrix, scale)
            _outline(axes, benchmark, columns)
            axes.set_title(name, loc="left", fontsize=_fit(name, size[0] - 0.6))
            axes.set_yticks(range(rows), moments)
            labels = [f"{i + 1} {tables_lib.short(t)}" for i, t in enumerate(tasks)]
            axes.set_xticks(range(columns), labels, rotation=40, ha="right")
    return figure


def replay(benchmark: results_lib.Benchmark) -> Figure | None:
    """Shares of the tasks held and drawn over time, a column for each method."""
    rows: list[tuple[str, Callable, str]] = [
        ("held", replay_lib.held, "share held"),
        ("drawn", replay_lib.drawn, "share drawn"),
    ]
    methods = [method for method in benchmark.methods.values() if method.finished]
    found = {
        key: [compute(method.finished) for method in methods]
        for key, compute, _ in rows
    }
    rows = [row for row in rows if any(found[row[0]])]
    if not rows:
        return None
    names = tables_lib.labels(benchmark)
    with matplotlib.rc_context({**drawing.STYLE, "axes.grid": False}):
        across = min(len(methods), _ACROSS)
        blocks = -(-len(methods) // across)
        size = (max(2.7 * across, 4.6), 1.7 * blocks * len(rows) + 0.9)
        figure = Figure(size, layout="constrained")
        grid = figure.subplots(
            blocks * len(rows), across, squeeze=False, sharex=True, sharey=True
        )
        for i, method in enumerate(methods):
            block, column = divmod(i, across)
            for j, (key, _, label) in enumerate(rows):
                axes = grid[block * len(rows) + j, column]
                _draw_shares(axes, found[key][i], benchmark)
                if column == 0:
                    unit = next(each.unit for each in found[key] if each)
                    axes.set_ylabel(f"{label}\n({unit})")
                if j == 0:
                    name = names[method.name]
                    axes.set_title(name, loc="left", fontsize=_fit(name, 2.2))
        _blank(grid, len(methods), len(rows), across)
        for axes in grid[-1]:
            axes.set_xlabel("environment steps")
        _task_legend(figure, benchmark, size[0])
    return figure


def arrivals(benchmark: results_lib.Benchmark) -> Figure | None:
    """Which episodes were drawn: a histogram for each method (paper, Fig. 15)."""
    names = tables_lib.labels(benchmark)
    found = {
        names[method.name]: replay_lib.arrivals(method.finished)
        for method in benchmark.methods.values()
    }
    found = {name: each for name, each in found.items() if each}
    if not found:
        return None
    with matplotlib.rc_context(drawing.STYLE):
        figure, grid = _grid(len(found), (2.9, 2.3), legend=0.5)
        for axes, (name, each) in zip(grid, found.items(), strict=True):
            _draw_arrivals(axes, each, benchmark)
            axes.set_title(name, loc="left", fontsize=_fit(name, 2.3))
            axes.set_ylim(0, 1.05 * max(e.windows.sum(0).max() for e in found.values()))
        for axes in grid[-min(len(grid), _ACROSS) :]:
            axes.set_xlabel("number of the episode")
        figure.supylabel("windows drawn of an episode", fontsize="medium")
        _task_legend(figure, benchmark, figure.get_figwidth(), "drawn during ")
    return figure


def _grid(
    count: int, size: tuple[float, float], legend: float = 0.0
) -> tuple[Figure, list[matplotlib.axes.Axes]]:
    """A figure and its `count` axes, each of a size in inches."""
    across = max(1, min(count, _ACROSS, int(12 // size[0])))
    rows = -(-count // across)
    width = max(across * size[0] + 0.6, 4.6)
    figure = Figure((width, rows * size[1] + legend), layout="constrained")
    grid = figure.subplots(rows, across, squeeze=False)
    for axes in grid.flat[count:]:
        axes.remove()
    return figure, list(grid.flat[:count])


def _blank(grid: np.ndarray, count: int, rows: int, across: int) -> None:
    """Removes the axes of a last block of methods that is not full."""
    for i in range(count, -(-count // across) * across):
        block, column = divmod(i, across)
        for axes in grid[block * rows : (block + 1) * rows, column]:
            axes.set_visible(False)


def _mean(matrices: np.ndarray) -> np.ndarray:
    """[R, rows, columns] -> [rows, columns]; nan where no run has a value."""
    there = np.isfinite(matrices)
    total = np.where(there, matrices, 0.0).sum(axis=0)
    count = there.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Of the colours: 0 to 1 where the values lie there, else as far as they go."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0


def _draw_matrix(
    axes: matplotlib.axes.Axes, matrix: np.ndarray, scale: matplotlib.colors.Normalize
) -> None:
    """Coloured cells with their values."""
    axes.imshow(matrix, cmap=_MAP, norm=scale, aspect="auto")
    large = np.nanmax(np.abs(matrix), initial=0.0) >= 10
    for (row, column), value in np.ndenumerate(matrix):
        if math.isfinite(value):
            text = f"{value:.0f}" if large else f"{round(value, 2) + 0.0:.2f}"
            color = "white" if scale(value) < 0.6 else "black"
            place = {"ha": "center", "va": "center", "fontsize": 7}
            axes.text(column, row, text, color=color, **place)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outline(
    axes: matplotlib.axes.Axes, benchmark: results_lib.Benchmark, columns: int
) -> None:
    """A stepped line: to the right of it a task has not been trained on yet."""
    xs, ys, seen = [-0.5], [-0.5], 0
    for row, (task, _) in enumerate(benchmark.ends, 1):
        ys += [row - 0.5]
        xs += [seen - 0.5]
        if task + 1 > seen:
            seen = task + 1
            ys += [row - 0.5]
            xs += [seen - 0.5]
    if len(benchmark.tasks) < columns:
        xs, ys = [*xs, seen - 0.5], [*ys, len(benchmark.ends) + 0.5]
    axes.plot(xs, ys, color="#D55E00", linewidth=2.0, clip_on=False)


def _draw_shares(
    axes: matplotlib.axes.Axes,
    shares: replay_lib.Shares | None,
    benchmark: results_lib.Benchmark,
) -> None:
    """Areas stacked to 1."""
    if shares is not None:
        there = np.isfinite(shares.shares).all(axis=0)
        xs, values = shares.xs[there], shares.shares[:, there]
        colors = _colors(len(benchmark.tasks))
        if len(xs) and shares.unit == "windows":  # drawn from one x to the next
            width = xs[0] if len(xs) < 2 else xs[1] - xs[0]
            xs = np.concatenate([[xs[0] - width], xs])
            values = np.concatenate([values[:, :1], values], axis=1)
            axes.stackplot(xs, values, colors=colors, linewidth=0, step="pre")
        else:
            axes.stackplot(xs, values, colors=colors, linewidth=0)
    for _, end in benchmark.ends[:-1]:
        axes.axvline(end, color="black", linewidth=0.8)
    axes.set_xlim(0, benchmark.ends[-1][1])
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    _count_axis(axes.xaxis)


def _draw_arrivals(
    axes: matplotlib.axes.Axes,
    found: replay_lib.Arrivals,
    benchmark: results_lib.Benchmark,
) -> None:
    """Bars stacked by the phase in which the windows were drawn."""
    colors = _colors(len(benchmark.tasks))
    base = np.zeros(found.windows.shape[1])
    for (task, _), windows in zip(benchmark.ends, found.windows, strict=True):
        top = base + windows
        axes.stairs(top, found.edges, baseline=base, fill=True, color=colors[task])
        base = top
    for end in found.ends[:-1]:
        axes.axvline(end, color="black", linewidth=0.8)
    axes.set_xlim(0, found.ends[-1])
    axes.grid(False, axis="x")
    _count_axis(axes.xaxis)
    _count_axis(axes.yaxis)


def _count_axis(axis: matplotlib.axis.Axis) -> None:
    axis.set_major_locator(matplotlib.ticker.MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))


def _colors(count: int) -> list[str]:
    """Of the tasks, which are more than the methods of a figure."""
    return [_TASKS[k % len(_TASKS)] for k in range(count)]


def _fit(title: str, width: float) -> float:
    """Size of a title's letters in points, so that it fits the width in inches."""
    return max(5.0, min(10.0, 105 * width / max(len(title), 1)))


def _task_legend(
    figure: Figure, benchmark: results_lib.Benchmark, width: float, before: str = ""
) -> None:
    """A patch for each task below the axes, and what the lines are."""
    colors = _colors(len(benchmark.tasks))
    handles = [
        matplotlib.patches.Patch(
            color=color, label=f"{before}{k + 1} {tables_lib.short(task)}"
        )
        for k, (task, color) in enumerate(zip(benchmark.tasks, colors, strict=True))
    ]
    line = matplotlib.lines.Line2D([], [], color="black", lw=0.8)
    line.set_label("change of task")
    handles.append(line)
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, min(len(handles), int(width / (0.078 * longest + 0.5))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
