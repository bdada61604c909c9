"""What every strategy of the replay does, and what its own class has to say."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from common import config as config_lib
from common.replay import episodes

Embedding = Callable[[episodes.Episode], np.ndarray]  # to a float32 vector [D]


class Agent(Protocol):
    """What a strategy may ask of the agent, so that the replay need not know it.

    Attributes:
      obs_specs: Observations by key, each with a `shape` and a `dtype`.
    """

    obs_specs: Mapping[str, Any]

    def disagreement(self, episodes: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """The mean disagreement [N] of Plan2Explore's ensemble over N episodes.

        Args:
          episodes: Each a dict of arrays [T, ...].
        """

    def embedding(self, key: str, **options: Any) -> Embedding:
        """A fixed random embedding of the images that an episode has under a key.

        Args:
          key: Of the images.
          **options: `filters`, `kernel_size` [pixels], `normalize_lstm_state`, `seed`.
        """


class Retention:
    """Which episodes stay: keeps those held ranked, the lowest leaves first.

    Here the rank is the age. A strategy of your own gives another `rank`, or chooses in
    `evict`; with `--replay.retention own:Rewarding --replay.retention_args '{"noise":
    0.1}'` this class rules a run:

        class Rewarding(strategies.Retention):
            def __init__(self, seed=0, *, noise=0.0):
                super().__init__(seed)
                self._noise = noise

            def rank(self, episode):
                return episode.reward + self._noise * self.rng.random()

    The order of calls:

        from_config(config, agent, **options)   when a run begins or goes on
        recall(held, left)                      once, before the folder's episodes
          add(episode), release(), ...          each of them, as below
        set_state(state, held)                  if it goes on: forgets all of the above
        add(episode) -> bool                    an episode has ended; False refuses it
          release() -> indices                  then, who leaves even if all fits
          evict() -> index                      then, while more is held than fits
        remove(index)                           before `add`, of an episode alone that
                                                is longer than the capacity
        on_task_change(finished, next)          between two tasks
        get_state() -> state                    for each snapshot

    What a class keeps besides the ranks belongs into `get_state` and `set_state`.

    Attributes:
      rng: All randomness comes from here; its state is part of the snapshot.
      ranked: (rank, index) of the episodes held, ascending.
    """

    def __init__(self, seed: int = 0) -> None:
        """Derives all randomness of the strategy from the seed."""
        self.rng = np.random.default_rng([seed, 1])
        self.ranked: list[tuple[float, int]] = []
        self._ranks: dict[int, float] = {}

    @classmethod
    def from_config(
        cls, config: config_lib.Config, agent: Agent, **options: Any
    ) -> Retention:
        """Makes the strategy with what it needs of configuration and agent.

        Args:
          config: The run's configuration; here only `seed`.
          agent: What strategies may ask of the agent; here nothing.
          **options: The object in `replay.retention_args`.

        Raises:
          ValueError: If it does not fit the configuration or the agent.
        """
        del agent
        return cls(config.seed, **options)

    def __len__(self) -> int:
        """Number of episodes held."""
        return len(self.ranked)

    def rank(self, episode: episodes.Episode) -> float:
        """The rank of a newcomer among those held."""
        return episode.index

    def add(self, episode: episodes.Episode) -> bool:
        """Takes in a newcomer; False if the strategy refuses it."""
        self._insert(episode.index, self.rank(episode))
        return True

    def release(self) -> Collection[int]:
        """Forgets the episodes that leave even if all fits; returns their indices."""
        return ()

    def evict(self) -> int:
        """Forgets the episode that leaves next and returns its index."""
        index = self.ranked[0][1]
        self.remove(index)
        return index

    def remove(self, index: int) -> None:
        """Forgets an episode."""
        entry = (self._ranks.pop(index), index)
        del self.ranked[bisect.bisect_left(self.ranked, entry)]

    def recall(
        self, held: Mapping[int, episodes.Episode], left: Collection[int]
    ) -> None:
        """Learns, before a folder is taken in without a state, what is in it.

        Args:
          held: By index the episodes that are about to be added.
          left: Indices of episodes that were added once and have left.
        """

    def on_task_change(self, finished: int, next: int) -> None:
        """Learns that the training goes on with another task.

        Args:
          finished: Number of the task that has been trained on.
          next: Number of the task that follows.
        """

    def get_state(self) -> dict[str, Any]:
        """JSON-able state."""
        return {"rng": self.rng.bit_generator.state, "ranks": list(self.ranked)}

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state; `held` gives the episodes it speaks of."""
        self.rng.bit_generator.state = state["rng"]
        self.ranked, self._ranks = [], {}
        for rank, index in state["ranks"]:
            if index in held:
                self._insert(index, rank)

    def check_valid(self, held: Mapping[int, episodes.Episode]) -> None:
        """Raises AssertionError unless the ranks are those of the episodes held."""
        assert self.ranked == sorted(self.ranked), f"not ascending: {self.ranked}"
        ranks = {index: rank for rank, index in self.ranked}
        assert ranks == self._ranks, f"{ranks} in order, {self._ranks} by index"
        assert set(ranks) == set(held), f"ranks of {set(ranks)}, held {set(held)}"

    def _insert(self, index: int, rank: float) -> None:
        self._ranks[index] = rank
        bisect.insort(self.ranked, (rank, index))


class Sampling:
    """Which episodes are drawn: here each held one alike.

    Episodes that are still under way (`replay.ongoing`) are handed in with each draw,
    as the newest. A strategy of your own gives another `choose`; with
    `--replay.sampling own:Newest --replay.sampling_args '{"count": 5}'` this class
    rules a run:

        class Newest(strategies.Sampling):
            def __init__(self, seed=0, *, count=10):
                super().__init__(seed)
                self._count = count

            def choose(self, unfinished):
                total = len(self.held) + len(unfinished)
                return int(self.rng.integers(max(0, total - self._count), total))

    The order of calls:

        from_config(config, agent, **options)   when a run begins or goes on
          add(episode), remove(index), ...      for each episode of the folder
        set_state(state, held)                  if it goes on: forgets all of the above
        add(episode)                            after the retention's `add`, if let in
        remove(index)                           after its `evict` or `remove`
        draw(unfinished) -> episode             for each window of a batch
        on_task_change(finished, next)          between two tasks
        get_state() -> state                    for each snapshot

    What a class keeps besides those held belongs into `get_state` and `set_state`.

    Attributes:
      rng: All randomness comes from here; its state is part of the snapshot.
      held: The episodes held, in the order of their arrival.
    """

    def __init__(self, seed: int = 0) -> None:
        """Derives all randomness of the strategy from the seed."""
        self.rng = np.random.default_rng([seed, 3])
        self.held: list[episodes.Episode] = []

    @classmethod
    def from_config(
        cls, config: config_lib.Config, agent: Agent, **options: Any
    ) -> Sampling:
        """Makes the strategy with what it needs of configuration and agent.

        Args:
          config: The run's configuration; here only `seed`.
          agent: What strategies may ask of the agent; here nothing.
          **options: The object in `replay.sampling_args`.

        Raises:
          ValueError: If it does not fit the configuration or the agent.
        """
        del agent
        return cls(config.seed, **options)

    def __len__(self) -> int:
        """Number of episodes held."""
        return len(self.held)

    def add(self, episode: episodes.Episode) -> None:
        """Takes in a newcomer."""
        bisect.insort(self.held, episode, key=lambda held: held.index)

    def remove(self, index: int) -> None:
        """Forgets an episode."""
        del self.held[self._position(index)]

    def draw(self, unfinished: Sequence[episodes.Episode] = ()) -> episodes.Episode:
        """One episode of those held and the unfinished ones; LookupError if none."""
        if not self.held and not unfinished:
            raise LookupError("There is no episode to draw from.")
        position = self.choose(unfinished)
        if position < len(self.held):
            return self.held[position]
        return unfinished[position - len(self.held)]

    def choose(self, unfinished: Sequence[episodes.Episode]) -> int:
        """The position of one episode: those held come first, then the unfinished."""
        return int(self.rng.integers(len(self.held) + len(unfinished)))

    def on_task_change(self, finished: int, next: int) -> None:
        """Learns that the training goes on with another task.

        Args:
          finished: Number of the task that has been trained on.
          next: Number of the task that follows.
        """

    def get_state(self) -> dict[str, Any]:
        """JSON-able state."""
        return {"rng": self.rng.bit_generator.state}

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state; `held` gives the episodes it speaks of."""
        self.rng.bit_generator.state = state["rng"]
        self.held = [held[index] for index in sorted(held)]

    def check_valid(self, held: Mapping[int, episodes.Episode]) -> None:
        """Raises AssertionError unless it draws from just the episodes held."""
        known = [episode.index for episode in self.held]
        assert known == sorted(held), f"draws from {known}, held {sorted(held)}"
        for episode in self.held:
            assert episode is held[episode.index], f"draws a copy of {episode.name}"

    def _position(self, index: int) -> int:
        return bisect.bisect_left(self.held, index, key=lambda held: held.index)
