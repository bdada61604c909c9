"""Laws of which episodes are drawn."""

import json
import types

import numpy as np
import pytest
from scipy import stats

from common.replay.strategies import sampling

DRAWS = 4000


def fake(index, reward=0.0):
    """What a strategy sees of an episode."""
    arrays = {"reward": np.array([reward], np.float32), "index": np.array([index])}
    return types.SimpleNamespace(index=index, reward=reward, arrays=lambda: arrays)


def score(batch):
    return np.array([arrays["reward"][0] for arrays in batch])


def make(name, seed=0, **options):
    if name == "uncertainty":
        options = {"score": score, **options}
    return sampling.SAMPLING[name](seed, **options)


def assert_drawn_as(strategy, probabilities, unfinished=()):
    """Chi-square test of the draws against probabilities by index."""
    drawn = [strategy.draw(unfinished).index for _ in range(DRAWS)]
    counts = np.bincount(drawn, minlength=len(probabilities))
    expected = np.asarray(probabilities) * DRAWS
    assert counts[expected == 0].sum() == 0
    keep = expected > 0
    assert stats.chisquare(counts[keep], expected[keep]).pvalue > 0.001


def softmax(values):
    values = np.exp(np.asarray(values, float) - np.max(values))
    return values / values.sum()


def test_an_empty_replay_says_so():
    for name in sampling.SAMPLING:
        with pytest.raises(LookupError):
            make(name).draw()


def test_uniform_draws_each_episode_alike():
    strategy = make("uniform")
    for index in range(8):
        strategy.add(fake(index))
    strategy.remove(3)
    assert_drawn_as(strategy, [1 / 7] * 3 + [0] + [1 / 7] * 4)


def test_recent_mixes_the_triangular_and_the_uniform_distribution():
    triangular = (2 * np.arange(7) + 1) / 49
    for prob in (0.0, 0.5, 1.0):
        strategy = make("recent", recent_prob=prob)
        for index in range(7):
            strategy.add(fake(index))
        assert_drawn_as(strategy, prob * triangular + (1 - prob) / 7)


@pytest.mark.parametrize("name", ["reward", "uncertainty"])
def test_a_softmax_at_temperature_one_of_the_scores(name):
    strategy = make(name)
    rewards = [0.0, 1.0, -1.0, 2.0, 0.5]
    for index, reward in enumerate(rewards):
        strategy.add(fake(index, reward))
    assert_drawn_as(strategy, softmax(rewards))
    strategy.remove(1)
    rewards[1] = -np.inf
    assert_drawn_as(strategy, softmax(rewards))


def test_a_softmax_does_not_overflow():
    strategy = make("reward")
    for index, reward in enumerate([5000.0, -5000.0, 5000.0]):
        strategy.add(fake(index, reward))
    assert_drawn_as(strategy, [0.5, 0, 0.5])


@pytest.mark.parametrize("name", list(sampling.SAMPLING))
def test_unfinished_episodes_count_as_the_newest(name):
    options = {"recent_prob": 1.0} if name == "recent" else {}
    strategy = make(name, **options)
    for index in range(3):
        strategy.add(fake(index, reward=index))
    unfinished = [fake(3, reward=9.0), fake(4, reward=1.0)]
    expected = {
        "uniform": [1 / 5] * 5,
        "recent": (2 * np.arange(5) + 1) / 25,
        "reward": softmax([0, 1, 2, 9, 1]),
        "uncertainty": softmax([0, 1, 2, 1, 1]),  # the mean of the others
    }
    assert_drawn_as(strategy, expected[name], unfinished)
    alone = make(name)
    assert alone.draw(unfinished[:1]) is unfinished[0]


def test_uncertainty_scores_arrivals_together_and_all_again_in_time():
    calls = []

    def counting(batch):
        calls.append([int(arrays["index"][0]) for arrays in batch])
        return np.zeros(len(batch))

    strategy = make("uncertainty", score=counting, recalculation=5, batch=3)
    for index in range(4):
        strategy.add(fake(index))
    assert not calls
    strategy.draw()
    strategy.draw()
    assert calls == [[0, 1, 2], [3]]
    strategy.remove(1)
    strategy.add(fake(4))
    calls.clear()
    strategy.draw()
    assert calls == [[0, 2, 3], [4]]
    strategy.add(fake(5))
    strategy.remove(5)
    calls.clear()
    strategy.draw()
    assert calls == []


def test_uncertainty_refuses_scores_that_are_not_one_number_each():
    for answer in (np.zeros(3), np.array([np.nan]), np.zeros((1, 1))):
        strategy = make("uncertainty", score=lambda batch, answer=answer: answer)
        strategy.add(fake(0))
        with pytest.raises(ValueError, match="one finite number each"):
            strategy.draw()


def test_malformed_options_are_refused():
    for name, options, message in (
        ("recent", {"recent_prob": -0.1}, "recent_prob is -0.1"),
        ("recent", {"recent_prob": 1.5}, "recent_prob is 1.5"),
        ("recent", {"recent_prob": float("nan")}, "recent_prob is nan"),
        ("uncertainty", {"recalculation": 0}, "at least 1"),
        ("uncertainty", {"batch": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make(name, **options)


@pytest.mark.parametrize("name", list(sampling.SAMPLING))
def test_a_restored_strategy_goes_on_like_the_first(name):
    known = {index: fake(index, reward=np.sin(index)) for index in range(40)}
    strategy = make(name, 5)
    for index in range(20):
        strategy.add(known[index])
    for index in range(0, 20, 3):
        strategy.remove(index)
    strategy.draw()
    strategy.add(known[20])
    state = json.loads(json.dumps(strategy.get_state()))
    restored = make(name, 77)
    restored.set_state(state, {i: known[i] for i in range(21) if i % 3})
    assert len(restored) == len(strategy)
    for index in range(21, 40):
        draws = []
        for each in (strategy, restored):
            each.add(known[index])
            draws.append([each.draw().index for _ in range(5)])
        assert draws[0] == draws[1]
        held = {i: known[i] for i in range(index + 1) if i % 3 or i > 20}
        restored.check_valid(held)
