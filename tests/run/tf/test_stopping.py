"""How a run ends: at a signal, at its end, and on a disk that is full or gone."""

import logging
import os
import shutil
import signal

import dummies
import matplotlib.figure
import numpy as np
import pytest

from common.records import appending, files
from dreamerv2.run import checkpoint, stopping, summary
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


# The end, done again until it is whole.


def full_disk(*args, **kwargs):
    raise OSError(28, "No space left on device")


def test_no_picture_ends_a_run_and_the_same_command_draws_it(
    tmp_path, monkeypatch, caplog
):
    with monkeypatch.context() as patch:
        patch.setattr(matplotlib.figure.Figure, "savefig", full_disk)
        lines = dummies.run(tmp_path, dummies.Tapes(2), eval_every=20)
    assert "The curves are not drawn: OSError" in caplog.text
    assert "cl_forgetting" in lines[-1]
    assert not list(tmp_path.glob("curves*"))
    assert dummies.run(tmp_path, dummies.Tapes(2), eval_every=20) == lines
    assert (tmp_path / summary.CURVES).stat().st_size > 1000
    (tmp_path / summary.CURVES).write_text("as it was")
    assert dummies.run(tmp_path, dummies.Tapes(2), eval_every=20) == lines
    assert (tmp_path / summary.CURVES).read_text() == "as it was"


@pytest.mark.parametrize("cut_off", [b"", b'{"step": 80, "cl_perf'])
def test_what_a_run_has_come_to_is_written_again_until_it_is_there(
    tmp_path, monkeypatch, cut_off
):
    dummies.run(tmp_path / "whole", dummies.Tapes(2), eval_every=20)
    folder = tmp_path / "full"
    summarize = summary.summarize

    def fill(*args):
        patch.setattr(appending.Appender, "flush", full_disk)
        return summarize(*args)

    with monkeypatch.context() as patch:
        patch.setattr(summary, "summarize", fill)
        with pytest.raises(summary.EndError, match="finished and saved.*same command"):
            dummies.run(folder, dummies.Tapes(2), eval_every=20)
    with open(folder / files.METRICS, "ab") as file:
        file.write(cut_off)
    tapes = dummies.Tapes(2)
    dummies.run(folder, tapes, eval_every=20)
    assert not any(map(dummies.steps, tapes.train))
    assert (folder / summary.CURVES).exists()
    dummies.assert_same_end(tmp_path / "whole", folder)


def test_what_a_run_killed_while_it_closed_has_left_is_removed(tmp_path):
    settings = {"replay__capacity": 20, "eval_every": 20, "eval_replay": 20}
    dummies.run(tmp_path / "whole", dummies.Tapes(2), **settings)
    dummies.run(tmp_path / "killed", dummies.Tapes(2), **settings)
    for name in (files.REPLAY, files.EVAL_REPLAY):
        folder = tmp_path / "killed" / name
        first = next(folder.glob("*.npz"))
        for left in ("000000-task0-len0003.npz", "000999-task0-len0003.npz.tmp"):
            shutil.copy(first, folder / left)
        shutil.copy(first, folder / "own.npz")
    dummies.run(tmp_path / "killed", dummies.Tapes(2), **settings)
    for name in (files.REPLAY, files.EVAL_REPLAY):
        left = {path.name for path in (tmp_path / "killed" / name).iterdir()}
        whole = {path.name for path in (tmp_path / "whole" / name).iterdir()}
        assert left == {*whole, "own.npz"}
    dummies.run(
        tmp_path / "killed", dummies.Tapes(2), **settings, del_exp_replay=True
    )  # as if it had been killed before
    assert sorted((tmp_path / "killed").glob("*_replay/*")) == [
        tmp_path / "killed" / name / "own.npz"
        for name in (files.EVAL_REPLAY, files.REPLAY)
    ]


# A folder that goes away.


class Moving(dummies.Walk):
    """Renames a folder, once, after so many steps in the first task, and back."""

    folder, away, back = None, 0, 0

    def step(self, action):
        aside = self.folder.with_name("aside")
        if len(dummies.steps(self.tape)) == self.away:
            self.folder.rename(aside)
            Moving.away = -1
        if len(dummies.steps(self.tape)) == self.back and aside.exists():
            aside.rename(self.folder)
        return super().step(action)


@pytest.mark.parametrize("back", [29, 10**6], ids=["back in time", "gone"])
def test_a_renamed_folder_costs_one_message_and_nothing_else(
    tmp_path, monkeypatch, caplog, back
):
    settings = {"checkpoint_every": 8, "eval_every": 15, "replay__capacity": 30}
    dummies.run(tmp_path / "whole", dummies.Tapes(1), **settings)
    monkeypatch.setattr(Moving, "folder", tmp_path / "run")
    monkeypatch.setattr(Moving, "away", 21)
    monkeypatch.setattr(Moving, "back", back)
    caplog.set_level(logging.WARNING)
    if back < 40:
        dummies.run(tmp_path / "run", dummies.Tapes(1, Moving), **settings)
        assert "removed or renamed" in caplog.text
    else:
        gone = "run was removed or renamed .* step 40 is not saved.* put it back"
        with pytest.raises(checkpoint.CheckpointError, match=gone):
            dummies.run(tmp_path / "run", dummies.Tapes(1, Moving), **settings)
        assert not (tmp_path / "run").exists()
        (tmp_path / "aside").rename(tmp_path / "run")
        dummies.run(tmp_path / "run", dummies.Tapes(1), **settings)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "run")


# Pictures and clocks on the way.


def test_videos_that_cannot_be_made_or_shown_are_left_out(
    tmp_path, recorder, monkeypatch, caplog
):
    settings = {"eval_every": 10, "log_every_video": 10}
    whole = dummies.run(tmp_path / "whole", dummies.Tapes(1), **settings)
    empty = np.zeros((0, 4, 4, 3), np.float32)
    dummy = dummies.Recorder
    monkeypatch.setattr(dummy, "report", lambda self, data: {"openl_image": empty})
    dummies.run(tmp_path / "empty", dummies.Tapes(1), **settings)
    assert "left out: Picture 'openl_image' of shape (0, 4, 4, 3)" in caplog.text
    monkeypatch.setattr(dummy, "report", lambda self, data: 1 / 0)
    dummies.run(tmp_path / "raises", dummies.Tapes(1), **settings)
    assert "No videos are made: ZeroDivisionError" in caplog.text
    for name in ("empty", "raises"):
        assert dummies.timeless(tmp_path / name) == dummies.timeless(tmp_path / "whole")
    assert any("eval_return_0" in line for line in whole)


def test_every_line_about_updates_has_all_clocks_also_after_a_kill(tmp_path):
    settings = {"eval_every": 30, "checkpoint_every": 10, "log_every": 5}
    tapes = dummies.Tapes(1)
    tapes.options[0] = {"fails_at": 32}
    with pytest.raises(KeyError, match="the power has failed"):
        dummies.run(tmp_path, tapes, **settings)
    tapes.options = [{}]
    lines = dummies.run(tmp_path, tapes, **settings)
    clocks = [
        {key for key in line if key.startswith("time_")}
        for line in lines
        if "updates" in line
    ]
    assert {"time_save", "time_evaluation"} < clocks[0]
    assert all(each == clocks[0] for each in clocks)
