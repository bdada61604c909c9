"""Adapter of our own agent, whose rows go on with the state of another row.

    python -m benchmarks.learning --also benchmarks/adapters/swapped.py ...

In the original a row goes on with the state of a window that it has no part of, because
of the way in which its batches are put together (`dealt.py`). Here batches are ours,
and only the state is wrong.
"""

import numpy as np

from benchmarks.adapters import ours
from dreamerv2.algorithm import agent

NAME = "swapped"
make_training = ours.make_training
_train = agent.Agent.train


def train(self, batch, state, **settings):
    """As the agent's own, with the carried state [B, ...] of each row one row on."""
    if state:
        state = {key: np.roll(value, 1, axis=0) for key, value in state.items()}
    return _train(self, batch, state, **settings)


agent.Agent.train = train  # in this process alone
