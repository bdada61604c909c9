"""The replay: whole episodes in memory and on disk, and batches drawn from them.

An episode's life: `Replay.add_step` (`buffer`) takes in its transitions one by one, and
`episodes` builds it; when it ends it arrives in `contents`, where a strategy of
`retention` says who has to leave, one of `sampling` is told of it, and `counts` begins
to count; `archive` keeps its file as long as it is needed and `store` writes it. `streams` draws it, cuts windows and lays them out as
batches, until it is evicted. `layouts` has what a transition consists of, `footprint`
predicts how large all becomes.
"""

from common.replay.buffer import Replay

__all__ = ["Replay"]
