"""Which episodes stay when the replay is full.

A retention strategy ranks the held episodes; the replay asks it for victims until
what is held fits the capacity again. Those that rank by keys are in `reservoir`. All
strategies work with whole episodes and with every sampling strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common import config as config_lib
from common.replay import episodes
from common.replay.strategies import base, reservoir


class Fifo(base.Retention):
    """The oldest episode leaves."""


class RandomReplacement(base.Retention):
    """The released rule: the newcomer always enters, uniform victims leave.

    Old tasks fade geometrically; `reservoir` is the unbiased rule.
    """

    def evict(self) -> int:
        """Forgets any episode but the newest."""
        index = self.ranked[int(self.rng.integers(len(self) - 1))][1]
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


class Coverage(base.Retention):
    """Episodes unlike the others stay: the lowest median distance leaves.

    On arrival an episode is embedded, and its priority is the median distance to up
    to `number_of_comparisons` random held episodes. The very first is compared once
    the second arrives.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        embed: base.Embedding,
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

    @classmethod
    def from_config(
        cls, config: config_lib.Config, agent: base.Agent, **options: Any
    ) -> Coverage:
        """Compares the first images of the observation, as `replay.coverage` says.

        Raises:
          ValueError: If the observation has no image.
        """
        images = [k for k, spec in agent.obs_specs.items() if spec.dtype == np.uint8]
        if not images:
            raise ValueError(
                "replay.retention coverage compares images, but the observations are "
                f"{sorted(agent.obs_specs)}; choose another retention."
            )
        settings = config.replay.coverage
        embed = agent.embedding(
            images[0],
            filters=settings.filters,
            kernel_size=settings.kernel_size,
            normalize_lstm_state=settings.normalize_lstm_state,
            seed=config.seed,
        )
        own = {
            "embed": embed,
            "number_of_comparisons": settings.number_of_comparisons,
            "distance": settings.distance,
        }
        return cls(config.seed, **(own | options))

    def rank(self, episode: episodes.Episode) -> float:
        """The median distance to some of those held."""
        if not self._rows:
            return 0.0
        points = self._points[: len(self._rows)]
        if len(points) > self._comparisons:
            count = self._comparisons
            rows = self.rng.choice(len(points), count, replace=False, shuffle=False)
            points = points[rows]
        distances = self._distance(points, episode.extras["embedding"])
        return float(np.median(distances))

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

    def check_valid(self, held: Mapping[int, episodes.Episode]) -> None:
        """Raises AssertionError unless each held episode has its embedding's row."""
        super().check_valid(held)
        places = {index: place for place, index in enumerate(self._rows)}
        assert places == self._places, f"{places} by row, {self._places} by index"
        assert set(places) == set(held), f"rows of {set(places)}, held {set(held)}"
        for index, place in places.items():
            same = np.array_equal(self._points[place], held[index].extras["embedding"])
            assert same, f"row {place} is not the embedding of episode {index}"

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


RETENTION: dict[str, type[base.Retention]] = {
    "fifo": Fifo,
    "reservoir": reservoir.Reservoir,
    "split": reservoir.Split,
    "random_replacement": RandomReplacement,
    "coverage": Coverage,
}
