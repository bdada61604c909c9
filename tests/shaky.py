"""Environments that go wrong, in a module that a process of theirs imports quickly."""

import ctypes
import os
import pathlib
import tempfile
import time

import numpy as np

from common import specs


class Shaky:
    """Observes its seed and step count; goes wrong in the way that an action names.

    Attributes:
      keeps: Resets so far, which outlive episodes and processes.
    """

    obs_specs = {"vector": specs.ArraySpec((2,), np.dtype(np.float32))}
    act_spec = specs.ActionSpec(2, discrete=False)

    def __init__(self, length=4, leak=0, evil_seeds=(), marker=None):
        self.length, self.leak, self.evil_seeds = length, leak, evil_seeds
        self.marker = marker
        self.keeps, self.leaked = 0, []

    def reset(self, seed=None):
        if seed in self.evil_seeds:
            raise KeyError(f"no level of seed {seed}")
        if self.marker and not self.marker.exists():
            self.marker.write_text("I was here.")
            os._exit(3)
        self.keeps += 1
        self.leaked.append(b"x" * self.leak)
        self.seed, self.count = seed or 0, 0
        return self._transition(0.0)

    def step(self, action):
        fault = FAULTS.get(int(action[0]))
        if fault:
            fault()
        self.count += 1
        return self._transition(1.0)

    def _transition(self, reward):
        return {
            "vector": np.array([self.seed, self.count], np.float32),
            "reward": np.float32(reward),
            "is_first": np.bool_(self.count == 0),
            "is_last": np.bool_(self.count == self.length),
            "is_terminal": np.bool_(self.count == self.length),
            "log_success": np.float32(1),
        }

    def close(self):
        self.closed = True

    def get_state(self):
        return {"keeps": self.keeps}

    def set_state(self, state):
        self.keeps = state["keeps"]


def raise_error():
    raise ValueError("the dungeon collapsed")


FINE, RAISE, CRASH, LEAVE, HANG = (np.array([i, 0], np.float32) for i in range(5))
FAULTS = {
    1: raise_error,
    2: lambda: ctypes.string_at(0),  # reads the address 0: SIGSEGV
    3: lambda: os._exit(7),
    4: lambda: time.sleep(60),
}


class Writer(Shaky):
    """Writes into the folder for temporary files, and leaves it there."""

    def reset(self, seed=None):
        pathlib.Path(tempfile.gettempdir(), "mine").write_text("mine")
        return super().reset(seed)


class Brittle(Shaky):
    """Fails while a file exists, and always at step 3 of every fifth seed."""

    act_spec = specs.ActionSpec(2, discrete=True)

    def __init__(self, marker: pathlib.Path):
        super().__init__()
        self.broken = marker

    def step(self, action):
        if self.broken.exists():
            raise OSError("the power has failed")
        if self.seed % 5 == 0 and self.count == 2:
            os._exit(1)
        return super().step(np.zeros(2))

    def _transition(self, reward):
        tran = super()._transition(reward)
        return {**tran, "vector": tran["vector"] % 1000}
