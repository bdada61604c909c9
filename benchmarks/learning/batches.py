"""How windows come together in batches: ours, and two other ways, counted.

    python -m benchmarks.learning.batches
    python -m benchmarks.learning.batches --minlen 2 --maxlen 16

Episodes as a random agent has them in the benchmark's task: half are cut after 100
steps, half reach the goal before. A line says of one way how many ends with a goal a
batch holds, how many batches hold none, and from how many episodes a batch is made. The
adapters `dealt` and `phased` train our agent with the other two ways.
"""

import argparse
from typing import NamedTuple

import numpy as np

from benchmarks.learning import runs
from common.replay import streams

EPISODES = 30
BATCHES = 1000


class Dealt(streams.Stream):
    """One stream for all rows: where a row ends, the next row of the batch goes on.

    So the original's batches are made. The state that a row carries over from its last
    batch belongs to another window then.
    """

    def _choose(self) -> streams.Choice:
        return [self._choose_row(0) for _ in self._rows]


class Phased(streams.Stream):
    """As ours, but each row begins somewhere in its first window.

    If all windows are of one length, rows that begin together end together, each time.
    """

    _begun = False

    def _choose(self) -> streams.Choice:
        if not self._begun:
            self._begun = True
            for row in range(len(self._rows)):
                window = self._draw(self._rng)
                start = int(self._rng.integers(window.start, window.stop))
                self._rows[row] = window._replace(start=start)
        return super()._choose()


WAYS = {"ours": streams.Stream, "dealt": Dealt, "phased": Phased}


class Played(NamedTuple):
    """What a stream asks of an episode, and whether it reaches the goal."""

    index: int
    total: int  # transitions
    reached: bool


class Counts(NamedTuple):
    """Of many batches."""

    ends: float  # ends with a goal in a batch, mean
    none: float  # share of the batches that hold none
    episodes: float  # from which a batch is made, mean


def count(way: str, case: dict, minlen: int, maxlen: int, seed: int = 0) -> Counts:
    """Counts ends and episodes in batches of one way."""
    rng, limit = np.random.default_rng([seed, 0]), case["time_limit"]
    lengths = [limit, *rng.integers(minlen, limit, EPISODES // 2)]
    lengths += [limit] * (EPISODES - len(lengths))
    played = [Played(k, n + 1, n < limit) for k, n in enumerate(lengths)]
    cut = streams.Cut(minlen, maxlen, prioritize_ends=True)
    stream = WAYS[way](
        draw=lambda rng: cut(played[rng.integers(EPISODES)], rng),
        find=lambda index: played[index],
        cache=streams.Cache(0),
        batch=case["batch"],
        length=case["length"],
        rng=np.random.default_rng([seed, 1]),
        prefetch=False,
    )
    ends, episodes = [], []
    for _ in range(BATCHES):
        windows = [window for row in stream._choose() for window in row]
        last = [w.episode.reached and w.stop == w.episode.total for w in windows]
        ends.append(sum(last))
        episodes.append(len({window.episode.index for window in windows}))
    none = np.mean(np.array(ends) == 0)
    return Counts(float(np.mean(ends)), float(none), float(np.mean(episodes)))


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minlen", type=int, default=runs.CASE["minlen"])
    parser.add_argument("--maxlen", type=int, default=runs.CASE["maxlen"])
    args = parser.parse_args()
    if args.minlen >= runs.CASE["time_limit"]:
        limit = runs.CASE["time_limit"]
        parser.error(f"--minlen is {args.minlen}; episodes have {limit} steps at most.")
    try:
        streams.Cut(args.minlen, args.maxlen, prioritize_ends=True)
    except ValueError as error:
        parser.error(str(error))
    print("way     ends  batches without  episodes")
    for way in WAYS:
        ends, none, episodes = count(way, runs.CASE, args.minlen, args.maxlen)
        print(f"{way:6} {ends:5.1f} {100 * none:14.0f} % {episodes:9.1f}")


if __name__ == "__main__":
    main()
