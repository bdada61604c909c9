"""Atari games by the protocol of Machado et al. 2018, as Hafner et al. 2021 use it.

Sticky actions, the full set of actions, no information about lives, up to 30 no-ops
at the start, grey images pooled over the last two frames of an action.
"""

from collections.abc import Sequence
from typing import Any

import ale_py
import gymnasium
import numpy as np

from common.config import coerce
from common.envs import base, gym_adapter, wrappers

STICKY = 0.25  # chance that a frame repeats the action of the one before
NOOPS = 30  # frames without action at the start of an episode, at most

ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
gymnasium.register_envs(ale_py)


def make(
    name: str,
    *,
    action_repeat: int = 4,
    time_limit: int = 27_000,
    size: Sequence[int] = (64, 64),
) -> base.Env:
    """Makes an Atari game.

    Observation: `image`, uint8 [*size, 1], the 210x160 grey pixels averaged over the
    area of each pixel of the result, so that nothing small is lost. Actions: all 18.
    The loss of a life is neither told nor an end.

    Args:
      name: A game, such as `pong`, `james_bond` or `MsPacman`.
      action_repeat: Frames for which an action is held.
      time_limit: Steps after which an episode is cut, 0 leaves the 108,000 frames that
        the emulator allows.
      size: Height and width of the image in pixels.

    Raises:
      ValueError: An unknown game; the message names the nearest ones.
    """
    check_id(name)
    env = gymnasium.make(
        _ids()[_key(name)],
        obs_type="grayscale",
        frameskip=1,
        repeat_action_probability=STICKY,
        full_action_space=True,
        disable_env_checker=True,
    )
    game = _Game(env, action_repeat, (int(size[0]), int(size[1])))
    adapter = gym_adapter.GymAdapter(game, size=None)
    return wrappers.limit(adapter, time_limit=time_limit)


def check_id(name: str) -> None:
    """Raises ValueError for an unknown game, naming the nearest ones."""
    if _key(name) not in _ids():
        near = ", ".join(coerce.nearest(name, games())) or "none"
        raise ValueError(f"Unknown Atari game {name!r}; the nearest are {near}.")


def games() -> list[str]:
    """Returns all games in snake case, as the emulator spells them."""
    return [rom for rom in ale_py.roms.get_all_rom_ids() if _key(rom) in _ids()]


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Averages over the area that a pixel of the result covers: uint8 [H, W] -> size.

    By sums up to each edge between pixels, because products of matrices would have
    their own threads compete with those of the agent.
    """
    result = image.astype(np.float64)
    for target in size:  # rows, then columns, which are rows by then
        result = _average(result, target).T
    return np.rint(result).astype(np.uint8)


def _average(image: np.ndarray, target: int) -> np.ndarray:
    """Averages rows: [source, N] -> [target, N]."""
    source = len(image)
    sums = np.concatenate([np.zeros_like(image[:1]), np.cumsum(image, axis=0)])
    edges = np.arange(target + 1) * source / target
    whole = edges.astype(int)
    part = (edges - whole)[:, None] * image[np.minimum(whole, source - 1)]
    return np.diff(sums[whole] + part, axis=0) * target / source


class _Game(gymnasium.Wrapper):
    """Holds actions, pools two frames, and begins episodes with no-ops."""

    def __init__(self, env: gymnasium.Env, repeat: int, size: tuple[int, int]):
        super().__init__(env)
        if repeat < 1:
            raise ValueError(f"action_repeat is {repeat}, but must be at least 1.")
        self._repeat, self._size = repeat, size
        self.observation_space = gymnasium.spaces.Box(0, 255, (*size, 1), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None):
        frame, info = self.env.reset(seed=seed, options=options)
        for _ in range(self.np_random.integers(1, NOOPS + 1)):
            frame, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                frame, info = self.env.reset()
        return resize(frame, self._size)[..., None], info

    def step(self, action: int):
        total, frames = 0.0, []
        for _ in range(self._repeat):
            frame, reward, terminated, truncated, info = self.env.step(action)
            total += reward
            frames.append(frame)
            if terminated or truncated:
                break
        # Sprites that a console draws in every other frame are seen in the maximum.
        image = resize(np.maximum.reduce(frames[-2:]), self._size)
        return image[..., None], total, terminated, truncated, info


def _ids() -> dict[str, str]:
    """Gymnasium's ids by the name of the game without case and underscores."""
    ids = [i for i in gymnasium.registry if i.startswith("ALE/") and i.endswith("-v5")]
    return {_key(i.removeprefix("ALE/").removesuffix("-v5")): i for i in ids}


def _key(name: str) -> str:
    return name.replace("_", "").lower()
