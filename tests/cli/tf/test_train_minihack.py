"""The users' MiniHack commands: what they mean, and one of them for real, shortened."""

import shlex
import sys

import commands
import dummies
import numpy as np
import pytest

import train_minihack
from common import config as config_lib
from dreamerv2 import settings
from dreamerv2.run import loop, phases

pytest.importorskip("minihack")


@pytest.mark.parametrize("command", commands.MINIHACK, ids=range(9))
def test_the_commands_of_the_users_mean_what_they_meant(command):
    python, script, *words = shlex.split(command)
    assert (python, script) == ("python", "train_minihack.py")
    config = settings.parse_flags("minihack", "", words)
    before = settings.defaults.update(settings.configs["minihack"])
    changes = {key: new for key, _, new in config_lib.differences(before, config)}
    assert changes == commands.MINIHACK[command]


def test_the_script_starts_from_its_published_block():
    config = settings.parse_flags("minihack", "", [])
    published = {
        "train_every": 10,
        "prefill": 10_000,
        "time_limit": 100,
        "actor_ent": "0.002",
        "discount": 0.99,
        "log_every": 1000,
        "log_every_video": 200_000,
        "eval_every": 50_000,
        "rssm.deter": 1024,
        "actor_opt.lr": 1e-4,
        "critic.norm": "layer",
    }
    assert {key: config[key] for key in published} == published


@pytest.mark.slow
def test_continual_dreamer_with_plan2explore_trains(monkeypatch, tmp_path):
    command = list(commands.MINIHACK)[3]
    _, script, *words = shlex.split(command)
    words += [*shlex.split(commands.SHORT), f"--logdir={tmp_path}"]
    words += ["--envs=2", "--envs_parallel=process", "--time_limit=15"]
    monkeypatch.setattr(sys, "argv", [script, *words])
    train_minihack.main()
    (folder,) = tmp_path.iterdir()
    assert folder.name == "mh_cl_small_rs_s0_1M"
    assert not (folder / "train_replay").exists()  # --del_exp_replay
    lines = dummies.read(folder)
    assert max(line["step"] for line in lines) == 240
    assert sorted({line["task"] for line in lines if "task" in line}) == [0, 1, 2, 3]
    keys = {key for line in lines for key in line}
    assert {f"eval_return_{k}" for k in range(4)} <= keys
    assert {"expl_expl_loss", "expl_actor_loss", "model_loss"} <= keys
    assert "discount_loss" not in keys  # the model learns from observations alone
    evaluated = [line["step"] for line in lines if "eval_success_0" in line]
    assert len(evaluated) >= 5 and evaluated[-1] == 240
    assert {line["env_restarts"] for line in lines if "env_restarts" in line} == {0}
    assert lines[-1].keys() >= {"cl_performance", "cl_forgetting"}


# What the script hands to the loop.


@pytest.fixture
def handed(monkeypatch):
    """Parses flags; returns the names of the tasks and the ends of their phases."""

    def parse(flags):
        monkeypatch.setattr(sys, "argv", ["x", *shlex.split(flags)])
        calls = []
        monkeypatch.setattr(loop, "train", lambda *a, **k: calls.append(a))
        train_minihack.main()
        ((made, config),) = calls
        schedule = phases.of_tasks(len(made.trained), config)
        return [task.name for task in made.trained], [p.end for p in schedule.phases]

    return parse


def short(names):
    return [name.removeprefix("MiniHack-").removesuffix("-v0") for name in names]


EIGHT = [
    *("Room-Random-15x15", "Room-Monster-15x15", "Room-Trap-15x15"),
    *("Room-Ultimate-15x15", "River-Narrow", "River", "River-Monster", "HideNSeek"),
]
ELEVEN = [*EIGHT, "CorridorBattle", "River-Lava", "River-MonsterLava"]
FOUR = ["Room-Random-15x15", "Room-Trap-15x15", "River-Narrow", "River-Monster"]
TWO = ["Room-Random-15x15", "River-Narrow"]


def test_the_flags_choose_the_benchmark(handed):
    for flags, names, steps in (
        ("--cl", EIGHT, [1e6] * 8),
        ("--cl --num_tasks=3", EIGHT[:3], [1e6] * 3),
        ("--cl --cl_small --num_tasks=4", FOUR, [1e6] * 4),
        ("--cl --unbalanced_steps 4e5 2.4e6", TWO, [4e5, 2.4e6]),
        ("--cl --num_tasks=2 --unbalanced_steps=4e5,2.4e6", TWO, [4e5, 2.4e6]),
        ("--cl --cl_small --num_tasks=2 --unbalanced_steps=1,2", FOUR[:2], [1, 2]),
        ("--cl --cl_small --unbalanced_steps=1,2,3,4", FOUR, [1, 2, 3, 4]),
        ("--cl --num_tasks=3 --unbalanced_steps=1,2,3", EIGHT[:3], [1, 2, 3]),
        ("--configs imbalance", TWO, [4e5, 2.4e6]),
        ("--tasks MiniHack-Room-5x5-v0 --steps=7", ["Room-5x5"], [7]),
    ):
        chosen, ends = handed(flags)
        assert short(chosen) == names
        assert ends == [sum(steps[: k + 1]) for k in range(len(steps))]


def test_without_cl_one_of_eleven_levels_is_trained(handed):
    for number, level in enumerate(ELEVEN):
        chosen, ends = handed(f"--env {number}")
        assert (short(chosen), ends) == ([level], [1e6])


def test_the_imbalance_benchmark_has_the_capacity_of_the_paper():
    config = settings.parse_flags("minihack", "", ["--configs", "imbalance"])
    assert config.replay.capacity == 400_000


def test_what_cannot_be_meant_is_refused(handed):
    for flags, message in (
        ("--env 11", "numbered 0 to 10"),
        ("--cl --unbalanced_steps=1,2,3", "3 entries.*8 tasks"),
        ("--cl --num_tasks=9", "the benchmark has 8 tasks"),
        ("--tasks MiniHack-River-Narow-v0", "nearest are MiniHack-River-Narrow-v0"),
        ("--state_bonus", "state_bonus counts visits of MiniGrid cells"),
    ):
        with pytest.raises(ValueError, match=message):
            handed(flags)


def test_environments_are_as_the_flags_say(monkeypatch):
    flags = "--env 0 --time_limit 3 --render_size 32 32 --action_repeat 2"
    monkeypatch.setattr(sys, "argv", ["x", *shlex.split(flags)])
    calls = []
    monkeypatch.setattr(loop, "train", lambda *a, **k: calls.append(a))
    train_minihack.main()
    ((((task,), _), _),) = calls
    env = task.make()
    assert env.obs_specs["image"].shape == (32, 32, 3)
    env.reset(0)
    ends = [bool(env.step(np.eye(8, dtype=np.float32)[0])["is_last"]) for _ in range(3)]
    env.close()
    assert ends == [False, False, True]
