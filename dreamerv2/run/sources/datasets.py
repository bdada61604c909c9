"""Makes a folder of episodes for `--offline` of one of Minari's datasets.

dreamerv2 minari D4RL/door/human-v2 --out episodes
dreamerv2 --task gym_ID --offline episodes

What is not on this machine is downloaded. Observations and actions become what the
agent sees and does in the environment itself: images of --render_size, choices one-hot,
numbers from -1 to 1.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from common import config as config_lib
from common.envs import base, gym_spaces, native
from common.envs.meaning import returns

FLAGS = {
    "out": ("", "the folder that is made"),
    "render_size": ((64, 64), "height and width of images"),
}


def main(argv: Sequence[str]) -> None:
    """Converts the dataset that the first word names; the others are flags.

    Raises:
      ValueError: If a flag is not valid, there is no such dataset, or its spaces or
        episodes are not what an agent can learn from.
      FileExistsError: If there is something in the folder.
    """
    name, flags = parse_flags(argv)
    out = pathlib.Path(flags.out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not empty; give a new --out.")
    dataset = load(name)
    size = base.check_size(flags.render_size)
    count = steps = 0
    for count, arrays in enumerate(converted(dataset, size), 1):
        out.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(out / f"{count - 1:06}.npz", **arrays)
        steps += len(arrays["reward"]) - 1
    print(f"{count:,} episodes of {steps:,} steps are in {out}.")


def parse_flags(argv: Sequence[str]) -> tuple[str, config_lib.Config]:
    """Returns the name of the dataset, which is the first word, and the flags.

    Raises:
      ValueError: If one is not valid, or the name or `out` is missing.
      SystemExit: After `--help`.
    """
    missing = "Which dataset, and where to? dreamerv2 minari NAME --out DIR."
    return config_lib.parse_named(argv, FLAGS, __doc__, missing)


def load(name: str) -> Any:
    """Returns a dataset of Minari, downloaded if it is not here.

    Raises:
      ValueError: If Minari is not installed, or knows no such dataset.
    """
    try:
        import minari
    except ImportError as error:
        raise ValueError(
            f"Minari cannot be imported ({error}): pip install -e '.[minari]'."
        ) from error
    try:
        return minari.load_dataset(name, download=True)
    except Exception as error:  # of whatever library it downloads with
        raise ValueError(f"Minari has no dataset {name!r} for us: {error}.") from error


def converted(dataset: Any, size: tuple[int, int]) -> Iterator[dict[str, np.ndarray]]:
    """Yields the arrays [T + 1, ...] of each episode, see `common.replay.recorded`.

    Args:
      dataset: One of Minari's: its spaces, and episodes with an action and a reward
        for each step and an observation more.
      size: Height and width of images.

    Raises:
      ValueError: If a space is not supported, or an observation does not fit it.
    """
    space = dataset.observation_space
    parts = gym_spaces.observation_parts(space, size)
    spec, _ = gym_spaces.action_part(dataset.action_space)
    record = native.recorder(spec)
    is_dict = gym_spaces.kind(space) == "Dict"
    for episode in dataset.iterate_episodes():
        seen = episode.observations
        seen = seen if is_dict else dict.fromkeys(parts, seen)
        actions = np.stack([record(action) for action in episode.actions])
        terminal = np.zeros(len(actions) + 1, bool)
        terminal[-1] = episode.terminations[-1]
        yield {
            **{
                key: np.stack([returns.of_key(key, part, raw) for raw in seen[key]])
                for key, part in parts.items()
            },
            "action": np.concatenate([np.zeros_like(actions[:1]), actions]),
            "reward": np.concatenate([[0], episode.rewards]).astype(np.float32),
            "is_terminal": terminal,
        }
