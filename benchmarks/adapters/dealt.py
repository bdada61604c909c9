"""Adapter of our own agent, whose batches are put together in another way.

    python -m benchmarks.learning --also benchmarks/adapters/dealt.py ...

`benchmarks.learning.batches` says how.
"""

from benchmarks.learning import batches
from common.replay import streams

streams.Stream = batches.Dealt  # in this process alone, before a replay makes one

from benchmarks.adapters import ours  # noqa: E402

NAME = "dealt"
make_training = ours.make_training
