"""Adapter of the original DreamerV2, the package that its author published.

It needs an environment of its own, with Python 3.9 to 3.11:

    python3.11 -m venv ~/venv/original && ~/venv/original/bin/pip install \
        tensorflow-cpu==2.15.1 tensorflow-probability==0.23.0 gym==0.26.2 \
        "ruamel.yaml<0.18"
    ~/venv/original/bin/pip install --no-deps dreamerv2==2.2.0

The package's own `api` and agent are called, as its `api.train` does: the state is
carried from one batch to the next, None before the first, so that the second update
traces once more. Batches are tensors before the clock starts, as its data pipeline
would have them; precision is 32.

A whole training is the package's `api.train` on a task of this project, which runs in
a process of our own interpreter. It cannot be repeated exactly: its replay takes no
seed, and TensorFlow must not be given one. Under a global seed all calls of a function
in one graph draw the same numbers, so that the latents of all steps of a sequence, and
of a dream, would be drawn with the same noise.
"""

import json
import os
import subprocess
import sys

os.environ.pop("TF_USE_LEGACY_KERAS", None)  # this environment has one Keras only

import gym  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

# The package of 2021 imports this module under the name that it had then.
sys.modules["tensorflow.keras.mixed_precision.experimental"] = tf.keras.mixed_precision
np.bool = bool  # likewise: NumPy has dropped it

import dreamerv2.api as dv2  # noqa: E402

NAME = "original"


def make_config(case):
    """Returns the package's defaults with the sizes of a case."""
    if case["settings"]:
        raise ValueError(f"settings {case['settings']} are ours; leave out --set")
    heads = r"(.*_head|actor|critic)"
    sizes = {
        "rssm.deter": case["deter"],
        "rssm.hidden": case["hidden"],
        "rssm.stoch": case["stoch"],
        "rssm.discrete": case["classes"],
        r"(encoder|decoder)\.cnn_depth": case["cnn_depth"],
        rf"{heads}\.layers": case["layers"],
        rf"{heads}\.units": case["units"],
        "imag_horizon": case["horizon"],
    }
    behaviour = "Plan2Explore" if case["plan2explore"] else "greedy"
    return dv2.defaults.update({**sizes, "expl_behavior": behaviour, "precision": 32})


def make_agent(case):
    """Builds the package's agent for images of 64x64x3."""
    size = case["action_size"]
    action = gym.spaces.Box(0 if case["discrete"] else -1, 1, (size,))
    if case["discrete"]:
        action.n = size  # how the package marks one-hot actions
    space = {"image": gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)}
    return dv2.agent.Agent(
        make_config(case), space, {"action": action}, dv2.common.Counter(0)
    )


def make_batch(case, shape):
    """Returns noise, as tensors [*shape, ...]."""
    rng, size = np.random.default_rng(0), case["action_size"]
    action = rng.uniform(-1, 1, (*shape, size)).astype(np.float32)
    if case["discrete"]:
        action = np.eye(size, dtype=np.float32)[rng.integers(size, size=shape)]
    batch = {
        "image": rng.integers(0, 256, (*shape, 64, 64, 3), np.uint8),
        "action": action,
        "reward": rng.random(shape, np.float32),
    }
    for flag in ("is_first", "is_last", "is_terminal"):
        batch[flag] = np.zeros(shape, bool)
    return {key: tf.constant(value) for key, value in batch.items()}


class Update:
    """Updates an agent with one batch, over and over."""

    def __init__(self, case):
        """Builds the agent; nothing is traced yet."""
        self._agent = make_agent(case)
        self._batch = make_batch(case, (case["batch"], case["length"]))
        self._train = dv2.common.CarryOverState(self._agent.train)

    @property
    def info(self):
        """Returns the number of weights, which exist from the first update on."""
        weights = self._agent.trainable_variables
        return {"weights": sum(int(np.prod(w.shape)) for w in weights)}

    def trace(self):
        """Builds the graph of the first update."""
        self._agent.train.get_concrete_function(self._batch, None)

    def __call__(self):
        """Takes one gradient step of every part, and waits for the loss."""
        float(self._train(self._batch)["model_loss"])


class Policy:
    """Chooses actions for `rows` environments that show one image each."""

    def __init__(self, case):
        """Builds an agent for each number of rows."""
        self._agent = make_agent(case)
        batch = make_batch(case, (case["rows"],))
        self._obs = {k: v.numpy() for k, v in batch.items() if k != "action"}
        self._mode = "eval" if case["evaluate"] else "explore"
        self._state = None

    def __call__(self):
        """Acts once."""
        output, self._state = self._agent.policy(self._obs, self._state, self._mode)
        output["action"].numpy()


class Task:
    """A task of this project as the package takes one; it notes the returns."""

    def __init__(self, case):
        """Starts the process, see benchmarks/adapters/environment.py."""
        given = {key: case[key] for key in ("task", "time_limit", "seed")}
        module = "benchmarks.adapters.environment"
        self._process = subprocess.Popen(
            [case["python"], "-m", module, json.dumps(given)],
            cwd=case["root"],
            env={**os.environ, "PYTHONPATH": case["root"]},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        facts = self._reply()
        self._shape = facts["shape"]
        image = gym.spaces.Box(0, 255, self._shape, np.uint8)
        self.observation_space = gym.spaces.Dict({"image": image})
        self.action_space = gym.spaces.Discrete(facts["actions"])
        self.returns = []  # [step at which an episode ends, return]
        self._step, self._return = 0, 0.0

    def reset(self):
        """Begins an episode."""
        self._return = 0.0
        return self._transition("reset")[0]

    def step(self, action):
        """Takes an action; an episode that the time limit cuts is not terminal."""
        observation, reply = self._transition(int(action))
        self._step += 1
        self._return += reply["reward"]
        if reply["is_last"]:
            self.returns.append([self._step, self._return])
        info = {"is_terminal": reply["is_terminal"]}
        return observation, reply["reward"], reply["is_last"], info

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait(10)

    def _transition(self, request):
        print(json.dumps(request), file=self._process.stdin, flush=True)
        reply = self._reply()
        pixels = np.frombuffer(bytes.fromhex(reply["image"]), np.uint8)
        return {"image": pixels.reshape(self._shape)}, reply

    def _reply(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The task ended with status {self._process.wait()}.")
        return json.loads(line)


class Training:
    """A whole run on the task of a case; called once."""

    def __init__(self, case):
        """Makes its configuration and starts the task."""
        same = ("task", "time_limit", "steps", "prefill", "train_every", "seed")
        self._config = make_config(case).update(
            {
                **{key: case[key] for key in same},
                **{
                    f"{part}_opt.lr": case["lr"]
                    for part in ("model", "actor", "critic")
                },
                "replay.minlen": case["minlen"],
                "replay.maxlen": case["maxlen"],
                "dataset.batch": case["batch"],
                "dataset.length": case["length"],
                "logdir": case["folder"],
                "eval_every": case["steps"] - case["prefill"],  # one round, no more
                "log_every": case["steps"],
            }
        )
        self._task = Task(case)
        self.info = {"settings": self._config.flat}

    def __call__(self):
        """Trains; `info` then has the returns [N, 2] of (step, return)."""
        np.random.seed(self._config.seed)
        dv2.train(self._task, self._config, outputs=[lambda summaries: None])
        self._task.close()
        self.info["returns"] = self._task.returns


make_update, make_policy, make_training = Update, Policy, Training
