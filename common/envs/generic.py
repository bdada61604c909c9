"""Any registered Gymnasium id as an Env."""

import difflib
from collections.abc import Sequence

import gymnasium

from common.envs import base, gym_adapter, wrappers


def make_gym(
    env_id: str,
    *,
    time_limit: int = 0,
    size: Sequence[int] = (64, 64),
    **kwargs,
) -> base.Env:
    """Makes an environment from Gymnasium's registry.

    MiniGrid ids are made by `common.envs.minigrid`, which shows the view in pixels.

    Args:
      env_id: An id, or `module:id` where importing the module registers it.
      time_limit: Steps after which an episode is cut besides the environment's own
        limit, 0 for none.
      size: Height and width that images are resized to.
      **kwargs: Given to gymnasium.make; MiniGrid tasks take `state_bonus` and others.

    Raises:
      ValueError: An unknown id, naming the nearest ones, or unsupported spaces.
    """
    if env_id.startswith("MiniGrid-"):
        from common.envs import minigrid

        return minigrid.make(env_id, time_limit=time_limit, size=size, **kwargs)
    try:
        made = gymnasium.make(env_id, **kwargs)
    except gymnasium.error.UnregisteredEnv as error:
        near = difflib.get_close_matches(env_id, list(gymnasium.registry), cutoff=0.4)
        raise ValueError(
            f"Unknown Gymnasium environment {env_id!r}; the nearest are "
            f"{', '.join(near) or 'none'}. Import the package that registers it, or "
            "give module:id."
        ) from error
    env = gym_adapter.GymAdapter(made, size)
    return wrappers.TimeLimit(env, time_limit) if time_limit else env
