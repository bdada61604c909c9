"""Curves of several seeds as one line with a band.

Shapes: n points of a curve, S seeds, m values of x that the seeds share. A seed that
has no value at an x is nan there, and does not count there.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.curves import intervals

_BINS = 50  # where no width is asked for


class Band(NamedTuple):
    """x, centre over the seeds, and the ends of the band, each [m]."""

    xs: np.ndarray
    mid: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Rule(NamedTuple):
    """How seeds become a band: names of the centre and of the band."""

    center: str = "mean"
    band: str = "std"


MEAN = Rule()


CENTERS: dict[str, intervals.Statistic] = {
    "mean": lambda values: np.nanmean(values, axis=0),
    "median": lambda values: np.nanmedian(values, axis=0),
    "iqm": intervals.nan_interquartile_mean,
}
# The band that goes with a centre, and the centre that goes with a band.
_BANDS = {"mean": "std", "median": "iqr", "iqm": "ci"}
_CENTERS = {"std": "mean", "minmax": "mean", "iqr": "median", "ci": "mean"}


def parse_rule(words: Sequence[str]) -> Rule:
    """Reads `mean`, `iqm ci`, `per25`, ...: a centre, a band or both.

    Bands: `std` (`std2` for two of them), `minmax`, `iqr` (the middle half of the
    seeds), `perP` (from the P-th to the (100 - P)-th percentile), `ci` (95 % bootstrap
    interval of the centre) and `none`.

    Raises:
      ValueError: an unknown word, or two centres or bands.
    """
    centers = [word for word in words if word in CENTERS]
    bands = [word for word in words if re.fullmatch(r"std[\d.]*|per[\d.]+", word)]
    bands += [word for word in words if word in ("minmax", "iqr", "ci", "none")]
    if len(centers) + len(bands) != len(words) or max(len(centers), len(bands)) > 1:
        raise ValueError(
            f"--agg {' '.join(words)} is not one of {', '.join(CENTERS)} and one of "
            "std, std2, minmax, iqr, per5, ci, none (either may be left out)."
        )
    kind = re.sub(r"[\d.]+", "", bands[0]).replace("per", "iqr") if bands else ""
    center = centers[0] if centers else _CENTERS.get(kind, "mean")
    return Rule(center, bands[0] if bands else _BANDS[center])


def bin_points(points: np.ndarray, width: float) -> np.ndarray:
    """Averages points [n, 2] over the bins (i * width, (i + 1) * width].

    Each bin that has points gives one, at its end. A width of 0 leaves all as it is.
    """
    if not width:
        return points
    bins, where = np.unique(np.ceil(points[:, 0] / width - 1e-9), return_inverse=True)
    means = np.bincount(where, points[:, 1]) / np.bincount(where)
    return np.stack([bins * width, means], axis=1)


def bin_width(seeds: Sequence[np.ndarray], bins: float) -> float:
    """`bins` if that is above 0, else a width that suits the seeds.

    That is a 50th of the longest seed if they differ in x or have more than 100 points;
    0, which leaves all points, if they do not, or for a single seed.
    """
    first = seeds[0][:, 0]
    alike = all(np.array_equal(first, points[:, 0]) for points in seeds)
    if bins > 0 or len(seeds) == 1 or (alike and len(first) <= 2 * _BINS):
        return max(bins, 0.0)
    return max(points[-1, 0] for points in seeds) / _BINS or 1.0


def align(seeds: Sequence[np.ndarray], bins: float) -> tuple[np.ndarray, np.ndarray]:
    """Brings points [n, 2] of each seed to common x [m] and values [S, m]."""
    width = bin_width(seeds, bins)
    binned = [bin_points(points, width) for points in seeds]
    xs = np.unique(np.concatenate([points[:, 0] for points in binned]))
    values = np.full((len(binned), len(xs)), np.nan)
    for row, points in zip(values, binned, strict=True):
        row[np.searchsorted(xs, points[:, 0])] = points[:, 1]
    return until_end(xs, seeds), values


def until_end(xs: np.ndarray, seeds: Sequence[np.ndarray]) -> np.ndarray:
    """The ends of bins [m], the last of them not beyond the last point of all seeds."""
    return np.minimum(xs, max(points[-1, 0] for points in seeds))


def aggregate(
    seeds: Sequence[np.ndarray], bins: float = 0.0, rule: Rule = MEAN
) -> Band:
    """Joins the seeds of a method.

    Args:
      seeds: points [n, 2] of each seed, x rising.
      bins: width in x over which values are averaged; 0 chooses, see `bin_width`.
      rule: the centre and the band; see `parse_rule`.
    """
    xs, values = align(seeds, bins)
    mid = CENTERS[rule.center](values)
    return Band(xs, mid, *_ends(values, mid, rule))


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the `width` values up to each one; of fewer at the beginning."""
    total = np.cumsum(values)
    count = np.minimum(np.arange(1, len(values) + 1), width)
    return (total - np.concatenate([np.zeros(width), total])[: len(values)]) / count


def _ends(
    values: np.ndarray, mid: np.ndarray, rule: Rule
) -> tuple[np.ndarray, np.ndarray]:
    name, number = re.fullmatch(r"([a-z]+)([\d.]*)", rule.band).groups()
    if name == "none" or len(values) == 1:
        return mid, mid
    if name == "std":
        spread = float(number or 1) * intervals.sample_deviation(values)
        return mid - spread, mid + spread
    if name == "ci":
        return intervals.nan_bootstrap(
            values[:, None], lambda v: CENTERS[rule.center](v[:, 0])
        )
    percent = {"minmax": 0.0, "iqr": 25.0}.get(name) if not number else float(number)
    return tuple(np.nanpercentile(values, [percent, 100 - percent], axis=0))
