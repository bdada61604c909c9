"""Crafter (Hafner 2021, arXiv 2109.06780), with its rewards or without them."""

from collections.abc import Sequence
from typing import Any

import crafter
import gymnasium
import numpy as np

from common.envs import base, gym_adapter, wrappers

NAMES = ("reward", "noreward")


def make(
    name: str,
    *,
    action_repeat: int = 1,
    time_limit: int = 0,
    size: Sequence[int] = (64, 64),
) -> base.Env:
    """Makes the game.

    Observation: `image`, uint8 [*size, 3], drawn at that size. Actions: 17. Death is
    terminal, the limit of 10,000 steps is not. `log_achievement_*` count what was
    achieved in the episode so far, `log_reward` is the reward of the step, also where
    the agent gets none.

    Args:
      name: `reward`, or `noreward` for a reward of 0 in every step.
      action_repeat: Frames for which an action is held.
      time_limit: Steps after which an episode is cut, 0 leaves the game's own limit.
      size: Height and width of the image in pixels.

    Raises:
      ValueError: Another name.
    """
    check_id(name)
    game = _Game(name == "reward", (int(size[0]), int(size[1])))
    keys = [f"achievement_{key}" for key in game.achievements]
    env = gym_adapter.GymAdapter(game, size=None, log_info=("reward", *keys))
    return wrappers.limit(env, action_repeat=action_repeat, time_limit=time_limit)


def check_id(name: str) -> None:
    """Raises ValueError unless the name is one of NAMES."""
    if name not in NAMES:
        raise ValueError(
            f"Unknown Crafter task {name!r}; choose from {' or '.join(NAMES)}."
        )


class _World(crafter.Env):
    """The game, the same in every process for the same seed.

    It draws creatures by their number in a set, whose order depends on addresses in
    memory; here they are in the order of their places.
    """

    def _balance_object(self, chunk, objs, *args):
        objs = sorted(objs, key=lambda obj: tuple(obj.pos))
        super()._balance_object(chunk, objs, *args)

    def seed_next(self, seed: int) -> None:
        """Decides the next episode."""
        self._seed, self._episode = seed, 0


class _Game(gymnasium.Env):
    """The interface of Gymnasium over the game's own."""

    def __init__(self, reward: bool, size: tuple[int, int]):
        self._world = _World(size=size[::-1], reward=reward, seed=0)
        self.achievements = tuple(crafter.constants.achievements)
        self.observation_space = gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(self._world.action_names))

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        if seed is not None:
            self._world.seed_next(seed)
        return self._world.reset(), {}

    def step(self, action: int):
        image, reward, done, info = self._world.step(action)
        counts = {f"achievement_{k}": v for k, v in info["achievements"].items()}
        terminated = info["discount"] == 0
        info = {"reward": info["reward"], **counts}
        return image, reward, terminated, done and not terminated, info
