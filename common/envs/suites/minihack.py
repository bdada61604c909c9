"""MiniHack levels in pixels around the agent.

NetHack keeps its game in global variables, leaks some memory at every reset, and may
crash. So each level runs in a process of its own, under supervision.
"""

import difflib
import functools
import warnings
from collections.abc import Sequence

from common.envs import base, wrappers
from common.envs.workers import parallel, supervised

MINIHACK_8 = (
    "MiniHack-Room-Random-15x15-v0",
    "MiniHack-Room-Monster-15x15-v0",
    "MiniHack-Room-Trap-15x15-v0",
    "MiniHack-Room-Ultimate-15x15-v0",
    "MiniHack-River-Narrow-v0",
    "MiniHack-River-v0",
    "MiniHack-River-Monster-v0",
    "MiniHack-HideNSeek-v0",
)
MINIHACK_4 = (
    "MiniHack-Room-Random-15x15-v0",
    "MiniHack-Room-Trap-15x15-v0",
    "MiniHack-River-Narrow-v0",
    "MiniHack-River-Monster-v0",
)
IMBALANCE = ("MiniHack-Room-Random-15x15-v0", "MiniHack-River-Narrow-v0")
ALL = (
    *MINIHACK_8,
    "MiniHack-CorridorBattle-v0",
    "MiniHack-River-Lava-v0",
    "MiniHack-River-MonsterLava-v0",
)


@parallel.has_own_process
def make(
    task_id: str,
    *,
    action_repeat: int = 1,
    time_limit: int = 100,
    size: Sequence[int] = (64, 64),
) -> base.Env:
    """Makes a MiniHack level in a process of its own.

    Observation: `image`, uint8 [*size, 3], the 9x9 cells around the agent at 144x144
    pixels, 2 black pixels on each side, resized by nearest neighbour. Actions: 8, the
    compass directions N, E, S, W, NE, SE, SW, NW. Reward: 1 at the goal, -0.001 for a
    step in which no game time passes, such as into a wall. `log_success` is 1 at the
    step that reaches the goal and 0 at all others. An episode is terminal at the goal
    and at death, and only truncated at the level's own limit of steps.

    Args:
      task_id: A registered id such as `MiniHack-Room-Random-15x15-v0`.
      action_repeat: Frames for which an action is held.
      time_limit: Steps after which an episode is cut, which is not terminal; 0 leaves
        the level's own limit only.
      size: Height and width of the image in pixels.

    Raises:
      ValueError: An unknown id; the message names the nearest ones.
      RuntimeError: MiniHack is not installed.
    """
    check_id(task_id)
    return supervised.SupervisedEnv(
        functools.partial(make_here, task_id, action_repeat, time_limit, tuple(size))
    )


def check_id(task_id: str) -> None:
    """Raises ValueError for an id that is not registered, naming the nearest ones.

    Raises:
      RuntimeError: MiniHack is not installed.
    """
    known = _task_ids()
    if task_id not in known:
        near = difflib.get_close_matches(task_id, known, cutoff=0.4)
        raise ValueError(
            f"Unknown MiniHack task {task_id!r}; the nearest are {', '.join(near)}."
            if near
            else f"Unknown MiniHack task {task_id!r}; it must be a MiniHack-*-v0 id."
        )


def make_here(
    task_id: str, action_repeat: int, time_limit: int, size: tuple[int, int]
) -> base.Env:
    """Makes a level in this process, which should hold no other; see `make`."""
    _import()
    from common.envs import gym_adapter
    from common.envs.suites import minihack_level

    level = minihack_level.make(task_id)
    env = gym_adapter.GymAdapter(level, size, log_info=("success",))
    return wrappers.limit(env, action_repeat=action_repeat, time_limit=time_limit)


def _task_ids() -> list[str]:
    _import()
    import gymnasium

    return [name for name in gymnasium.registry if name.startswith("MiniHack-")]


def _import() -> None:
    """Imports the package, which registers its ids."""
    try:
        with warnings.catch_warnings():
            # It imports pkg_resources, which calls itself deprecated.
            warnings.simplefilter("ignore")
            import minihack  # noqa: F401
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"MiniHack cannot be imported ({error}); install it with: "
            "pip install -e '.[minihack]' -c constraints.txt"
        ) from error
