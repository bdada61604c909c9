"""What MiniHack's own classes lack: quick pixels, seeds that hold, ends told apart.

Importing this module needs the package `minihack`; `common.envs.suites.minihack` does
so in the process of the level.
"""

import random
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs import registration
from minihack import tiles
from nle import nethack

PAD = 2  # black pixels around the image
SETTINGS = {
    "observation_keys": ("glyphs_crop",),
    "obs_crop_h": 9,
    "obs_crop_w": 9,
    "actions": tuple(nethack.CompassDirection),
    "character": "mon-hum-neu-mal",
    "reward_win": 1,
    "reward_lose": 0,
    "penalty_mode": "constant",
    "penalty_step": -0.001,
    # Otherwise luck depends on the day and some monsters on the hour.
    "fix_moon_phase": True,
}


def make(task_id: str) -> gymnasium.Env:
    """Makes a registered level that is observed as `image`, uint8 [148, 148, 3]."""
    spec = gymnasium.spec(task_id)
    level_class = registration.load_env_creator(spec.entry_point)
    pixel_class = type(f"Pixel{level_class.__name__}", (PixelLevel, level_class), {})
    return pixel_class(**{**spec.kwargs, **SETTINGS})


class PixelLevel:
    """Mixed into a MiniHack class: `pixel_crop` as the only observation.

    `info["success"]` is 1.0 at the step that reaches the goal, else 0.0.
    """

    def __init__(self, **kwargs: Any):
        """Args: **kwargs: those of the MiniHack class."""
        self._tiles = _tile_table()
        super().__init__(**kwargs)
        cells = kwargs["obs_crop_h"], kwargs["obs_crop_w"]
        side = self._tiles.shape[1]
        shape = (cells[0] * side + 2 * PAD, cells[1] * side + 2 * PAD, 3)
        image = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.observation_space = gymnasium.spaces.Dict({"image": image})

    def reset(self, *, seed: int | None = None, options: Any = None):
        """Begins an episode; a seed determines the level and all that happens in it."""
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        else:
            self.np_random, _ = gymnasium.utils.seeding.np_random(seed)
        # Levels that are made in Python draw from the global generator, or from a
        # MiniGrid environment that they copy. This process belongs to the level.
        random.seed(seed)
        if hasattr(self, "minigrid_env"):
            rng, _ = gymnasium.utils.seeding.np_random(seed)
            self.minigrid_env.unwrapped.np_random = rng
        self.nethack.set_initial_seeds(seed, seed, False, None)
        return super().reset()

    def step(self, action: int):
        """Steps; the level's own limit truncates the episode and does not end it."""
        observation, reward, terminated, _, info = super().step(action)
        truncated = self._steps >= self._max_episode_steps and not terminated
        success = info["end_status"] == self.StepStatus.TASK_SUCCESSFUL
        return observation, reward, terminated, truncated, {"success": float(success)}

    def _check_abort(self, observation: Any) -> bool:
        """NLE would quit the game at the limit, and show what is then on the screen."""
        return False

    def _get_observation(self, observation: Any) -> dict[str, np.ndarray]:
        glyphs = super()._get_observation(observation)["glyphs_crop"]
        # [9, 9, 16, 16, 3] -> [9, 16, 9, 16, 3] -> [144, 144, 3]
        image = self._tiles[glyphs].swapaxes(1, 2)
        height, width, depth = self.observation_space["image"].shape
        padded = np.zeros((height, width, depth), np.uint8)
        padded[PAD:-PAD, PAD:-PAD] = image.reshape(height - 2 * PAD, -1, depth)
        return {"image": padded}


def _tile_table() -> np.ndarray:
    """MiniHack's tiles by glyph: uint8 [glyphs, 16, 16, 3]."""
    pixels = tiles.GlyphMapper().tiles
    return np.stack([pixels[tile] for tile in tiles.glyph2tile])
