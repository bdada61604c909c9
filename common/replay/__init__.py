"""The replay: whole episodes in memory and on disk, and batches drawn from them.

An episode's life: `Replay.add_step` (`buffer`) takes in its transitions one by one, and
`ongoing` builds it from `episodes`; when it ends it arrives in `contents`, where one of
the `strategies` says who has to leave, the other is told of it, and `counts` begins to
count; `archive` has `store` write its file, and keeps it as long as it is needed.
`streams` draws it, cuts windows and lays them out as batches, until it is evicted.
`layouts` has what a transition consists of, `footprint` predicts how large all becomes.
"""

from common.replay.archive import UnwrittenError
from common.replay.buffer import Replay

__all__ = ["Replay", "UnwrittenError"]
