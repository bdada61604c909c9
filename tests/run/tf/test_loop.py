"""Laws of the training loop: which steps, updates and evaluations, and when.

A recorder of calls takes the agent's place; tests/run/tf/test_runs.py has the real one.
"""

import itertools
import logging
import re

import dummies
import gymnasium
import numpy as np
import pytest

from common.config import coerce
from common.records import files
from dreamerv2.run import checkpoint, learner, loop, phases, rundir, tasks


@pytest.fixture(autouse=True)
def recorder(agents):
    """The agents that were made, newest last."""
    return agents


# Steps.


def test_every_task_gets_its_steps_in_order(tmp_path):
    tapes = dummies.Tapes(3)
    lines = dummies.run(tmp_path, tapes, unbalanced=[30, 50, 20])
    assert [len(dummies.steps(tape)) for tape in tapes.train] == [30, 50, 20]
    for step, task in dummies.pick(lines, "task"):
        assert task == (0 if step <= 30 else 1 if step <= 80 else 2)
    assert dummies.snapshot(tmp_path)[0]["step"] == 100


def test_the_sequence_is_gone_through_as_often_as_asked_for(tmp_path):
    tapes = dummies.Tapes(2)
    lines = dummies.run(tmp_path, tapes, steps=20, prefill=10, num_task_repeats=2)
    assert [len(dummies.steps(tape)) for tape in tapes.train] == [40, 40]
    runs = [
        task for task, _ in itertools.groupby(t for _, t in dummies.pick(lines, "task"))
    ]
    assert runs == [0, 1, 0, 1]
    # Once more for each, as their spaces are compared before the run.
    assert [dummies.count(tape, "make") for tape in tapes.train] == [3, 3]
    assert [dummies.count(tape, "close") for tape in tapes.train] == [3, 3]


def test_a_single_task_is_not_interrupted_between_its_phases(tmp_path):
    tapes = dummies.Tapes(1)
    dummies.run(tmp_path, tapes, steps=20, prefill=10, num_task_repeats=2)
    assert dummies.count(tapes.train[0], "make") == 1
    assert len(dummies.steps(tapes.train[0])) == 40


def test_environments_are_reset_at_a_task_switch_and_no_episode_spans_it(tmp_path):
    tapes = dummies.Tapes(2)
    dummies.run(tmp_path, tapes, steps=21, prefill=10)
    for tape in tapes.train:
        first = [call[0] for call in tape[:5]]
        assert first == ["make", "close", "make", "reset", "step"]
        assert tape[-1] == ("close",)
    for episode in stored(tmp_path, 0) + stored(tmp_path, 1):
        assert episode["is_first"].tolist().index(True) == 0
        assert episode["is_last"].tolist().index(True) == len(episode["is_last"]) - 1
        assert len(set(episode["vector"][:, 2])) == 1  # the task


def stored(folder, task):
    """The arrays of the episodes of a task, in the order of their arrival."""
    paths = sorted((folder / files.REPLAY).glob(f"*-task{task}-*.npz"))
    return [dict(np.load(path)) for path in paths]


def test_both_tasks_are_in_the_replay_with_what_was_experienced(tmp_path):
    tapes = dummies.Tapes(2)
    lines = dummies.run(tmp_path, tapes)
    for task, tape in enumerate(tapes.train):
        episodes = stored(tmp_path, task)
        assert episodes
        actions = np.concatenate([e["action"][1:].argmax(-1) for e in episodes])
        assert actions.tolist() == dummies.steps(tape)[: len(actions)]
        assert all((e["vector"][:, 2] == task).all() for e in episodes)
        assert lines[-1][f"er_task_{task}"] == len(episodes)


def test_counters_count_training_steps_alone(tmp_path):
    lines = dummies.run(tmp_path, dummies.Tapes(2), eval_every=10, eval_eps=3)
    stored = [line for line in lines if "total_steps" in line]
    for line in stored:
        assert line["total_steps"] <= line["step"]
        assert line["loaded_steps"] == line["total_steps"]
        held = [line.get(f"er_task_{task}", 0) for task in (0, 1)]
        assert sum(held) == line["loaded_episodes"] == line["total_episodes"]
    episodes = dummies.pick(lines, "return", "length")
    assert stored[-1]["total_steps"] == sum(length for _, _, length in episodes)


def test_an_episode_is_logged_at_the_step_that_ended_it(tmp_path):
    lines = dummies.run(tmp_path, dummies.Tapes(2))
    for task in (0, 1):
        step = 40 * task
        for end, _, length, now in dummies.pick(lines, "return", "length", "task"):
            if now == task:
                step += length
                assert end == step


def test_steps_are_logged_as_frames(tmp_path):
    lines = dummies.run(tmp_path, dummies.Tapes(1), action_repeat=3, log_every=5)
    assert [line["step"] for line in lines if "updates" in line] == [
        *(60, 75, 90, 105, 120)
    ]


# Prefill and updates.


def test_prefill_is_random_and_a_part_of_the_first_task(tmp_path, recorder):
    tapes = dummies.Tapes(2)
    dummies.run(tmp_path, tapes, prefill=25, seed=3)
    spec = recorder[-1].act_spec
    random = [tasks.random_actions(3, step, 1, spec).argmax() for step in range(25)]
    assert dummies.steps(tapes.train[0])[:25] == random
    assert [step for step, *_ in recorder[-1].acts] == list(range(25, 80))


def test_without_prefill_the_agent_acts_from_the_first_step(tmp_path, recorder):
    dummies.run(tmp_path, dummies.Tapes(1), prefill=0)
    assert [step for step, *_ in recorder[-1].acts] == list(range(40))


def update_steps(config, total, ends):
    """The slow twin: the step of every update, given the ends of the episodes."""
    step, last, result = 0, None, []
    while step < total:
        step += config.envs
        if step < config.prefill or not any(end <= step for end in ends):
            continue
        if not result:
            result += [step] * config.pretrain
        for now in range(step - config.envs + 1, step + 1):
            if last is None or now - last == config.train_every:
                last = now
                result += [step] * config.train_steps
    return result


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train_every": 1, "pretrain": 0},
        {"train_every": 7, "pretrain": 3, "train_steps": 2},
        {"prefill": 0, "train_every": 3},
        {"prefill": 33, "train_every": 4, "envs": 2},
        {"prefill": 6, "train_every": 1, "envs": 3},
    ],
    ids=str,
)
def test_the_number_of_updates_is_exact(tmp_path, recorder, settings):
    lines = dummies.run(tmp_path, dummies.Tapes(2), **settings)
    ends = [step for step, _ in dummies.pick(lines, "return")]
    total = dummies.snapshot(tmp_path)[0]["step"]
    twin = update_steps(dummies.configure(tmp_path, **settings), total, ends)
    assert [step for step, _ in recorder[-1].batches] == twin
    assert dummies.snapshot(tmp_path)[0]["learner"]["updates"] == len(twin)


@pytest.mark.parametrize(
    "settings", [{"pretrain": 5}, {"train_every": 3, "train_steps": 2, "envs": 2}]
)
def test_every_line_tells_the_replay_ratio_so_far(tmp_path, recorder, settings):
    lines = dummies.run(tmp_path, dummies.Tapes(2), **settings)
    told = dummies.pick(lines, "replay_ratio")
    assert len(told) > 4
    for step, ratio in told:
        done = [batch for at, batch in recorder[-1].batches if at <= step]
        trained = sum(batch["reward"].size for batch in done)
        assert ratio == pytest.approx(trained / step, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {},
            "0.8 transitions trained for each step collected (2 x 4 x 1 / 10)",
        ),
        ({"train_every": 4, "train_steps": 3}, "6 transitions"),
        ({"train_every": 0}, "0 transitions trained for each step collected (train_ev"),
    ],
)
def test_the_planned_replay_ratio_is_told_before_training(
    tmp_path, capsys, settings, words
):
    dummies.run(tmp_path, dummies.Tapes(1), **settings)
    assert f"Replay ratio: {words}" in capsys.readouterr().out


def test_a_run_tells_what_it_is_and_each_task_and_snapshot_and_its_end(
    tmp_path, capsys
):
    dummies.run(tmp_path, dummies.Tapes(2), seed=3)
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if "phase 1 of 2" in line)
    head = "\n".join(lines[:first])
    assert f"Run: {tmp_path}, seed 3" in head.replace("\n ", "")
    for words in ("Tasks: walk0 40, walk1 40 steps; 80 in all.", "Device: "):
        assert words in head
    assert "Parameters: world model 1; precision 32, envs 1." in head
    kinds = [re.sub(r".*?\] +|, \d+\.\ds$", "", line) for line in lines[first:]]
    told = [kind for kind in kinds if re.match("phase|snapshot", kind)]
    assert told == [
        "phase 1 of 2, task walk0",
        "snapshot of step 40",
        "phase 2 of 2, task walk1",
        "snapshot of step 80",
    ]
    assert re.fullmatch(rf"Finished: 80 frames, .* is in {tmp_path}\.", lines[-1])


def test_the_first_update_waits_for_an_episode(tmp_path, recorder):
    tapes = dummies.Tapes(1)
    tapes.options[0] = {"limit": 30, "goal": 1000}
    dummies.run(tmp_path, tapes, prefill=20)
    assert recorder[-1].batches[0][0] == 30


class LongerAndLonger(dummies.Walk):
    """The first episode ends after 8 steps, the second does not end."""

    def reset(self, **kwargs):
        self._limit = 1000 if dummies.seeds(self.tape) else 8
        return super().reset(**kwargs)


@pytest.mark.parametrize("ongoing", [False, True])
def test_only_on_demand_is_learned_from_unfinished_episodes(
    tmp_path, recorder, ongoing
):
    tapes = dummies.Tapes(1, LongerAndLonger)
    tapes.options[0] = {"goal": 1000}
    dummies.run(tmp_path, tapes, replay__ongoing=ongoing, train_every=1)
    times = np.concatenate(
        [b["vector"][..., 1].ravel() for _, b in recorder[-1].batches]
    )
    assert ((0 < times) & (times < 0.1)).any() == ongoing


def test_optimisers_forget_at_a_task_switch_only_on_demand(tmp_path, recorder):
    for reset in (False, True):
        folder = tmp_path / str(reset)
        dummies.run(folder, dummies.Tapes(2), reset_optimizer_on_task_change=reset)
        state, tensors = dummies.snapshot(folder)
        updates = len([step for step, _ in recorder[-1].batches if step > 40 * reset])
        assert tensors["model_opt/steps"] == updates
        assert state["learner"]["updates"] == len(recorder[-1].batches)


def test_from_the_second_task_on_weights_are_pulled_to_the_end_of_the_last(tmp_path):
    lines = dummies.run(tmp_path, dummies.Tapes(2), num_task_repeats=2, l2_scale=0.5)
    pulls = dummies.pick(lines, "model_l2")
    assert all(pull == 0 for step, pull in pulls if step <= 40)
    assert all(pull > 0 for step, pull in pulls if step % 40 > 10 and step > 40)
    folder = tmp_path / "checkpoints"
    weights = {}
    for end in (40, 80, 120, 160):
        tensors = checkpoint.load_tensors(folder / f"step-{end:012d}")
        weights[end] = tensors["weight"]
        if end > 40:  # the anchor: where the task before has left the weight
            assert tensors["model_opt/l2/anchor/weight"] == weights[end - 40]
    assert len(set(map(float, weights.values()))) == 4


@pytest.mark.parametrize(("repeats", "fails_at"), [(1, 1), (2, 41)])
def test_the_parts_are_told_of_a_task_change_once_also_by_a_run_that_goes_on(
    tmp_path, recorder, repeats, fails_at
):
    tapes = dummies.Tapes(2)
    dummies.run(tmp_path / "whole", tapes, num_task_repeats=repeats)
    changes = [(0, 1), (1, 0), (0, 1)][: 2 * repeats - 1]
    assert recorder[-1].switches == changes
    tapes.options[1] = {"fails_at": len(dummies.steps(tapes.train[1])) + fails_at}
    with pytest.raises(KeyError):
        dummies.run(tmp_path / "stopped", tapes, num_task_repeats=repeats)
    tapes.options[1] = {}
    dummies.run(tmp_path / "stopped", tapes, num_task_repeats=repeats)
    assert recorder[-2].switches == changes
    assert recorder[-1].switches == changes[-1:]


def test_one_task_after_itself_is_no_task_change(tmp_path, recorder):
    dummies.run(tmp_path, dummies.Tapes(1), num_task_repeats=3)
    assert recorder[-1].switches == []


# Exploration.


def test_exploration_follows_its_episodes_and_ends_when_it_should(tmp_path, recorder):
    tapes = dummies.Tapes(1)
    dummies.run(tmp_path, tapes, steps=80, prefill=0, expl_every=3, expl_until=60)
    episode, twin = 0, []
    for call in tapes.train[0]:
        episode += call[0] == "reset"
        if call[0] == "step":
            twin.append([len(twin) < 60 and episode % 3 == 0])
    assert [exploring for _, exploring, _ in recorder[-1].acts] == twin
    assert [True] in twin


def test_every_environment_counts_its_own_episodes_for_exploration(tmp_path, recorder):
    tapes = dummies.Tapes(1)
    tapes.options[0] = {"goal": 1000}  # every episode has 8 steps
    settings = {"steps": 96, "prefill": 0, "envs": 2, "expl_every": 3}
    dummies.run(tmp_path, tapes, **settings)
    exploring = [rows for _, rows, _ in recorder[-1].acts]
    third = [(call // 8 + 1) % 3 == 0 for call in range(48)]
    assert exploring == [[now, now] for now in third]


# Several environments.


def test_threads_change_nothing(tmp_path):
    results = {}
    for strategy in ("none", "thread"):
        tapes = dummies.Tapes(2)
        dummies.run(tmp_path / strategy, tapes, envs=2, envs_parallel=strategy)
        results[strategy] = [dummies.count(tape, "make") for tape in tapes.train]
        assert [len(dummies.steps(tape)) for tape in tapes.train] == [40, 40]
        assert [dummies.count(tape, "close") for tape in tapes.train] == [3, 3]
    assert results == {"none": [3, 3], "thread": [3, 3]}
    dummies.assert_same_end(tmp_path / "none", tmp_path / "thread")


def test_two_environments_may_overshoot_a_task_by_one_step(tmp_path):
    tapes = dummies.Tapes(2)
    dummies.run(tmp_path, tapes, unbalanced=[31, 30], envs=2)
    assert [len(dummies.steps(tape)) for tape in tapes.train] == [32, 30]
    assert dummies.snapshot(tmp_path)[0]["step"] == 62


def test_no_environment_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match="envs is 0"):
        dummies.run(tmp_path, dummies.Tapes(1), envs=0)


class Other(dummies.Walk):
    """A walk with a third action."""

    action_space = gymnasium.spaces.Discrete(3)


def test_a_task_with_other_spaces_is_named_before_anything_is_written(tmp_path):
    first, second = dummies.Tapes(1), dummies.Tapes(1, Other)
    other = second.tasks[0]._replace(name="other")
    made = tasks.TaskList([first.tasks[0], other])
    with pytest.raises(ValueError) as error:
        loop.train(made, dummies.configure(tmp_path / "run"))
    said = (
        "task other has .*than the task walk0.*size=3.* here.*size=2.* there.*--tasks"
    )
    assert re.search(said, str(error.value), re.DOTALL)
    assert "vector" not in str(error.value)  # the observations are the same
    assert not (tmp_path / "run").exists()
    for tape in (*first.train, *second.train):
        assert tape == [("make",), ("close",)]


def test_a_run_is_not_deleted_for_tasks_that_do_not_fit(tmp_path):
    tapes = dummies.Tapes(1)
    dummies.run(tmp_path, tapes)
    before = dummies.read(tmp_path), dummies.snapshot(tmp_path)[0]
    made = tasks.TaskList([*tapes.tasks, *dummies.Tapes(1, Other).tasks])
    with pytest.raises(ValueError, match="has other spaces"):
        loop.train(made, dummies.configure(tmp_path, overwrite=True))
    assert (dummies.read(tmp_path), dummies.snapshot(tmp_path)[0]) == before


def test_a_task_that_is_only_evaluated_must_fit_if_there_are_evaluations(tmp_path):
    made = tasks.TaskList(dummies.Tapes(1).tasks, dummies.Tapes(1, Other).tasks)
    with pytest.raises(ValueError, match="has other spaces"):
        loop.train(made, dummies.configure(tmp_path / "run", eval_every=20))
    assert not (tmp_path / "run").exists()
    assert loop.train(made, dummies.configure(tmp_path / "run", eval_every=0))


# Seeds.


def test_every_episode_has_a_seed_of_its_own(tmp_path):
    tapes = dummies.Tapes(2)
    settings = {"envs": 2, "eval_every": 10, "num_task_repeats": 2, "eval_eps": 2}
    dummies.run(tmp_path, tapes, **settings)
    seeds = [s for tape in (*tapes.train, *tapes.eval) for s in dummies.seeds(tape)]
    assert None not in seeds
    assert len(seeds) == len(set(seeds)) > 60


def test_the_same_seed_gives_the_same_run(tmp_path):
    everything = {}
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        tapes = dummies.Tapes(2)
        dummies.run(tmp_path / name, tapes, seed=seed, eval_every=10)
        everything[name] = tapes.train + tapes.eval
    assert everything["one"] == everything["two"] != everything["other"]
    dummies.assert_same_end(tmp_path / "one", tmp_path / "two")
    with pytest.raises(AssertionError):
        dummies.assert_same_end(tmp_path / "one", tmp_path / "other")


# Failures.


def test_a_loss_that_is_not_finite_stops_the_run_and_names_it(tmp_path, recorder):
    dummies.Recorder.losses = {4: float("nan")}
    tapes = dummies.Tapes(1)
    with pytest.raises(learner.NonFiniteLossError) as error:
        dummies.run(tmp_path, tapes, steps=80, checkpoint_every=10)
    message = str(error.value)
    assert "model_loss = nan at step 40 (update 4)" in message
    assert "--resume" in message
    path = tmp_path / "bad_batch_000000000040.npz"
    assert str(path) in message
    step, batch = recorder[-1].batches[-1]
    assert step == 40
    with np.load(path) as saved:
        assert set(saved) == set(batch)
        for key, value in batch.items():
            np.testing.assert_array_equal(saved[key], value)
    assert dummies.snapshot(tmp_path)[0]["step"] == 30
    assert dummies.snapshot(tmp_path)[0]["learner"]["updates"] == 3
    assert tapes.train[0][-1] == ("close",)
    dummies.read(tmp_path)  # valid to the last line


def test_a_full_disk_at_a_snapshot_is_only_reported(tmp_path, monkeypatch, caplog):
    write, calls = checkpoint._write_tensors, []

    def refuse_once(prefix, tensors):
        calls.append(prefix)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        write(prefix, tensors)

    monkeypatch.setattr(checkpoint, "_write_tensors", refuse_once)
    with caplog.at_level(logging.WARNING):
        dummies.run(tmp_path, dummies.Tapes(1), checkpoint_every=10)
    assert "No space left on device" in caplog.text
    assert "step-000000000020" in caplog.text
    names = sorted(path.name for path in (tmp_path / files.CHECKPOINTS).iterdir())
    assert names == ["step-000000000030", "step-000000000040"]


def test_a_full_disk_at_the_last_snapshot_is_an_error(tmp_path, monkeypatch):
    def refuse(prefix, tensors):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_tensors", refuse)
    with pytest.raises(checkpoint.CheckpointError, match="step-000000000040"):
        dummies.run(tmp_path, dummies.Tapes(1))


def test_a_folder_that_cannot_be_written_is_noticed_before_anything(tmp_path):
    (tmp_path / "logs").write_text("I am here already.")
    tapes = dummies.Tapes(1)
    with pytest.raises(rundir.RunDirError, match="cannot be used.*--logdir"):
        dummies.run(tmp_path / "logs", tapes)
    assert tapes.train == [[]]


def test_unbalanced_steps_are_given_for_every_task_in_whole_numbers(tmp_path):
    config = dummies.configure(tmp_path, unbalanced_steps="4e1,60")
    assert [p.end for p in phases.of_tasks(2, config).phases] == [40, 100]
    with pytest.raises(ValueError, match="2 entries.*3 tasks"):
        phases.of_tasks(3, config)
    with pytest.raises(coerce.ConfigError, match="2.5.*whole number"):
        phases.of_tasks(1, config.update(unbalanced_steps="2.5"))
