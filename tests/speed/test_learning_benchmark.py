"""The benchmark of learning: bins, intervals, files of runs; nothing is learned."""

import csv
import io
import json
import sys

import numpy as np
import pytest

from benchmarks.adapters import environment
from benchmarks.learning import __main__ as learning
from benchmarks.learning import batches, comparison, report, runs
from benchmarks.turns import inturn
from common import specs
from common.replay import streams

CASE = runs.parse_case(["steps=1600", "prefill=500"])
ADAPTER = """
import time

class Training:
    def __init__(self, case):
        self.case = case
        self.info = {"settings": {"seed": case["seed"], "lr": str(case["lr"])}}

    def __call__(self):
        time.sleep(SLEEP)
        self.info["returns"] = [[600, self.case["seed"] / 10]]

make_training = Training
"""


def record(returns, case=CASE, **settings):
    return {"case": case, "returns": returns, "settings": settings, "seconds": 1.0}


@pytest.fixture
def source(tmp_path):
    """Makes adapters that pretend to train."""

    def make(name="fake", sleep=0):
        path = tmp_path / f"{name}.py"
        path.write_text(ADAPTER.replace("SLEEP", str(sleep)))
        return inturn.Source(path, path=None)

    return make


# Bins.


def test_an_episode_counts_in_the_bin_in_which_it_ends():
    returns = [(500, 9), (501, 1), (900, 2), (1000, 3), (1001, 5), (1600, 7)]
    assert comparison.ends_of(CASE) == [1000, 1500, 1600]
    assert comparison.binned(returns, CASE).tolist() == [2, 5, 7]


def test_a_bin_in_which_no_episode_ends_counts_neither_in_the_mean_nor_over_runs():
    records = {
        runs.Job("ours", 0): record([(600, 1), (1600, 3)]),
        runs.Job("ours", 1): record([(600, 2), (1200, 6), (1600, 4)]),
        runs.Job("ours", 2): record([]),
    }
    found = comparison.columns(records, CASE)
    np.testing.assert_equal(found["ours"][0], [1, np.nan, 3, 2])
    np.testing.assert_equal(found["ours"][2], 4 * [np.nan])
    points = [each.point for each in comparison.compare(found)["ours"]]
    assert points == [1.5, 6, 3.5, 3]


# Intervals.


@pytest.mark.slow
def test_the_interval_of_a_mean_is_as_wide_as_chance_makes_it():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        found = comparison.mean(rng.normal(size=30))
        inside += found.low <= 0 <= found.high
    assert 175 <= inside <= 199  # 95 %, somewhat fewer with 30 runs


def test_runs_of_two_agents_are_drawn_independently():
    same = np.random.default_rng(0).normal(size=30)
    found = comparison.difference(same, same)
    assert found.point == 0
    single = comparison.mean(same)
    ratio = (found.high - found.low) / (single.high - single.low)
    assert ratio == pytest.approx(2**0.5, rel=0.15)  # zero, were they pairs


def test_a_difference_is_of_the_seeds_that_both_have():
    found = {
        "ours": {0: np.array([1.0, 1.0]), 1: np.array([50.0, 50.0])},
        "original": {0: np.array([3.0, 4.0]), 2: np.array([90.0, 90.0])},
        "third": {7: np.array([0.0, 0.0])},
    }
    rows = comparison.compare(found)
    assert list(rows) == ["ours", "original", "third", "original - ours"]
    assert [each.point for each in rows["original - ours"]] == [2, 3]


def test_settings_differ_by_value_not_by_how_they_are_written():
    records = {
        runs.Job("ours", 0): record([], ent="2e-3", free=0, act="elu", seed=0, own=1),
        runs.Job("other", 1): record([], ent=0.002, free=0.0, act="relu", seed=1),
    }
    assert comparison.differing(records) == ["`act`: ours 'elu', other 'relu'"]
    on, one = record([], clip=True), record([], clip=1)
    records = {runs.Job("ours", 0): on, runs.Job("other", 0): one}
    assert comparison.differing(records) == ["`clip`: ours True, other 1.0"]


def test_the_report_has_every_run_and_every_interval(tmp_path):
    records = {
        runs.Job(agent, seed): record([(600, seed), (1600, seed + shift)])
        for seed in range(3)
        for agent, shift in (("ours", 0), ("original", 1))
    }
    text = report.write(records, CASE, tmp_path)
    assert text == (tmp_path / "report.md").read_text()
    assert "| 1500 | nan [nan, nan] | nan [nan, nan] | nan [nan, nan] |" in text
    assert "| 1600 | 1.00 [0." in text
    assert "Runs: 3 of ours, 3 of original." in text
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert len(rows) == 6
    assert rows[0]["agent"] == "original"
    assert float(rows[2]["all"]) == 2.5
    assert (tmp_path / "curves.png").stat().st_size > 1000


# Files.


def test_a_run_that_is_done_is_not_made_again_and_one_that_failed_is(tmp_path):
    jobs = [runs.Job(agent, seed) for seed in (0, 1) for agent in ("ours", "other")]
    tape = []

    def train(job):
        tape.append(job.name)
        if len(tape) == 2:
            return "out of luck"
        runs.path_of(tmp_path, job).write_text(json.dumps(record([])))
        return ""

    failed = runs.run_missing(jobs, train, tmp_path, 1)
    assert tape == ["ours-0", "other-0", "ours-1", "other-1"]
    assert failed == {runs.Job("other", 0): "out of luck"}
    assert runs.run_missing(jobs, train, tmp_path, 1) == {}
    assert tape[4:] == ["other-0"]
    assert list(runs.load(tmp_path, jobs, CASE)) == jobs


def test_a_file_has_what_the_adapter_told_of_its_seed(tmp_path, source):
    for seed in (3, 4):
        given = dict(sources={"fake": source()}, case=CASE, logdir=tmp_path, minutes=1)
        assert runs.run(runs.Job("fake", seed), **given) == ""
    jobs = [runs.Job("fake", seed) for seed in (2, 3, 4)]
    found = runs.load(tmp_path, jobs, CASE)
    assert [each["returns"] for each in found.values()] == [[[600, 0.3]], [[600, 0.4]]]
    assert {"seconds", "versions", "commit", "machine", "date"} <= {*found[jobs[1]]}


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_killed_and_leaves_no_file(tmp_path, source):
    given = dict(case=CASE, logdir=tmp_path, minutes=0.02)
    job = runs.Job("fake", 0)
    error = runs.run(job, sources={"fake": source(sleep=60)}, **given)
    assert error == "killed after 0.02 minutes"
    assert not list(tmp_path.glob("*.json"))


def test_an_error_of_an_adapter_is_told_and_leaves_no_file(tmp_path, source):
    given = dict(case=CASE, logdir=tmp_path, minutes=1)
    job = runs.Job("fake", 0)
    error = runs.run(job, sources={"fake": source(sleep="1 / 0")}, **given)
    assert "ZeroDivisionError" in error
    assert not list(tmp_path.glob("*.json"))


# Flags.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "3-"], "write numbers and ranges"),
        (["--seeds", "x"], "write numbers and ranges"),
        (["--seeds", "4-2"], "'4-2', which is empty"),
        (["--workers", "0"], "--workers is 0; give more than 0"),
        (["--minutes", "-1"], "--minutes is -1.0; give more than 0"),
        (["--case", "depth=8"], "there is no 'depth'; choose from task, time_limit"),
        (["--case", "discrete=False"], "there is no 'discrete'"),
        (["--case", "steps=many"], "steps is 'many'; give a value like 4000"),
        (["--case", "steps=500"], "the prefill takes 500 of them"),
        (["--case", "steps=1600"], "was made with steps 4000, now it is 1600"),
        (["--also", "nowhere.py"], "there is no file nowhere.py"),
        (["--also", str(inturn.OURS)], "ours is there already"),
    ],
)
def test_flags_are_checked_before_anything_runs(words, message, tmp_path, capsys):
    path = runs.path_of(tmp_path, runs.Job("ours", 0))
    path.write_text(json.dumps(record([], case=runs.CASE)))
    with pytest.raises(SystemExit):
        learning.parse(["--logdir", str(tmp_path), *words])
    assert message in capsys.readouterr().err


def test_agents_take_turns_seed_by_seed(tmp_path, source):
    added = str(source("third").file)
    words = ["--logdir", str(tmp_path), "--seeds", "4,0-1,4", "--also", added]
    args = learning.parse(words)
    assert [job.seed for job in args.jobs] == [4, 4, 4, 0, 0, 0, 1, 1, 1]
    assert [job.agent for job in args.jobs[:3]] == ["ours", "original", "third"]


def test_a_report_of_what_is_there_makes_no_runs(tmp_path, monkeypatch, capsys):
    words = ["learning", "--logdir", str(tmp_path), "--report"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")  # main sets it for good
    with pytest.raises(SystemExit, match="has no runs yet; leave --report out"):
        learning.main()
    path = runs.path_of(tmp_path, runs.Job("ours", 2))
    path.write_text(json.dumps(record([(600, 1.0)], case=runs.CASE)))
    learning.main()
    assert "Runs: 1 of ours." in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.json"))) == 1


# The task that another implementation is given.


def test_the_served_task_is_that_of_our_own_runs():
    case = {"task": runs.CASE["task"], "time_limit": 7}
    actions = [2, 1, 0, 2, 2, 3, 2]
    replies = io.StringIO()
    requests = io.StringIO("\n".join(map(json.dumps, ["reset", *actions, "reset"])))
    environment.serve(environment.make(case), 3, requests, replies)
    facts, first, *steps, again = map(json.loads, replies.getvalue().splitlines())
    assert facts == {"shape": [64, 64, 3], "actions": 7}
    env, size = environment.make(case), 7
    assert first["image"] == env.reset(0)["image"].tobytes().hex() == again["image"]
    for action, reply in zip(actions, steps, strict=True):
        expected = env.step(np.eye(size, dtype=np.float32)[action])
        assert reply["image"] == expected["image"].tobytes().hex()
        assert reply["is_last"] == expected["is_last"]
    assert steps[-1]["is_last"] and not steps[-1]["is_terminal"]  # the time limit


def test_a_task_that_cannot_be_served_is_a_clear_error():
    class Dummy:
        obs_specs = {"state": None}
        act_spec = specs.ActionSpec(2, discrete=False)

    message = r"\['state'\] and continuous actions; give one with an image"
    with pytest.raises(ValueError, match=message):
        environment.describe(Dummy())


# Ways in which batches are put together.


def test_rows_that_begin_together_see_the_ends_of_their_episodes_together():
    found = {way: batches.count(way, runs.CASE, 50, 50) for way in batches.WAYS}
    assert found["ours"].none > 0.5
    assert found["dealt"].none < 0.2 and found["phased"].none < 0.2
    assert found["dealt"].episodes < 7 < found["phased"].episodes
    ends = [each.ends for each in found.values()]
    assert max(ends) == pytest.approx(min(ends), rel=0.25)  # as many in the long run


def test_windows_of_different_lengths_put_rows_out_of_step():
    assert batches.count("ours", runs.CASE, 25, 50).none < 0.2


def test_a_row_that_is_dealt_goes_on_where_the_row_before_it_ends():
    episode = batches.Played(0, 101, True)
    stream = batches.Dealt(
        draw=lambda rng: streams.Window(episode, 0, 50),
        **dict(find=None, cache=None, batch=4, length=16, rng=None, prefetch=False),
    )
    rows = [row for _ in range(3) for row in stream._choose()]
    places = [place for row in rows for w in row for place in range(w.start, w.stop)]
    assert places == [k % 50 for k in range(3 * 4 * 16)]
