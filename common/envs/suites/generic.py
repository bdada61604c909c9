"""Any registered Gymnasium id as an Env."""

import difflib
import importlib
from collections.abc import Sequence

import gymnasium
from gymnasium.envs import registration

from common.config import faults
from common.envs import base, checks


def make(
    env_id: str,
    *,
    action_repeat: int = 1,
    time_limit: int = 0,
    size: Sequence[int] = (64, 64),
) -> base.Env:
    """Makes an environment from Gymnasium's registry.

    MiniGrid tasks are better made by `common.envs.suites.minigrid`, which shows their
    view in pixels.

    Args:
      env_id: An id, or `module:id` where importing the module registers it.
      action_repeat: Frames for which an action is held.
      time_limit: Steps after which an episode is cut besides the environment's own
        limit, 0 for never.
      size: Height and width that images are resized to.

    Raises:
      ValueError: An unknown id, naming the nearest ones; one that cannot be made,
        such as for want of a package; or unsupported spaces.
    """
    try:
        made = gymnasium.make(env_id, **_picture_options(env_id))
    except Exception as error:  # whatever an environment raises while it is made
        raise ValueError(_why(env_id, error)) from error
    return checks.adapt(made, size, action_repeat=action_repeat, time_limit=time_limit)


def _why(env_id: str, error: Exception) -> str:
    """Why an environment cannot be made, and what to do."""
    module = env_id.rpartition(":")[0]
    if isinstance(error, ImportError):
        lacks = faults.missing_package(error, module)
        if lacks:
            return (
                f"The environment {env_id!r} needs the package {lacks}, which is not "
                "installed; install it with pip."
            )
        return (
            f"Python finds no module {module!r} for the environment {env_id!r}. A "
            "module of your own must lie on PYTHONPATH: call the program as "
            "PYTHONPATH=. and from the folder of the module."
        )
    if isinstance(error, gymnasium.error.UnregisteredEnv):
        near = difflib.get_close_matches(env_id, list(gymnasium.registry), cutoff=0.4)
        return (
            f"Unknown Gymnasium environment {env_id!r}; the nearest are "
            f"{', '.join(near) or 'none'}. Import the package that registers it, or "
            "give module:id."
        )
    return (
        f"The environment {env_id!r} cannot be made ({type(error).__name__}: {error})."
    )


def _picture_options(env_id: str) -> dict[str, str]:
    """Asks for pictures where there are some: they are drawn for videos alone."""
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    spec = gymnasium.registry.get(name)
    maker = spec and spec.entry_point
    if isinstance(maker, str):
        maker = registration.load_env_creator(maker)
    modes = getattr(maker, "metadata", {}).get("render_modes", ())
    return {"render_mode": "rgb_array"} if "rgb_array" in modes else {}
