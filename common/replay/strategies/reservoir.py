"""Retention by keys: a uniform sample of all episodes, whole or beside the newest."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from common import config as config_lib
from common.replay import episodes
from common.replay.strategies import base


class Reservoir(base.Retention):
    """A uniform sample of all episodes ever seen (Vitter 1985), whatever their length.

    Every episode has one uniform key and the highest keys stay. The highest key ever
    evicted is a threshold: what is at or below it is refused, for otherwise a short
    newcomer would slip into the gap that a longer episode left. The key is a function
    of seed and index, so it survives even the loss of the state.
    """

    def __init__(self, seed: int = 0) -> None:
        """Starts empty, with nothing refused."""
        super().__init__(seed)
        self._seed = seed
        self._threshold = 0.0

    @property
    def threshold(self) -> float:
        """Highest key ever evicted."""
        return self._threshold

    def rank(self, episode: episodes.Episode) -> float:
        """The episode's key."""
        return self._key(episode.index)

    def add(self, episode: episodes.Episode) -> bool:
        """Takes in a newcomer unless its key is at or below the threshold."""
        return self.rank(episode) > self._threshold and super().add(episode)

    def evict(self) -> int:
        """Forgets the episode with the lowest key and raises the threshold to it."""
        self._threshold = max(self._threshold, self.ranked[0][0])
        return super().evict()

    def recall(
        self, held: Mapping[int, episodes.Episode], left: Collection[int]
    ) -> None:
        """Finds the threshold again from the keys of the episodes that left."""
        lowest = min(map(self._key, held), default=1.0)
        keys = [key for key in map(self._key, left) if key < lowest]
        self._threshold = max(keys, default=0.0)

    def get_state(self) -> dict[str, Any]:
        """JSON-able state."""
        return {**super().get_state(), "threshold": self._threshold}

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state."""
        super().set_state(state, held)
        self._threshold = state["threshold"]

    def check_valid(self, held: Mapping[int, episodes.Episode]) -> None:
        """Raises AssertionError unless all held ranks lie above the threshold."""
        super().check_valid(held)
        ranks = [(self.rank(episode), index) for index, episode in held.items()]
        assert self.ranked == sorted(ranks), f"{self.ranked} should be {ranks}"
        assert all(rank > self._threshold for rank, _ in ranks), (
            f"the threshold is {self._threshold}, held {self.ranked[:1]}"
        )

    def _key(self, index: int) -> float:
        return float(np.random.default_rng([self._seed, 2, index]).random())


class Split(Reservoir):
    """The newest episodes in one part of the capacity, a sample of the others beside.

    The newest part is the longest row of newest episodes whose steps together fit into
    `recent * capacity`, and always the newest one. An episode that grows out of it has
    from then on the rank of a `Reservoir`, its key: the highest keys stay in what the
    newest part leaves of the capacity, and one at or below the threshold leaves at
    once, even if there is room. So the others are a uniform sample of all episodes
    that ever grew out.

    Episodes longer than a part: one longer than the newest part is the newest part
    alone until the next arrives, and takes the room that it lacks from the others. One
    longer than the others' part would drive out all of them and leave behind its key
    as the threshold; it leaves when it grows out, and the threshold does not change.
    """

    def __init__(
        self, seed: int = 0, *, capacity: int, recent: float = 0.5, minlen: int = 1
    ) -> None:
        """Divides the capacity.

        Args:
          seed: Of the keys.
          capacity: Steps of the whole replay.
          recent: Share of the capacity for the newest part, above 0 and below 1.
          minlen: Fewest steps of an episode, which each part must be able to hold.

        Raises:
          ValueError: If the share is out of range, or a part could hold no episode.
        """
        super().__init__(seed)
        if not isinstance(recent, (int, float)) or not 0.0 < recent < 1.0:
            raise ValueError(
                f"replay.split_recent is {recent!r}; the share of the capacity for the "
                "newest episodes lies above 0 and below 1. With all of it for them the "
                "replay is fifo, with none reservoir."
            )
        self._part = round(recent * capacity)  # steps of the newest part
        self._rest = capacity - self._part  # and at least of the others
        if min(self._part, self._rest) < minlen:
            raise ValueError(
                f"replay.capacity is {capacity} steps, of which replay.split_recent, "
                f"{recent}, gives {self._part} to the newest episodes and {self._rest} "
                "to the others; each part must hold an episode of replay.minlen, "
                f"{minlen}. Raise the capacity, lower minlen, or take a share nearer "
                "to 0.5."
            )
        self._newest: dict[int, int] = {}  # steps by index, the oldest first
        self._newest_steps = 0
        self._since = 0  # episodes from this index on are the newest part
        self._warned = False

    @classmethod
    def from_config(
        cls, config: config_lib.Config, agent: base.Agent, **options: Any
    ) -> Split:
        """Takes `replay.capacity`, `replay.split_recent` and `replay.minlen`."""
        settings = config.replay
        own = {
            "capacity": settings.capacity,
            "recent": settings.split_recent,
            "minlen": settings.minlen,
        }
        return super().from_config(config, agent, **(own | options))

    def rank(self, episode: episodes.Episode) -> float:
        """Above all keys, by age, in the newest part; else the key, 0 if too long."""
        if episode.index >= self._since:
            return 1.0 + episode.index
        return self._rank_outside(episode.index, episode.steps)

    def add(self, episode: episodes.Episode) -> bool:
        """Takes in a newcomer, for which others may grow out of the newest part."""
        if not super().add(episode):
            return False
        if episode.index >= self._since:
            self._join(episode)
            self._warn_if_long(episode)
            self._let_grow_out()
        return True

    def release(self) -> list[int]:
        """Forgets who grew out with a key at or below the threshold, or too long."""
        released = []
        while self.ranked and self.ranked[0][0] <= self._threshold:
            released.append(self.ranked[0][1])
            self.remove(released[-1])
        return released

    def remove(self, index: int) -> None:
        """Forgets an episode."""
        super().remove(index)
        self._newest_steps -= self._newest.pop(index, 0)

    def recall(
        self, held: Mapping[int, episodes.Episode], left: Collection[int]
    ) -> None:
        """Finds the newest part again, and the threshold from those who left.

        The newest part has no gap: it ends where an episode does not fit or is gone.
        """
        self._since = max(held, default=0)
        steps = held[self._since].steps if held else 0
        while self._since - 1 in held:
            steps += held[self._since - 1].steps
            if steps > self._part:
                break
            self._since -= 1
        sample = {i: e for i, e in held.items() if 0.0 < self.rank(e) < 1.0}
        super().recall(sample, left)

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state; the ranks tell who is in the newest part.

        Under a smaller capacity its oldest grow out at once.
        """
        super().set_state(state, held)
        outside = [index for rank, index in self.ranked if rank < 1.0]
        self._since = max(outside, default=-1) + 1
        self._newest, self._newest_steps = {}, 0
        for index in sorted(held):
            if index >= self._since:
                self._join(held[index])
        self._let_grow_out()

    def check_valid(self, held: Mapping[int, episodes.Episode]) -> None:
        """Raises AssertionError unless the newest part is what it says and fits."""
        super().check_valid(held)
        newest = {i: held[i].steps for i in sorted(held) if i >= self._since}
        assert list(self._newest.items()) == list(newest.items()), (
            f"the newest part is {self._newest}, from {self._since} on {newest} is held"
        )
        assert self._newest_steps == sum(newest.values()), (
            f"{self._newest_steps} steps counted in {newest}"
        )
        assert self._newest_steps <= self._part or len(newest) == 1, (
            f"the newest part is {newest}, {self._part} steps fit"
        )

    def _rank_outside(self, index: int, steps: int) -> float:
        return self._key(index) if steps <= self._rest else 0.0

    def _join(self, episode: episodes.Episode) -> None:
        self._newest[episode.index] = episode.steps
        self._newest_steps += episode.steps

    def _let_grow_out(self) -> None:
        """Lets the oldest of the newest part grow out until the others fit."""
        while self._newest_steps > self._part and len(self._newest) > 1:
            self._grow_out()

    def _grow_out(self) -> None:
        oldest, steps = next(iter(self._newest.items()))
        self.remove(oldest)
        self._since = oldest + 1
        self._insert(oldest, self._rank_outside(oldest, steps))

    def _warn_if_long(self, episode: episodes.Episode) -> None:
        if self._warned or episode.steps <= min(self._part, self._rest):
            return
        self._warned = True
        warnings.warn(
            f"Episode {episode.index} has {episode.steps} steps, but replay.retention "
            f"split has {self._part} steps for the newest episodes and {self._rest} "
            "for a sample of the others. One longer than the first takes room of the "
            "others while it is the newest; one longer than the second is never in the "
            "sample. Raise replay.capacity, or choose another replay.split_recent.",
            stacklevel=2,
        )
