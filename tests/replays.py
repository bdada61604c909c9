"""Small replays that check themselves, and episodes whose every number is known."""

import pathlib
from typing import Any

import numpy as np

from common import replay
from common.replay import episodes, streams
from common.replay.strategies import retention, sampling

PAIRS = [(keep, draw) for keep in retention.RETENTION for draw in sampling.SAMPLING]

# Split tells of long episodes, which many tests are about.
LONG = "ignore:Episode .*retention split:UserWarning"


def embed(episode: episodes.Episode) -> np.ndarray:
    return np.sin(next(episode.parts("count"))[:4].astype(np.float32))


def score(batch: list[dict[str, np.ndarray]]) -> np.ndarray:
    return np.array([np.cos(arrays["count"][0]) for arrays in batch])


class CheckedStream(streams.Stream):
    """A stream that is valid after each call that may change it."""

    def next(self):
        batch = super().next()
        self.check_valid()
        return batch

    def set_state(self, state):
        super().set_state(state)
        self.check_valid()


class Checked(replay.Replay):
    """A replay that is valid after each call that may change it."""

    def stream(self, *args, **kwargs):
        stream = super().stream(*args, **kwargs)
        stream.__class__ = CheckedStream
        return stream

    def add_step(self, transition, worker=0, task=0):
        index = super().add_step(transition, worker, task)
        if transition["is_last"]:
            self.check_valid()
        return index

    def drop_ongoing(self):
        super().drop_ongoing()
        self.check_valid()

    def get_state(self):
        state = super().get_state()
        self.check_valid()
        return state

    def set_state(self, state):
        super().set_state(state)
        self.check_valid()


def make(
    directory: pathlib.Path | None = None,
    keep: str = "fifo",
    draw: str = "uniform",
    cls: type[replay.Replay] = Checked,
    **settings: Any,
) -> replay.Replay:
    """A replay of 100 steps; the strategies are those of these names."""
    lengths = {"capacity": 100, "minlen": 3, "maxlen": 20, "prioritize_ends": True}
    settings = {**lengths, "seed": 0, "cache_bytes": 5e4, **settings}
    options = {
        "coverage": {"embed": embed, "number_of_comparisons": 5},
        "split": {"capacity": settings["capacity"]},
    }
    kept = retention.RETENTION[keep](settings["seed"], **options.get(keep, {}))
    options = {"score": score, "recalculation": 4} if draw == "uncertainty" else {}
    drawn = sampling.SAMPLING[draw](settings["seed"], **options)
    return cls(directory, retention=kept, sampling=drawn, **settings)


def transition(count: int, time: int, steps: int) -> dict[str, Any]:
    """Transition `time` of an episode of so many steps; all of it tells `count`."""
    return {
        "count": np.int32(count),
        "image": np.full((2, 2, 1), count % 251, np.uint8),
        "action": np.full(2, count, np.float32),
        "reward": np.float32(np.sin(count)),
        "is_first": time == 0,
        "is_last": time == steps,
        "is_terminal": time == steps and steps % 2 == 0,
        "log_secret": "not stored",
    }


class Collector:
    """Feeds episodes whose observation `count` numbers all transitions ever made."""

    def __init__(self, target: replay.Replay):
        self.target = target
        self.count = 0
        self.made: list[dict[str, np.ndarray]] = []  # of every finished episode

    def step(self, time: int, steps: int, worker: int = 0, task: int = 0):
        """Adds a transition; returns it, and what `add_step` returned."""
        made = transition(self.count, time, steps)
        self.count += 1
        return made, self.target.add_step(made, worker, task)

    def episode(self, steps: int, worker: int = 0, task: int = 0) -> int | None:
        """Adds a whole episode; returns its index if it is held."""
        rows = [self.step(time, steps, worker, task) for time in range(steps + 1)]
        self.made.append(stack([row for row, _ in rows]))
        return rows[-1][1]


def fill(target: replay.Replay, lengths: list[int], task: int = 0) -> Collector:
    """Adds episodes of so many steps."""
    collector = Collector(target)
    for steps in lengths:
        collector.episode(steps, task=task)
    return collector


def stack(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Arrays [T, ...] of what is stored of transitions."""
    keys = [key for key in rows[0] if not key.startswith("log_")]
    return {key: np.stack([np.asarray(row[key]) for row in rows]) for key in keys}


def held(target: replay.Replay) -> dict[int, episodes.Episode]:
    """The episodes held, by index."""
    return target._contents.episodes


def first_counts(target: replay.Replay) -> list[tuple[int, int]]:
    """Index and first `count` of every held episode, in their order."""
    return [(i, int(e.chunk(0)["count"][0])) for i, e in held(target).items()]


def names(directory: pathlib.Path) -> list[str]:
    """The files of episodes in a folder."""
    return sorted(path.name for path in directory.glob("*.npz"))


def numbers(directory: pathlib.Path) -> list[int]:
    """The indices of the episodes in a folder."""
    return [int(name[:6]) for name in names(directory)]


def assert_same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    """Two batches or episodes are equal to the bit."""
    assert set(left) == set(right)
    for key in left:
        assert left[key].dtype == right[key].dtype, key
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)
