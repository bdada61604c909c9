"""Dummy environments and the smallest agent, for tests of whole runs."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import gymnasium
import numpy as np

# The smallest agent that is still one: every part has its layer.
TINY = {
    "rssm": {"deter": 8, "hidden": 8, "stoch": 2, "discrete": 2},
    r"(encoder|decoder)\.cnn_depth": 1,
    r"(encoder|decoder)\.mlp_layers": [8],
    r"(actor|critic|.*_head)\.layers": 1,
    r"(actor|critic|.*_head)\.units": 8,
    "dataset": {"batch": 2, "length": 4},
    "replay": {"minlen": 2, "maxlen": 4, "capacity": 1000},
    "imag_horizon": 2,
    "disag_models": 2,
    "steps": 40,
    "prefill": 20,
    "train_every": 10,
    "eval_every": 20,
    "eval_eps": 1,
    "log_every": 10,
    "log_every_video": 0,
    "checkpoint_every": 0,
    "wandb.mode": "disabled",
}


class Walk(gymnasium.Env):
    """A walk to the right: each episode starts at a random place, 0 to 2, and ends at 6.

    Observation: [place, steps in the episode, number of the task]. Actions: left or
    right. Reward 1 at the end, which terminates; after 8 steps the walk is truncated.

    Attributes:
      tape: Every call: ("make",), ("reset", seed), ("step", action) or ("close",).
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, task: int = 0, tape: list | None = None):
        self.tape = [] if tape is None else tape
        self._task = task
        self.tape.append(("make",))

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.tape.append(("reset", seed))
        self._place = int(self.np_random.integers(3))
        self._count = 0
        return self._observe(), {}

    def step(self, action: int):
        self.tape.append(("step", int(action)))
        self._place = max(0, self._place + (1 if action else -1))
        self._count += 1
        done = self._place >= 6
        return self._observe(), float(done), done, self._count >= 8, {}

    def close(self):
        self.tape.append(("close",))

    def _observe(self) -> np.ndarray:
        return np.array([self._place / 6, self._count / 8, self._task], np.float32)
