"""What the replay of a method's runs held and what was drawn from it, over time.

Means over finished runs. Shapes: T tasks, m times, b bins of episodes, P phases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dreamerv2.report import runs as runs_lib

_TIMES = 100  # at which shares held are looked up
_DRAWN = 40  # stretches of the run over which shares drawn are counted


class Shares(NamedTuple):
    """Shares of the tasks over time.

    Attributes:
      xs: [m] frames.
      shares: [T, m], their sum 1; nan where there is nothing.
      unit: what is counted: steps, episodes or windows.
    """

    xs: np.ndarray
    shares: np.ndarray
    unit: str


class Arrivals(NamedTuple):
    """How often episodes were drawn, by the number of their arrival.

    Attributes:
      edges: [b + 1] numbers of episodes, between which they are counted together.
      windows: [P, b] windows drawn of each episode, by the phase of drawing.
      ends: [P] how many episodes had arrived when each phase ended.
    """

    edges: np.ndarray
    windows: np.ndarray
    ends: np.ndarray


def held(runs: Sequence[runs_lib.Record]) -> Shares | None:
    """Shares of the tasks in what the replay held; None if the runs do not tell."""
    for prefix, unit in (("er_steps", "steps"), ("er_task", "episodes")):
        known = [run for run in runs if run.family(prefix)]
        if known:
            xs = np.linspace(0, known[0].total, _TIMES + 1)[1:]
            found = [_at(run, prefix, xs) for run in known]
            return Shares(xs, _mean_shares(found), unit)
    return None


def drawn(runs: Sequence[runs_lib.Record]) -> Shares | None:
    """Shares of the tasks in the windows drawn; None if the runs do not tell.

    Each x is the end of the stretch in which they were drawn.
    """
    known = [run for run in runs if run.family("drawn_task")]
    if not known:
        return None
    records = max(
        len(points) for run in known for points in run.family("drawn_task").values()
    )
    edges = np.linspace(0, known[0].total, min(_DRAWN, records) + 1)
    found = []
    for run in known:
        counts = [
            np.interp(edges, *run.family("drawn_task").get(k, np.zeros((1, 2))).T, 0)
            for k in range(len(run.trained))
        ]
        found.append(np.diff(counts))
    return Shares(edges[1:], _mean_shares(found), "windows")


def _at(run: runs_lib.Record, prefix: str, xs: np.ndarray) -> np.ndarray:
    """[T, m]: the last count of each task at or before each x, 0 before the first."""
    family = run.family(prefix)
    counts = np.zeros((len(run.trained), len(xs)))
    for row, k in zip(counts, range(len(run.trained)), strict=True):
        if k in family:
            index = np.searchsorted(family[k][:, 0], xs, side="right") - 1
            row[:] = np.where(index < 0, 0, family[k][index, 1])
    return counts


def _mean_shares(counts: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over runs of shares, each run counting alike wherever it has any."""
    counts = np.stack(counts)  # [R, T, m]
    total = counts.sum(axis=1, keepdims=True)
    there = total > 0
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=there)
    number = there.sum(axis=0)  # [1, m]
    return np.where(number > 0, shares.sum(axis=0) / np.maximum(number, 1), np.nan)


def arrivals(runs: Sequence[runs_lib.Record]) -> Arrivals | None:
    """How often episodes were drawn; None if the runs do not tell."""
    found = [each for each in map(_counts, runs) if each]
    if not found:
        return None
    width = max(width for width, _, _ in found)
    joined = [_joined(counts, width // own) for own, counts, _ in found]
    bins = max(counts.shape[1] for counts in joined)
    starts = np.arange(bins) * width
    rates = np.full((len(found), len(found[0][2]), bins), np.nan)
    for rate, counts, (_, _, ends) in zip(rates, joined, found, strict=True):
        size = np.clip(ends[-1] - starts, 0, width)[: counts.shape[1]]
        size = np.where(size > 0, size, np.nan)
        rate[:, : counts.shape[1]] = np.diff(counts, axis=0, prepend=0) / size
    ends = np.mean([ends for _, _, ends in found], axis=0)
    number = np.maximum(np.isfinite(rates).sum(axis=0), 1)
    windows = np.nansum(rates, axis=0) / number
    return Arrivals(np.arange(bins + 1) * width, windows, ends)


def _counts(run: runs_lib.Record) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Width of the bins, windows [P, b] by the end of each phase, episodes [P]."""
    bins = run.family("drawn_bin")
    rows, widths, ends = [], [], []
    for _, end in run.ends:
        width = _exactly(run.log.series.get("drawn_width"), end)
        arrived = _exactly(run.log.series.get("total_episodes"), end)
        if width is None or arrived is None:
            return None
        row = [_exactly(points, end) for points in bins.values()]
        rows.append(np.array([value for value in row if value is not None]))
        widths.append(int(width))
        ends.append(arrived)
    width = widths[-1]
    pairs = zip(rows, widths, strict=True)
    joined = [_joined(row[None], width // own)[0] for row, own in pairs]
    counts = np.zeros((len(joined), max(map(len, joined))))
    for to, row in zip(counts, joined, strict=True):
        to[: len(row)] = row
    return width, counts, np.array(ends)


def _joined(counts: np.ndarray, factor: int) -> np.ndarray:
    """[P, b] -> [P, b / factor], so many bins added to one."""
    missing = -counts.shape[1] % factor
    padded = np.pad(counts, ((0, 0), (0, missing)))
    return padded.reshape(len(counts), -1, factor).sum(axis=2)


def _exactly(points: np.ndarray | None, x: float) -> float | None:
    """The value at x; None if there is none."""
    if points is None:
        return None
    index = np.searchsorted(points[:, 0], x)
    inside = index < len(points) and points[index, 0] == x
    return float(points[index, 1]) if inside else None
