"""Draws panels of curves: a colour a method, one legend below, readable ticks."""

import itertools
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import matplotlib
import matplotlib.artist
import matplotlib.axes
import matplotlib.colors
import matplotlib.figure
import matplotlib.lines
import matplotlib.patches
import matplotlib.ticker

from common.curves import bands, logs, paper, scores
from common.curves import panels as panels_lib

# Okabe and Ito's colours, told apart by colour-blind readers; yellow comes late.
PALETTES = {
    "okabe": "#0072B2 #D55E00 #009E73 #CC79A7 #56B4E9 #E69F00 #444444".split(),
    "bright": "#4477AA #EE6677 #228833 #CCBB44 #66CCEE #AA3377 #BBBBBB".split(),
    "dark": "#332288 #117733 #882255 #44AA99 #AA4499 #999933 #CC6677".split(),
}
GREYS = ("#777777", "#AAAAAA", "#444444", "#C4C4C4")  # of what others published
DASHES = ("--", ":", "-.", (0, (6, 1)), (0, (1, 3)), (0, (4, 2, 1, 2, 1, 2)))
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
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
    "pdf.fonttype": 42,  # TrueType: publishers refuse the default, Type 3
    "svg.hashsalt": "dreamerv2",  # the same figure is the same file
}
INK = "#555555"  # of reference scores and of the intervals of training
LABELS = {
    "published": "DreamerV2 (published)",
    "published_schedules": "DreamerV2 with schedules (published)",
    "nosched": "DreamerV2 nosched (published)",
    "montezuma": "DreamerV2 for Montezuma (published)",
    logs.ALL_TASKS: "All tasks",
    "step": "environment steps",
}
CENTER_WORDS = {"iqm": "interquartile mean"}
BAND_WORDS = {
    **{"std": "sample standard deviation", "iqr": "middle half of the seeds"},
    **{"minmax": "lowest to highest seed", "ci": "95 % interval"},
}


@dataclass(frozen=True)
class Look:
    """How a figure looks.

    Attributes:
      cols: panels in a row; 0 chooses.
      size: width and height of a panel in inches; None chooses.
      xlim: limits of x; None is where the values are.
      ylim: the same for y.
      labels: task, method or metric -> what to call it.
      palette: a name from PALETTES, or colours.

    Raises:
      ValueError: a colour is none.
    """

    cols: int = 0
    size: tuple[float, float] | None = None
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    palette: Sequence[str] = ("okabe",)

    def __post_init__(self) -> None:
        for color in self.colors:
            if not matplotlib.colors.is_color_like(color):
                raise ValueError(
                    f"{color!r} is no colour; choose from {', '.join(PALETTES)}, or "
                    "give colours such as red or #0072B2."
                )

    @property
    def colors(self) -> Sequence[str]:
        """The colours of the palette."""
        return PALETTES.get(self.palette[0], self.palette)


PLAIN = Look()


class Stroke(NamedTuple):
    """Colour and dashes of a line."""

    color: str
    dashes: str | tuple = "-"


def draw(
    panels: Sequence[panels_lib.Panel],
    xaxis: str,
    yaxis: str,
    rule: bands.Rule = bands.MEAN,
    look: Look = PLAIN,
) -> matplotlib.figure.Figure:
    """Draws the panels, with one legend below all of them.

    Args:
      panels: at least one.
      xaxis: metric along the x axis, for its label.
      yaxis: metric along the y axis.
      rule: what the bands are, for the legend.
      look: sizes, limits, names and colours.
    """
    columns, rows, (width, height) = _layout(len(panels), look)
    small = {"font.size": 8, "axes.titlesize": 9} if width < 2.5 else {}
    with matplotlib.rc_context({**STYLE, **small}):
        figure = matplotlib.figure.Figure(
            (max(columns * width, 4.6), rows * height + 0.4), layout="constrained"
        )
        grid = figure.subplots(rows, columns, squeeze=False)
        strokes = _strokes(panels, look)
        lines = list(dict.fromkeys(name for panel in panels for name in panel.lines))
        titles = _titles(panels, look)
        for axes, panel, title in zip(grid.flat, panels, titles, strict=False):
            _draw_panel(axes, panel, strokes, lines)
            _trim(axes, look, "success" in yaxis)
            axes.set_title(title, loc="left", fontsize=_fit(title, width))
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes in grid.flat[max(len(panels) - columns, 0) : len(panels)]:
            axes.set_xlabel(_words(xaxis, look))
        figure.supylabel(_words(yaxis, look), fontsize="medium")
        _legend(figure, _handles(panels, strokes, lines, rule, look))
    return figure


def _layout(count: int, look: Look) -> tuple[int, int, tuple[float, float]]:
    """Columns, rows and the size of a panel in inches."""
    sizes = ((4, count, (3.1, 2.5)), (6, 3, (2.9, 2.3)), (12, 4, (2.7, 2.1)))
    sizes += ((24, 6, (2.4, 1.9)), (count, 8, (2.3, 1.7)))
    _, columns, size = next(entry for entry in sizes if count <= entry[0])
    columns = min(look.cols or columns, count)
    return columns, -(-count // columns), look.size or size


def _strokes(panels: Sequence[panels_lib.Panel], look: Look) -> dict[str, Stroke]:
    """How to draw each method; greys for the published ones beside others."""
    methods = dict.fromkeys(method for panel in panels for method in panel.joined)
    own = [method for method in methods if method not in scores.PUBLISHED]
    others = [method for method in methods if method in scores.PUBLISHED]
    styles = [Stroke(c, d) for d in ("-", *DASHES) for c in look.colors]
    strokes = dict(zip(own or others, itertools.cycle(styles), strict=False))
    greys = dict(zip(others, map(Stroke, itertools.cycle(GREYS)), strict=False))
    return {**strokes, **greys} if own else strokes


def _titles(panels: Sequence[panels_lib.Panel], look: Look) -> list[str]:
    titles = []
    for panel in panels:
        title = look.labels.get(panel.name) or LABELS.get(panel.name)
        title = title or _natural(panel.name)
        count = len(panel.tasks)
        title += f", {count} task{'s' * (count > 1)}" if count else ""
        titles.append(title)
    return [
        title if titles.count(title) == 1 else panel.name
        for title, panel in zip(titles, panels, strict=True)
    ]


def _natural(task: str) -> str:
    """`atari_ms_pacman` -> "Ms Pacman", `MiniGrid-DoorKey-9x9-v0` -> "DoorKey 9x9"."""
    name = re.sub(r"^(atari|dmc|minigrid|minihack|gym)_", "", task)
    name = re.sub(r"^(MiniGrid-|MiniHack-|.*/)|-v\d+$", "", name)
    words = re.split(r"[_\s-]+", name)
    return " ".join(word[:1].upper() + word[1:] for word in words) or task


def _words(metric: str, look: Look) -> str:
    label = look.labels.get(metric) or LABELS.get(metric)
    return label or metric.replace("eval_", "evaluation ").replace("_", " ")


def _fit(title: str, width: float) -> float:
    """Size of a title's letters in points, so that it fits the panel in inches."""
    return min(matplotlib.rcParams["axes.titlesize"], 118 * width / len(title))


def _draw_panel(
    axes: matplotlib.axes.Axes,
    panel: panels_lib.Panel,
    strokes: Mapping[str, Stroke],
    lines: Sequence[str],
) -> None:
    for start, end in panel.intervals:
        if panel.name == logs.ALL_TASKS:
            axes.axvline(start, color=INK, linewidth=0.8, alpha=0.6 * (start > 0))
        else:
            axes.axvspan(start, end, color=INK, alpha=0.10, linewidth=0)
    for name, value in panel.lines.items():
        style = DASHES[lines.index(name) % len(DASHES)]
        axes.axhline(value, color=INK, linewidth=1.0, linestyle=style)
    for method, band in panel.joined.items():
        xs, mid, low, high = band
        color, dashes = strokes[method]
        above = method not in scores.PUBLISHED
        if (high > low).any():
            axes.fill_between(
                xs, low, high, alpha=0.18, linewidth=0, color=color, zorder=1 + above
            )
        elif len(panel.seeds[method]) == 1 and len(xs) > 60 and above:
            axes.plot(xs, mid, ".", markersize=2.5, alpha=0.35, color=color)
            mid = bands.running_mean(mid, len(xs) // 20)
        marker = "o" if len(xs) < 25 else ""
        style = {"marker": marker, "markersize": 3, "linewidth": 1.6, "ls": dashes}
        axes.plot(xs, mid, **style, color=color, zorder=2.1 + above)


def _trim(axes: matplotlib.axes.Axes, look: Look, success: bool) -> None:
    """Limits and ticks."""
    axes.margins(x=0.02)
    low, high = axes.get_xlim()
    if -0.1 * high < low < 0.3 * high:
        axes.set_xlim(-0.015 * high, high)  # the beginning belongs to the curve
    if look.xlim:
        axes.set_xlim(look.xlim)
    if look.ylim:
        axes.set_ylim(look.ylim)
    elif success:
        axes.set_ylim(-0.04, 1.04)
    for axis, count in ((axes.xaxis, 4), (axes.yaxis, 5)):
        locator = matplotlib.ticker.MaxNLocator(count, steps=[1, 2, 2.5, 5, 10])
        axis.set_major_locator(locator)
        axis.set_major_formatter(matplotlib.ticker.FuncFormatter(_short))


def _short(value: float, _: int | None = None) -> str:
    """2500000 -> "2.5M"; `_` is the tick's position."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _handles(
    panels: Sequence[panels_lib.Panel],
    strokes: Mapping[str, Stroke],
    lines: Sequence[str],
    rule: bands.Rule,
    look: Look,
) -> list[matplotlib.artist.Artist]:
    """What the legend explains: methods, bands, reference scores, intervals."""
    line, patch = matplotlib.lines.Line2D, matplotlib.patches.Patch
    handles = []
    for method, (color, dashes) in strokes.items():
        count = max(len(panel.seeds.get(method, ())) for panel in panels)
        label = look.labels.get(method) or LABELS.get(method, method)
        label += f", {count} seed{'s' * (count > 1)}"
        if method:
            handles.append(line([], [], color=color, ls=dashes, lw=2, label=label))
    every = [band for panel in panels for band in panel.joined.values()]
    if any((band.high > band.low).any() for band in every):
        label = f"{CENTER_WORDS.get(rule.center, rule.center)}, {_band_words(rule)}"
        handles.append(patch(color=INK, alpha=0.25, lw=0, label=label))
        if any(panel.tasks for panel in panels):
            label = "over tasks: 95 % interval"
            handles.append(patch(color=INK, alpha=0.25, lw=0, label=label))
    for name, style in zip(lines, itertools.cycle(DASHES), strict=False):
        label = look.labels.get(name, name.replace("_", " "))
        handles.append(line([], [], color=INK, lw=1, ls=style, label=label))
    trained = [panel.name for panel in panels if panel.intervals]
    if logs.ALL_TASKS in trained:
        label = "change of task"
        handles.append(line([], [], color=INK, lw=0.8, alpha=0.6, label=label))
    if set(trained) - {logs.ALL_TASKS}:
        label = "training on this task"
        handles.append(patch(color=INK, alpha=0.10, lw=0, label=label))
    return handles


def _band_words(rule: bands.Rule) -> str:
    if rule.band.startswith("per"):
        low = float(rule.band[3:])
        return f"{low:g}th to {100 - low:g}th percentile"
    count = rule.band[3:] if rule.band.startswith("std") else ""
    return f"{count} {BAND_WORDS[rule.band.removesuffix(count)]}".strip()


def _legend(
    figure: matplotlib.figure.Figure, handles: Sequence[matplotlib.artist.Artist]
) -> None:
    """Puts the legend below the panels, in as few rows as fit."""
    sizes = [0.075 * len(handle.get_label()) + 0.6 for handle in handles]  # inches
    for columns in range(len(sizes), 0, -1):
        rows = -(-len(sizes) // columns)
        widths = [max(sizes[i : i + rows]) for i in range(0, len(sizes), rows)]
        if sum(widths) <= figure.get_figwidth() or columns == 1:
            break
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(widths))


def save(
    figure: matplotlib.figure.Figure, path: pathlib.Path, formats: Sequence[str] = ()
) -> list[pathlib.Path]:
    """Writes a picture, each file all or nothing; its folder is made.

    Args:
      figure: what is drawn.
      path: where to; its ending says the format, which is PNG if it says none.
      formats: of `paper.FORMATS`; the path gets the ending of each.

    Returns:
      The files.
    """
    ending = path.suffix.removeprefix(".").lower()
    base = path.stem if ending in paper.FORMATS else path.name
    found = {path.with_name(f"{base}.{each}"): each for each in formats}
    found = found or {path: ending if ending in paper.FORMATS else "png"}
    path.parent.mkdir(parents=True, exist_ok=True)
    for place, kind in found.items():
        _write(figure, place, kind)
    return list(found)


def _write(figure: matplotlib.figure.Figure, path: pathlib.Path, kind: str) -> None:
    """Writes one file without its date, so that the same figure is the same file."""
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with matplotlib.rc_context(STYLE):
            figure.savefig(partial, dpi=160, format=kind, metadata=undated.get(kind))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
