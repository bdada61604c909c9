"""Runs whose environments fail: they go on, or stop with a snapshot to go on from."""

import functools
import logging
import sys

import dummies
import pytest
import shaky

from common.envs.workers import parallel, supervised
from dreamerv2 import cli
from dreamerv2.run import checkpoint, loop, tasks

SETTINGS = {"checkpoint_every": 10, "eval_every": 40, "eval_eps": 1}


@pytest.fixture(autouse=True)
def recorder(agents):
    """The agents that were made, newest last."""
    return agents


def train(folder, marker, **settings):
    @parallel.has_own_process
    def construct(name):
        return supervised.SupervisedEnv(functools.partial(shaky.Brittle, marker))

    names = ("one", "two")
    made = [functools.partial(construct, name) for name in names]
    pairs = zip(names, made, strict=True)
    loop.train(
        tasks.TaskList([tasks.Task(name, make, make) for name, make in pairs]),
        dummies.configure(folder, **SETTINGS, **settings),
    )
    return dummies.read(folder)


def break_at(monkeypatch, update, action):
    """Does something in the place of an update of the agent."""
    learn = dummies.Recorder.train

    def breaking(self, data, state, *, step):
        if len(self.batches) == update:
            monkeypatch.setattr(dummies.Recorder, "train", learn)
            action()
        return learn(self, data, state, step=step)

    monkeypatch.setattr(dummies.Recorder, "train", breaking)


def test_a_run_goes_on_past_episodes_that_fail_and_counts_them(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        lines = train(tmp_path, tmp_path / "no marker")
    counts = [n for _, n in dummies.pick(lines, "env_restarts")]
    assert counts == sorted(counts) and counts[0] < counts[-1]
    assert len(caplog.records) == dummies.snapshot(tmp_path)[0]["env_restarts"]
    assert counts[-1] <= len(caplog.records)
    lengths = {n for _, n in dummies.pick(lines, "length")}
    assert lengths == {3, 4}  # two steps and the closing one, or all four
    for episode in dummies.stored(tmp_path).values():
        cut = len(episode["is_last"]) == 4  # a reset and three steps
        assert episode["is_last"][-1] == 1 and episode["is_terminal"][-1] != cut


def test_repeated_failures_stop_the_run_which_goes_on_when_they_are_mended(
    tmp_path, monkeypatch, capsys
):
    train(tmp_path / "whole", tmp_path / "no marker")
    marker = tmp_path / "broken"
    break_at(monkeypatch, 4, marker.touch)
    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as stopped:
        cli.run(lambda: train(tmp_path / "stopped", marker, envs_parallel="process"))
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert "failed 3 times" in message and "OSError: the power has failed" in message
    assert "shaky.py" in message  # the traceback
    path = checkpoint.Checkpoints(tmp_path / "stopped" / "checkpoints").latest()
    assert checkpoint.find_fault(path) is None
    assert 0 < dummies.snapshot(tmp_path / "stopped")[0]["step"] < 80
    marker.unlink()
    train(tmp_path / "stopped", marker)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")
