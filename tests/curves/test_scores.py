"""Laws of the published curves and of numbers over many tasks."""

import pathlib

import numpy as np
import pytest

from common.curves import bands, scores


def last_values(method):
    """Atari game -> the last value of each seed."""
    found = {}
    for curve in scores.published():
        if curve.method == method and curve.task.startswith("atari_"):
            found.setdefault(curve.task, []).append(curve.points[-1, 1])
    return found


def test_the_averages_of_the_paper_come_out_of_the_shipped_files():
    final = last_values("published_schedules")
    assert len(final) == 55
    assert {len(seeds) for seeds in final.values()} == {4}
    paper = {"gamer_median": 2.64, "gamer_mean": 10.45}
    paper |= {"record_mean": 0.43, "clip_record_mean": 0.28}
    found = {name: scores.over_tasks(name, final) for name in paper}
    assert found == pytest.approx(paper, abs=0.005)


def test_the_published_values_of_dm_control_come_out():
    for task, means, stds in (
        ("cartpole_balance", (305, 803, 979, 992), (17, 74, 4, 1)),
        ("walker_walk", (130, 408, 616, 934), (60, 58, 53)),
        ("cheetah_run", (109, 332, 460, 610), (27, 84, 92)),
    ):
        seeds = [c.points for c in scores.published() if c.task == f"dmc_{task}"]
        assert len(seeds) == 5
        band = bands.aggregate(seeds)
        frames = np.isin(band.xs, (30e3, 90e3, 150e3, 510e3))
        assert band.mid[frames].round().tolist() == [*means]
        # The authors divided by n, our bands divide by n - 1.
        spread = ((band.high - band.mid)[frames] * np.sqrt(4 / 5)).round()
        assert spread[: len(stds)].tolist() == [*stds]


def test_what_is_shipped_is_complete_and_small():
    tasks = {curve.task for curve in scores.published()}
    assert sum(task.startswith("atari_") for task in tasks) == 55
    assert sum(task.startswith("dmc_") for task in tasks) == 21
    assert {curve.method for curve in scores.published()} == set(scores.PUBLISHED)
    for curve in scores.published():
        assert np.isfinite(curve.points).all()
        assert (np.diff(curve.points[:, 0]) > 0).all()
    assert tasks >= {"atari_pong", "dmc_walker_walk"}
    sizes = [path.stat().st_size for path in scores.FOLDER.iterdir()]
    assert max(sizes) < 2**20


def test_the_data_go_into_the_wheel():
    root = pathlib.Path(__file__).resolve().parents[2]
    setup = (root / "setup.py").read_text()
    assert '"common.curves": ["published/*"],' in setup
    assert scores.FOLDER == root / "common" / "curves" / "published"
    assert "MIT" in (scores.FOLDER / "README.md").read_text()


def gamers(name):
    tasks = scores.having_references("gamer_mean", scores.references())
    return {task: [scores.references()[task][name]] for task in tasks}


def test_human_gamers_score_1_and_random_players_0():
    assert len(gamers("random")) == 57
    for name in ("gamer_mean", "gamer_median", "gamer_iqm"):
        assert scores.over_tasks(name, gamers("human_gamer")) == pytest.approx(1.0)
        assert scores.over_tasks(name, gamers("random")) == pytest.approx(0.0)


def test_clipping_comes_after_the_mean_over_seeds():
    known = scores.references()["atari_pong"]
    span = known["human_record"] - known["random"]
    seeds = {"atari_pong": [known["random"], known["random"] + 1.5 * span]}
    assert scores.over_tasks("clip_record_mean", seeds) == pytest.approx(0.75)
    seeds = {"atari_pong": [known["random"] + 1.5 * span]}
    assert scores.over_tasks("clip_record_mean", seeds) == pytest.approx(1.0)


def test_tasks_may_have_different_numbers_of_seeds():
    assert scores.over_tasks("mean", {"a": [1, 2, 3], "b": [10]}) == 6
    assert scores.over_tasks("median", {"a": [1, 2, 3], "b": [10], "c": [0]}) == 2
    assert scores.over_tasks("iqm", {"a": [0, 1, 3], "b": [100]}) == 2


def test_an_unknown_statistic_is_an_error_that_names_those_there_are():
    for name in ("gamer", "clip_mean", "gamer_medium", "record"):
        with pytest.raises(ValueError, match="gamer_median"):
            scores.having_references(name, [])


def test_no_task_with_references_is_an_error():
    with pytest.raises(ValueError, match="gamer_mean"):
        scores.over_tasks("gamer_mean", {"dmc_walker_walk": [3.0]})


def line(start, end, slope, step=1.0):
    xs = np.arange(start, end + step / 2, step)
    return np.stack([xs, slope * xs], axis=1)


def test_a_statistic_over_tasks_ends_where_the_shortest_task_ends():
    tasks = {"a": [line(0, 10, 1), line(0, 4, 1)], "b": [line(2, 6, 3, step=2.0)]}
    band = scores.curve_over_tasks("mean", tasks, bins=1)
    assert band.xs.tolist() == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(band.mid, 2 * band.xs)
    assert scores.curve_over_tasks("mean", {**tasks, "c": [line(20, 30, 1)]}) is None


def test_the_interval_over_tasks_holds_the_statistic_and_vanishes_for_equal_seeds():
    rng = np.random.default_rng(0)
    noisy = {
        task: [line(0, 9, 1) + [0, rng.normal()] for _ in range(5)] for task in "abc"
    }
    band = scores.curve_over_tasks("median", noisy, bins=1)
    assert (band.low < band.mid).all() and (band.mid < band.high).all()
    same = {task: [line(0, 9, 1)] * 3 for task in "ab"}
    band = scores.curve_over_tasks("iqm", same, bins=1)
    np.testing.assert_allclose(band.low, band.high)
