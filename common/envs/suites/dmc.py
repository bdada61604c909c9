"""Tasks of the DeepMind Control Suite: rendered images, and vectors.

OpenGL's drivers and TensorFlow each bring an LLVM and crash in one process, so that a
task lives in a process of its own.
"""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from common import config as config_lib
from common.config import coerce
from common.envs import base, gym_adapter, wrappers
from common.envs.workers import parallel

SHORT = {"cup_catch": "ball_in_cup_catch"}  # other names of tasks
BACKENDS = ("egl", "osmesa", "glfw")  # of OpenGL, in the order in which they are tried
OFF = "disable"

_GL = "MUJOCO_GL"  # the variable in which MuJoCo is told the backend
_PROBE = """
import sys
from dm_control import mujoco, suite
if sys.argv[1] == "draw":
    mujoco.Physics.from_xml_string("<mujoco/>").render(8, 8)
print(*map("_".join, suite.ALL_TASKS))
"""
_PROBE_SECONDS = 120


def make(
    name: str,
    *,
    action_repeat: int = 2,
    time_limit: int = 0,
    size: Sequence[int] = (64, 64),
    render: bool = True,
) -> base.Env:
    """Makes a task in a process of its own.

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
      ImportError: dm_control is not installed, or does not load.
    """
    check_id(name)
    if render and os.environ[_GL] == OFF:
        raise ValueError(
            f"DM Control cannot render images: none of {', '.join(BACKENDS)} works "
            "here. Install `apt-get install libegl1 libgl1` (EGL, also on a GPU) or "
            f"`apt-get install libosmesa6` (OSMesa), and leave {_GL} unset; or train "
            "on vectors alone, --configs dmc_proprio."
        )
    image = (int(size[0]), int(size[1])) if render else None
    here = functools.partial(_make_here, name, action_repeat, time_limit, image)
    return parallel.ProcessEnv(here)


def options(config: config_lib.Config, training: bool) -> dict[str, Any]:
    """Returns what `make` takes besides what every suite does."""
    keys = config.encoder.cnn_keys, config.decoder.cnn_keys
    return {"render": any(re.match(key, "image") for key in keys)}


def check_id(name: str) -> None:
    """Raises ValueError for an unknown task, naming the nearest ones."""
    _full_name(name, choose_gl())


@functools.cache
def choose_gl() -> tuple[str, ...]:
    """Chooses how OpenGL is reached, and returns the names of all tasks.

    MUJOCO_GL decides if it is set; else the first of BACKENDS that draws an image is
    written there, for the processes that this one starts, or OFF if none does. Each is
    tried in a process of its own, because one that fails can end the process.

    Raises:
      ImportError: dm_control is not installed, or does not load.
    """
    given = os.environ.get(_GL)
    for backend in (given,) if given else (*BACKENDS, OFF):
        found = _probe(backend)
        if found.returncode == 0:
            if not given and backend != OFF:
                print(f"DM Control renders with {backend}; {_GL} overrides.")
            os.environ[_GL] = backend
            return tuple(found.stdout.split())
    reason = found.stderr.strip().rpartition("\n")[2]
    raise ImportError(f"dm_control with {_GL}={backend}: {reason}")


def _probe(backend: str) -> subprocess.CompletedProcess:
    """Draws an image and prints the names of the tasks, elsewhere."""
    return subprocess.run(
        [sys.executable, "-c", _PROBE, "draw" if backend in BACKENDS else "no"],
        env={**os.environ, _GL: backend},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PROBE_SECONDS,
    )


def _full_name(name: str, known: Sequence[str]) -> str:
    full = SHORT.get(name, name)
    if full not in known:
        near = ", ".join(coerce.nearest(name, [*known, *SHORT])) or "none"
        raise ValueError(f"Unknown DM Control task {name!r}; the nearest are {near}.")
    return full


def _make_here(
    name: str, repeat: int, time_limit: int, image: tuple[int, int] | None
) -> base.Env:
    adapter = gym_adapter.GymAdapter(_Task(name, repeat, image), size=None)
    return wrappers.limit(adapter, time_limit=time_limit)


class _Task(gymnasium.Env):
    """The interface of Gymnasium over that of dm_env; holds actions.

    A wrapper that held them would have every frame rendered.
    """

    def __init__(self, name: str, repeat: int, image: tuple[int, int] | None):
        from dm_control import suite

        if repeat < 1:
            raise ValueError(f"action_repeat is {repeat}, but must be at least 1.")
        tasks = {"_".join(task): task for task in suite.ALL_TASKS}
        domain, task = tasks[_full_name(name, list(tasks))]
        # The seed given here decides what a few domains draw once, such as lqr.
        self._env = suite.load(domain, task, task_kwargs={"random": 0})
        self._repeat, self._image = repeat, image
        self._camera = 2 if domain == "quadruped" else 0
        parts = {
            key: gymnasium.spaces.Box(-np.inf, np.inf, spec.shape, np.float64)
            for key, spec in self._env.observation_spec().items()
        }
        if image:
            parts["image"] = gymnasium.spaces.Box(0, 255, (*image, 3), np.uint8)
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
        if self._image:
            height, width = self._image
            physics = self._env.physics
            observation["image"] = physics.render(height, width, self._camera)
        return observation
