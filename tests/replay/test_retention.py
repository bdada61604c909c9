"""Laws of which episodes stay."""

import json
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.replay.strategies import retention


def fake(index, point=None, steps=1):
    """What a strategy sees of an episode."""
    point = np.asarray([] if point is None else point, np.float32)
    return types.SimpleNamespace(index=index, extras={}, point=point, steps=steps)


def make(name, seed=0, **options):
    if name == "coverage":
        options = {"embed": lambda episode: episode.point, **options}
    if name == "split":
        options = {"capacity": 9, **options}
    return retention.RETENTION[name](seed, **options)


def run(strategy, lengths, capacity, points=None):
    """Feeds episodes of the given lengths; returns the sets held after each."""
    held, history, total = {}, [], 0
    for index, length in enumerate(lengths):
        episode = fake(index, None if points is None else points[index], length)
        if strategy.add(episode):
            held[index] = episode
            total += length
        for gone in strategy.release():
            total -= lengths[gone]
            del held[gone]
        while total > capacity and len(held) > 1:
            gone = strategy.evict()
            total -= lengths[gone]
            del held[gone]
        history.append(set(held))
    strategy.check_valid(held)
    return history


def test_fifo_holds_the_newest():
    assert run(make("fifo"), [2] * 9, 6)[-1] == {6, 7, 8}


@settings(max_examples=50)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    capacity=st.integers(9, 40),
    seed=st.integers(0, 99),
)
def test_reservoir_holds_all_above_the_lowest_threshold_that_ever_fitted(
    lengths, capacity, seed
):
    keys = [np.random.default_rng([seed, 2, i]).random() for i in range(len(lengths))]
    threshold, strategy = 0.0, make("reservoir", seed)
    history = run(strategy, lengths, capacity)
    for count, held in enumerate(history, 1):
        arrived = sorted(range(count), key=keys.__getitem__)
        above = [i for i in arrived if keys[i] > threshold]
        while sum(lengths[i] for i in above) > capacity:
            threshold = keys[above.pop(0)]
        assert held == set(above)
    assert strategy.threshold == threshold


@pytest.mark.slow
def test_reservoir_keeps_long_and_short_episodes_alike():
    lengths = [1, 9] * 300
    counts = np.zeros(600)
    for seed in range(60):
        counts[list(run(make("reservoir", seed), lengths, 600)[-1])] += 1
    short, long = counts[::2].mean(), counts[1::2].mean()
    assert abs(short - long) / counts.mean() < 0.1
    early, late = counts[:300].mean(), counts[300:].mean()
    assert abs(early - late) / counts.mean() < 0.1


def test_reservoir_finds_its_threshold_again_from_the_names_alone():
    strategy = make("reservoir", 3)
    held = run(strategy, [1] * 80, 10)[-1]
    again = make("reservoir", 3)
    again.recall({index: fake(index) for index in held}, set(range(80)) - held)
    assert again.threshold == strategy.threshold
    assert all(again.add(fake(index)) for index in held)


def test_reservoir_takes_over_a_folder_that_another_rule_left():
    strategy = make("reservoir", 3)
    strategy.recall({index: fake(index) for index in range(70, 80)}, range(70))
    assert all(strategy.add(fake(index)) for index in range(70, 80))


def test_random_replacement_never_evicts_the_newcomer_but_any_other():
    last, victims = [], np.zeros(5)
    for seed in range(500):
        history = run(make("random_replacement", seed), [1] * 6, 5)
        last.append(5 in history[-1])
        victims[list(set(range(5)) - history[-1])] += 1
    assert all(last)
    assert victims.min() > 70  # 100 each expected


def test_distances_agree_with_the_textbook():
    rng = np.random.default_rng(0)
    points, point = rng.normal(size=(20, 6)), rng.normal(size=6)
    norms = np.linalg.norm(points, axis=1) * np.linalg.norm(point)
    expected = {
        "euclid": [np.linalg.norm(p - point) for p in points],
        "cosine": [1 - p @ point / n for p, n in zip(points, norms, strict=True)],
    }
    for name, distance in retention.DISTANCES.items():
        np.testing.assert_allclose(distance(points, point), expected[name], rtol=1e-6)


def test_coverage_equals_a_plain_twin_when_all_are_compared():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(60, 5)).astype(np.float32)
    history = run(make("coverage", distance="euclid"), [1] * 60, 12, points)
    held, priority = [], {}
    for index, point in enumerate(points):
        if held:
            distances = [np.linalg.norm(points[i] - point) for i in held]
            priority[index] = np.median(distances)
        if index == 1:
            priority[0] = priority[1]
        held.append(index)
        if len(held) > 12:
            held.remove(min(held, key=priority.__getitem__))
        assert set(held) == history[index]


def test_coverage_keeps_the_odd_one_out():
    points = np.random.default_rng(2).normal(size=(100, 4)) * 0.01
    points[17] += 5
    points[60] -= 5
    held = run(make("coverage", number_of_comparisons=10), [1] * 100, 10, points)[-1]
    assert {17, 60} <= held


def test_coverage_embeds_an_episode_once_and_leaves_the_vector_with_it():
    calls = []

    def embed(episode):
        calls.append(episode)
        return np.ones(3, np.float64)

    strategy = retention.Coverage(embed=embed)
    episode = fake(0)
    strategy.add(episode)
    assert episode.extras["embedding"].dtype == np.float32
    strategy.remove(0)
    strategy.add(episode)
    assert len(calls) == 1


def test_coverage_compares_with_no_more_than_it_was_told(monkeypatch):
    compared = []

    def distance(points, point):
        compared.append(len(points))
        return retention.euclid(points, point)

    monkeypatch.setitem(retention.DISTANCES, "counted", distance)
    strategy = make("coverage", number_of_comparisons=7, distance="counted")
    run(strategy, [1] * 20, 30, np.random.default_rng(0).normal(size=(20, 3)))
    assert max(compared) == 7


def test_coverage_refuses_malformed_options():
    for options, message in (
        ({"distance": "manhattan"}, "'manhattan'.*cosine.*euclid"),
        ({"number_of_comparisons": 0}, "number_of_comparisons is 0"),
        ({"number_of_comparisons": 2.5}, "number_of_comparisons is 2.5"),
        ({"number_of_comparisons": "many"}, "number_of_comparisons is 'many'"),
    ):
        with pytest.raises(ValueError, match=message):
            make("coverage", **options)


@pytest.mark.parametrize("name", list(retention.RETENTION))
def test_a_restored_strategy_goes_on_like_the_first(name):
    points = np.random.default_rng(4).normal(size=(80, 4))
    known = {index: fake(index, point) for index, point in enumerate(points)}

    def go_on(strategy, start, stop, held):
        victims = []
        for index in range(start, stop):
            if strategy.add(known[index]):
                held.add(index)
            for gone in strategy.release():
                victims.append(gone)
                held.remove(gone)
            while len(held) > 9:
                victims.append(strategy.evict())
                held.remove(victims[-1])
        return victims

    strategy = make(name, number_of_comparisons=5) if name == "coverage" else make(name)
    held = set()
    go_on(strategy, 0, 40, held)
    state = json.loads(json.dumps(strategy.get_state()))
    restored_held = set(held)
    expected = go_on(strategy, 40, 80, held)
    keyed = name in ("reservoir", "split")  # their keys are those of the seed
    restored = make(name) if keyed else make(name, 99)
    if name == "coverage":
        restored = make(name, 99, number_of_comparisons=5)
    restored.set_state(state, {index: known[index] for index in restored_held})
    assert go_on(restored, 40, 80, restored_held) == expected
    assert len(restored) == len(held) > 6
