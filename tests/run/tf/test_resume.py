"""Laws of going on: a run that was stopped is the run that was not.

A recorder of calls takes the agent's place; tests/run/tf/test_runs.py has the real one.
"""

import collections

import dummies
import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from common.envs import gym_adapter
from common.records import files
from dreamerv2.run import checkpoint, loop, rundir, tasks, training
from dreamerv2.trained import snapshot as snapshot_lib


@pytest.fixture(autouse=True)
def recorder(agents):
    """The agents that were made, newest last."""
    return agents


def run_until_failure(folder, tapes, **settings):
    with pytest.raises(KeyError, match="the power has failed"):
        dummies.run(folder, tapes, **settings)
    tapes.options = [{} for _ in tapes.options]


def check_lines(lines):
    """No step goes back, and no line is there twice."""
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)
    kinds = [(s, *sorted(line)) for s, line in zip(steps, lines, strict=True)]
    assert max(collections.Counter(kinds).values()) == 1


@pytest.mark.parametrize(
    ("repeats", "l2_scale", "reset"),  # any two of them in every combination
    [(1, 0.0, False), (1, 0.5, True), (2, 0.0, True), (2, 0.5, False)],
)
def test_resumed_at_a_task_switch_a_run_ends_as_if_never_stopped(
    tmp_path, repeats, l2_scale, reset
):
    settings = {
        "eval_every": 15,
        "l2_scale": l2_scale,
        "num_task_repeats": repeats,
        "reset_optimizer_on_task_change": reset,
    }
    dummies.run(tmp_path / "whole", dummies.Tapes(3), **settings)
    tapes = dummies.Tapes(3)
    last_visit = 40 * (repeats - 1)
    tapes.options[1] = {"fails_at": last_visit + 21}  # snapshots only at switches
    run_until_failure(tmp_path / "stopped", tapes, **settings)
    dummies.run(tmp_path / "stopped", tapes, **settings)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize(
    ("envs", "fails_at", "aside"),  # any two of them in every combination
    [
        *((1, 23, False), (1, 29, True), (1, 34, True)),
        *((2, 23, True), (2, 29, False), (2, 34, False)),
    ],
)
def test_resumed_in_the_middle_a_run_ends_as_if_never_stopped(
    tmp_path, envs, fails_at, aside
):
    settings = {"checkpoint_every": 10, "eval_every": 10, "envs": envs, "l2_scale": 0.5}
    settings |= {"eval_replay": 30, "collect_during_update": aside}
    dummies.run(tmp_path / "whole", dummies.Tapes(2), **settings)
    tapes = dummies.Tapes(2)
    tapes.options[1] = {"fails_at": fails_at}
    run_until_failure(tmp_path / "stopped", tapes, **settings)
    state, _ = dummies.snapshot(tmp_path / "stopped")
    assert 60 <= state["step"] < 80
    check_lines(dummies.run(tmp_path / "stopped", tapes, **settings))
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")


class Precise(dummies.Walk):
    """Its second task writes its observations in another type."""

    def __init__(self, task=0, tape=None, **options):
        super().__init__(task, tape, **options)
        kind = np.float64 if task else np.float32
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), kind)


def test_the_spaces_that_a_run_notes_are_of_its_first_task_wherever_it_stopped(
    tmp_path,
):
    settings = {"checkpoint_every": 10}
    dummies.run(tmp_path / "whole", dummies.Tapes(2, Precise), **settings)
    tapes = dummies.Tapes(2, Precise)
    tapes.options[1] = {"fails_at": 25}
    run_until_failure(tmp_path / "stopped", tapes, **settings)
    dummies.run(tmp_path / "stopped", tapes, **settings)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")
    state, _ = dummies.snapshot(tmp_path / "stopped")
    assert state["spaces"]["obs"]["vector"]["native"]["dtype"] == "float32"


def test_weights_moments_and_the_carried_state_are_those_of_the_snapshot(
    tmp_path, recorder, monkeypatch
):
    tapes = dummies.Tapes(1)
    tapes.options[0] = {"fails_at": 35}
    run_until_failure(tmp_path, tapes, checkpoint_every=10)
    _, tensors = dummies.snapshot(tmp_path)
    seen = []
    train = dummies.Recorder.train

    def first_train(self, data, state, *, step):
        seen.append((self.named_state(), state))
        seen[-1] = {k: v.numpy() for k, v in seen[-1][0].items()}, state
        return train(self, data, state, step=step)

    monkeypatch.setattr(dummies.Recorder, "train", first_train)
    dummies.run(tmp_path, tapes, checkpoint_every=10)
    weights, carried = seen[0]
    assert weights == {k: v for k, v in tensors.items() if not k.startswith("carry/")}
    assert weights["model_opt/steps"] == 3
    np.testing.assert_array_equal(carried["deter"], tensors["carry/deter"])
    assert tensors["carry/deter"].all()


def test_a_snapshot_has_the_parts_that_other_versions_read(tmp_path):
    dummies.run(tmp_path, dummies.Tapes(1))
    assert set(dummies.snapshot(tmp_path)[0]) == {
        *("step", "task", "env_restarts", "drivers", "due"),
        *("agent", "replay", "learner", "evaluator", "online", "spaces"),
    }


def test_a_snapshot_of_a_version_without_some_parts_is_gone_on_from(
    tmp_path, monkeypatch
):
    load_state = checkpoint.load_state

    def load_older(path):
        state = load_state(path)
        lacking = ("online", "env_restarts", "spaces")
        return {k: v for k, v in state.items() if k not in lacking}

    settings = {"checkpoint_every": 10, "eval_every": 10}
    dummies.run(tmp_path / "whole", dummies.Tapes(1), **settings)
    tapes = dummies.Tapes(1)
    tapes.options[0] = {"fails_at": 35}
    run_until_failure(tmp_path / "older", tapes, **settings)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "load_state", load_older)
        dummies.run(tmp_path / "older", tapes, **settings)
    ends, lines = [], []
    for name in ("whole", "older"):
        state, tensors = dummies.snapshot(tmp_path / name)
        online = state.pop("online")
        ends.append((state, {key: value.tolist() for key, value in tensors.items()}))
        lines.append(dummies.timeless(tmp_path / name))
    assert ends[0] == ends[1]
    # What asks for all evaluations is unknown, until the end reads them from the log.
    assert online["best"] is None and "cl_worst_half" in lines[1][-1]
    for one, two in zip(*lines, strict=True):
        assert one.items() >= two.items()
        assert one.keys() - two.keys() <= {"cl_max_forgetting", "cl_worst_half"}


def test_stopped_before_the_first_snapshot_a_run_begins_anew(tmp_path):
    dummies.run(tmp_path / "whole", dummies.Tapes(2))
    tapes = dummies.Tapes(2)
    tapes.options[0] = {"fails_at": 35}
    run_until_failure(tmp_path / "stopped", tapes)
    lines = dummies.run(tmp_path / "stopped", tapes)
    check_lines(lines)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")


def test_an_interrupted_run_closes_what_it_opened_and_goes_on(tmp_path, monkeypatch):
    tapes = dummies.Tapes(1)
    step = dummies.Walk.step

    def interrupt(self, action):
        if len(dummies.steps(self.tape)) == 33:
            raise KeyboardInterrupt
        return step(self, action)

    with monkeypatch.context() as patch:
        patch.setattr(dummies.Walk, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            dummies.run(tmp_path, tapes, checkpoint_every=10, eval_every=20)
    assert tapes.train[0][-1] == tapes.eval[0][-1] == ("close",)
    check_lines(dummies.run(tmp_path, tapes, checkpoint_every=10, eval_every=20))


def test_every_failure_on_the_way_is_survived(tmp_path):
    # Fails again and again, one step later each time, with the memory near its limit.
    settings = {"checkpoint_every": 6, "replay__capacity": 40, "steps": 60}
    tapes = dummies.Tapes(1)
    for steps in range(30, 600, 19):
        tapes.options[0] = {"fails_at": steps}
        try:
            dummies.run(tmp_path, tapes, **settings)
            break
        except KeyError:
            pass
    assert dummies.snapshot(tmp_path)[0]["step"] == 60
    lines = dummies.read(tmp_path)
    check_lines(lines)
    assert lines[-1]["loaded_steps"] <= 48
    # On the disk is what is held, and what rows of the next batch still need.
    paths = (tmp_path / files.REPLAY).glob("*.npz")
    assert {path.name for path in paths} == dummies.needed(tmp_path)


def test_a_finished_run_says_so_and_does_nothing(tmp_path, capsys, recorder):
    lines = dummies.run(tmp_path, dummies.Tapes(1))
    capsys.readouterr()
    tapes = dummies.Tapes(1)
    assert dummies.run(tmp_path, tapes) == lines
    assert f"The run in {tmp_path} is finished, at step 40." in capsys.readouterr().out
    assert tapes.train == [[]]
    assert len(recorder) == 1


def test_going_on_is_told(tmp_path, capsys):
    tapes = dummies.Tapes(2)
    tapes.options[1] = {"fails_at": 3}
    run_until_failure(tmp_path, tapes)
    capsys.readouterr()
    dummies.run(tmp_path, tapes)
    wanted = "Going on from step 40, phase 2 of 2, task walk1."
    assert wanted in capsys.readouterr().out


def test_another_configuration_is_refused_before_anything_is_made(tmp_path):
    dummies.run(tmp_path, dummies.Tapes(1))
    tapes = dummies.Tapes(1)
    with pytest.raises(rundir.RunDirError, match="seed: 0 there, 1 now"):
        dummies.run(tmp_path, tapes, seed=1)
    assert tapes.train == [[]]


def test_overwrite_begins_anew(tmp_path):
    dummies.run(tmp_path / "fresh", dummies.Tapes(1), seed=1)
    dummies.run(tmp_path / "over", dummies.Tapes(1), seed=0)
    lines = dummies.run(tmp_path / "over", dummies.Tapes(1), seed=1, overwrite=True)
    check_lines(lines)
    dummies.assert_same_end(tmp_path / "fresh", tmp_path / "over")


def test_resume_prolongs_a_run(tmp_path):
    tapes = dummies.Tapes(1)
    dummies.run(tmp_path, tapes, steps=40)
    lines = dummies.run(tmp_path, tapes, steps=60, resume=True)
    assert len(dummies.steps(tapes.train[0])) == 60
    check_lines(lines)
    assert dummies.snapshot(tmp_path)[0]["step"] == 60


def test_a_run_whose_replay_was_deleted_cannot_be_prolonged(tmp_path):
    dummies.run(tmp_path, dummies.Tapes(1), steps=40, del_exp_replay=True)
    with pytest.raises(ValueError, match="Was the folder deleted"):
        dummies.run(tmp_path, dummies.Tapes(1), steps=60, resume=True)
    assert dummies.snapshot(tmp_path)[0]["step"] == 40


TIGHT = {"checkpoint_every": 9, "replay__capacity": 30, "steps": 50, "eval_replay": 20}


def everything(folder):
    """What is in a folder at any depth, without the lock."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(p): p.read_bytes() for p in paths if p.name != files.LOCK}


def other_sizes(patch, tapes):
    def named_state(self):
        return {"weight": tf.Variable(np.zeros(3, np.float32))}

    patch.setattr(dummies.Recorder, "named_state", named_state)
    return {"rssm__deter": 9, "resume": True}


def no_environment(patch, tapes):
    patch.setattr(dummies.Walk, "__init__", lambda self, *args: 1 / 0)
    return {}


def impatience(patch, tapes):
    def restore(self, *args):
        restored(self, *args)
        raise KeyboardInterrupt

    restored = training.Training.restore
    patch.setattr(training.Training, "restore", restore)
    return {}


def wrong_entries(patch, tapes):
    def load_state(path):
        return {**loaded(path), "replay": {}}

    loaded = checkpoint.load_state
    patch.setattr(checkpoint, "load_state", load_state)
    return {}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (other_sizes, "other shapes have weight"),
        (no_environment, "division by zero"),
        (impatience, ""),
        (wrong_entries, "The entries of .*state.json are not those.* 'held'"),
    ],
)
def test_a_start_that_fails_leaves_all_as_it_was(
    tmp_path, monkeypatch, mistake, message
):
    dummies.run(tmp_path / "whole", dummies.Tapes(2), **TIGHT)
    folder, tapes = tmp_path / "failed", dummies.Tapes(2)
    tapes.options[1] = {"fails_at": 30}
    run_until_failure(folder, tapes, **TIGHT)
    before = everything(folder)
    with monkeypatch.context() as patch:
        changes = mistake(patch, tapes)
        with pytest.raises(BaseException, match=message):
            dummies.run(folder, tapes, **TIGHT | changes)
    assert everything(folder) == before
    dummies.run(folder, tapes, **TIGHT)
    dummies.assert_same_end(tmp_path / "whole", folder)


@pytest.mark.parametrize(
    "change",
    [
        *({"dataset__batch": 3}, {"dataset__length": 3}, {"replay__maxlen": 3}),
        *({"replay__capacity": 20}, {"replay__capacity": 500}, {"envs": 3}),
        *({"eval_replay": 0}, {"eval_every": 5}, {"train_every": 3}),
        *({"model_opt__lr": 1e-5}, {"eval_envs": 2}, {"log_every": 7}),
    ],
)
def test_a_run_goes_on_under_other_settings(tmp_path, change):
    tapes = dummies.Tapes(2)
    settings = {**TIGHT, "eval_every": 10, "steps": 51}
    tapes.options[1] = {"fails_at": 20}
    run_until_failure(tmp_path, tapes, **settings)
    lines = dummies.run(tmp_path, tapes, **settings | change, resume=True)
    check_lines(lines)
    assert dummies.snapshot(tmp_path)[0]["step"] == 102


def test_environments_that_never_come_to_a_snapshots_step_are_refused(tmp_path):
    tapes = dummies.Tapes(1)
    dummies.run(tmp_path, tapes, steps=40)
    before = everything(tmp_path)
    with pytest.raises(ValueError, match="step 40, but 3 environments"):
        dummies.run(tmp_path, tapes, steps=60, envs=3, resume=True)
    assert everything(tmp_path) == before


def test_a_task_can_be_added_behind_those_of_a_finished_run(tmp_path):
    dummies.run(tmp_path / "whole", dummies.Tapes(3), eval_every=20)
    tapes = dummies.Tapes(2)
    with pytest.raises(rundir.RunDirError, match="tasks: walk0, walk1 there, walk0, "):
        dummies.run(tmp_path / "grown", tapes, eval_every=20)
        dummies.run(tmp_path / "grown", dummies.Tapes(3), eval_every=20)
    dummies.run(tmp_path / "grown", dummies.Tapes(3), eval_every=20, resume=True)
    (whole, tensors), (grown, others) = (
        dummies.snapshot(tmp_path / name) for name in ("whole", "grown")
    )
    # The first two tasks were not evaluated on the third.
    assert grown["step"] == whole["step"] == 120
    assert grown["evaluator"] != whole["evaluator"] and others.keys() == tensors.keys()
    assert others["weight"] == tensors["weight"]


def test_what_outlives_an_episode_of_an_environment_is_resumed(tmp_path):
    class Counting(dummies.Walk):
        """Its reward is the number of steps ever taken."""

        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.total = 0

        def step(self, action):
            observation, _, *rest = super().step(action)
            self.total += 1
            return observation, float(self.total), *rest

        def get_state(self):
            return {"total": self.total}

        def set_state(self, state):
            self.total = state["total"]

    def task(name, tape, fails_at=None):
        def make():
            env = Counting(0, tape, fails_at=fails_at)
            return dummies.gym_adapter.GymAdapter(env, keeper=env)

        return tasks.Task(name, make, None)

    config = dummies.configure(tmp_path, num_task_repeats=2, checkpoint_every=10)
    tapes = [], []
    with pytest.raises(KeyError):
        failing = task("a", tapes[0], fails_at=65)
        loop.train(tasks.TaskList([failing, task("b", tapes[1])]), config)
    assert dummies.snapshot(tmp_path)[0]["step"] == 100
    made = tasks.TaskList([task("a", tapes[0]), task("b", tapes[1])])
    loop.train(made, config)
    rewards = {}
    for path in sorted((tmp_path / files.REPLAY).glob("*.npz")):
        task_number = int(path.name.split("task")[1][0])
        new = np.load(path)["reward"][1:].tolist()
        rewards.setdefault(task_number, []).extend(new)
    for values in rewards.values():
        assert values == sorted(set(values))  # the count never begins anew
        assert values[-1] > 70


def normalised(tapes):
    """The tasks with observations and rewards that are normalised by what was seen."""

    def wrapped(make):
        def made():
            env = gymnasium.wrappers.NormalizeObservation(make()._env)
            return dummies.adapt(gymnasium.wrappers.NormalizeReward(env))

        return made

    tapes.tasks = [
        task._replace(make=wrapped(task.make), make_eval=wrapped(task.make_eval))
        for task in tapes.tasks
    ]
    return tapes


@pytest.mark.parametrize("envs", [1, 2])
def test_what_wrappers_keep_is_that_of_a_run_that_lived(tmp_path, envs):
    settings = {"checkpoint_every": 10, "eval_every": 10, "envs": envs}
    settings |= {"num_task_repeats": 2, "eval_replay": 30}
    dummies.run(tmp_path / "whole", normalised(dummies.Tapes(2)), **settings)
    tapes = normalised(dummies.Tapes(2))
    tapes.options[0] = {"fails_at": 57}  # in its second turn
    run_until_failure(tmp_path / "stopped", tapes, **settings)
    dummies.run(tmp_path / "stopped", tapes, **settings)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")


def test_an_evaluation_begins_with_what_the_training_has_seen(tmp_path, monkeypatch):
    begins = []

    def note(self, state):
        begins.append(state["wrappers"][1]["state"]["obs_rms"]["count"])

    monkeypatch.setattr(gym_adapter.GymAdapter, "set_state", note)
    settings = {"steps": 40, "eval_every": 10}
    dummies.run(tmp_path, normalised(dummies.Tapes(1)), **settings)
    state = dummies.snapshot(tmp_path)[0]["drivers"]["0"]["envs"][0]["env"]
    assert begins == sorted(set(begins)) and len(begins) == 3
    assert begins[-1] == state["wrappers"][1]["state"]["obs_rms"]["count"] > 40
    assert snapshot_lib.load(tmp_path).wrappers == {0: state}  # for watching
