"""A classic ``gym`` wrapper seen as a Gymnasium environment."""

from typing import Any

import gymnasium


def as_gymnasium(env: Any) -> gymnasium.Env:
    """The environment itself, or a view of it if a ``gym`` wrapper is outermost.

    ``gym.make`` gives MiniGrid out as a Gymnasium environment, but with
    ``max_episode_steps`` or under a wrapper from ``gym.wrappers`` the outermost object
    is one that Gymnasium's wrappers refuse.

    Raises:
      TypeError: There is no Gymnasium environment underneath.
    """
    if isinstance(env, gymnasium.Env):
        return env
    if not isinstance(getattr(env, "unwrapped", None), gymnasium.Env):
        raise TypeError(
            f"{env!r} is not a MiniGrid environment; make one with "
            "gymnasium.make('MiniGrid-...') or gym.make('MiniGrid-...')."
        )
    return ClassicView(env)


class ClassicView(gymnasium.Env):
    """Passes every call on to a ``gym`` wrapper over a Gymnasium environment."""

    def __init__(self, env: Any):
        """Args: env: an object with the interface of gym 0.26."""
        self.env = env
        self.action_space = env.action_space
        self.observation_space = env.observation_space
        self.metadata = env.metadata
        self.render_mode = env.render_mode

    @property
    def unwrapped(self) -> gymnasium.Env:
        """The innermost, Gymnasium environment."""
        return self.env.unwrapped

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Resets all wrappers; returns observation and info."""
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        """Returns observation, reward, terminated, truncated and info."""
        return self.env.step(action)

    def render(self):
        """Renders what the gym wrapper renders."""
        return self.env.render()

    def close(self) -> None:
        """Closes all wrappers."""
        self.env.close()
