"""The users' four interference commands, what they train and test, and the figure."""

import json
import os
import shlex
import signal
import sys

import commands
import dummies
import matplotlib.colors
import numpy as np
import pytest

import interference
from common import config as config_lib
from common.curves import logs
from common.envs.suites import minigrid
from dreamerv2 import settings, success
from dreamerv2.run import loop, phases
from dreamerv2.sweep import comparison

PROC, PAIR = minigrid.FOURROOMS_PROC, list(minigrid.FOURROOMS_PAIR)
PROC_PLAIN, PROC_P2E, PLAIN, P2E = commands.INTERFERENCE
# Later flags win: the same commands, smaller and shorter.
SHORT = (
    "--steps=60 --prefill=40 --rooms_size=7 --time_limit=25 --eval_every=50 "
    "--log_every=20 --wandb_mode=disabled --rssm.deter=8 --rssm.hidden=8 "
    "--rssm_stoch=2 --rssm_discrete=2 --.*\\.cnn_depth=1 --.*\\.units=8 "
    "--.*\\.layers=1 --batch_size=2 --dataset.length=8 --imag_horizon=2 "
    "--disag_models=2"
)


def run(monkeypatch, command, tmp_path):
    """Runs a shortened command; returns its folder and the lines of its metrics."""
    _, script, *words = shlex.split(command)
    words += [*shlex.split(SHORT), f"--logdir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", [script, *words])
    interference.main()
    (folder,) = tmp_path.iterdir()  # the tag
    return folder, dummies.read(folder)


def evaluations(lines):
    """Step -> the tasks that were evaluated then."""
    found = {}
    for line in lines:
        tasks = {int(k[-1]) for k in line if k.startswith("eval_success_")}
        if tasks:
            found.setdefault(line["step"], set()).update(tasks)
    return found


# The commands, for real


def test_the_pair_is_trained_in_turn_and_both_are_evaluated(
    monkeypatch, tmp_path, capsys
):
    folder, lines = run(monkeypatch, f"{PLAIN} --envs=2", tmp_path)
    found = evaluations(lines)
    assert {60, 120} <= set(found)  # the ends of both
    assert all(tasks == {0, 1} for tasks in found.values())
    trained = [line["task"] for line in lines if "updates" in line]
    assert sorted(set(trained)) == [0, 1] and trained == sorted(trained)
    assert lines[-1].keys() >= {"cl_performance", "cl_forgetting"}
    assert not (folder / "train_replay").exists()  # --del_exp_replay
    assert (folder / "curves.png").exists() and (folder / "success.png").exists()
    said = capsys.readouterr().out
    assert f"{PAIR[0]} " in said and f"drawn in {folder / 'success.png'}" in said


def test_free_rooms_are_trained_and_the_pair_is_evaluated(monkeypatch, tmp_path):
    folder, lines = run(monkeypatch, PROC_P2E, tmp_path)
    found = evaluations(lines)
    assert 60 in found and all(tasks == {0, 1, 2} for tasks in found.values())
    assert {line["task"] for line in lines if "task" in line} == {0}
    assert any("expl_expl_loss" in line for line in lines)
    assert (folder / "success.png").exists()


# What the script hands to the loop


@pytest.fixture
def handed(monkeypatch, tmp_path):
    """Parses a command; returns what would be trained, without training."""

    def parse(flags):
        words = [
            w for w in shlex.split(flags) if w not in ("python", "interference.py")
        ]
        argv = ["interference.py", *words, f"--logdir={tmp_path}"]
        monkeypatch.setattr(sys, "argv", argv)
        calls = []
        monkeypatch.setattr(loop, "train", lambda *a, **k: calls.append(a))
        monkeypatch.setattr(success, "draw_run", lambda *a: "")
        interference.main()
        ((made, config),) = calls
        schedule = phases.of_tasks(len(made.trained), config)
        return made.trained, schedule, config, made.eval_only

    return parse


def core_of(env):
    """The MiniGrid environment below the time limit and the adapter."""
    while not hasattr(env, "_env"):
        env = env.env
    return env._env.unwrapped


def names(tasks):
    return [task.name for task in tasks]


def test_the_commands_mean_what_they_meant(handed):
    base = settings.defaults.update(settings.configs["interference"])
    for command, expected in commands.INTERFERENCE.items():
        python, script, *words = shlex.split(command)
        assert (python, script) == ("python", "interference.py")
        config = settings.parse_flags("interference", "", words)
        assert {key: config[key] for key in expected} == expected
        changed = {key for key, *_ in config_lib.differences(base, config)}
        assert changed <= set(expected)  # and nothing else
        tasks, schedule, _, others = handed(command)
        trained = [PROC] if "--proc" in words else PAIR
        assert names(tasks) == trained
        assert names(others) == ([] if trained == PAIR else PAIR)
        ends = [1_000_000 * (k + 1) for k in range(len(trained))]
        assert [phase.end for phase in schedule.phases] == ends


def test_settings_are_those_of_minigrid_but_for_the_project():
    mine, theirs = (
        settings.defaults.update(settings.configs[name])
        for name in ("interference", "minigrid")
    )
    assert {key: new for key, _, new in config_lib.differences(theirs, mine)} == {
        "wandb.project": "interference",
        "cl": True,  # the pair in turn needs no flag
    }


def test_one_task_of_the_pair_is_trained_and_both_are_evaluated(handed):
    for flags, trained, other in (
        ("--num_tasks=1", PAIR[0], PAIR[1]),
        ("--cl=False --env=1", PAIR[1], PAIR[0]),
    ):
        tasks, _, _, others = handed(flags)
        assert (names(tasks), names(others)) == ([trained], [other])


def test_other_tasks_take_the_place_of_the_pair(handed):
    ids = ["MiniGrid-Empty-5x5-v0", "MiniGrid-Empty-8x8-v0"]
    flags = f"--tasks {','.join(ids)}"
    tasks, _, _, others = handed(flags)
    assert (names(tasks), names(others)) == (ids, [])
    tasks, _, _, others = handed(f"--proc {flags}")
    assert (names(tasks), names(others)) == ([PROC], ids)
    with pytest.raises(ValueError, match="Unknown MiniGrid task 'MiniGrid-Emty"):
        handed("--proc --tasks MiniGrid-Emty-5x5-v0")


def test_more_tasks_than_there_are_are_refused(handed):
    with pytest.raises(ValueError, match="num_tasks is 3, but .* has 2 tasks"):
        handed("--num_tasks=3")
    with pytest.raises(ValueError, match="num_tasks is 2, but --proc trains on one"):
        handed("--proc --num_tasks=2")


def test_size_and_layout_are_flags_and_the_pair_shares_them(handed):
    tasks, *_ = handed("--rooms_size 9 --env_seed 4")
    layouts = []
    for task in tasks:
        for env in (task.make(), task.make_eval()):
            core = core_of(env)
            assert core.width == 9
            layouts.append(core.layout)
    assert len(set(layouts)) == 1
    (task, *_), *_ = handed("--rooms_size 9 --env_seed 5")
    assert core_of(task.make()).layout not in layouts
    (task,), *_ = handed("--proc --rooms_size 11")
    assert core_of(task.make()).width == 11


def test_the_bonus_is_for_training_alone(handed):
    (task, _), *_ = handed("--state_bonus")
    assert "counts" in task.make().get_state()
    assert task.make_eval().get_state() == {}


# The figure


@pytest.fixture
def runs(tmp_path):
    """A folder with two seeds of one method and one of another."""
    for tag, kept in (("full_s0", 1.0), ("full_s1", 0.8), ("small_s0", 0.0)):
        lines = []
        for step in range(100, 900, 100):
            task = int(step > 400)
            first = kept if task else 1.0
            lines.append({"step": step, "task": task})
            lines.append(
                {"step": step, "eval_success_0": first, "eval_success_1": task}
            )
        (tmp_path / tag).mkdir()
        text = "\n".join(map(json.dumps, lines))
        (tmp_path / tag / "metrics.jsonl").write_text(text)
    return tmp_path


def test_the_tasks_of_a_method_share_one_axes_and_seeds_are_joined(runs):
    figure = success.draw(logs.load_runs([runs]), ["near", "far"])
    full, small = figure.axes
    assert full.get_title(loc="left") == "full (2 seeds)"
    lines = {line.get_label(): line.get_ydata() for line in full.lines}
    np.testing.assert_allclose(lines["1: near"], [1] * 4 + [0.9] * 4)
    np.testing.assert_allclose(lines["2: far"], [0] * 4 + [1] * 4)
    assert len(full.lines) == 2 * (1 + 2)  # each task: the mean and two seeds
    assert len(small.lines) == 2
    colors = [line.get_color() for line in small.lines]
    shades = [matplotlib.colors.to_hex(patch.get_facecolor()) for patch in full.patches]
    assert shades == [color.lower() for color in colors]
    assert [patch.get_x() for patch in full.patches] == [0, 400]


def test_the_figure_is_drawn_from_a_command_line(runs, capsys):
    out = runs / "plots" / "figure.png"
    assert success.main(["--indir", str(runs), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "Drew 3 runs" in capsys.readouterr().out


def test_each_run_can_have_an_axes_of_its_own(runs, monkeypatch):
    drawn = []
    monkeypatch.setattr(success, "_save", lambda figure, *_: drawn.append(figure) or [])
    success.main(["--indir", str(runs), "--out", "x.png", "--each"])
    titles = [axes.get_title(loc="left") for axes in drawn[0].axes]
    assert titles == ["full, seed 0", "full, seed 1", "small, seed 0"]


def test_nothing_evaluated_is_said_and_not_drawn(tmp_path, capsys):
    line = json.dumps({"step": 1, "return": 2.0})
    (tmp_path / "metrics.jsonl").write_text(line)
    out = tmp_path / "figure.png"
    assert success.main(["--indir", str(tmp_path), "--out", str(out)]) == 1
    assert "no run has eval_success or eval_return" in capsys.readouterr().err
    assert "not evaluated" in success.draw_run(tmp_path, [])
    assert not list(tmp_path.glob("*.png"))


def test_tasks_that_tell_no_success_are_drawn_by_their_returns(tmp_path):
    line = json.dumps({"step": 1, "eval_return_0": 2.0})
    (tmp_path / "metrics.jsonl").write_text(line)
    (axes,) = success.draw(logs.load_runs([tmp_path]), []).axes
    assert axes.get_ylabel() == "evaluation return"


def test_a_picture_that_cannot_be_drawn_is_a_line_and_no_error(monkeypatch, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "eval_return_0": 2.0}')
    with monkeypatch.context() as patch:
        patch.setattr(success, "draw", lambda *args: 1 / 0)
        drawn = success.draw_run(tmp_path, [])
    assert "No figure drawn (ZeroDivisionError: division by zero)" in drawn
    assert "are drawn in" in success.draw_run(tmp_path, [])


def test_without_matplotlib_the_run_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'dreamerv2[plot]'" in success.draw_run(tmp_path, [])


# Several replays


@pytest.mark.slow
def test_a_comparison_that_is_stopped_goes_on_with_the_run_that_was_under_way(
    monkeypatch, tmp_path, capsys
):
    words = [
        *("--configs=forgetting", "--compare=fifo,split", f"--logdir={tmp_path}"),
        *("--steps=30", "--prefill=10", "--pretrain=1", "--eval_every=15"),
        *("--eval_eps=2", "--replay.capacity=20", "--dataset.batch=2"),
        *("--rssm.deter=8", "--rssm.hidden=8", "--wandb_mode=disabled"),
    ]
    monkeypatch.setattr(sys, "argv", ["interference.py", *words])
    played, wanted = loop.training.Training.evaluate, []

    def evaluate(self, stop):
        """Asks for a stop in the second of the two runs."""
        played(self, stop)
        if (tmp_path / "split").exists() and not wanted:
            wanted.append(self.step)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop.training.Training, "evaluate", evaluate)
    interference.main()
    said = capsys.readouterr().out
    assert "SIGTERM: stopped" in said and "forgotten" not in said
    assert not (tmp_path / "success.png").exists()

    interference.main()
    said = capsys.readouterr().out
    assert f"The run in {tmp_path / 'fifo'} is finished" in said
    assert f"Going on from step {wanted[0]}" in said
    rows = [line.split() for line in said.splitlines()]
    compared = [row[0] for row in rows if len(row) == 6 and row[0] in ("fifo", "split")]
    assert compared == ["fifo", "split"]
    assert "another replay" in said and (tmp_path / "success.png").exists()


@pytest.mark.parametrize(
    ("names", "flags", "message"),
    [
        ("fifo,coverage", ["--catch_pixels=False"], "coverage compares images"),
        ("fifo,split", ["--replay_capacity=4"], "replay.capacity"),
    ],
)
def test_what_a_later_replay_cannot_do_is_told_before_the_first(
    tmp_path, names, flags, message
):
    short = ["--steps=40", "--prefill=30", "--pretrain=1", "--eval_every=0"]
    words = ["--cl", "--configs=forgetting", f"--logdir={tmp_path}", *short, *flags]
    config = interference.parse_flags([*words, f"--compare={names}"])
    with pytest.raises(ValueError, match=message):
        comparison.train(interference.make_tasks(config), config, script="interference")
    assert not list(tmp_path.iterdir())
