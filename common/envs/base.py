"""The interface of an environment, and the base of wrappers around it."""

from typing import Any, Protocol

import numpy as np

from common import specs

Transition = dict[str, np.ndarray]
RESERVED = ("action", "reward", "is_first", "is_last", "is_terminal")


class Env(Protocol):
    """An environment as the driver sees it; common.envs tells what the dicts hold."""

    obs_specs: dict[str, specs.ArraySpec]
    act_spec: specs.ActionSpec

    def reset(self, seed: int | None = None) -> Transition:
        """Begins an episode, which a seed makes reproducible."""

    def step(self, action: np.ndarray) -> Transition:
        """Takes an action, float32 [A]; only between a reset and an is_last."""

    def close(self) -> None:
        """Releases what the environment holds."""

    def get_state(self) -> dict[str, Any]:
        """What outlives an episode, fit for JSON; empty for most environments."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what get_state returned."""


class Wrapper:
    """Passes everything on to another environment; subclasses change some of it."""

    def __init__(self, env: Env):
        """Args: env: the environment inside."""
        self.env = env
        self.obs_specs = env.obs_specs
        self.act_spec = env.act_spec

    def reset(self, seed: int | None = None) -> Transition:
        """Resets the environment inside."""
        return self.env.reset(seed)

    def step(self, action: np.ndarray) -> Transition:
        """Steps the environment inside."""
        return self.env.step(action)

    def close(self) -> None:
        """Closes the environment inside."""
        self.env.close()

    def get_state(self) -> dict[str, Any]:
        """The state of the environment inside."""
        return self.env.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the environment inside."""
        self.env.set_state(state)
