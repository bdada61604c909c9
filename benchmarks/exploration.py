"""Counts the cells that agents visit in a large empty room without any reward.

    python -m benchmarks.exploration --logdir ~/logdir/exploration --out cells.png

A MiniGrid room of 16 x 16 (196 free cells), no goal, episodes of 100 steps from one
corner. Three behaviours collect the same number of steps: uniformly random actions,
the greedy agent (whose reward is always 0) and Plan2Explore; `--behaviours` also takes
Plan2Explore-next, whose ensemble sees the action that it judges. Networks and learning
rates are those of the block `quickstart`. What is counted was chosen beforehand: the
distinct cells of the whole run, and those of an episode, mean over the second half.
A run that has ended is not repeated; further flags are configuration keys.
"""

import argparse
import multiprocessing
import pathlib
from typing import Any

import gymnasium
import numpy as np
from minigrid import minigrid_env, wrappers
from minigrid.core import grid, mission

EPISODE = 100  # steps
PIXELS = 64  # height and width of the image
SETTINGS = {
    "prefill": 500,
    "checkpoint_every": 0,
    "eval_every": 0,
    "log_every_video": 0,
    "log_every": 500,
    "time_limit": EPISODE,
    "replay.minlen": 16,
    "expl_reward_norm.momentum": 0.99,
    "actor_ent": 3e-3,
    "discount": 0.99,
    "expl_head": {"layers": 2, "units": 128},
    "encoder": {"mlp_keys": "$^", "cnn_keys": "image"},
    "decoder": {"mlp_keys": "$^", "cnn_keys": "image"},
}
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "random": {},
    "greedy": {"expl_behavior": "greedy"},
    "Plan2Explore": {
        "expl_behavior": "Plan2Explore",
        "grad_heads": ["decoder"],
        "pred_discount": False,
    },
    "Plan2Explore-next": {
        "expl_behavior": "Plan2Explore",
        "grad_heads": ["decoder"],
        "pred_discount": False,
        "disag_action_align": "next",
    },
}


class Room(minigrid_env.MiniGridEnv):
    """Four walls and the agent in the upper left corner, looking to the right."""

    def __init__(self, side: int):
        """Args: side: cells a side, walls included."""
        space = mission.MissionSpace(lambda: "look around")
        super().__init__(space, grid_size=side, max_steps=10 * EPISODE)

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = grid.Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        self.agent_pos, self.agent_dir, self.mission = (1, 1), 0, "look around"


class Visits(gymnasium.Wrapper):
    """Keeps the position after every reset and step."""

    def __init__(self, env: gymnasium.Env):
        """Args: env: a MiniGrid environment."""
        super().__init__(env)
        self._episodes: list[list[tuple[int, int]]] = []

    def reset(self, **kwargs: Any):
        """Begins a list of positions."""
        result = self.env.reset(**kwargs)
        self._episodes.append([])
        self._note()
        return result

    def step(self, action: Any):
        """Steps and adds a position."""
        result = self.env.step(action)
        self._note()
        return result

    def cells(self, steps: int) -> np.ndarray:
        """Returns the cells [N, 2] after the first steps and resets, by episode."""
        count = -(-steps // EPISODE)
        return np.array([e for e in self._episodes[:count] if len(e) == EPISODE + 1])

    def _note(self) -> None:
        x, y = self.unwrapped.agent_pos
        self._episodes[-1].append((int(x), int(y)))


def make(side: int, view: str) -> Visits:
    """Makes the room with an image of all of it, or of the agent's 7x7 view."""
    if view == "whole":
        pixels = wrappers.RGBImgObsWrapper(Room(side), tile_size=max(1, PIXELS // side))
    else:
        pixels = wrappers.RGBImgPartialObsWrapper(Room(side), tile_size=8)
    image = gymnasium.spaces.Dict({"image": pixels.observation_space["image"]})
    return Visits(
        gymnasium.wrappers.TransformObservation(
            pixels, lambda obs: {"image": obs["image"]}, image
        )
    )


def collect(behaviour: str, args: argparse.Namespace, seed: int) -> np.ndarray:
    """Runs one behaviour; returns the cells [E, 101, 2] of its episodes.

    They are kept in the run's folder, and read from there the next time.
    """
    folder = args.logdir / f"{behaviour}-seed{seed}"
    path = folder / f"cells-{args.side}-{args.view}-{args.steps}.npy"
    if path.exists():
        return np.load(path)
    env = make(args.side, args.view)
    if behaviour == "random":
        folder.mkdir(parents=True, exist_ok=True)
        _act_randomly(env, args.steps, seed)
    else:
        import dreamerv2.api as dv2

        config = dv2.defaults.update(dv2.configs["quickstart"], SETTINGS)
        config = config.update(BEHAVIOURS[behaviour]).update(args.settings)
        config = config.update(
            cl=False, logdir=str(folder), overwrite=True, seed=seed, steps=args.steps
        )
        dv2.train(env, config)
    np.save(path, env.cells(args.steps))
    return np.load(path)


def _act_randomly(env: Visits, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for step in range(steps):
        if step % EPISODE == 0:
            env.reset(seed=seed)
        env.step(rng.integers(env.action_space.n))


def distinct(cells: np.ndarray) -> np.ndarray:
    """Returns the number of distinct cells so far [N] of cells [N, 2]."""
    seen: set[tuple[int, int]] = set()
    return np.array([seen.add((int(x), int(y))) or len(seen) for x, y in cells])


def _describe(runs: list[np.ndarray]) -> tuple[list[int], list[float]]:
    total = [int(distinct(cells.reshape(-1, 2))[-1]) for cells in runs]
    episode = [
        float(np.mean([distinct(e)[-1] for e in cells[len(cells) // 2 :]]))
        for cells in runs
    ]
    return total, episode


def draw(results: dict[str, list[np.ndarray]], path: pathlib.Path, side: int) -> None:
    """Draws distinct cells over steps, least to most, and all visits as a map."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1,
        1 + len(results),
        figsize=(4 + 2.4 * len(results), 2.8),
        width_ratios=[1.5, *[1] * len(results)],
        layout="constrained",
    )
    for k, (name, runs) in enumerate(results.items()):
        curves = np.array([distinct(cells.reshape(-1, 2)) for cells in runs])
        steps = np.arange(curves.shape[1]) * EPISODE / (EPISODE + 1)  # no resets
        axes[0].plot(steps, curves.mean(0), label=name, color=f"C{k}")
        axes[0].fill_between(
            steps, curves.min(0), curves.max(0), color=f"C{k}", alpha=0.2, lw=0
        )
        counts = np.zeros((side, side))
        for cells in runs:
            np.add.at(counts, tuple(cells.reshape(-1, 2).T[::-1]), 1)
        axes[k + 1].imshow(np.log1p(counts), cmap="magma")
        axes[k + 1].set(title=name, xticks=[], yticks=[])
    axes[0].set(xlabel="steps", ylabel=f"distinct cells of {(side - 2) ** 2}")
    axes[0].legend(loc="upper left", fontsize="small")
    figure.savefig(path, dpi=120)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--logdir", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("cells.png"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=16, help="cells, walls included")
    parser.add_argument("--view", choices=("whole", "partial"), default="whole")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument(
        "--behaviours", nargs="+", choices=BEHAVIOURS, default=[*BEHAVIOURS][:3]
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    args.logdir = args.logdir.expanduser()
    args.settings = dict(pair.split("=", 1) for pair in args.set)
    return args


def main() -> None:
    """Runs what is missing, prints a table and draws a figure."""
    args = _parse()
    jobs = [(b, args, seed) for seed in range(args.seeds) for b in args.behaviours]
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(args.jobs, maxtasksperchild=1) as pool:
        cells = pool.starmap(collect, jobs, chunksize=1)
    results: dict[str, list[np.ndarray]] = {name: [] for name in args.behaviours}
    for (behaviour, _, _), visited in zip(jobs, cells, strict=True):
        results[behaviour].append(visited)
    for name, runs in results.items():
        total, episode = _describe(runs)
        print(
            f"{name:20} distinct cells {np.mean(total):6.1f} {total}, of an episode "
            f"{np.mean(episode):5.1f} {[round(e, 1) for e in episode]}"
        )
    draw(results, args.out, args.side)
    print(f"Wrote {args.out}.")


if __name__ == "__main__":
    main()
