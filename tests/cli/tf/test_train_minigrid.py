"""The users' three MiniGrid commands for real, with small networks and few steps."""

import itertools
import json
import shlex
import sys

import commands
import dummies
import numpy as np
import pytest

import train_minigrid
from common import config as config_lib
from common.envs.suites import minigrid
from dreamerv2.run import loop, phases
from dreamerv2.watch import __main__ as watch


def main(monkeypatch, command, logdir):
    _, script, *words = shlex.split(command)
    words += [*shlex.split(commands.SHORT), f"--logdir={logdir}"]
    monkeypatch.setattr(sys, "argv", [script, *words])
    train_minigrid.main()


def run(monkeypatch, command, tmp_path):
    """Runs a shortened command; returns its folder and the lines of its metrics."""
    main(monkeypatch, command, tmp_path)
    (folder,) = tmp_path.iterdir()  # the tag
    return folder, dummies.read(folder)


def check(folder, lines, tasks):
    """A run through all its tasks that learned, evaluated and cleaned up."""
    config = config_lib.Config.read(folder / "config.yaml")
    assert folder.name == config.tag
    assert not (folder / "train_replay").exists()  # --del_exp_replay
    assert max(line["step"] for line in lines) == 180
    assert sorted({line["task"] for line in lines if "task" in line}) == [0, 1, 2]
    evaluated = {
        key for line in lines for key in line if key.startswith("eval_return_")
    }
    assert evaluated == {f"eval_return_{k}" for k in range(tasks)}
    assert [line["step"] for line in lines if "eval_success_0" in line][-1] == 180
    assert lines[-1].keys() >= {"cl_performance", "cl_forgetting"}
    losses = [line["model_loss"] for line in lines if "model_loss" in line]
    assert len(losses) > 3
    assert all(loss is not None for loss in losses)
    return {key for line in lines for key in line}


def test_plain_dreamer_trains_and_is_evaluated_on_skills_and_watched(
    monkeypatch, tmp_path, capsys
):
    plain, *_ = commands.MINIGRID
    folder, lines = run(monkeypatch, f"{plain} --eval_skills", tmp_path)
    keys = check(folder, lines, tasks=6)
    assert not any(key.startswith("expl_") for key in keys)
    assert (folder / "curves.png").exists()
    capsys.readouterr()
    watch.main(["--logdir", str(folder), "--eval=1", "--json"])
    told = json.loads(capsys.readouterr().out)
    names = [*minigrid.MINIGRID_3, *minigrid.MULTISKILL]
    assert [task["name"] for task in told["tasks"]] == names
    assert told["step"] == 180


def test_dreamer_with_state_bonus_trains(monkeypatch, tmp_path):
    _, bonus, _ = commands.MINIGRID
    folder, lines = run(monkeypatch, f"{bonus} --log_every_video=60", tmp_path)
    check(folder, lines, tasks=3)
    returns = [line["return"] for line in lines if "return" in line]
    assert min(returns) > 1  # a step's bonus is above 1 / sqrt(60)
    evaluated = [line[key] for line in lines for key in line if "eval_return" in key]
    assert 0 <= min(evaluated) <= max(evaluated) <= 1
    (events,) = (folder / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"openl_image" in content
    assert b"eval/image_2" in content


def test_dreamer_with_plan2explore_trains(monkeypatch, tmp_path):
    *_, explore = commands.MINIGRID
    folder, lines = run(monkeypatch, explore, tmp_path)
    keys = check(folder, lines, tasks=3)
    assert {"expl_expl_loss", "expl_actor_loss", "reward_loss"} <= keys


@pytest.mark.slow
def test_everything_at_once_trains(monkeypatch, tmp_path):
    command = (
        "python train_minigrid.py --tag=all --tasks=MiniGrid-Empty-5x5-v0,"
        "MiniGrid-Empty-6x6-v0 --num_task_repeats=2 --l2_scale=0.1 --expl_every=2 "
        "--plan2explore --envs=2 --envs_parallel=process --eval_eps=3 --minlen=5 "
        "--unbalanced_steps=120,120"  # each environment ends an episode in them
    )
    folder, lines = run(monkeypatch, f"{command} --uncertainty_sampling", tmp_path)
    tasks = [line["task"] for line in lines if "updates" in line]
    assert [k for k, _ in itertools.groupby(tasks)] == [0, 1, 0, 1]
    pulls = [line["expl_actor_l2"] for line in lines if "expl_actor_l2" in line]
    assert pulls[0] == 0 < pulls[-1]
    assert max(line["step"] for line in lines) == 480
    assert [line["step"] for line in lines if "eval_return_1" in line][-1] == 480


# What the script hands to the loop.


@pytest.fixture
def handed(monkeypatch):
    """Parses flags; returns what would be trained, without training."""

    def parse(flags, tmp_path="/nowhere"):
        monkeypatch.setattr(sys, "argv", ["x", *shlex.split(flags)])
        calls = []
        monkeypatch.setattr(loop, "train", lambda *a, **k: calls.append(a))
        train_minigrid.main()
        ((made, config),) = calls
        schedule = phases.of_tasks(len(made.trained), config)
        return made.trained, schedule, config, made.eval_only

    return parse


def test_the_benchmark_has_the_three_tasks_of_the_paper(handed):
    tasks, schedule, _, skills = handed("--cl --steps 750000")
    assert [task.name for task in tasks] == [
        *("MiniGrid-DoorKey-9x9-v0", "MiniGrid-LavaCrossingS9N1-v0"),
        "MiniGrid-SimpleCrossingS9N1-v0",
    ]
    assert [phase.end for phase in schedule.phases] == [750_000, 1_500_000, 2_250_000]
    assert skills == []


def test_skills_are_evaluated_on_and_not_trained_on(handed):
    tasks, schedule, _, skills = handed("--cl --num_tasks 2 --eval_skills")
    assert [task.name for task in skills] == list(minigrid.MULTISKILL)
    assert len(tasks) == len(schedule.phases) == 2


def test_without_cl_one_task_is_trained(handed):
    tasks, schedule, _, _ = handed("--env 2")
    assert [task.name for task in tasks] == ["MiniGrid-SimpleCrossingS9N1-v0"]
    assert len(schedule.phases) == 1


def test_the_bonus_is_for_training_alone(handed):
    (task,), *_ = handed("--state_bonus")
    train, evaluation = task.make(), task.make_eval()
    forward = np.eye(7, dtype=np.float32)[2]
    for env in (train, evaluation):
        env.reset(0)
    assert train.step(forward)["reward"] == 1
    assert evaluation.step(forward)["reward"] == 0
    assert train.get_state() and not evaluation.get_state()


def test_environments_are_as_the_flags_say(handed):
    (task,), *_ = handed("--time_limit 3 --render_size 32 32 --action_repeat 2")
    env = task.make()
    assert env.obs_specs["image"].shape == (32, 32, 3)
    env.reset(0)
    ends = [env.step(np.eye(7, dtype=np.float32)[0])["is_last"] for _ in range(3)]
    assert ends == [False, False, True]


def test_the_released_room_is_smaller(handed):
    def side(flags):
        (task,), *_ = handed(flags)
        return task.make().env._env.unwrapped.width

    assert (side(""), side("--configs reference")) == (9, 8)


def test_an_unknown_task_is_refused_before_anything_is_made(handed):
    with pytest.raises(ValueError, match="'MiniGrid-DoorKey-5x6-v0'.*DoorKey-5x5"):
        handed("--tasks MiniGrid-DoorKey-5x6-v0")


def test_steps_for_another_number_of_tasks_are_refused(handed):
    with pytest.raises(ValueError, match="2 entries.*for 3 tasks"):
        handed("--cl --unbalanced_steps 10 20")
