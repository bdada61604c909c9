"""Measures the replay on recorded episodes, beside a plain one in NumPy.

    python -m benchmarks.replay
    python -m benchmarks.replay --steps 1000000 --strategies fifo+uniform
    python -m benchmarks.replay --suite minihack
    python -m benchmarks.replay --episodes LOGDIR/train_replay --json out.json

Episodes of three MiniGrid or four MiniHack tasks are recorded with random actions, or
those of a replay's folder are taken; they are repeated until the replay is full.
Columns:

    bytes/step   compressed episodes in memory, for each environment step
    rss/step     growth of the process while filling, for each step, cache included
    disk/step    files, for each step
    batch        ms of CPU for one batch of 16 x 50, decoded in the caller's thread
    wait         ms that `next` of a prefetching stream blocks, 30 ms after the last
    add          ms of the caller's CPU for adding an episode, all 100 steps together
    add max      ms that the slowest step of an episode blocks the caller
    reopen       seconds for 100k steps from disk

Times are medians (`add max`: 95 %). `plain` keeps raw arrays, on no disk.
"""

import argparse
import functools
import gc
import json
import multiprocessing
import pathlib
import resource
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from common import replay
from common.envs.suites import minigrid, minihack
from common.replay import episodes, streams
from common.replay.strategies import retention, sampling

BATCH, LENGTH = 16, 50
MINLEN, MAXLEN = 5, 50
PAIRS = [f"{keep}+uniform" for keep in retention.RETENTION]
PAIRS += [f"fifo+{draw}" for draw in sampling.SAMPLING if draw != "uniform"]
SUITES = {
    "minigrid": (minigrid.make, minigrid.MINIGRID_3),
    "minihack": (minihack.make, minihack.MINIHACK_4),
}
Arrays = dict[str, np.ndarray]


class Plain:
    """A replay as one writes it first: a list of raw episodes, the oldest leaves."""

    def __init__(self, capacity: int) -> None:
        """Holds at most `capacity` steps."""
        self._capacity = capacity
        self._episodes: list[Arrays] = []
        self._steps = 0
        self._rows: list[list[dict]] = []
        self._cut = streams.Cut(MINLEN, MAXLEN, True)
        self._rng = np.random.default_rng(0)
        self._rest = [None] * BATCH

    def add_step(self, transition: dict) -> None:
        """Takes in one transition."""
        if transition["is_first"]:
            self._rows = []
        self._rows.append({key: value.copy() for key, value in transition.items()})
        if transition["is_last"] and len(self._rows) > MINLEN:
            keys = transition.keys()
            episode = {key: np.stack([r[key] for r in self._rows]) for key in keys}
            self._episodes.append(episode)
            self._steps += len(self._rows) - 1
        while self._steps > self._capacity:
            self._steps -= len(self._episodes.pop(0)["reward"]) - 1

    def next(self) -> Arrays:
        """A batch."""
        rows = [self._row(row) for row in range(BATCH)]
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]}

    def _row(self, row: int) -> Arrays:
        parts, missing = [], LENGTH
        while missing:
            window = self._rest[row] or self._window()
            part = {key: value[:missing] for key, value in window.items()}
            parts.append(part)
            rest = {key: value[missing:] for key, value in window.items()}
            self._rest[row] = rest if len(rest["reward"]) else None
            missing -= len(part["reward"])
        return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}

    def _window(self) -> Arrays:
        episode = self._episodes[self._rng.integers(len(self._episodes))]
        total = len(episode["reward"])
        length = max(min(total, MAXLEN) - self._rng.integers(MINLEN), MINLEN)
        last = total - length
        start = min(self._rng.integers(last + 1 + MINLEN), last)
        window = {key: value[start : start + length] for key, value in episode.items()}
        window["is_first"] = np.arange(length) == 0
        return window

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for episode in self._episodes for a in episode.values())


def record(suite: str, count: int) -> list[Arrays]:
    """Records `count` episodes of each task of a suite with random actions."""
    recorded, rng = [], np.random.default_rng(0)
    make_env, tasks = SUITES[suite]
    for task in tasks:
        env = make_env(task)
        size = env.act_spec.size
        done = 0
        while done < count:
            rows = [env.reset(int(rng.integers(2**31))) | {"action": np.zeros(size)}]
            while not rows[-1]["is_last"]:
                action = np.eye(size, dtype=np.float32)[rng.integers(size)]
                rows.append(env.step(action) | {"action": action})
            if len(rows) > MINLEN:
                keys = [*env.obs_specs, "action", "reward"]
                keys += ["is_first", "is_last", "is_terminal"]
                arrays = {key: np.stack([row[key] for row in rows]) for key in keys}
                arrays["action"] = arrays["action"].astype(np.float32)
                recorded.append(arrays)
                done += 1
        env.close()
    return recorded


def read(folder: pathlib.Path, count: int) -> list[Arrays]:
    """Reads up to `count` episodes of a replay's folder."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise SystemExit(f"{folder} holds no episodes (*.npz).")
    chosen = np.random.default_rng(0).permutation(len(paths))[:count]
    return [episodes.load(paths[number]).arrays() for number in sorted(chosen)]


def transitions(recorded: list[Arrays], steps: int) -> Iterator[list[dict]]:
    """Repeats recorded episodes, in random order, up to a number of steps."""
    rng = np.random.default_rng(1)
    while steps > 0:
        arrays = recorded[rng.integers(len(recorded))]
        total = len(arrays["reward"])
        steps -= total - 1
        yield [{k: v[i] for k, v in arrays.items()} for i in range(total)]


def make(pair: str, folder: pathlib.Path, capacity: int) -> replay.Replay:
    """A replay with strategies `retention+sampling`; the score is a trivial one."""
    keep, draw = pair.split("+")

    def score(batch: list[Arrays]) -> np.ndarray:
        return np.array([arrays["reward"].mean() for arrays in batch])

    keeps = {"embed": embedding()} if keep == "coverage" else {}
    keeps |= {"capacity": capacity} if keep == "split" else {}
    draws = {"score": score} if draw == "uncertainty" else {}
    return replay.Replay(
        folder,
        capacity=capacity,
        minlen=MINLEN,
        maxlen=MAXLEN,
        prioritize_ends=True,
        retention=retention.RETENTION[keep](**keeps),
        sampling=sampling.SAMPLING[draw](**draws),
        seed=0,
    )


@functools.cache
def embedding() -> Any:
    """The `ConvLSTM` of a run, which needs TensorFlow."""
    from common.nets import embeddings

    settings = {"filters": 3, "kernel_size": 4, "normalize_lstm_state": True}
    return embeddings.ConvLSTM("image", (64, 64, 3), seed=0, **settings)


def resident() -> int:
    """Bytes of memory of this process."""
    gc.collect()
    statm = pathlib.Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def time_batches(source, pause: float, number: int = 100) -> tuple[float, float]:
    """Median CPU and wall milliseconds of `next`, each `pause` seconds apart."""
    cpu, wall = [], []
    source.next()
    for _ in range(number):
        time.sleep(pause)
        before = time.thread_time(), time.perf_counter()
        source.next()
        cpu.append(time.thread_time() - before[0])
        wall.append(time.perf_counter() - before[1])
    return 1e3 * float(np.median(cpu)), 1e3 * float(np.median(wall))


def time_adding(target, recorded: list[Arrays], number: int = 60) -> dict[str, float]:
    """Milliseconds that adding an episode takes, with a pause after each step."""
    long = [arrays for arrays in recorded if len(arrays["reward"]) > 90]
    totals, slowest = [], []
    for rows in transitions(long or recorded, 100 * number):
        cpu, wall = 0.0, []
        for transition in rows:
            before = time.thread_time(), time.perf_counter()
            target.add_step(transition)
            wall.append(time.perf_counter() - before[1])
            cpu += time.thread_time() - before[0]
            time.sleep(2e-4)  # the environment, and the policy
        totals.append(cpu)
        slowest.append(max(wall))
    return {
        "add": 1e3 * float(np.median(totals)),
        "add max": 1e3 * float(np.percentile(slowest, 95)),
    }


def measure_plain(recorded: list[Arrays], steps: int) -> dict[str, float]:
    """The numbers of the plain replay; it is filled to 50k steps at most."""
    steps = min(steps, 50_000)
    before = resident()
    target = Plain(steps)
    for rows in transitions(recorded, steps):
        for transition in rows:
            target.add_step(transition)
    result = {"bytes/step": target.nbytes / steps}
    result["rss/step"] = (resident() - before) / steps
    result["batch"], result["wait"] = time_batches(target, 0.0)
    return result | time_adding(target, recorded)


def measure(pair: str, recorded: list[Arrays], steps: int) -> dict[str, float]:
    """The numbers of one pair of strategies, or of the plain replay."""
    if pair == "plain":
        return measure_plain(recorded, steps)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if pair.startswith("coverage"):
            embedding().cell_state(np.zeros((LENGTH, 64, 64, 3), np.uint8))
        before = resident()
        target = make(pair, folder, steps)
        for rows in transitions(recorded, steps):
            for transition in rows:
                target.add_step(transition)
        target.flush()
        held = target.stats()["loaded_steps"]
        result = {"bytes/step": target.nbytes / held}
        size = sum(path.stat().st_size for path in folder.glob("*.npz"))
        result["disk/step"] = size / held
        ahead = target.stream(BATCH, LENGTH, prefetch=True)
        _, result["wait"] = time_batches(ahead, 0.03)
        result["rss/step"] = (resident() - before) / held
        result["batch"], _ = time_batches(target.stream(BATCH, LENGTH), 0.0)
        result |= time_adding(target, recorded)
        target.close()
        del target, ahead
        before_open = time.perf_counter()
        again = make(pair, folder, steps)
        seconds = time.perf_counter() - before_open
        result["reopen"] = seconds / again.stats()["loaded_steps"] * 1e5
        again.close()
    return result


COLUMNS = ("bytes/step", "rss/step", "disk/step", "batch", "wait", "add", "add max")
COLUMNS += ("reopen",)


def row(name: str, numbers: dict[str, float]) -> str:
    """One line of the table."""
    cells = []
    for column in COLUMNS:
        number = numbers.get(column)
        places = 0 if column.endswith("/step") else 2
        cells.append(f"{'-' if number is None else format(number, f'.{places}f'):>11}")
    return f"{name:28}" + "".join(cells)


def main() -> None:
    """Measures what the flags say and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=lambda text: int(float(text)), default=50_000)
    parser.add_argument("--strategies", nargs="+", default=PAIRS, choices=PAIRS)
    parser.add_argument("--suite", default="minigrid", choices=SUITES)
    parser.add_argument("--episodes", type=pathlib.Path, help="folder of a replay")
    parser.add_argument("--count", type=int, default=60, help="episodes of each task")
    parser.add_argument("--json", type=pathlib.Path, help="file for the numbers")
    args = parser.parse_args()
    if args.episodes:
        recorded = read(args.episodes.expanduser(), 3 * args.count)
    else:
        recorded = record(args.suite, args.count)
    lengths = [len(arrays["reward"]) - 1 for arrays in recorded]
    print(f"{len(recorded)} episodes, {np.mean(lengths):.0f} steps on average,")
    print(f"repeated up to {args.steps} steps; batches of {BATCH} x {LENGTH}")
    print(f"{'':28}" + "".join(f"{column:>11}" for column in COLUMNS))
    results = {}
    fresh = multiprocessing.get_context("fork")  # memory of one is not another's
    for name in (*args.strategies, "plain"):
        with fresh.Pool(1) as pool:
            results[name] = pool.apply(measure, (name, recorded, args.steps))
        print(row(name, results[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
