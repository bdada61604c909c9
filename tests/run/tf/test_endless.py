"""Laws of episodes that do not end, or end too soon: a run never waits without a word.

A recorder of calls takes the agent's place; tests/run/tf/test_runs.py has the real one.
"""

import functools
import logging

import dummies
import pytest

from dreamerv2.run import learner


@pytest.fixture(autouse=True)
def recorder(agents):
    """The agents that were made, newest last."""
    return agents


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """After 30 steps without an episode patience is over."""
    monkeypatch.setattr(learner, "PATIENCE", 30)


ENDLESS = {"goal": 10**9, "limit": 10**9}


class Trap(dummies.Walk):
    """Ends in training as a walk does, never in an evaluation."""

    def __init__(self, task, tape, **options):
        evaluates = any(tape is each for each in self.tapes.eval)
        super().__init__(task, tape, **(ENDLESS if evaluates else options))


@pytest.mark.parametrize("settings", [{}, {"eval_steps": 40, "envs": 2}], ids=str)
def test_an_evaluation_without_an_end_is_cut_and_says_so_once(
    tmp_path, settings, caplog
):
    tapes = Trap.tapes = dummies.Tapes(2, Trap)
    settings = {"eval_every": 10, "eval_limit": 25, "eval_replay": 100, **settings}
    with caplog.at_level(logging.WARNING):
        lines = dummies.run(tmp_path, tapes, **settings)
    lengths = dummies.pick(lines, "eval_length_0", "eval_length_1")
    assert len(lengths) > 3
    assert all(length == [25, 25] for _, *length in lengths)
    told = [r.getMessage() for r in caplog.records if "eval_limit" in r.getMessage()]
    assert len(told) == 2 and "walk0" in told[0] and "after 25 steps" in told[0]


def test_a_time_limit_beyond_the_bound_of_evaluations_holds_there_too(tmp_path, caplog):
    tapes = dummies.Tapes(1, functools.partial(dummies.Walk, goal=100, limit=12))
    settings = {"eval_every": 20, "eval_limit": 5}
    lines = dummies.run(tmp_path / "cut", tapes, **settings)
    assert {length for _, length in dummies.pick(lines, "eval_length_0")} == {5}
    lines = dummies.run(tmp_path / "whole", tapes, time_limit=12, **settings)
    assert {length for _, length in dummies.pick(lines, "eval_length_0")} == {12}


def test_episodes_set_aside_are_cut_like_those_of_an_evaluation(tmp_path, caplog):
    tapes = Trap.tapes = dummies.Tapes(1, Trap)
    settings = {"eval_every": 20, "eval_model_eps": 2, "eval_limit": 9}
    with caplog.at_level(logging.WARNING):
        dummies.run(tmp_path, tapes, **settings)
    assert len(dummies.steps(tapes.eval[0])) == 2 * 9 + 2 * 9
    assert "walk0 had not ended after 9 steps" in caplog.text


@pytest.mark.parametrize(
    ("prefill", "step"), [(0, 30), (20, 30), (45, 45)], ids=["none", "short", "long"]
)
def test_an_environment_without_an_end_is_an_error_when_prefill_is_over(
    tmp_path, prefill, step
):
    tapes = dummies.Tapes(1)
    tapes.options[0] = ENDLESS
    with pytest.raises(learner.NothingToLearnError, match=f"{step} steps.*time_limit"):
        dummies.run(tmp_path, tapes, steps=80, prefill=prefill)
    assert len(dummies.steps(tapes.train[0])) == step


def test_an_environment_without_an_end_is_an_error_when_its_task_ends(tmp_path):
    tapes = dummies.Tapes(1)
    tapes.options[0] = ENDLESS
    with pytest.raises(learner.NothingToLearnError, match="25 steps.*--time_limit"):
        dummies.run(tmp_path, tapes, steps=25)


@pytest.mark.parametrize("length", [24, 29])
def test_an_episode_that_ends_after_the_prefill_is_waited_for(tmp_path, length):
    tapes = dummies.Tapes(1)
    tapes.options[0] = {"goal": 100, "limit": length}
    lines = dummies.run(tmp_path, tapes)
    assert [step for step, _ in dummies.pick(lines, "return")] == [length]
    assert lines[-1]["updates"] > 0


def test_what_is_under_way_is_learned_from_if_that_is_wanted(tmp_path, recorder):
    tapes = dummies.Tapes(2)
    tapes.options = [ENDLESS, ENDLESS]
    settings = {"replay__ongoing": True, "eval_every": 20, "log_every_video": 20}
    dummies.run(tmp_path, tapes, **settings)
    updates = [step for step, _ in recorder[-1].batches]
    # Not at the end of a task: with it ends what was under way.
    assert updates[0] == 20 and 30 in updates and 70 in updates
    assert 40 not in updates and 80 not in updates


def test_episodes_that_are_all_too_short_are_an_error_and_no_flood(
    tmp_path, recwarn, caplog
):
    tapes = dummies.Tapes(1)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(learner.NothingToLearnError) as error,
    ):
        dummies.run(tmp_path, tapes, replay__minlen=9, replay__maxlen=9)
    assert "were shorter than replay.minlen, 9 steps" in str(error.value)
    assert "Lower --minlen" in str(error.value)
    assert "minlen" not in caplog.text
    assert not any("minlen" in str(warning.message) for warning in recwarn)


def test_a_later_task_that_brings_nothing_is_told_of_once(tmp_path, caplog):
    tapes = dummies.Tapes(2)
    tapes.options[1] = {"goal": 1, "limit": 1}
    with caplog.at_level(logging.WARNING):
        dummies.run(tmp_path, tapes, steps=70)
    told = [r.getMessage() for r in caplog.records if "only older" in r.getMessage()]
    assert len(told) == 1
    assert "Nothing of task 1" in told[0] and "Lower --minlen" in told[0]


@pytest.mark.parametrize(("tasks", "steps"), [(1, 20), (1, 5), (2, 10)])
def test_a_run_of_nothing_but_prefill_is_refused(tmp_path, tasks, steps):
    tapes = dummies.Tapes(tasks)
    with pytest.raises(ValueError, match="nothing is learned in the first 20.*--steps"):
        dummies.run(tmp_path / "run", tapes, steps=steps)
    assert not any(tapes.train) and not (tmp_path / "run").exists()


def test_a_time_limit_below_the_shortest_episode_is_refused(tmp_path):
    tapes = dummies.Tapes(1)
    with pytest.raises(ValueError, match="cut after 5 steps.*at least 6 .*--minlen"):
        dummies.run(
            tmp_path / "run",
            tapes,
            **{"time_limit": 5, "replay__minlen": 6, "replay__maxlen": 6},
        )
    assert not any(tapes.train) and not (tmp_path / "run").exists()
