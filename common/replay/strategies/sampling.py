"""Which episodes are drawn from the replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from common import config as config_lib
from common.replay import episodes
from common.replay.strategies import base


class Uniform(base.Sampling):
    """Each held episode alike."""


class Recent(base.Sampling):
    """With probability `recent_prob` rather a recent episode, else uniform.

    The recent one is drawn from the triangular distribution that rises to the newest:
    of n episodes the i-th (from 0) has probability (2 i + 1) / n^2.
    """

    def __init__(self, seed: int = 0, *, recent_prob: float = 0.5) -> None:
        """Takes the probability; ValueError unless it lies in [0, 1]."""
        super().__init__(seed)
        if not 0.0 <= recent_prob <= 1.0:
            raise ValueError(
                f"recent_prob is {recent_prob!r}; a probability lies in [0, 1]."
            )
        self._prob = float(recent_prob)

    @classmethod
    def from_config(
        cls, config: config_lib.Config, agent: base.Agent, **options: Any
    ) -> Recent:
        """Takes `replay.recent_prob`."""
        own = {"recent_prob": config.replay.recent_prob}
        return super().from_config(config, agent, **(own | options))

    def choose(self, unfinished: Sequence[episodes.Episode]) -> int:
        """A position among the newest, or any."""
        if self.rng.random() >= self._prob:
            return super().choose(unfinished)
        total = len(self.held) + len(unfinished)
        return int(total * np.sqrt(self.rng.random()))


class Softmax(base.Sampling):
    """Draws by the softmax, at temperature 1, of one score for each episode."""

    def __init__(self, seed: int = 0) -> None:
        """Starts without episodes."""
        super().__init__(seed)
        self._scores: list[float] = []  # of the held episodes, in their order
        self._cumulative: np.ndarray | None = None  # None: to be computed again

    def remove(self, index: int) -> None:
        """Forgets an episode and its score."""
        del self._scores[self._position(index)]
        self._cumulative = None
        super().remove(index)

    def check_valid(self, held: Mapping[int, episodes.Episode]) -> None:
        """Raises AssertionError unless each held episode has a score."""
        super().check_valid(held)
        assert len(self._scores) == len(held), f"{self._scores} for {sorted(held)}"
        if self._cumulative is not None:
            sums = _cumulative_softmax(self._scores)
            same = np.array_equal(self._cumulative, sums)
            assert same, f"{self._cumulative} are not the sums of {self._scores}"

    def _insert_score(self, index: int, score: float) -> None:
        self._scores.insert(self._position(index), score)
        self._cumulative = None

    def _softmax_draw(self, extra: Sequence[float]) -> int:
        if extra:
            cumulative = _cumulative_softmax([*self._scores, *extra])
        else:
            if self._cumulative is None:
                self._cumulative = _cumulative_softmax(self._scores)
            cumulative = self._cumulative
        # The last entry is left out: rounding may not lead past the last episode.
        target = self.rng.random() * cumulative[-1]
        return int(np.searchsorted(cumulative[:-1], target, side="right"))


def _cumulative_softmax(scores: Sequence[float]) -> np.ndarray:
    """Running sums of exp(score), up to a common factor."""
    scores = np.array(scores, np.float64)
    return np.cumsum(np.exp(scores - scores.max()))


class Reward(Softmax):
    """Softmax of the episodes' returns."""

    def add(self, episode: episodes.Episode) -> None:
        """Takes in a newcomer with its return."""
        self._insert_score(episode.index, episode.reward)
        super().add(episode)

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state; the returns come from the episodes."""
        super().set_state(state, held)
        self._scores = [episode.reward for episode in self.held]
        self._cumulative = None

    def choose(self, unfinished: Sequence[episodes.Episode]) -> int:
        """A position by the softmax of the returns."""
        return self._softmax_draw([episode.reward for episode in unfinished])

    def check_valid(self, held: Mapping[int, episodes.Episode]) -> None:
        """Raises AssertionError unless the scores are the returns."""
        super().check_valid(held)
        returns = [episode.reward for episode in self.held]
        assert self._scores == returns, f"{self._scores} are not {returns}"


Score = Callable[[Sequence[Mapping[str, np.ndarray]]], np.ndarray]


class Uncertainty(Softmax):
    """Softmax of a score that is computed by the agent, and again from time to time.

    Newcomers are scored together, before the next draw. After every `recalculation`
    newcomers all episodes are scored afresh, `batch` at a time. An unfinished episode
    counts as much as the mean of the others.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        score: Score,
        recalculation: int = 5000,
        batch: int = 16,
    ) -> None:
        """Takes the score function.

        Args:
          seed: Of the draws.
          score: Maps a list of N episodes, each a dict of arrays [T, ...], to N
            numbers (the mean Plan2Explore disagreement of each).
          recalculation: Newcomers until all scores are computed again.
          batch: Episodes a call of `score` gets at most.
        """
        super().__init__(seed)
        if recalculation < 1 or batch < 1:
            raise ValueError(
                f"recalculation is {recalculation!r} and batch {batch!r}; both must "
                "be at least 1 episode."
            )
        self._score = score
        self._every = int(recalculation)
        self._batch = int(batch)
        self._unscored: set[int] = set()
        self._arrived = 0  # since all scores were computed

    @classmethod
    def from_config(
        cls, config: config_lib.Config, agent: base.Agent, **options: Any
    ) -> Uncertainty:
        """Takes the score from the agent's ensemble.

        Raises:
          ValueError: If there is none, or it may be asked while it learns.
        """
        if config.expl_behavior != "Plan2Explore":
            raise ValueError(
                "replay.sampling uncertainty needs the ensemble of Plan2Explore, but "
                f"expl_behavior is {config.expl_behavior!r}; add --plan2explore."
            )
        if config.collect_during_update:
            raise ValueError(
                "replay.sampling uncertainty asks the ensemble at any time, also while "
                "it learns with collect_during_update; leave one of them out."
            )
        own = {
            "score": agent.disagreement,
            "recalculation": config.replay.uncertainty_recalculation,
        }
        return super().from_config(config, agent, **(own | options))

    def add(self, episode: episodes.Episode) -> None:
        """Takes in a newcomer, to be scored before the next draw."""
        self._insert_score(episode.index, 0.0)
        super().add(episode)
        self._unscored.add(episode.index)
        self._arrived += 1
        if self._arrived >= self._every:
            self._unscored.update(held.index for held in self.held)
            self._arrived = 0

    def remove(self, index: int) -> None:
        """Forgets an episode and its score."""
        self._unscored.discard(index)
        super().remove(index)

    def get_state(self) -> dict[str, Any]:
        """JSON-able state."""
        return {
            **super().get_state(),
            "scores": {
                str(e.index): s for e, s in zip(self.held, self._scores, strict=True)
            },
            "unscored": sorted(self._unscored),
            "arrived": self._arrived,
        }

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state."""
        super().set_state(state, held)
        self._scores = [state["scores"][str(e.index)] for e in self.held]
        self._unscored = set(state["unscored"]) & set(held)
        self._arrived = state["arrived"]
        self._cumulative = None

    def choose(self, unfinished: Sequence[episodes.Episode]) -> int:
        """A position by the softmax of the scores, computed now if need be."""
        if self._unscored:
            self._compute_scores()
        mean = float(np.mean(self._scores)) if self._scores else 0.0
        return self._softmax_draw([mean] * len(unfinished))

    def check_valid(self, held: Mapping[int, episodes.Episode]) -> None:
        """Raises AssertionError unless what is to be scored is held and not late."""
        super().check_valid(held)
        strange = self._unscored - set(held)
        assert not strange, f"to be scored but not held: {strange}"
        assert 0 <= self._arrived < self._every, f"{self._arrived} of {self._every}"

    def _compute_scores(self) -> None:
        positions = [self._position(index) for index in sorted(self._unscored)]
        for start in range(0, len(positions), self._batch):
            chunk = positions[start : start + self._batch]
            scores = np.asarray(self._score([self.held[p].arrays() for p in chunk]))
            if scores.shape != (len(chunk),) or not np.isfinite(scores).all():
                raise ValueError(
                    f"The score function gave {scores} for {len(chunk)} episodes; it "
                    "must give one finite number each."
                )
            for position, score in zip(chunk, scores, strict=True):
                self._scores[position] = float(score)
        self._unscored.clear()
        self._cumulative = None


SAMPLING: dict[str, type[base.Sampling]] = {
    "uniform": Uniform,
    "recent": Recent,
    "reward": Reward,
    "uncertainty": Uncertainty,
}
