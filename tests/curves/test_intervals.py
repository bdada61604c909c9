"""Laws of numbers over many runs: interquartile means and bootstrap intervals."""

import itertools

import numpy as np
import pytest

from common.curves import intervals


def test_the_deviation_is_that_of_a_sample_and_a_single_run_has_none():
    assert intervals.mean_std([1.0, 2.0, 6.0]) == pytest.approx((3.0, np.sqrt(14 / 2)))
    mean, std = intervals.mean_std([5.0])
    assert mean == 5.0 and np.isnan(std)


def test_the_deviation_of_curves_is_that_of_the_seeds_that_are_there():
    values = np.random.default_rng(0).normal(size=(4, 3))
    values[0, 1] = values[1:, 2] = np.nan
    found = intervals.sample_deviation(values)
    expected = np.std(values[:, 0], ddof=1), np.std(values[1:, 1], ddof=1), 0.0
    np.testing.assert_allclose(found, expected)
    assert np.isnan(intervals.sample_deviation(np.full((2, 1), np.nan))).all()


def test_the_interquartile_mean_leaves_out_both_outer_quarters():
    values = [100, 3, 1, 2, -50, 4, 5, 6]
    assert intervals.interquartile_mean(values) == pytest.approx(3.5)
    square = np.array([[9, 1], [2, 3]])
    assert intervals.interquartile_mean(square) == pytest.approx(2.5)


def test_both_interquartile_means_equal_their_twin_that_sorts():
    rng = np.random.default_rng(0)
    for count in (1, 3, 4, 7, 20):
        values, cut = rng.normal(size=(count, 3)), count // 4
        twin = np.sort(values, axis=0)[cut : count - cut].mean(axis=0)
        columns = [intervals.interquartile_mean(column) for column in values.T]
        np.testing.assert_allclose(columns, twin)
        np.testing.assert_allclose(intervals.nan_interquartile_mean(values), twin)
        holes = np.concatenate([np.full((2, 3), np.nan), values])
        np.testing.assert_allclose(intervals.nan_interquartile_mean(holes), twin)
        assert np.isnan(intervals.interquartile_mean(holes))
    assert np.isnan(intervals.nan_interquartile_mean(np.full((3, 2), np.nan))).all()


def test_the_bootstrap_agrees_with_all_possible_resamplings():
    scores = np.array([[0.0, 10.0], [1.0, 14.0], [5.0, 30.0]])
    draws = list(itertools.product(range(3), repeat=3))
    means = [
        (scores[list(a), 0].mean() + scores[list(b), 1].mean()) / 2
        for a in draws
        for b in draws
    ]
    low, high = np.quantile(means, [0.1, 0.9])
    result = intervals.stratified_bootstrap(
        scores, np.random.default_rng(0), np.mean, samples=20_000, confidence=0.8
    )
    assert result.point == pytest.approx(scores.mean())
    assert result.low == pytest.approx(low, abs=0.2)
    assert result.high == pytest.approx(high, abs=0.2)


def test_the_bootstrap_draws_runs_within_each_task():
    scores = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    result = intervals.stratified_bootstrap(scores, np.random.default_rng(0), np.mean)
    assert result == (0.5, 0.5, 0.5)


def test_the_interval_of_the_interquartile_mean_is_that_of_any_function():
    scores = np.random.default_rng(3).random((5, 3))
    one = intervals.stratified_bootstrap(scores, np.random.default_rng(0))
    other = intervals.stratified_bootstrap(
        scores,
        np.random.default_rng(0),
        lambda values: intervals.interquartile_mean(values),
    )
    assert one == pytest.approx(other)


def test_the_bootstrap_depends_on_its_generator_alone():
    scores = np.random.default_rng(1).random(12)
    one, two, three = (
        intervals.stratified_bootstrap(scores, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert one == two != three
    assert one.low < one.point < one.high
    with pytest.raises(ValueError, match="runs, tasks"):
        intervals.stratified_bootstrap(np.zeros((2, 2, 2)), np.random.default_rng(0))


# Probability of improvement.


def improvement(ours, others, **options):
    rng = np.random.default_rng(options.pop("seed", 0))
    return intervals.probability_of_improvement(ours, others, rng, **options)


def test_the_probability_of_improvement_by_hand():
    ours, others = [[1.0, 0.5], [3.0, 0.5]], [[0.0, 0.5], [2.0, 0.9], [3.0, 0.1]]
    # First task: 1 beats 0; 3 beats 0 and 2 and equals 3: (1 + 2 + 0.5) / 6. Second:
    # each 0.5 equals one, loses to one and beats one: 3 / 6.
    expected = (3.5 / 6 + 3 / 6) / 2
    assert improvement(ours, others).point == pytest.approx(expected)
    assert improvement(others, ours).point == pytest.approx(1 - expected)
    assert improvement(ours, ours).point == 0.5


def test_tasks_count_alike_however_far_their_scores_lie_apart():
    ours, others = [[1000.0, 0.1]] * 2, [[0.0, 0.2]] * 2
    assert improvement(ours, others) == (0.5, 0.5, 0.5)
    assert improvement([[1e-9, 0.3]] * 2, others) == (1.0, 1.0, 1.0)


def test_the_runs_of_both_methods_are_drawn_for_each_task_on_its_own():
    # Whole runs of the second method win one task and lose the other, always 0.5.
    one, two = [[0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]
    assert improvement(one, two) == (0.5, 0.0, 1.0)
    assert improvement(two, one) == (0.5, 0.0, 1.0)


def test_it_is_bit_for_bit_what_looking_up_each_drawn_pair_gives():
    scores = np.random.default_rng(2)
    ours, others = scores.integers(5, size=(7, 3)), scores.integers(5, size=(9, 3))
    wins = (np.sign(ours[:, None] - others[None]) + 1) / 2
    rng, values = np.random.default_rng(0), []
    for _ in range(200):
        rows = rng.integers(len(ours), size=ours.shape)
        against = rng.integers(len(others), size=others.shape)
        values.append(wins[rows[:, None], against[None], np.arange(3)].mean())
    low, high = np.quantile(values, [(1.0 - 0.95) / 2, 1.0 - (1.0 - 0.95) / 2])
    expected = (wins.mean(), low, high)
    assert improvement(ours, others, samples=200) == expected


def test_its_interval_agrees_with_a_slow_twin_over_all_resamplings():
    ours = np.array([[0.0, 0.6], [0.4, 0.7]])
    others = np.array([[0.1, 0.7], [0.3, 0.5], [0.5, 0.2]])

    def value(x, y):
        pairs = [(a > b) + 0.5 * (a == b) for a in x for b in y]
        return sum(pairs) / len(pairs)

    by_task = [
        [
            value(x, y)
            for x in itertools.product(ours[:, task], repeat=2)
            for y in itertools.product(others[:, task], repeat=3)
        ]
        for task in range(2)
    ]
    means = [(one + two) / 2 for one in by_task[0] for two in by_task[1]]
    low, high = np.quantile(means, [0.1, 0.9])
    found = improvement(ours, others, samples=20_000, confidence=0.8)
    point = np.mean([value(ours[:, t], others[:, t]) for t in range(2)])
    assert found.point == pytest.approx(point)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


def test_it_depends_on_its_generator_and_needs_runs_of_the_same_tasks():
    rng = np.random.default_rng(1)
    ours, others = rng.random((5, 3)) + 0.2, rng.random((4, 3))
    one, two, three = (improvement(ours, others, seed=seed) for seed in (0, 0, 1))
    assert one == two != three and one.low < one.point < one.high
    for bad in (others[:, :2], others[0], others[:0]):
        with pytest.raises(ValueError, match="on the same tasks"):
            improvement(ours, bad)


def test_each_stratum_draws_from_the_seeds_that_it_has():
    values = np.full((4, 2), np.nan)
    values[:, 0] = 1, 2, 3, 4
    values[:2, 1] = 10, 20
    seen = []

    def statistic(drawn):
        seen.append(drawn)
        return np.nanmean(drawn)

    low, high = intervals.nan_bootstrap(values, statistic, samples=50)
    assert low < np.nanmean(values) < high
    drawn = np.array(seen)  # [50, 4, 2]
    assert np.isin(drawn[..., 0], [1, 2, 3, 4]).all()
    assert np.isin(drawn[:, :2, 1], [10, 20]).all()
    assert np.isnan(drawn[:, 2:, 1]).all()
    assert intervals.nan_bootstrap(values, np.nanmean, 50) == (low, high), "repeatable"


def test_the_draws_are_those_of_numbers_that_were_reported():
    scores = np.random.default_rng(0).random((5, 3))
    rng = np.random.default_rng(0)
    reported = (0.576250943665541, 0.29742677227532605, 0.7652166478505433)
    found = intervals.stratified_bootstrap(scores, rng)
    assert found == pytest.approx(reported, rel=1e-12)
    found = intervals.nan_bootstrap(
        scores, lambda drawn: intervals.nan_interquartile_mean(drawn.ravel()), 200
    )
    assert found == pytest.approx((0.3154722834637359, 0.7405631154715826), rel=1e-12)
