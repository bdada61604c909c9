"""Adapter of this repository: of the checkout that is first on the import path.

`benchmarks.update --against benchmarks/adapters/ours.py --path ../old` compares the
working tree with another checkout.
"""

import functools
import json
import os
import pathlib
from typing import Any

import dreamerv2  # noqa: F401  before TensorFlow, as in every script

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # as dreamerv2.cli does for a script

import numpy as np
import tensorflow as tf

from benchmarks.turns import operations
from common import config as config_lib
from common import specs
from common.compute import devices
from common.envs import registry
from common.records import files
from dreamerv2 import settings as settings_lib
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import loop, phases, tasks

NAME = "ours"


def settings(case: dict) -> dict:
    """Returns the keys of our configuration that a case stands for."""
    heads = r"(.*_head|actor|critic)"
    values = {
        "rssm.deter": case["deter"],
        "rssm.hidden": case["hidden"],
        "rssm.stoch": case["stoch"],
        "rssm.discrete": case["classes"],
        r"(encoder|decoder)\.cnn_depth": case["cnn_depth"],
        rf"{heads}\.layers": case["layers"],
        rf"{heads}\.units": case["units"],
        "imag_horizon": case["horizon"],
        "dataset.batch": case["batch"],
        "dataset.length": case["length"],
    }
    if case["plan2explore"]:
        values["expl_behavior"] = "Plan2Explore"
    return values | case["settings"]


def make_agent(case: dict) -> agent_lib.Agent:
    """Builds the agent of a case; one of each kind in a process."""
    keys = ("rows", "evaluate")
    return _make_agent(json.dumps({k: v for k, v in case.items() if k not in keys}))


@functools.cache
def _make_agent(text: str) -> agent_lib.Agent:
    case = json.loads(text)
    config = settings_lib.defaults.update(settings(case))
    devices.setup(jit=config.jit)
    return agent_lib.Agent(
        config,
        {"image": specs.ArraySpec((64, 64, 3), np.dtype(np.uint8))},
        specs.ActionSpec(case["action_size"], discrete=case["discrete"]),
    )


def make_batch(case: dict) -> dict[str, np.ndarray]:
    """Returns a batch of noise; what is in it does not change the time it takes."""
    rng, size = np.random.default_rng(0), case["action_size"]
    shape = case["batch"], case["length"]
    action = rng.uniform(-1, 1, (*shape, size)).astype(np.float32)
    if case["discrete"]:
        action = np.eye(size, dtype=np.float32)[rng.integers(size, size=shape)]
    flags = ("is_first", "is_last", "is_terminal")
    return {
        "image": rng.integers(0, 256, (*shape, 64, 64, 3), np.uint8),
        "action": action,
        "reward": rng.random(shape, np.float32),
        **{flag: np.zeros(shape, bool) for flag in flags},
    }


class Update:
    """Updates an agent with one batch, over and over."""

    def __init__(self, case: dict):
        """Builds the agent; nothing is traced yet."""
        self._agent, self._batch = make_agent(case), make_batch(case)
        self._state = None
        weights = self._agent.named_weights().values()
        self.info = {"weights": sum(int(np.prod(w.shape)) for w in weights)}

    def trace(self) -> None:
        """Builds the graph that the first update will find."""
        agent, rows = self._agent, len(self._batch["action"])
        data = {key: tf.convert_to_tensor(value) for key, value in self._batch.items()}
        agent.train_graph.get_concrete_function(
            data,
            agent.model.initial(rows),
            agent.coefficients(0),
            tf.zeros(2, tf.int32),
        )

    def __call__(self) -> None:
        """Takes one gradient step of every part, and waits for the loss."""
        self._state, metrics = self._agent.train(self._batch, self._state, step=0)
        float(metrics["model_loss"])


class Operations:
    """Counts what one update computes, see `benchmarks.turns.operations`."""

    def __init__(self, case: dict):
        """Builds an agent of its own, of which nothing is compiled."""
        plain = {**case, "settings": {**case["settings"], "jit": "False"}}
        self._update, self.info = Update(plain), {}

    def __call__(self) -> None:
        """Takes one update; `info` then has the `operations`."""
        with operations.counted() as count:
            self._update()
        self.info["operations"] = count.total


class Product:
    """Multiplies two square matrices of the type that the case computes in."""

    SIZE = 2048

    def __init__(self, case: dict):
        """Makes the matrices."""
        half = case["settings"].get("precision") == "bfloat16"
        kind = tf.bfloat16 if half else tf.float32
        shape = (self.SIZE, self.SIZE)
        self._x = tf.cast(tf.random.stateless_uniform(shape, (0, 0)), kind)
        self.info = {"operations": 2 * self.SIZE**3}

    def __call__(self) -> None:
        """Multiplies them once, and waits."""
        tf.matmul(self._x, self._x)[0, 0].numpy()


class Policy:
    """Chooses actions for `rows` environments that show one image each."""

    def __init__(self, case: dict):
        """Builds the agent, or takes the one of an earlier case."""
        self._agent, rows = make_agent(case), case["rows"]
        image = make_batch(case)["image"].reshape(-1, 64, 64, 3)[:rows]
        self._obs = {"image": image, "is_first": np.zeros(rows, bool)}
        self._exploring = np.ones(rows, bool)
        self._evaluate, self._state = case["evaluate"], None

    def __call__(self) -> None:
        """Acts once."""
        _, self._state = self._agent.policy(
            self._obs,
            self._state,
            step=0,
            exploring=self._exploring,
            evaluate=self._evaluate,
        )


class Training:
    """A whole run on the task of a case; called once."""

    def __init__(self, case: dict):
        """Makes its configuration; nothing is built yet."""
        self._config = settings_lib.resolve(training_config(case))
        self.info: dict[str, Any] = {"settings": self._config.flat}

    def __call__(self) -> None:
        """Trains, and reads the returns [N, 2] of (step, return) from the run's log."""
        config = self._config
        make = registry.constructor(config.task, config, training=True)
        task = tasks.Task(config.task, make, None)
        schedule = phases.Schedule([config.steps])
        loop.train(tasks.TaskList([task]), config, schedule=schedule)
        log = pathlib.Path(config.logdir) / files.METRICS
        records = map(json.loads, log.read_text().splitlines())
        self.info["returns"] = [
            [record["step"], record["return"]]
            for record in records
            if "return" in record
        ]


def training_config(case: dict) -> config_lib.Config:
    """Returns our defaults with the sizes and the budget of a case."""
    same = ("task", "time_limit", "steps", "prefill", "train_every", "seed")
    return settings_lib.defaults.update(
        settings(case),
        {key: case[key] for key in same},
        {"replay.minlen": case["minlen"], "replay.maxlen": case["maxlen"]},
        {f"{part}_opt.lr": case["lr"] for part in ("model", "actor", "critic")},
        {"logdir": case["folder"], "overwrite": True, "wandb.mode": "disabled"},
        {"eval_every": 0, "checkpoint_every": 0, "checkpoint_minutes": 0},
        {"log_every": case["steps"], "log_every_video": 0},
    )


make_update, make_policy, make_training = Update, Policy, Training
make_operations, make_product = Operations, Product
