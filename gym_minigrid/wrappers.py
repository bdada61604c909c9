"""Wrappers around MiniGrid environments: two of our own, and minigrid's.

Ours accept what ``gym.make`` returns as well as what ``gymnasium.make`` does.
"""

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from minigrid import wrappers as minigrid_wrappers
from minigrid.wrappers import (
    ActionBonus,
    DictObservationSpaceWrapper,
    DirectionObsWrapper,
    FlatObsWrapper,
    FullyObsWrapper,
    ImgObsWrapper,
    NoDeath,
    OneHotPartialObsWrapper,
    PositionBonus,
    ReseedWrapper,
    RGBImgObsWrapper,
    StochasticActionWrapper,
    SymbolicObsWrapper,
    ViewSizeWrapper,
)

from gym_minigrid import classic, rendering

__all__ = [
    "ActionBonus",
    "DictObservationSpaceWrapper",
    "DirectionObsWrapper",
    "FlatObsWrapper",
    "FullyObsWrapper",
    "ImgObsWrapper",
    "NoDeath",
    "OneHotPartialObsWrapper",
    "PositionBonus",
    "RGBImgObsWrapper",
    "RGBImgPartialObsWrapper",
    "ReseedWrapper",
    "StateBonus",
    "StochasticActionWrapper",
    "SymbolicObsWrapper",
    "ViewSizeWrapper",
]


class RGBImgPartialObsWrapper(minigrid_wrappers.RGBImgPartialObsWrapper):
    """The agent's view as pixels, without the mission text.

    Observation: `image`, uint8 [V * tile_size, V * tile_size, 3] for a view of V x V
    cells (56 x 56 by default), and `direction`, the compass, 0 to 3. What else is in
    the observation stays if it is numeric.
    """

    def __init__(self, env: Any, tile_size: int = 8):
        """Args: env: from gymnasium.make or gym.make; tile_size: pixels a cell."""
        super().__init__(classic.as_gymnasium(env), tile_size)
        self.observation_space = spaces.Dict(
            {k: s for k, s in self.observation_space.items() if _is_numeric(s)}
        )
        self._view = None
        if rendering.can_draw(type(self.unwrapped)):
            view_size = self.unwrapped.agent_view_size
            self._view = rendering.PartialView(view_size, tile_size)

    def observation(self, observation: dict) -> dict[str, Any]:
        """Replaces the symbolic image and drops what is not numeric."""
        kept = {key: observation[key] for key in self.observation_space}
        return {**kept, "image": self._draw()}

    def _draw(self) -> np.ndarray:
        if self._view is None:
            return self.unwrapped.get_frame(tile_size=self.tile_size, agent_pov=True)
        return self._view.draw(self.unwrapped)


class StateBonus(gymnasium.Wrapper):
    """Adds 1 / sqrt(N(x, y)) to the reward of each step.

    N counts the steps that ended in the cell (x, y), this one included, since the
    wrapper was made: over all episodes, resets not counted.
    """

    def __init__(self, env: Any):
        """Args: env: a MiniGrid environment from gymnasium.make or gym.make."""
        super().__init__(classic.as_gymnasium(env))
        self.counts: dict[tuple[int, int], int] = {}

    def step(self, action):
        """Steps; the bonus is in the reward and in info['state_bonus']."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        x, y = self.unwrapped.agent_pos
        cell = int(x), int(y)
        self.counts[cell] = self.counts.get(cell, 0) + 1
        bonus = 1 / math.sqrt(self.counts[cell])
        info = {**info, "state_bonus": bonus}
        return observation, reward + bonus, terminated, truncated, info

    def get_state(self) -> dict[str, list[list[int]]]:
        """The counts as [x, y, N] triples, fit for JSON."""
        return {"counts": [[x, y, n] for (x, y), n in self.counts.items()]}

    def set_state(self, state: dict[str, list[list[int]]]) -> None:
        """Goes on with the counts that get_state returned."""
        self.counts = {(x, y): n for x, y, n in state["counts"]}


def _is_numeric(space: gymnasium.Space) -> bool:
    return isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    )
