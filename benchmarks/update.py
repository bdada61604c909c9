"""Measures the agent's update: start, first update, median update, peak memory.

    python -m benchmarks.update --size full
    python -m benchmarks.update --size small --set expl_behavior=Plan2Explore

Each call is one process, so that start and memory mean something. `full` has the
defaults of configs.yaml; `small` has deter and hidden 200, CNN depth 16 and heads of
2 x 200. A batch is 16 x 50 frames of 64x64x3, the horizon 15.
"""

import argparse
import json
import resource
import time

STARTED = time.perf_counter()  # before TensorFlow is imported

import numpy as np  # noqa: E402

from common import specs, tfutils  # noqa: E402
from dreamerv2 import agent as agent_lib  # noqa: E402
from dreamerv2 import blocks  # noqa: E402

SIZES = {
    "full": {},
    "small": {
        "rssm": {"deter": 200, "hidden": 200},
        r"(encoder|decoder)\.cnn_depth": 16,
        r"(.*_head|actor|critic)\.layers": 2,
        r"(.*_head|actor|critic)\.units": 200,
    },
}
BATCH, LENGTH, ACTIONS = 16, 50, 7


def make_batch(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns a batch of noise; what is in it does not change the time it takes."""
    shape = (BATCH, LENGTH)
    action = np.eye(ACTIONS, dtype=np.float32)[rng.integers(ACTIONS, size=shape)]
    flags = ("is_first", "is_last", "is_terminal")
    return {
        "image": rng.integers(0, 256, (*shape, 64, 64, 3), np.uint8),
        "action": action,
        "reward": rng.random(shape, np.float32),
        **{flag: np.zeros(shape, bool) for flag in flags},
    }


def measure(size: str, settings: dict[str, str], rounds: int) -> dict[str, float]:
    """Returns seconds (and GB) of a process that updates an agent `rounds` times."""
    tfutils.setup()
    config = blocks.defaults.update(SIZES[size], settings)
    agent = agent_lib.Agent(
        config,
        {"image": specs.ArraySpec((64, 64, 3), np.dtype(np.uint8))},
        specs.ActionSpec(ACTIONS, discrete=True),
    )
    batch, state, wall, cpu = make_batch(np.random.default_rng(0)), None, [], []
    for _ in range(rounds + 1):
        start, start_cpu = time.perf_counter(), time.process_time()
        state, metrics = agent.train(batch, state, step=0)
        float(metrics["model_loss"])
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
        if len(wall) == 1:
            since_start = time.perf_counter() - STARTED
    observation = {"image": batch["image"][:1, 0], "is_first": np.array([True])}
    policy_state, acts = None, []
    for _ in range(50):
        start = time.perf_counter()
        _, policy_state = agent.policy(
            observation, policy_state, step=0, exploring=np.array([True])
        )
        acts.append(time.perf_counter() - start)
    return {
        "start to end of first update, s": since_start,
        "update, median s": float(np.median(wall[1:])),
        "update, least s": min(wall[1:]),
        "update, median CPU s": float(np.median(cpu[1:])),
        "policy step, median ms": 1e3 * float(np.median(acts[10:])),
        "peak memory, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> None:
    """Prints one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in args.set)
    result = measure(args.size, settings, args.rounds)
    for name, value in result.items():
        print(f"{name:32} {value:8.3f}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"size": args.size, **settings, **result}, file, indent=2)


if __name__ == "__main__":
    main()
