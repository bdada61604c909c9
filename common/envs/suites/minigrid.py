"""MiniGrid, MultiSkill, FourRooms and ColorRoom: pixels of the agent's view."""

import difflib
from collections.abc import Sequence
from typing import Any

import gymnasium
from gymnasium.envs import registration as gymnasium_registration

import gym_minigrid  # noqa: F401  registers the ids
from common import config as config_lib
from common.envs import base, gym_adapter, wrappers
from gym_minigrid import registration, rendering
from gym_minigrid import wrappers as grid_wrappers

MINIGRID_3 = (
    registration.DOORKEY_9,
    "MiniGrid-LavaCrossingS9N1-v0",
    "MiniGrid-SimpleCrossingS9N1-v0",
)
MULTISKILL = registration.MULTISKILL
FOURROOMS_PROC = registration.FOURROOMS_PROC
FOURROOMS_PAIR = registration.FOURROOMS_PAIR
COLORROOM = registration.COLORROOM


def make(
    task_id: str,
    *,
    action_repeat: int = 1,
    time_limit: int = 100,
    size: Sequence[int] = (64, 64),
    state_bonus: bool = False,
    doorkey_size: int = 9,
    rooms_size: int = 19,
    env_seed: int = 0,
) -> base.Env:
    """Makes a MiniGrid task.

    Observation: `image`, uint8 [*size, 3], the 7x7 view at 56x56 pixels resized by
    nearest neighbour. Actions: 7. `log_success` is 1 at the step that reaches the goal
    (terminated with a reward, before any bonus) and 0 at all others.

    Args:
      task_id: A registered id such as `MiniGrid-DoorKey-9x9-v0`.
      action_repeat: Frames for which an action is held.
      time_limit: Steps after which an episode is cut, which is not terminal; 0 leaves
        the task's own limit only.
      size: Height and width of the image in pixels.
      state_bonus: Whether 1 / sqrt(visits of the cell) is added to the rewards.
      doorkey_size: Cells a side of `MiniGrid-DoorKey-9x9-v0`; the released program
        gave this id a room of 8.
      rooms_size: Cells a side of `MiniGrid-FourRooms-{Proc,Goal1,Goal2}-v0`, odd.
      env_seed: Decides walls, start and goals of `MiniGrid-FourRooms-Goal{1,2}-v0`.

    Raises:
      ValueError: An unknown id, the message names the nearest ones; or a size or seed
        that the task does not take.
    """
    kwargs: dict[str, Any] = {}
    if task_id == registration.DOORKEY_9:
        kwargs = {"size": doorkey_size}
    elif task_id == FOURROOMS_PROC:
        kwargs = {"size": rooms_size}
    elif task_id in FOURROOMS_PAIR:
        kwargs = {"size": rooms_size, "env_seed": env_seed}
    core = Success(_make_pixels(task_id, kwargs))
    bonus = grid_wrappers.StateBonus(core) if state_bonus else None
    env: base.Env = gym_adapter.GymAdapter(
        bonus or core, size, log_info=("success",), keeper=bonus
    )
    return wrappers.limit(env, action_repeat=action_repeat, time_limit=time_limit)


def options(config: config_lib.Config, training: bool) -> dict[str, Any]:
    """Returns what `make` takes besides what every suite does."""
    return {
        "doorkey_size": config.doorkey_size,
        "rooms_size": config.rooms_size,
        "env_seed": config.env_seed,
        "state_bonus": config.state_bonus and training,
    }


def check_id(task_id: str) -> None:
    """Raises ValueError for an id that is not registered, naming the nearest ones."""
    if task_id not in registration.task_ids():
        near = difflib.get_close_matches(task_id, registration.task_ids(), cutoff=0.4)
        raise ValueError(
            f"Unknown MiniGrid task {task_id!r}; the nearest are {', '.join(near)}."
            if near
            else f"Unknown MiniGrid task {task_id!r}; it must be a MiniGrid-*-v0 id."
        )


class Success(gymnasium.Wrapper):
    """Says in info['success'] whether a step has reached the goal, 1.0 or 0.0."""

    def step(self, action: Any):
        """Steps; the goal alone ends an episode with a reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = {**info, "success": float(terminated and reward > 0)}
        return observation, reward, terminated, truncated, info


def _make_pixels(task_id: str, kwargs: dict[str, Any]) -> gymnasium.Env:
    """The task with nothing but `image` for an observation."""
    check_id(task_id)
    spec = gymnasium.spec(task_id)
    env_class = gymnasium_registration.load_env_creator(spec.entry_point)
    is_wrapped = spec.max_episode_steps is not None or spec.additional_wrappers
    if is_wrapped or not rendering.can_draw(env_class):
        return ImageOnly(gymnasium.make(task_id, **kwargs))
    pixel_class = type(
        f"Pixel{env_class.__name__}", (rendering.PixelView, env_class), {}
    )
    return pixel_class(**{**spec.kwargs, **kwargs})


class ImageOnly(grid_wrappers.RGBImgPartialObsWrapper):
    """The pixels alone of a task with wrappers or a way of drawing of its own."""

    def __init__(self, env: gymnasium.Env):
        """Args: env: a MiniGrid environment."""
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Dict(
            {"image": self.observation_space["image"]}
        )
