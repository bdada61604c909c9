"""Laws of the episodes that are set aside before training.

A recorder of calls takes the agent's place; tests/algorithm/test_assessment.py has the
losses themselves.
"""

import dummies
import numpy as np
import pytest

from common import specs
from dreamerv2.run import loop
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.run.evaluation import set_aside

READINGS = [f"eval_model_{key}_{k}" for key in ("vector", "kl") for k in range(2)]


@pytest.fixture(autouse=True)
def recorder(agents):
    """The agents that were made, newest last."""
    return agents


class Spaces:
    """What the episodes need of an agent; keeps what it is to judge."""

    def __init__(self):
        self.obs_specs = {"vector": specs.ArraySpec((3,), np.dtype(np.float32))}
        self.act_spec = specs.ActionSpec(2, True)
        self.judged = []

    def assess(self, windows, seed):
        self.judged.append((windows, seed))
        return {}


def play(tmp_path, tapes, **settings):
    """What is judged of each task, as (windows, seed)."""
    settings = {"eval_every": 20, "eval_model_eps": 3, **settings}
    agent = Spaces()
    config = dummies.configure(tmp_path, **settings)
    found = set_aside.SetAside(tapes.tasks, agent, config)
    found.play()
    assert found() == {}
    return agent.judged


def test_every_evaluation_tells_the_losses_of_every_task(tmp_path):
    settings = {"eval_every": 20, "eval_model_eps": 3}
    lines = dummies.run(tmp_path, dummies.Tapes(2), **settings)
    for line in lines:
        found = [key for key in line if key.startswith("eval_model_")]
        assert sorted(found) == (sorted(READINGS) if "eval_return" in line else [])
    noise = [line["eval_model_kl_0"] for line in lines if "eval_return" in line]
    assert len(noise) > 2 and len(set(noise)) == 1  # the seed is the same each time


def test_nothing_else_of_a_run_changes(tmp_path):
    settings = {"eval_every": 20, "log_every_video": 20}
    for count in (0, 3):
        folder, tapes = tmp_path / str(count), dummies.Tapes(2)
        dummies.run(folder, tapes, eval_model_eps=count, **settings)
    kept = [
        {key: value for key, value in line.items() if key not in READINGS}
        for line in dummies.timeless(tmp_path / "3")
    ]
    assert kept == dummies.timeless(tmp_path / "0")
    states = [dummies.snapshot(tmp_path / name)[0] for name in ("0", "3")]
    assert states[0] == states[1]


def test_the_episodes_are_random_apart_and_those_of_the_seed(tmp_path):
    tapes, again, other = (dummies.Tapes(2) for _ in range(3))
    one, same = play(tmp_path, tapes), play(tmp_path, again)
    play(tmp_path, other, seed=1)
    assert tapes.eval == again.eval and tapes.train == [[], []]
    assert str(one) == str(same)
    seeds = [set(dummies.seeds(tape)) for tape in (*tapes.eval, *other.eval)]
    assert len(set.union(*seeds)) == 12
    for tape in tapes.eval:
        assert [call[0] for call in tape].count("reset") == 3
        assert set(dummies.steps(tape)) == {0, 1}
        assert tape[-1] == ("close",)
    assert dummies.steps(tapes.eval[0]) != dummies.steps(tapes.eval[1])
    played = dummies.seeds(tapes.eval[0])
    for stream in ("train", "eval"):
        seed_of = tasks_lib.seeds(0, stream, 0)
        assert not set(played) & {seed_of(0, episode) for episode in range(50)}


def test_the_windows_hold_every_step_once_and_in_order(tmp_path):
    tapes = dummies.Tapes(1)
    ((windows, _),) = play(tmp_path, tapes, eval_model_eps=5)
    assert {window["reward"].shape for window in windows} == {(5, 4)}
    rows = {k: np.concatenate([w[k] for w in windows], 1) for k in windows[0]}
    taken = []
    for row in range(5):
        valid = rows["valid"][row]
        assert valid[: valid.sum()].all()
        assert rows["is_first"][row].nonzero()[0].tolist() == [0]
        assert rows["is_last"][row].nonzero()[0].tolist() == [valid.sum() - 1]
        taken += rows["action"][row][valid][1:].argmax(-1).tolist()
    assert taken == dummies.steps(tapes.eval[0])
    assert not rows["vector"][~rows["valid"]].any()


def test_windows_are_no_longer_than_the_longest_episode(tmp_path):
    ((windows, _),) = play(tmp_path, dummies.Tapes(1), dataset__length=50)
    (window,) = windows
    assert window["valid"].any(0).all() and window["valid"].shape[1] <= 9


@pytest.mark.parametrize("settings", [{"eval_every": 0}, {"eval_model_eps": 0}])
def test_nothing_is_played_where_nothing_is_to_be_told(tmp_path, settings):
    tapes = dummies.Tapes(2)
    assert play(tmp_path, tapes, **settings) == []
    assert tapes.eval == [[], []]


def test_a_negative_number_is_refused_before_training(tmp_path):
    tapes = dummies.Tapes(1)
    with pytest.raises(ValueError, match="eval_model_eps is -1; it must be 0, for no"):
        dummies.run(tmp_path, tapes, eval_every=20, eval_model_eps=-1)
    assert dummies.steps(tapes.train[0]) == []


def test_an_evaluation_environment_of_other_spaces_is_told_before_training(tmp_path):
    tapes, other = dummies.Tapes(1), dummies.Tapes(1, dummies.Gallery)
    mixed = tapes.tasks[0]._replace(make_eval=other.tasks[0].make_eval)
    config = dummies.configure(tmp_path, eval_every=20, eval_model_eps=1)
    with pytest.raises(ValueError, match="walk0 has other spaces"):
        loop.train(tasks_lib.TaskList([mixed]), config)
    assert dummies.steps(tapes.train[0]) == []
    assert other.eval[0][-1] == ("close",)


def test_a_run_that_goes_on_tells_the_same_losses(tmp_path):
    settings = {"eval_every": 10, "checkpoint_every": 10}
    whole = dummies.run(tmp_path / "a", dummies.Tapes(2), eval_model_eps=2, **settings)
    tapes = dummies.Tapes(2)
    tapes.options[1]["fails_at"] = 15
    with pytest.raises(KeyError):
        dummies.run(tmp_path / "b", tapes, eval_model_eps=2, **settings)
    tapes.options[1]["fails_at"] = None
    dummies.run(tmp_path / "b", tapes, eval_model_eps=2, **settings)
    dummies.assert_same_end(tmp_path / "a", tmp_path / "b")
    assert any(READINGS[0] in line for line in whole)


def test_a_run_may_go_on_with_more_or_fewer_of_them(tmp_path):
    settings = {"eval_every": 20, "steps": 40}
    dummies.run(tmp_path, dummies.Tapes(1), eval_model_eps=0, **settings)
    dummies.run(tmp_path, dummies.Tapes(1), eval_model_eps=3, **settings)
