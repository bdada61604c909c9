"""Adapter of our own agent, whose rows begin every batch with the empty state.

    python -m benchmarks.learning --also benchmarks/adapters/fresh.py ...

The middle between a row that goes on with its own state, as ours do, and one that goes
on with that of another row (`swapped.py`).
"""

from benchmarks.adapters import ours
from dreamerv2.algorithm import agent

NAME = "fresh"
make_training = ours.make_training
_train = agent.Agent.train


def train(self, batch, state, **settings):
    """As the agent's own, without the carried state."""
    return _train(self, batch, None, **settings)


agent.Agent.train = train  # in this process alone
