"""Adapter of our own agent, whose batches are put together in another way.

    python -m benchmarks.learning --also benchmarks/adapters/phased.py ...

`benchmarks.learning.batches` says how.
"""

from benchmarks.learning import batches
from common.replay import streams

streams.Stream = batches.Phased  # in this process alone, before a replay makes one

from benchmarks.adapters import ours  # noqa: E402

NAME = "phased"
make_training = ours.make_training
