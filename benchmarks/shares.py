"""Draws the share of each task in the replay while tasks follow each other.

    python -m benchmarks.shares --out shares.png

The simulation of Kessler et al. 2023, figure 4: four tasks of 1M steps and a capacity
of 1M steps, through the classes that training uses; only the episodes are empty. It
prints the shares at the end of each task, mean over seeds.
"""

import argparse
import pathlib

import numpy as np

from common.replay import contents, episodes
from common.replay.strategies import retention, sampling

STRATEGIES = ("fifo", "random_replacement", "reservoir", "split")


def simulate(
    keep: str, steps: list[int], capacity: int, length: int, seed: int, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fills a replay with episodes of `length` steps.

    Returns:
      Steps so far [P] and shares of held steps [P, tasks] at `points` points a task.
    """
    options = {"capacity": capacity} if keep == "split" else {}
    kept = retention.RETENTION[keep](seed, **options)
    held = contents.Contents(capacity, kept, sampling.Uniform())
    times, shares, done = [], [], 0
    for task, budget in enumerate(steps):
        marks = np.linspace(0, budget, points + 1)[1:]
        collected = 0
        for mark in marks:
            while collected < mark:
                episode = episodes.Episode(
                    held.next_index, task, length + 1, 0.0, None, ()
                )
                held.arrive(episode)
                collected += length
            tasks = [episode.task for episode in held.episodes.values()]
            shares.append(np.bincount(tasks, minlength=len(steps)) / len(tasks))
            times.append(done + mark)
        done += budget
    return np.array(times), np.array(shares)


def draw(results: dict[str, tuple], path: pathlib.Path) -> None:
    """Draws one panel for each strategy."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(4 * len(results), 3))
    for axis, (keep, (times, shares)) in zip(axes, results.items(), strict=True):
        names = [f"task {task + 1}" for task in range(shares.shape[1])]
        axis.stackplot(times / 1e6, shares.T, labels=names)
        axis.set(title=keep, xlabel="million steps", ylim=(0, 1))
        axis.margins(0)
    axes[0].set_ylabel("share of the replay")
    axes[-1].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Simulates what the flags say, prints the shares and draws them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("shares.png"))
    parser.add_argument("--steps", type=float, nargs="+", default=[1e6] * 4)
    parser.add_argument("--capacity", type=float, default=1e6)
    parser.add_argument("--length", type=int, default=1000, help="steps of an episode")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    steps = [int(budget) for budget in args.steps]
    points, results = 20, {}
    for keep in STRATEGIES:
        runs = [
            simulate(keep, steps, int(args.capacity), args.length, seed, points)
            for seed in range(args.seeds)
        ]
        shares = np.mean([shares for _, shares in runs], axis=0)
        results[keep] = runs[0][0], shares
        for task in range(len(steps)):
            row = shares[(task + 1) * points - 1]
            text = " ".join(f"{100 * share:5.1f}" for share in row)
            print(f"{keep:20} after task {task + 1}: {text} %")
    draw(results, args.out)
    print(f"Wrote {args.out}.")


if __name__ == "__main__":
    main()
