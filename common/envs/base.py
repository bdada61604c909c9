"""The interface of an environment, and the base of wrappers around it."""

from typing import Any, Protocol

import numpy as np

from common import specs

Transition = dict[str, np.ndarray]
# Names that observations cannot have: of a transition, a batch, or a loss.
RESERVED = (
    *("action", "reward", "is_first", "is_last", "is_terminal", "discount", "valid"),
    *("kl", "model", "actor", "critic"),
)


class Env(Protocol):
    """An environment as the driver sees it; common.envs tells what the dicts hold.

    It may also have `readings`, what its keys are taken for (`common.envs.meaning`),
    and `render()`, a picture to look at, uint8 [H, W, C], or None.
    """

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


def render(env: Env) -> np.ndarray | None:
    """A picture of an environment to look at, uint8 [H, W, C]; None without one."""
    return env.render() if hasattr(env, "render") else None


def check_size(size: Any) -> tuple[int, int]:
    """Returns height and width of images.

    Raises:
      ValueError: They are not two whole numbers of at least 1.
    """
    if len(size) != 2 or any(side != int(side) or side < 1 for side in size):
        raise ValueError(
            f"render_size is {list(size)}; it must be height and width of images in "
            "pixels, such as 64,64."
        )
    return int(size[0]), int(size[1])


class Wrapper:
    """Passes everything on to another environment; subclasses change some of it."""

    def __init__(self, env: Env):
        """Args: env: the environment inside."""
        self.env = env
        self.obs_specs = env.obs_specs
        self.act_spec = env.act_spec
        self.readings = getattr(env, "readings", None)

    def reset(self, seed: int | None = None) -> Transition:
        """Resets the environment inside."""
        return self.env.reset(seed)

    def step(self, action: np.ndarray) -> Transition:
        """Steps the environment inside."""
        return self.env.step(action)

    def close(self) -> None:
        """Closes the environment inside."""
        self.env.close()

    def render(self) -> np.ndarray | None:
        """A picture of the environment inside, None if it has none."""
        return render(self.env)

    def get_state(self) -> dict[str, Any]:
        """The state of the environment inside."""
        return self.env.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the environment inside."""
        self.env.set_state(state)
