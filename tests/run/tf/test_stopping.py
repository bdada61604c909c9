"""Signals stop a run between two steps, with everything saved."""

import os
import signal

import dummies
import pytest

from dreamerv2.run import stopping
from dreamerv2.sweep import progress


@pytest.fixture(autouse=True)
def recorder(agents):
    """In place of the agent."""
    return agents


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_signal_is_remembered_once_and_stops_at_once_the_second_time(number, capsys):
    before = signal.getsignal(number)
    with stopping.StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop and stop.name == signal.Signals(number).name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    assert "saving" in capsys.readouterr().out


@pytest.mark.parametrize("moment", [7, 26, 55])
def test_stopped_by_a_signal_a_run_goes_on_to_the_same_end(tmp_path, moment, capsys):
    dummies.run(tmp_path / "whole", dummies.Tapes(2))

    class Signalling(dummies.Walk):
        def step(self, action):
            if len(dummies.steps(tapes.train[0]) + dummies.steps(tapes.train[1])) == (
                moment
            ):
                os.kill(os.getpid(), signal.SIGTERM)
            return super().step(action)

    tapes = dummies.Tapes(2, Signalling)
    dummies.run(tmp_path / "stopped", tapes)
    assert dummies.snapshot(tmp_path / "stopped")[0]["step"] == moment + 1
    assert f"SIGTERM: stopped at step {moment + 1} of 80" in capsys.readouterr().out
    dummies.run(tmp_path / "stopped", dummies.Tapes(2))
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")


def signal_at_evaluation_step(number, moment, base=dummies.Walk):
    """Tasks of which the evaluation that takes step `moment` hears a signal then."""

    class Signalling(base):
        def step(self, action):
            done = sum(len(dummies.steps(tape)) for tape in tapes.eval)
            if any(self.tape is tape for tape in tapes.eval) and done == moment:
                os.kill(os.getpid(), number)
            return super().step(action)

    tapes = dummies.Tapes(2, Signalling)
    return tapes


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("moment", [3, 30, 100, 180])
def test_stopped_in_an_evaluation_a_run_makes_it_again(tmp_path, envs, moment, capsys):
    # In the middle of a task, at a task's end, and in the last evaluation.
    settings = {"eval_every": 15, "eval_eps": 3, "envs": envs, "eval_envs": 1}
    settings |= {"eval_replay": 30, "log_every_video": 30, "checkpoint_every": 10}
    settings |= {"sep_exp_eval_policies": False}
    whole = dummies.Tapes(2)
    dummies.run(tmp_path / "whole", whole, **settings)
    moment = min(moment, sum(len(dummies.steps(tape)) for tape in whole.eval) - 6)
    tapes = signal_at_evaluation_step(signal.SIGTERM, moment)
    dummies.run(tmp_path / "stopped", tapes, **settings)
    taken = sum(len(dummies.steps(tape)) for tape in tapes.eval)
    assert moment < taken <= moment + 2  # all tasks' environments took that step
    assert "SIGTERM: stopped at step" in capsys.readouterr().out
    state, _ = dummies.snapshot(tmp_path / "stopped")
    assert state["interrupted"] == (0 if state["step"] <= 42 else 1)
    again = dummies.Tapes(2)
    dummies.run(tmp_path / "stopped", again, **settings)
    assert dummies.seeds(again.eval[0])[0] in dummies.seeds(tapes.eval[0])
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("moment", [3, 30, 60])
def test_one_that_dies_after_the_evaluation_made_again_has_no_line_twice(
    tmp_path, moment
):
    settings = {"eval_every": 8, "eval_eps": 3}  # an episode ends there, too
    dummies.run(tmp_path / "whole", dummies.Tapes(2), **settings)
    tapes = signal_at_evaluation_step(signal.SIGTERM, moment)
    dummies.run(tmp_path / "dead", tapes, **settings)
    assert dummies.snapshot(tmp_path / "dead")[0]["interrupted"] == 0
    dying = dummies.Tapes(2)
    dying.options[0] = {"fails_at": 2}
    with pytest.raises(KeyError, match="the power has failed"):
        dummies.run(tmp_path / "dead", dying, **settings)
    dummies.run(tmp_path / "dead", dummies.Tapes(2), **settings)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "dead")


def test_a_run_whose_last_evaluation_was_interrupted_is_not_finished(tmp_path):
    settings = {"eval_every": 1000, "eval_eps": 3}
    whole = dummies.Tapes(2)
    dummies.run(tmp_path / "whole", whole, **settings)
    last = sum(len(dummies.steps(tape)) for tape in whole.eval) - 6
    tapes = signal_at_evaluation_step(signal.SIGINT, last)
    dummies.run(tmp_path / "run", tapes, **settings)
    assert dummies.snapshot(tmp_path / "run")[0]["step"] == 80
    assert not progress.is_finished(tmp_path / "run", 80)
    dummies.run(tmp_path / "run", dummies.Tapes(2), **settings)
    assert progress.is_finished(tmp_path / "run", 80)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "run")


def test_a_stop_while_episodes_are_set_aside_ends_the_start(tmp_path):
    tapes = signal_at_evaluation_step(signal.SIGTERM, 5)
    with pytest.raises(KeyboardInterrupt):
        dummies.run(tmp_path, tapes, eval_every=20, eval_model_eps=50)
    assert sum(len(dummies.steps(tape)) for tape in tapes.eval) == 6
    assert not dummies.steps(tapes.train[0])
