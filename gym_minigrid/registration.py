"""Environment ids: what minigrid lacks, and all of them for ``gym`` as well.

minigrid 3 registers every id of gym-minigrid 1.x by itself; added here are the id of
the released Continual-Dreamer program (DoorKey-9x9) and the tasks of multiskill,
fourrooms and colorroom.
"""

import contextlib
import importlib
import io
import warnings

import gymnasium
import minigrid  # noqa: F401  registers its own ids with Gymnasium

PREFIX = "MiniGrid-"
# `size` is a parameter: gymnasium.make(DOORKEY_9, size=8) is the room that the
# released program gave this id.
DOORKEY_9 = "MiniGrid-DoorKey-9x9-v0"
MULTISKILL = tuple(f"MiniGrid-MultiSkill-N{n}-v0" for n in (2, 3, 4))
FOURROOMS_PROC = "MiniGrid-FourRooms-Proc-v0"
FOURROOMS_PAIR = tuple(f"MiniGrid-FourRooms-Goal{n}-v0" for n in (1, 2))
COLORROOM = tuple(f"MiniGrid-ColorRoom-K{n}-v0" for n in (1, 2, 3, 4))


def task_ids() -> list[str]:
    """Every registered MiniGrid id, in alphabetical order."""
    return sorted(name for name in gymnasium.registry if name.startswith(PREFIX))


def register_all() -> None:
    """Registers the ids of this package; a second call changes nothing."""
    _register(DOORKEY_9, "minigrid.envs:DoorKeyEnv", {"size": 9})
    for skills, name in enumerate(MULTISKILL, start=2):
        _register(name, "gym_minigrid.multiskill:MultiSkillEnv", {"skills": skills})
    _register(FOURROOMS_PROC, "gym_minigrid.fourrooms:FourRoomsEnv", {})
    for goal, name in enumerate(FOURROOMS_PAIR, start=1):
        _register(name, "gym_minigrid.fourrooms:FixedFourRoomsEnv", {"goal": goal})
    for task, name in enumerate(COLORROOM, start=1):
        _register(name, "gym_minigrid.colorroom:ColorRoomEnv", {"task": task})
    _register_classic()


def make_for_gym(gymnasium_id: str, **kwargs) -> gymnasium.Env:
    """The entry point given to ``gym``: the Gymnasium environment of that id."""
    env = gymnasium.make(gymnasium_id, disable_env_checker=True, **kwargs)
    # gym.make overwrites the spec of the innermost environment by its own, which
    # Gymnasium cannot read. Asked for once, the right one stays with the wrapper.
    assert env.spec is not None
    return env


def _register(name: str, entry_point: str, kwargs: dict) -> None:
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point=entry_point, kwargs=kwargs)


def _register_classic() -> None:
    """Registers all MiniGrid ids with ``gym`` if there is a usable one.

    The import takes a tenth of a second and is done here rather than awaited, so that
    the order of ``import gym`` and ``import gym_minigrid`` does not matter. Its notice
    that gym is unmaintained is kept quiet: the user has not asked for gym.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            classic = importlib.import_module("gym.envs.registration")
        for name in task_ids():
            if name not in classic.registry:
                _register_with_gym(classic, name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "gym":
            raise
    except Exception as error:  # An unusable gym must not take Gymnasium's ids along.
        warnings.warn(
            f"MiniGrid is not registered with gym: {error!r}. "
            "Install gym 0.26.2, or use `import gymnasium as gym`.",
            stacklevel=4,
        )


def _register_with_gym(classic, name: str) -> None:
    # gym 0.26 fails in its checker under NumPy 2 (np.bool8), and both its wrappers
    # would hide the Gymnasium environment from Gymnasium's wrappers. gymnasium.make
    # has enforced the order of calls already.
    classic.register(
        name,
        entry_point="gym_minigrid.registration:make_for_gym",
        disable_env_checker=True,
        order_enforce=False,
        kwargs={"gymnasium_id": name},
    )
