"""Which episodes are drawn from the replay.

A sampling strategy knows the held episodes in order of arrival. Episodes that are
still under way (`replay.ongoing`) are handed in with each draw, as the newest.
"""

import bisect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from common.replay import episodes


class Sampling:
    """Draws each held episode alike; base of the other strategies."""

    def __init__(self, seed: int = 0) -> None:
        """Derives all randomness of the strategy from the seed."""
        self._rng = np.random.default_rng([seed, 3])
        self._held: list[episodes.Episode] = []  # ascending index

    def __len__(self) -> int:
        """Number of episodes held."""
        return len(self._held)

    def add(self, episode: episodes.Episode) -> None:
        """Takes in a newcomer."""
        bisect.insort(self._held, episode, key=lambda held: held.index)

    def remove(self, index: int) -> None:
        """Forgets an episode."""
        del self._held[self._position(index)]

    def draw(self, unfinished: Sequence[episodes.Episode] = ()) -> episodes.Episode:
        """One episode of those held and the unfinished ones; LookupError if none."""
        if not self._held and not unfinished:
            raise LookupError("There is no episode to draw from.")
        position = self._draw(unfinished)
        if position < len(self._held):
            return self._held[position]
        return unfinished[position - len(self._held)]

    def get_state(self) -> dict[str, Any]:
        """JSON-able state."""
        return {"rng": self._rng.bit_generator.state}

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state; `held` gives the episodes it speaks of."""
        self._rng.bit_generator.state = state["rng"]
        self._held = [held[index] for index in sorted(held)]

    def _draw(self, unfinished: Sequence[episodes.Episode]) -> int:
        return int(self._rng.integers(len(self._held) + len(unfinished)))

    def _position(self, index: int) -> int:
        return bisect.bisect_left(self._held, index, key=lambda held: held.index)


class Uniform(Sampling):
    """Each held episode alike."""


class Recent(Sampling):
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

    def _draw(self, unfinished: Sequence[episodes.Episode]) -> int:
        if self._rng.random() >= self._prob:
            return super()._draw(unfinished)
        total = len(self._held) + len(unfinished)
        return int(total * np.sqrt(self._rng.random()))


class Softmax(Sampling):
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
        target = self._rng.random() * cumulative[-1]
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
        self._scores = [episode.reward for episode in self._held]
        self._cumulative = None

    def _draw(self, unfinished: Sequence[episodes.Episode]) -> int:
        return self._softmax_draw([episode.reward for episode in unfinished])


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

    def add(self, episode: episodes.Episode) -> None:
        """Takes in a newcomer, to be scored before the next draw."""
        self._insert_score(episode.index, 0.0)
        super().add(episode)
        self._unscored.add(episode.index)
        self._arrived += 1
        if self._arrived >= self._every:
            self._unscored.update(held.index for held in self._held)
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
                str(e.index): s for e, s in zip(self._held, self._scores, strict=True)
            },
            "unscored": sorted(self._unscored),
            "arrived": self._arrived,
        }

    def set_state(
        self, state: Mapping[str, Any], held: Mapping[int, episodes.Episode]
    ) -> None:
        """Restores a state."""
        super().set_state(state, held)
        self._scores = [state["scores"][str(e.index)] for e in self._held]
        self._unscored = set(state["unscored"]) & set(held)
        self._arrived = state["arrived"]
        self._cumulative = None

    def _draw(self, unfinished: Sequence[episodes.Episode]) -> int:
        if self._unscored:
            self._compute_scores()
        mean = float(np.mean(self._scores)) if self._scores else 0.0
        return self._softmax_draw([mean] * len(unfinished))

    def _compute_scores(self) -> None:
        positions = [self._position(index) for index in sorted(self._unscored)]
        for start in range(0, len(positions), self._batch):
            chunk = positions[start : start + self._batch]
            scores = np.asarray(self._score([self._held[p].arrays() for p in chunk]))
            if scores.shape != (len(chunk),) or not np.isfinite(scores).all():
                raise ValueError(
                    f"The score function gave {scores} for {len(chunk)} episodes; it "
                    "must give one finite number each."
                )
            for position, score in zip(chunk, scores, strict=True):
                self._scores[position] = float(score)
        self._unscored.clear()
        self._cumulative = None


SAMPLING: dict[str, type[Sampling]] = {
    "uniform": Uniform,
    "recent": Recent,
    "reward": Reward,
    "uncertainty": Uncertainty,
}


def make(name: str, seed: int = 0, **options: Any) -> Sampling:
    """Makes the strategy of that name; ValueError with the choices if unknown."""
    if name not in SAMPLING:
        raise ValueError(f"Unknown sampling {name!r}; choose from {list(SAMPLING)}.")
    return SAMPLING[name](seed, **options)
