"""Tasks of the DeepMind Control Suite: rendered images, and vectors."""

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from common import coerce
from common.envs import base, gym_adapter, wrappers

SHORT = {"cup_catch": "ball_in_cup_catch"}  # other names of tasks
BACKENDS = ("egl", "osmesa", "glfw")  # of OpenGL, in the order in which they are tried
OFF = "disable"

_GL = "MUJOCO_GL"  # the variable in which MuJoCo is told the backend
_PROBE = (
    "from dm_control import mujoco; "
    "mujoco.Physics.from_xml_string('<mujoco/>').render(8, 8)"
)
_PROBE_SECONDS = 60


def make(
    name: str,
    *,
    action_repeat: int = 2,
    time_limit: int = 0,
    size: Sequence[int] = (64, 64),
    render: bool = True,
) -> base.Env:
    """Makes a task.

    Observations: `image`, uint8 [*size, 3], from the first camera, that of quadrupeds
    from the third; and the task's own as float32 vectors. Actions in [-1, 1] span the
    task's bounds. The suite's limit of 1000 frames is not terminal.

    Args:
      name: Domain and task, such as `walker_walk` or `cup_catch`.
      action_repeat: Frames for which an action is held.
      time_limit: Steps after which an episode is cut, 0 leaves the task's own limit.
      size: Height and width of the image in pixels.
      render: Whether there is an image; vectors alone need no OpenGL.

    Raises:
      ValueError: An unknown task, naming the nearest ones, or no OpenGL to render with.
    """
    check_id(name)
    if render:
        check_gl()
    image_size = (int(size[0]), int(size[1])) if render else None
    task = _Task(*_tasks()[SHORT.get(name, name)], action_repeat, image_size)
    adapter = gym_adapter.GymAdapter(task, size=None)
    return wrappers.limit(adapter, time_limit=time_limit)


def check_id(name: str) -> None:
    """Raises ValueError for an unknown task, naming the nearest ones."""
    if SHORT.get(name, name) not in _tasks():
        near = ", ".join(coerce.nearest(name, [*_tasks(), *SHORT])) or "none"
        raise ValueError(f"Unknown DM Control task {name!r}; the nearest are {near}.")


def check_gl() -> None:
    """Raises ValueError if images cannot be rendered; the message names packages."""
    if choose_gl() == OFF:
        raise ValueError(
            f"DM Control cannot render images: none of {', '.join(BACKENDS)} works "
            "here. Install one, `apt-get install libegl1 libgl1` (EGL, also on a GPU) "
            f"or `apt-get install libosmesa6` (OSMesa), and unset {_GL}; or train on "
            "vectors alone, --configs dmc_proprio."
        )


def choose_gl() -> str:
    """Returns the OpenGL backend; MUJOCO_GL if that is set, else the first that works.

    The choice is written to MUJOCO_GL, for MuJoCo and for processes that this one
    starts. Each backend is tried in a process of its own, because one that fails can
    end the process, and MuJoCo cannot change it later.
    """
    if not os.environ.get(_GL):
        os.environ[_GL] = next(filter(_works, BACKENDS), OFF)
        if os.environ[_GL] != OFF:
            print(f"DM Control renders with {os.environ[_GL]} ({_GL} overrides).")
    return os.environ[_GL]


def _works(backend: str) -> bool:
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env={**os.environ, _GL: backend},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


@functools.cache
def _tasks() -> dict[str, tuple[str, str]]:
    """Domain and task by their joint name."""
    return {f"{domain}_{task}": (domain, task) for domain, task in _suite().ALL_TASKS}


def _suite() -> Any:
    """The package, imported when the backend of OpenGL is known."""
    choose_gl()
    from dm_control import suite

    return suite


class _Task(gymnasium.Env):
    """The interface of Gymnasium over that of dm_env; holds actions.

    A wrapper that held them would have every frame rendered.
    """

    def __init__(
        self, domain: str, task: str, repeat: int, size: tuple[int, int] | None
    ):
        if repeat < 1:
            raise ValueError(f"action_repeat is {repeat}, but must be at least 1.")
        # The seed given here decides what a few domains draw once, such as lqr.
        self._env = _suite().load(domain, task, task_kwargs={"random": 0})
        self._repeat, self._size = repeat, size
        self._camera = 2 if domain == "quadruped" else 0
        parts = {
            key: gymnasium.spaces.Box(-np.inf, np.inf, spec.shape, np.float64)
            for key, spec in self._env.observation_spec().items()
        }
        if size:
            parts["image"] = gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(parts)
        bounds = self._env.action_spec()
        self.action_space = gymnasium.spaces.Box(
            bounds.minimum.astype(np.float32), bounds.maximum.astype(np.float32)
        )

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(seed)
        return self._observe(self._env.reset()), {}

    def step(self, action: np.ndarray):
        total = 0.0
        for _ in range(self._repeat):
            now = self._env.step(action)
            total += now.reward or 0.0
            if now.last():
                break
        terminated = now.last() and now.discount == 0
        truncated = now.last() and not terminated
        return self._observe(now), total, terminated, truncated, {}

    def close(self) -> None:
        self._env.close()

    def _observe(self, now: Any) -> dict[str, Any]:
        observation = dict(now.observation)
        if self._size:
            height, width = self._size
            physics = self._env.physics
            observation["image"] = physics.render(height, width, self._camera)
        return observation
