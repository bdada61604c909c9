"""Tasks of any suites on the command line, alone and in sequence."""

import importlib
import shlex

import pytest

from common import config as config_lib
from common import specs
from dreamerv2 import settings, train
from dreamerv2.run import phases

ROOM = "MiniGrid-Empty-5x5-v0"


def parse(command):
    return train.parse_flags(shlex.split(command))


def names(command, script=train):
    """The tasks that a script would train on."""
    made = script.make_tasks(script.parse_flags(shlex.split(command)))
    return [task.name for task in made.trained]


def test_tasks_of_any_suites_are_trained_on_in_the_order_of_the_words():
    several = ["catch_swap", f"minigrid_{ROOM}", "gym_CartPole-v1", "catch_plain"]
    assert names(f"--cl --tasks {','.join(several)}") == several
    assert names(f"--cl --tasks {' '.join(several)}") == several
    assert names("--cl --tasks catch_plain catch_plain") == ["catch_plain"] * 2
    assert names("--cl --tasks catch_plain") == ["catch_plain"]


def test_one_name_without_cl_is_the_run_of_that_task():
    assert parse("--tasks catch_plain") == parse("--task catch_plain")
    flags = "--configs dmc --steps 7"
    assert parse(f"{flags} --tasks catch_plain") == parse(f"{flags} --task catch_plain")
    assert names("--tasks catch_plain") == ["catch_plain"]


def test_a_task_alone_means_what_it_meant():
    config = parse("--task atari_pong --steps 70")
    base = settings.defaults.update(settings.configs["train"])
    changed = {key for key, *_ in config_lib.differences(base, config)}
    assert changed == {"task", "steps"}
    assert phases.of_tasks(1, config).phases == phases.Schedule([70]).phases
    (task,) = train.make_tasks(parse("--task gym_CartPole-v1")).trained
    assert task.name == "gym_CartPole-v1"
    assert task.make().act_spec == task.make_eval().act_spec


def test_the_flags_of_continual_runs_decide_what_is_trained_when():
    flags = "--cl --tasks catch_plain,catch_swap --steps 9"
    for more, ends in (
        ("", [9, 18]),
        ("--num_task_repeats 2", [9, 18, 27, 36]),
        ("--unbalanced_steps 30,20 --num_task_repeats 2", [30, 50, 80, 100]),
    ):
        config = parse(f"{flags} {more}")
        schedule = phases.of_tasks(len(train.make_tasks(config).trained), config)
        assert [phase.end for phase in schedule.phases] == ends
    with pytest.raises(ValueError, match="has 1 entries, .* for 2 tasks"):
        phases.of_tasks(2, parse(f"{flags} --unbalanced_steps 30"))


REFUSED = {
    "--cl": "tasks is empty; name them, such as --tasks catch_plain",
    "--cl --task catch_plain": "tasks is empty",
    "--tasks catch_plain,catch_swap": "2 names, catch_plain, catch_swap; give --cl",
    "--task gym_X --tasks catch_plain": "--task gym_X and --tasks catch_plain are both",
    "--cl --tasks catch_plain,catc_swap": "'catc_swap'.*Did you mean catch_swap",
    "--cl --tasks catch_plain,pong": "'pong'; a task is SUITE_NAME, such as atari_pong",
    "--cl --tasks catch_plain,catch_swop": "Unknown Catch task 'swop'.*mean swap",
    "--tasks pong": "Unknown task 'pong'",
    "--cl --state_bonus --tasks catch_plain": "state_bonus counts .*'catch_plain'",
}


def test_a_sequence_that_cannot_be_meant_is_refused_with_a_way_out():
    for command, words in REFUSED.items():
        with pytest.raises(ValueError, match=words):
            names(command)


@pytest.mark.parametrize(
    "module",
    [
        # Importing MiniHack takes seconds.
        pytest.param(name, marks=pytest.mark.slow if "minihack" in name else ())
        for name in settings.SCRIPTS
    ],
)
def test_every_script_takes_the_tasks_of_any_suite_by_their_full_names(module):
    script = importlib.import_module(module)
    full = ["catch_plain", f"minigrid_{ROOM}"]
    config = script.parse_flags(["--cl", f"--tasks={','.join(full)}"])
    made = script.make_tasks(config)
    assert [task.name for task in made.trained] == full
    actions = [task.make().act_spec for task in made.trained]
    assert actions == [specs.ActionSpec(n, discrete=True) for n in (3, 7)]
    assert not made.eval_only


def test_ids_of_the_scripts_own_suite_and_full_names_stand_side_by_side():
    for module in ("train_minigrid", "interference"):
        script = importlib.import_module(module)
        mixed = ["catch_plain", ROOM]
        assert names(f"--cl --tasks {','.join(mixed)}", script) == mixed
        with pytest.raises(ValueError, match="Unknown MiniGrid .*one of the suites"):
            names(f"--tasks {ROOM},catc_plain", script)
