"""Laws of joining seeds: bins, centres, bands, intervals."""

import numpy as np
import pytest

from common.curves import bands

ONE = np.array([[0, 1.0], [10, 2.0], [20, 3.0]])
TWO = np.array([[0, 3.0], [10, 6.0], [20, 3.0]])


def test_seeds_are_joined_to_mean_and_deviation_where_they_have_values():
    band = bands.aggregate([ONE, TWO])
    assert band.xs.tolist() == [0, 10, 20]
    assert band.mid.tolist() == [2, 4, 3]
    spread = np.sqrt([2, 8, 0])  # n - 1; a seed alone has none
    np.testing.assert_allclose(band.high - band.mid, spread)
    np.testing.assert_allclose(band.mid - band.low, spread)
    assert bands.aggregate([ONE, TWO[:2]], bins=10).mid.tolist() == [2, 4, 3]


def test_bins_average_what_lies_before_their_end():
    points = np.array([[0, 8.0], [1, 1.0], [10, 3.0], [11, 5.0], [40, 7.0]])
    assert bands.bin_points(points, 10).tolist() == [[0, 8], [10, 2], [20, 5], [40, 7]]
    assert bands.bin_points(points, 0) is points
    assert bands.aggregate([points, points[:3]], 30).xs.tolist() == [0, 30, 40]
    wide = bands.bin_points(points[1:], 1e6)
    assert wide.tolist() == [[1e6, 4]]


def test_seeds_at_different_steps_share_bins_of_their_own_accord():
    rng = np.random.default_rng(0)
    seeds = [
        np.stack([np.sort(rng.uniform(0, 1e6, 500)), rng.normal(size=500)], axis=1)
        for _ in range(3)
    ]
    band = bands.aggregate(seeds)
    assert 40 <= len(band.xs) <= 51
    assert (band.high > band.low).all()


def test_a_rule_is_a_centre_and_a_band():
    rules = {
        "mean": ("mean", "std"),
        "median": ("median", "iqr"),
        "iqm": ("iqm", "ci"),
        "std2": ("mean", "std2"),
        "per25": ("median", "per25"),
        "minmax": ("mean", "minmax"),
        "ci median": ("median", "ci"),
        "mean none": ("mean", "none"),
    }
    assert {words: bands.parse_rule(words.split()) for words in rules} == rules


def test_another_rule_is_an_error_that_names_the_words():
    for words in ("meen", "mean median", "std iqr", "mean std x"):
        with pytest.raises(ValueError, match="minmax"):
            bands.parse_rule(words.split())


def ends(words, values):
    points = [np.array([[1.0, value]]) for value in values]
    band = bands.aggregate(points, rule=bands.parse_rule(words.split()))
    return band.low.item(), band.mid.item(), band.high.item()


def test_each_band_is_what_it_says():
    values = [1, 2, 3, 4, 10]
    std = np.std(values, ddof=1)
    np.testing.assert_allclose(ends("std2", values), [4 - 2 * std, 4, 4 + 2 * std])
    assert ends("minmax", values) == (1, 4, 10)
    assert ends("median", values) == (2, 3, 4)
    assert ends("per0", values) == (1, 3, 10)
    assert ends("iqm none", values) == (3, 3, 3)
    assert ends("ci", [5.0]) == (5, 5, 5)


@pytest.mark.slow
def test_the_confidence_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        low, _, high = ends("ci", rng.normal(size=30))
        hits += low < 0 < high
    assert 50 <= hits
