"""Draws the memory of a MiniHack level's process over many resets.

    python -m benchmarks.resets --out resets.png
    python -m benchmarks.resets --level MiniHack-River-v0 --resets 3000 --out r.png

Once with a process that is replaced when it has grown, as in training, and once with
one that is kept. After every reset a few random steps are taken.
"""

import argparse
import functools
import pathlib
import time
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from common.envs.suites import minihack
from common.envs.workers import supervised

STEPS = 3  # after each reset
EVERY = 20  # resets between two looks at the memory
MIB = 2**20


class Curve(NamedTuple):
    """Memory over resets, and what was done."""

    resets: list[int]
    memory: list[float]  # MiB
    recycled: int
    seconds: float


def measure(level: str, count: int, growth: int) -> Curve:
    """Resets a level `count` times in a process that may grow by `growth` bytes."""
    env = supervised.SupervisedEnv(
        functools.partial(minihack.make_here, level, 1, 100, (64, 64)), growth=growth
    )
    rng = np.random.default_rng(0)
    actions = np.eye(env.act_spec.size, dtype=np.float32)
    resets, memory, start = [], [], time.perf_counter()
    for number in range(count + 1):
        env.reset(number)
        for _ in range(STEPS):
            if env.step(actions[rng.integers(len(actions))])["is_last"]:
                break
        if number % EVERY == 0:
            resets.append(number)
            memory.append(env.resident() / MIB)
    env.close()
    return Curve(resets, memory, env.recycled, time.perf_counter() - start)


def draw(curves: dict[str, Curve], level: str, path: pathlib.Path) -> None:
    """Draws the curves, named by their keys."""
    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for name, curve in curves.items():
        axes.plot(curve.resets, curve.memory, lw=1.5, label=name)
    axes.set(xlabel="resets", ylabel="resident memory (MiB)", title=level)
    axes.set_ylim(0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measures what the flags say, prints the ends of the curves and draws them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--level", default="MiniHack-Room-Random-5x5-v0")
    parser.add_argument("--resets", type=lambda text: int(float(text)), default=10_000)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    curves = {}
    limits = {"replaced when grown": supervised.GROWTH, "kept": 2**60}
    for name, growth in limits.items():
        curve = curves[name] = measure(args.level, args.resets, growth)
        print(
            f"{name}: {curve.memory[1]:.1f} MiB at {curve.resets[1]} resets, "
            f"{curve.memory[-1]:.1f} MiB at {args.resets}, most {max(curve.memory):.1f}"
            f"; {curve.recycled} processes replaced; "
            f"{1e3 * curve.seconds / args.resets:.1f} ms a reset with {STEPS} steps",
            flush=True,
        )
    draw(curves, args.level, args.out)


if __name__ == "__main__":
    main()
