"""Dummy environments, the smallest configuration, and an agent that learns nothing.

The recorder of calls takes the place of the agent where a test is about the loop: it
needs no tracing, so that a run takes a fraction of a second.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import tensorflow as tf

from common import config as config_lib
from common.envs import base, gym_adapter
from common.nets import optim
from dreamerv2 import settings as settings_lib
from dreamerv2.run import checkpoint, loop, phases
from dreamerv2.run import tasks as tasks_lib

# The smallest agent that is still one: every part has its layer.
SIZES = {
    "rssm": {"deter": 8, "hidden": 8, "stoch": 2, "discrete": 2},
    r"(encoder|decoder)\.cnn_depth": 1,
    r"(encoder|decoder)\.mlp_layers": [8],
    r"(actor|critic|.*_head)\.layers": 1,
    r"(actor|critic|.*_head)\.units": 8,
    "dataset": {"batch": 2, "length": 4},
    "imag_horizon": 2,
    "disag_models": 2,
}
TINY = settings_lib.defaults.update(
    SIZES,
    {
        "replay": {"minlen": 2, "maxlen": 4, "capacity": 1000},
        "steps": 40,
        "prefill": 20,
        "train_every": 10,
        "eval_every": 0,
        "eval_eps": 1,
        "log_every": 10,
        "log_every_video": 0,
        "checkpoint_every": 0,
        "wandb.mode": "disabled",
    },
)


class Walk(gymnasium.Env):
    """A walk along a line, from a random place between 0 and 2 to the goal.

    Observation: [place / goal, steps of the episode / limit, task]. Actions: left,
    right. The goal gives reward and success and terminates; the limit truncates.

    Attributes:
      tape: The calls: ("make",), ("reset", seed), ("step", action), ("close",).
      fails_at: After so many steps, counted on the tape, a step raises KeyError.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(
        self,
        task: int = 0,
        tape: list | None = None,
        *,
        goal: int = 6,
        limit: int = 8,
        reward: float = 1.0,
        fails_at: int | None = None,
    ):
        self.tape = [] if tape is None else tape
        self.fails_at = fails_at
        self._task, self._goal, self._limit, self._reward = task, goal, limit, reward
        self.tape.append(("make",))

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.tape.append(("reset", seed))
        self._place = int(self.np_random.integers(3))
        self._count = 0
        return self._observe(), {}

    def step(self, action: int):
        if self.fails_at is not None and len(steps(self.tape)) >= self.fails_at:
            raise KeyError("the power has failed")
        self.tape.append(("step", int(action)))
        self._place = max(0, self._place + (1 if action else -1))
        self._count += 1
        done = self._place >= self._goal
        info = {"success": float(done)}
        late = self._count >= self._limit
        return self._observe(), self._reward * done, done, late, info

    def close(self):
        self.tape.append(("close",))

    def _observe(self) -> np.ndarray:
        place, time = self._place / self._goal, self._count / self._limit
        return np.array([place, time, self._task], np.float32)


class Gallery(Walk):
    """The same walk, seen as a column of light in an image."""

    observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)

    def _observe(self) -> np.ndarray:
        image = np.full((64, 64, 3), 40 * self._task, np.uint8)
        image[:, 8 * self._place : 8 * self._place + 8] = 255
        return image


def steps(tape: list) -> list[int]:
    """The actions on a tape."""
    return [call[1] for call in tape if call[0] == "step"]


def seeds(tape: list) -> list[int]:
    """The seeds of the resets on a tape."""
    return [call[1] for call in tape if call[0] == "reset"]


def count(tape: list, name: str) -> int:
    """How often a call is on a tape."""
    return sum(call[0] == name for call in tape)


def adapt(env: gymnasium.Env) -> base.Env:
    """An environment as the driver steps it, that tells success."""
    return gym_adapter.GymAdapter(env, log_info=("success",))


class Tapes:
    """Tasks `Walk`, and the tapes of their environments.

    Attributes:
      tasks: The tasks.
      train, eval: One tape for each task.
      options: Of the training environments that are made from now on, by task.
    """

    def __init__(self, number: int = 1, env: Callable[..., Walk] = Walk):
        self.options: list[dict[str, Any]] = [{} for _ in range(number)]
        self.train: list[list] = [[] for _ in range(number)]
        self.eval: list[list] = [[] for _ in range(number)]
        self.tasks = [
            tasks_lib.Task(
                f"walk{k}",
                lambda k=k: adapt(env(k, self.train[k], **self.options[k])),
                lambda k=k: adapt(env(k, self.eval[k])),
            )
            for k in range(number)
        ]


def run(
    folder: pathlib.Path,
    tapes: Tapes,
    unbalanced: list[int] | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Trains on tasks in a folder; returns the lines of metrics.jsonl.

    Args:
      folder: The logdir.
      tapes: The tasks.
      unbalanced: Steps of each task, if they differ.
      **settings: Overrides of TINY, `__` for a dot.
    """
    config = configure(folder, **settings)
    schedule = unbalanced and phases.Schedule(unbalanced, config.num_task_repeats)
    loop.train(tasks_lib.TaskList(tapes.tasks), config, schedule=schedule)
    return read(folder)


def configure(folder: pathlib.Path, **settings: Any) -> config_lib.Config:
    """TINY in a folder, with overrides, `__` for a dot."""
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return TINY.update({"logdir": str(folder), **dotted})


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; ValueError for what is not valid JSON."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=_refuse) for line in lines]


def pick(lines: list[dict[str, Any]], *keys: str) -> list[tuple]:
    """(step, values of the keys) of the lines that have the first key."""
    return [
        (line["step"], *[line[key] for key in keys])
        for line in lines
        if keys[0] in line
    ]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON.")


def snapshot(folder: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """State and tensors of the newest snapshot of a run."""
    path = checkpoint.Checkpoints(folder / "checkpoints").latest()
    return checkpoint.load_state(path), checkpoint.load_tensors(path)


def needed(folder: pathlib.Path) -> set[str]:
    """Names of the episodes that the snapshots of a run need to go on from."""
    states = checkpoint.Checkpoints(folder / "checkpoints").states()
    replays = [state["replay"] for state in states]
    return {n for each in replays for n in (*each["held"], *each["in_use"])}


def timeless(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what depends on the clock."""
    clocks = ("time_", "fps", "unwritten")
    return [
        {key: value for key, value in line.items() if not key.startswith(clocks)}
        for line in read(folder)
    ]


def assert_same_end(
    one: pathlib.Path, other: pathlib.Path, replay: bool = True
) -> None:
    """Two runs have ended in the same snapshot, metrics and replay, bit by bit."""
    (state, tensors), (other_state, other_tensors) = snapshot(one), snapshot(other)
    assert state == other_state
    assert set(tensors) == set(other_tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(value, other_tensors[name], err_msg=name)
    assert timeless(one) == timeless(other)
    if replay:
        assert stored(one) == stored(other)


def stored(folder: pathlib.Path) -> dict[str, dict[str, bytes]]:
    """What the files of the replays hold, by name and key."""
    result = {}
    for path in sorted(folder.glob("*_replay/*.npz")):
        with np.load(path) as file:
            result[f"{path.parent.name}/{path.name}"] = {
                key: file[key].tobytes() for key in file.files
            }
    return result


class Recorder:
    """In place of the agent: one weight, and every call on a list.

    Its weight depends on every batch and its actions on the weight, so that two runs
    that differ anywhere end differently.

    Attributes:
      acts: (step, exploring, evaluate) of each call of `policy`.
      batches: (step, batch) of each call of `train`.
      switches: (finished, next) task of each call of `on_task_change`.
      losses: What `train` reports as the loss, by number of the update.
      on_train: Called with the agent when `train` begins.
    """

    made: list[Recorder] = []  # those of the present test, see conftest.py
    losses: dict[int, float] = {}
    on_train: Callable[[Recorder], None] | None = None

    def __init__(self, config: config_lib.Config, obs_specs, act_spec):
        self.obs_specs, self.act_spec = dict(obs_specs), act_spec
        self.weight = tf.Variable(1.0)
        self.optimizer = optim.Optimizer(
            "model", {"weight": self.weight}, l2=config.l2_scale, **config.model_opt
        )
        self.acts: list[tuple[int, list[bool], bool]] = []
        self.batches: list[tuple[int, dict[str, np.ndarray]]] = []
        self.switches: list[tuple[int, int]] = []
        self._resets = config.reset_optimizer_on_task_change
        self._calls = 0
        self._apart = config.collect_during_update
        self._published = 1.0
        Recorder.made.append(self)

    def policy(self, obs, state, *, step, exploring, evaluate=False):
        self.acts.append((step, exploring.tolist(), evaluate))
        self._calls += 1
        weight = self._published if self._apart else float(self.weight)
        chaos = int(abs(weight) * 1e6) + 7 * self._calls
        index = [
            (chaos // 3 + row) % self.act_spec.size for row in range(len(exploring))
        ]
        return np.eye(self.act_spec.size, dtype=np.float32)[index], state

    def train(self, data, state, *, step):
        self.batches.append((step, data))
        if Recorder.on_train:
            Recorder.on_train(self)
        mean = float(np.mean([np.sum(data[k]) for k in ("vector", "action", "reward")]))
        carried = 0.0 if state is None else float(state["deter"][0])
        grad = tf.constant(np.float32(np.sin(mean + carried)))
        loss = self.losses.get(len(self.batches), mean)
        metrics = self.optimizer.apply(tf.constant(np.float32(loss)), [grad])
        return {"deter": tf.fill([len(data["reward"])], grad)}, metrics

    def publish(self):
        self._published = float(self.weight)

    def assess(self, windows, seed):
        total = sum(window["vector"][window["valid"]].sum() for window in windows)
        return {"vector": float(self.weight * total), "kl": seed / 2**31}

    def report(self, data):
        return {"openl_image": np.zeros((2, 4, 4, 3), np.float32)}

    def on_task_change(self, finished, next):
        self.switches.append((finished, next))
        if self._resets:
            self.optimizer.reset()
        self.optimizer.anchor()

    def named_state(self):
        moments = self.optimizer.named_weights().items()
        return {"weight": self.weight} | {f"model_opt/{k}": v for k, v in moments}

    def parameters(self):
        return {"world model": 1}

    def get_state(self):
        return {"calls": self._calls}

    def set_state(self, state):
        self._calls = state["calls"]
