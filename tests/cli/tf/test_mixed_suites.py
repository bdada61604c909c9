"""A real run on tasks of two suites in sequence: killed, gone on with, looked at."""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys

import dummies
import pytest

from common.envs import registry
from common.records import files
from dreamerv2 import report, train
from dreamerv2.report import writer
from dreamerv2.watch import __main__ as watch

ROOT = pathlib.Path(__file__).resolve().parents[3]
TASKS = ["catch_plain", "mirror_left"]
# A suite with the spaces of Catch; with DIE_AT its process dies at that step in it.
MIRROR = """
import os
import signal

from common.envs import gym_adapter, registry, wrappers
from common.envs.suites import catch


class Board(catch.Board):
    count = 0  # steps of all boards

    def step(self, action):
        Board.count += 1
        if Board.count == int(os.environ.get("DIE_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def make(name, *, action_repeat, time_limit, size):
    board = Board(catch.NAMES.index("swap"), rows=6, columns=5, size=tuple(size))
    env = gym_adapter.GymAdapter(board, size=None, log_info=("success",))
    return wrappers.limit(env, action_repeat=action_repeat, time_limit=time_limit)


registry.register("mirror", registry.Suite(__name__, "mirror_left"))
"""
FLAGS = (
    f"--cl --tasks {','.join(TASKS)} --num_task_repeats=2 --unbalanced_steps 24 20 "
    "--reservoir_sampling --sep_exp_eval_policies=False --catch_rows=6 --seed=3 "
    "--prefill=10 --train_every=5 --eval_every=15 --eval_eps=2 --eval_envs=1 "
    "--checkpoint_every=9 --log_every=10 --minlen=2 --replay.maxlen=4 "
    "--replay_capacity=45 --batch_size=2 --dataset.length=4 --rssm.deter=8 "
    "--rssm.hidden=8 --rssm_stoch=2 --rssm_discrete=2 --.*\\.cnn_depth=1 "
    "--.*\\.units=8 --.*\\.layers=1 --imag_horizon=2 --jit=False "
    "--wandb_mode=disabled --log_every_video=0"
)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Returns the words of a run in a folder of that name, with the plugin."""
    monkeypatch.setattr(registry, "SUITES", dict(registry.SUITES))
    monkeypatch.delitem(sys.modules, "mirror", raising=False)
    path = tmp_path / "mirror.py"
    path.write_text(MIRROR)

    def words(name):
        folder = tmp_path / "runs" / name
        return [*shlex.split(FLAGS), f"--logdir={folder}", f"--plugins={path}"]

    return words


@pytest.mark.slow
def test_killed_and_gone_on_with_it_ends_as_one_that_lived_and_can_be_looked_at(
    command, tmp_path, monkeypatch, capsys
):
    whole, killed = (tmp_path / "runs" / name for name in ("whole_s3", "killed_s3"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIE_AT": "45"}
    died = subprocess.run(
        [sys.executable, "dreamerv2/train.py", *command("killed_s3")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert max(line["step"] for line in dummies.read(killed)) < 88
    for name in ("killed_s3", "whole_s3"):
        monkeypatch.setattr(sys, "argv", ["train.py", *command(name)])
        train.main()
    assert capsys.readouterr().out.count("Going on from step") == 1
    dummies.assert_same_end(whole, killed)

    lines = dummies.read(whole)
    assert lines[-1]["step"] == 88
    assert lines[-1].keys() >= {"cl_performance", "cl_forgetting"}
    assert [(0, 24), (1, 44), (0, 68), (1, 88)] == [*files.read_tasks(whole).ends]
    for k in range(2):
        assert {24, 44, 68, 88} <= {
            step for step, _ in dummies.pick(lines, f"eval_success_{k}")
        }

    watch.main(["--logdir", str(killed), "--eval=1", "--json", "--task", TASKS[1]])
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["task"], task["name"]) == (1, TASKS[1])
    monkeypatch.setattr(writer, "_draw", lambda *_: {})
    text = report.write([tmp_path / "runs"], tmp_path / "out").read_text()
    assert " → ".join(TASKS) in text and "2 tasks" in text


def test_tasks_that_do_not_fit_are_told_apart_and_nothing_is_written(
    command, tmp_path, monkeypatch, capsys
):
    other = "--tasks=catch_plain,mirror_left,gym_CartPole-v1"
    words = [*command("run"), other, "--unbalanced_steps=24,20,20"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "task gym_CartPole-v1 has other spaces than the task catch_plain" in said
    assert all(word in said for word in ("size=2", "size=3", "image", "leave one out"))
    assert "mirror" not in said
    assert not (tmp_path / "runs").exists()
