"""How likely a method is to be better than another (Agarwal et al., 2021, figure 9)."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from common.curves import intervals
from dreamerv2.report import results

MOST = 6  # methods that are all compared with each other; of more, with the first
_MEASURE = "performance"


class Pair(NamedTuple):
    """P(a run of `method` is better at the end than one of `other`), over all tasks.

    The ends of the interval are nan where one of them has a single run.
    """

    method: str
    other: str
    point: float
    low: float
    high: float


def compare(benchmark: results.Benchmark, signal: str) -> list[Pair]:
    """Compares the methods that have a value of every task.

    Args:
      benchmark: with everything computed.
      signal: a key of `results.SIGNALS`.

    Returns:
      Every pair of different methods, in both orders; beyond MOST methods, each of
      them against the first.
    """
    found = {
        name: method.scores[signal][_MEASURE]
        for name, method in benchmark.methods.items()
        if signal in method.scores
        and np.isfinite(method.scores[signal][_MEASURE]).all()
    }
    if len(found) > MOST:
        first = next(iter(found))
        return [_pair(found, name, first) for name in found if name != first]
    pairs = []
    for name, other in itertools.combinations(found, 2):
        pair = _pair(found, name, other)
        pairs += [pair, Pair(other, name, 1 - pair.point, 1 - pair.high, 1 - pair.low)]
    return pairs


def _pair(scores: dict[str, np.ndarray], name: str, other: str) -> Pair:
    """The same numbers at every call."""
    ours, others = scores[name], scores[other]
    point, low, high = intervals.probability_of_improvement(
        ours, others, np.random.default_rng(0)
    )
    if min(len(ours), len(others)) == 1:
        low = high = math.nan
    return Pair(name, other, point, low, high)
