"""Which episodes stay when the replay is full.

A retention strategy ranks the held episodes; the replay asks it for victims until
what is held fits the capacity again. All strategies work with whole episodes and with
every sampling strategy.
"""

import bisect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from common.replay import episodes


class Retention:
    """Keeps the held episodes ranked, here by age; the lowest rank leaves first."""

    def __init__(self, seed: int = 0) -> None:
        """Derives all randomness of the strategy from the seed."""
        self._seed = seed
        self._rng = np.random.default_rng([seed, 1])
        self._ranked: list[tuple[float, int]] = []  # ascending (rank, index)
        self._ranks: dict[int, float] = {}

    def __len__(self) -> int:
        """Number of episodes held."""
        return len(self._ranked)

    def add(self, episode: episodes.Episode) -> bool:
        """Takes in a newcomer; False if the strategy refuses it."""
        self._insert(episode.index, self._rank(episode))
        return True

    def evict(self) -> int:
        """Forgets the episode that leaves next and returns its index."""
        index = self._ranked[0][1]
        self.remove(index)
        return index

    def remove(self, index: int) -> None:
        """Forgets an episode."""
        entry = (self._ranks.pop(index), index)
        del self._ranked[bisect.bisect_left(self._ranked, entry)]

    def recall(self, held: Collection[int], left: Collection[int]) -> None:
        """Learns, before a folder is taken in without a state, what its names tell.

        Args:
          held: Indices of the episodes that are about to be added.
          left: Indices of episodes that were added once and have left.
        """

    def get_state(self) -> dict[str, Any]:
        """JSON-able state."""
        return {"rng": self._rng.bit_generator.state, "ranks": list(self._ranked)}

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state; `held` gives the episodes it speaks of."""
        self._rng.bit_generator.state = state["rng"]
        self._ranked, self._ranks = [], {}
        for rank, index in state["ranks"]:
            if index in held:
                self._insert(index, rank)

    def _rank(self, episode: episodes.Episode) -> float:
        return episode.index

    def _insert(self, index: int, rank: float) -> None:
        self._ranks[index] = rank
        bisect.insort(self._ranked, (rank, index))


class Fifo(Retention):
    """The oldest episode leaves."""


class Reservoir(Retention):
    """A uniform sample of all episodes ever seen (Vitter 1985), whatever their length.

    Every episode has one uniform key and the highest keys stay. The highest key ever
    evicted is a threshold: what is at or below it is refused, for otherwise a short
    newcomer would slip into the gap that a longer episode left. The key is a function
    of seed and index, so it survives even the loss of the state.
    """

    def __init__(self, seed: int = 0) -> None:
        """Starts empty, with nothing refused."""
        super().__init__(seed)
        self._threshold = 0.0

    @property
    def threshold(self) -> float:
        """Highest key ever evicted."""
        return self._threshold

    def add(self, episode: episodes.Episode) -> bool:
        """Takes in a newcomer unless its key is at or below the threshold."""
        return self._rank(episode) > self._threshold and super().add(episode)

    def evict(self) -> int:
        """Forgets the episode with the lowest key and raises the threshold to it."""
        self._threshold = max(self._threshold, self._ranked[0][0])
        return super().evict()

    def recall(self, held: Collection[int], left: Collection[int]) -> None:
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

    def _rank(self, episode: episodes.Episode) -> float:
        return self._key(episode.index)

    def _key(self, index: int) -> float:
        return float(np.random.default_rng([self._seed, 2, index]).random())


class RandomReplacement(Retention):
    """The released rule: the newcomer always enters, uniform victims leave.

    Old tasks fade geometrically; `reservoir` is the unbiased rule.
    """

    def evict(self) -> int:
        """Forgets any episode but the newest."""
        index = self._ranked[int(self._rng.integers(len(self) - 1))][1]
        self.remove(index)
        return index


def euclid(points: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Euclidean distances [N] of points [N, D] to one point [D]."""
    difference = points - point
    return np.sqrt(np.einsum("nd,nd->n", difference, difference))


def cosine(points: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Cosine distances [N] (0 parallel, 2 opposite) of points [N, D] to one [D]."""
    norms = np.linalg.norm(points, axis=1) * np.linalg.norm(point)
    return 1.0 - points @ point / np.maximum(norms, 1e-12)


DISTANCES = {"cosine": cosine, "euclid": euclid}

Embedding = Callable[[episodes.Episode], np.ndarray]


class Coverage(Retention):
    """Episodes unlike the others stay: the lowest median distance leaves.

    On arrival an episode is embedded, and its priority is the median distance to up
    to `number_of_comparisons` random held episodes. The very first is compared once
    the second arrives.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        embed: Embedding,
        number_of_comparisons: int = 1000,
        distance: str = "euclid",
    ) -> None:
        """Sets up the comparison.

        Args:
          seed: Of the random choice of episodes to compare with.
          embed: Maps an episode to a float32 vector [D].
          number_of_comparisons: At most that many distances an episode.
          distance: A key of `DISTANCES`.
        """
        super().__init__(seed)
        if distance not in DISTANCES:
            raise ValueError(
                f"Unknown distance {distance!r}; choose from {sorted(DISTANCES)}."
            )
        whole = (
            isinstance(number_of_comparisons, (int, float))
            and not isinstance(number_of_comparisons, bool)
            and float(number_of_comparisons).is_integer()
        )
        if not whole or number_of_comparisons < 1:
            raise ValueError(
                f"number_of_comparisons is {number_of_comparisons!r}; it must be a "
                "whole number of at least 1."
            )
        self._embed = embed
        self._comparisons = int(number_of_comparisons)
        self._distance = DISTANCES[distance]
        self._rows: list[int] = []  # index of the episode in each row of _points
        self._places: dict[int, int] = {}  # and the way back
        self._points = np.zeros((0, 0), np.float32)  # [rows or more, D]

    def add(self, episode: episodes.Episode) -> bool:
        """Embeds and ranks a newcomer; its embedding is left in `extras`."""
        if "embedding" not in episode.extras:
            embedding = np.asarray(self._embed(episode), np.float32).ravel()
            episode.extras["embedding"] = embedding
        super().add(episode)
        self._place(episode)
        if len(self) == 2:
            self._compare_first(episode)
        return True

    def remove(self, index: int) -> None:
        """Forgets an episode and its embedding."""
        super().remove(index)
        place, last = self._places.pop(index), self._rows.pop()
        if last != index:
            self._points[place] = self._points[len(self._rows)]
            self._rows[place], self._places[last] = last, place

    def get_state(self) -> dict[str, Any]:
        """JSON-able state; the embeddings themselves are in the episodes' files."""
        return {**super().get_state(), "rows": list(self._rows)}

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state; the embeddings come from the episodes."""
        super().set_state(state, held)
        self._rows, self._places = [], {}
        for index in state["rows"]:
            if index in held:
                self._place(held[index])

    def _rank(self, episode: episodes.Episode) -> float:
        if not self._rows:
            return 0.0
        points = self._points[: len(self._rows)]
        if len(points) > self._comparisons:
            count = self._comparisons
            rows = self._rng.choice(len(points), count, replace=False, shuffle=False)
            points = points[rows]
        distances = self._distance(points, episode.extras["embedding"])
        return float(np.median(distances))

    def _compare_first(self, second: episodes.Episode) -> None:
        first = self._rows[0]
        super().remove(first)
        self._insert(first, self._ranks[second.index])  # distance is symmetric

    def _place(self, episode: episodes.Episode) -> None:
        embedding, place = episode.extras["embedding"], len(self._rows)
        if place == len(self._points):
            grown = np.empty((max(64, 2 * place), embedding.size), np.float32)
            grown[:place] = self._points[:place] if place else 0
            self._points = grown
        self._points[place] = embedding
        self._rows.append(episode.index)
        self._places[episode.index] = place


RETENTION: dict[str, type[Retention]] = {
    "fifo": Fifo,
    "reservoir": Reservoir,
    "random_replacement": RandomReplacement,
    "coverage": Coverage,
}


def make(name: str, seed: int = 0, **options: Any) -> Retention:
    """Makes the strategy of that name; ValueError with the choices if unknown."""
    if name not in RETENTION:
        raise ValueError(f"Unknown retention {name!r}; choose from {list(RETENTION)}.")
    return RETENTION[name](seed, **options)
