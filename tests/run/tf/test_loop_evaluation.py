"""Laws of evaluation in the training loop, and of what a run ends with.

A recorder of calls takes the agent's place; tests/run/tf/test_runs.py has the real one.
"""

import functools

import dummies
import numpy as np
import pytest

from common.records import files
from dreamerv2.report import replay, results, runs
from dreamerv2.run import loop, phases, training
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.run.evaluation import evaluator as evaluator_lib

OPEN_LOOP = ("openl_image", "eval_openl_image")


@pytest.fixture(autouse=True)
def recorder(agents):
    """The agents that were made, newest last."""
    return agents


def test_evaluations_come_when_due_and_at_the_end_of_a_task(tmp_path):
    lines = dummies.run(tmp_path, dummies.Tapes(2), eval_every=15)
    steps = [step for step, _ in dummies.pick(lines, "eval_return_0")]
    assert steps == [20, 35, 40, 50, 65, 80]
    assert steps == [step for step, _ in dummies.pick(lines, "eval_length_1")]


def test_every_evaluation_plays_the_same_number_of_episodes(tmp_path):
    tapes = dummies.Tapes(2)
    lines = dummies.run(tmp_path, tapes, eval_every=15, eval_eps=3)
    evaluations = len(dummies.pick(lines, "eval_return_0"))
    for tape in tapes.eval:
        assert dummies.count(tape, "reset") == 3 * evaluations
        assert dummies.count(tape, "make") == dummies.count(tape, "close") == 1


def test_evaluation_can_be_counted_in_steps(tmp_path):
    tapes = dummies.Tapes(3)
    lines = dummies.run(tmp_path, tapes, eval_every=20, eval_steps=50)
    evaluations = len(dummies.pick(lines, "eval_return_0"))
    for tape in tapes.eval:
        assert len(dummies.steps(tape)) == 17 * evaluations  # a third, rounded up
        taken, begins = 0, []
        for call in tape:
            taken += call[0] == "step"
            begins += [taken] * (call[0] == "reset")
        assert {17 * k for k in range(evaluations)} <= set(begins)  # each anew


def test_without_evaluation_no_environment_is_made_for_it(tmp_path, capsys):
    tapes = dummies.Tapes(2)
    lines = dummies.run(tmp_path, tapes, eval_every=0)
    assert tapes.eval == [[], []]
    assert not any(key.startswith("eval_") for line in lines for key in line)
    assert "not every task was evaluated" in capsys.readouterr().out


def test_evaluation_changes_nothing_in_the_training(tmp_path):
    # The recorder's actions depend on all its calls, the random ones do not.
    never, often = dummies.Tapes(2), dummies.Tapes(2)
    settings = {"prefill": 70, "train_every": 3}
    dummies.run(tmp_path / "never", never, eval_every=0, **settings)
    dummies.run(tmp_path / "often", often, eval_every=2, **settings)
    assert never.train[0] == often.train[0]
    assert never.train[1][:30] == often.train[1][:30]


def test_means_are_over_the_trained_tasks_and_success_is_told(tmp_path):
    short = functools.partial(dummies.Walk, limit=5)
    trained, skills = dummies.Tapes(2), dummies.Tapes(1, short)
    config = dummies.configure(tmp_path, eval_every=20)
    schedule = phases.Schedule([40, 40])
    made = tasks_lib.TaskList(trained.tasks, skills.tasks)
    loop.train(made, config, schedule=schedule)
    for line in dummies.read(tmp_path):
        if "eval_return" in line:
            for name in ("return", "length", "success"):
                values = [line[f"eval_{name}_{k}"] for k in range(3)]
                assert line[f"eval_{name}"] == pytest.approx(np.mean(values[:2]))
            assert line["eval_length_2"] <= 5 < line["eval_length"]
    assert skills.train == [[]]
    assert dummies.count(skills.eval[0], "reset") == 4


@pytest.mark.parametrize("separate", [True, False])
def test_evaluation_takes_the_mode_or_the_collecting_policy(
    tmp_path, recorder, separate
):
    tapes = dummies.Tapes(1)
    settings = {"eval_every": 20, "expl_until": 30, "sep_exp_eval_policies": separate}
    dummies.run(tmp_path, tapes, **settings)
    acts = recorder[-1].acts
    extra = len(acts) - 20  # every step after prefill is one call
    assert extra == len(dummies.steps(tapes.eval[0])) > 0
    assert sum(evaluate for *_, evaluate in acts) == (extra if separate else 0)
    assert all(exploring == [step < 30] for step, exploring, _ in acts)


def test_two_videos_are_made_when_due(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        training.Training, "write", lambda self, metrics: written.append(metrics)
    )
    settings = {"eval_every": 10, "log_every_video": 20, "log_keys_video": ["vector"]}
    dummies.run(tmp_path, dummies.Tapes(1), **settings)
    assert sum("openl_image" in metrics for metrics in written) == 2


def test_evaluation_episodes_are_kept_apart_and_predicted(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        training.Training, "write", lambda self, metrics: written.append(metrics)
    )
    settings = {"eval_every": 10, "log_every_video": 20, "eval_replay": 12}
    tapes = dummies.Tapes(1)
    dummies.run(tmp_path, tapes, **settings)
    assert [sum(key in metrics for metrics in written) for key in OPEN_LOOP] == [2, 2]
    kept = [np.load(path) for path in sorted((tmp_path / "eval_replay").iterdir())]
    actions = [a for file in kept for a in file["action"][1:].argmax(-1)]
    assert actions == dummies.steps(tapes.eval[0])[-len(actions) :]
    assert 0 < len(actions) <= 12


# Several environments.


def go_right(obs, state):
    """The length of an episode depends on where it begins, that is on its seed."""
    return np.eye(2, dtype=np.float32)[np.ones(len(obs["is_first"]), int)], state


def evaluate(tmp_path, tapes, rounds=1, state=None, videos=False, **settings):
    """Metrics of evaluations outside of a run, and the state after them."""
    config = dummies.configure(tmp_path, **settings)
    evaluator = evaluator_lib.Evaluator(tapes.tasks, len(tapes.tasks), config)
    evaluator.set_state(state or {})
    metrics = [evaluator(go_right, videos) for _ in range(rounds)]
    evaluator.close()
    return metrics, evaluator.get_state()


@pytest.mark.parametrize(
    "settings, made",
    [
        ({"envs": 2}, 2),
        ({"envs": 3, "envs_parallel": "thread"}, 3),
        ({"envs": 9}, 5),  # one without an episode is not made
        ({"eval_envs": 4}, 4),
        ({"envs": 3, "eval_envs": 1}, 1),
    ],
    ids=str,
)
def test_however_many_environments_an_evaluation_plays_the_same_episodes(
    tmp_path, settings, made
):
    one, many = dummies.Tapes(2), dummies.Tapes(2)
    common = {"rounds": 2, "eval_eps": 5}
    expected, state = evaluate(tmp_path, one, **common)
    metrics, other_state = evaluate(tmp_path, many, **common, **settings)
    assert state == other_state
    for now, then in zip(expected, metrics, strict=True):
        assert now.keys() == then.keys()
        for key, value in now.items():
            assert then[key] == pytest.approx(value)
    assert expected[0]["eval_length"] != expected[1]["eval_length"]
    for tape, twin in zip(many.eval, one.eval, strict=True):
        assert sorted(dummies.seeds(tape)) == sorted(dummies.seeds(twin))
        assert dummies.count(tape, "reset") == 10
        assert len(dummies.steps(tape)) == len(dummies.steps(twin))
        assert dummies.count(tape, "make") == dummies.count(tape, "close") == made


@pytest.mark.parametrize("settings", [{}, {"envs": 2}, {"eval_steps": 60}], ids=str)
def test_a_task_is_evaluated_as_if_it_were_the_only_one(tmp_path, settings):
    settings = {"rounds": 2, "eval_eps": 3, **settings}
    together = dummies.Tapes(3)
    metrics, state = evaluate(tmp_path, together, **settings)
    settings["eval_steps"] = settings.get("eval_steps", 0) // 3
    for k in range(3):
        alone = dummies.Tapes(3)
        for other in {0, 1, 2} - {k}:
            alone.tasks[other] = alone.tasks[other]._replace(make_eval=None)
        expected, its_state = evaluate(tmp_path, alone, **settings)
        assert alone.eval[k] == together.eval[k] != []
        assert its_state["played"] == {str(k): state["played"][str(k)]}
        for now, then in zip(metrics, expected, strict=True):
            assert {key: now[key] for key in then if key[-1] == str(k)} == then


def test_processes_change_nothing_in_an_evaluation(tmp_path):
    settings = {"envs": 2, "eval_eps": 3}
    expected = evaluate(tmp_path, dummies.Tapes(1), **settings)
    tapes = dummies.Tapes(1)
    assert evaluate(tmp_path, tapes, envs_parallel="process", **settings) == expected
    assert tapes.eval == [[]]  # it was played elsewhere


def test_evaluations_are_numbered_on_with_another_number_of_environments(tmp_path):
    whole, parts = dummies.Tapes(1), dummies.Tapes(1)
    evaluate(tmp_path, whole, rounds=2, eval_eps=4)
    _, state = evaluate(tmp_path, parts, eval_eps=4, envs=2)
    evaluate(tmp_path, parts, eval_eps=4, envs=3, state=state)
    seeds = [dummies.seeds(tape) for tape in (*whole.eval, *parts.eval)]
    assert sorted(seeds[0]) == sorted(seeds[1])
    assert len(set(seeds[0])) == 8


def test_a_video_shows_the_first_episode_alone(tmp_path):
    settings = {"eval_eps": 3, "videos": True}
    ((one,), _), ((two,), _) = (
        evaluate(tmp_path, dummies.Tapes(1, dummies.Gallery), envs=envs, **settings)
        for envs in (1, 2)
    )
    np.testing.assert_array_equal(one["eval_image_0"], two["eval_image_0"])
    place = (
        one["eval_image_0"][:, 0, :, 0].argmax(-1) // 8
    )  # one step to the right each
    np.testing.assert_array_equal(np.diff(place), 1)


def test_every_task_has_its_video(tmp_path):
    tapes = dummies.Tapes(3, dummies.Gallery)
    (metrics,), _ = evaluate(tmp_path, tapes, videos=True, eval_eps=2, eval_envs=2)
    for k in range(3):
        video = metrics[f"eval_image_{k}"]
        assert video.min() == 40 * k  # the task's shade
        assert (video[-1] == 255).any()
    (metrics,), _ = evaluate(tmp_path, tapes, videos=False)
    assert not [key for key in metrics if "image" in key]


def test_the_policy_is_asked_once_for_all_environments_of_all_tasks(tmp_path, recorder):
    settings = {"envs": 2, "eval_eps": 4, "eval_every": 20}
    dummies.run(tmp_path, dummies.Tapes(3), **settings)
    rows = [len(rows) for _, rows, evaluate in recorder[-1].acts if evaluate]
    assert rows and set(rows) == {6}


def test_too_few_steps_for_one_task_are_gone_on_with_for_it_alone(tmp_path):
    tapes = dummies.Tapes(2)
    long = functools.partial(dummies.Walk, goal=30, limit=20)
    slow = tapes.tasks[1]
    make = functools.partial(dummies.adapt, long(1, tapes.eval[1]))
    tapes.tasks[1] = slow._replace(make_eval=make)
    (metrics,), state = evaluate(tmp_path, tapes, eval_steps=16, eval_eps=2)
    assert len(dummies.steps(tapes.eval[0])) == 8
    assert len(dummies.steps(tapes.eval[1])) == 40  # the second of two episodes, too
    assert metrics["eval_length_1"] == 20
    assert state["played"]["1"] == 2


def test_tasks_of_other_spaces_are_refused(tmp_path):
    tapes = dummies.Tapes(2)
    tapes.tasks[1] = dummies.Tapes(1, dummies.Gallery).tasks[0]
    with pytest.raises(ValueError, match="other spaces than the first task"):
        evaluate(tmp_path, tapes)


def test_fewer_than_no_environments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="eval_envs is -1; it must be 0"):
        evaluate(tmp_path, dummies.Tapes(1), eval_envs=-1)


def test_counted_in_steps_an_evaluation_uses_one_environment(tmp_path):
    # Cut off in each of several, only short episodes would be seen.
    tapes = dummies.Tapes(1)
    metrics, _ = evaluate(tmp_path, tapes, envs=4, eval_steps=20)
    assert dummies.count(tapes.eval[0], "make") == 1
    assert metrics[0]["eval_length_0"] > 3


# The end.


def test_the_end_is_told_with_a_table(tmp_path, capsys):
    lines = dummies.run(tmp_path, dummies.Tapes(2), eval_every=20)
    assert {"cl_performance", "cl_forgetting"} <= set(lines[-1])
    output = capsys.readouterr().out
    assert "best success" in output
    assert "\nwalk0 " in output
    assert "Average performance" in output
    assert str(tmp_path) in output
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("settings", [{"num_task_repeats": 2}, {"envs": 3}], ids=str)
def test_performance_and_forgetting_count_from_the_last_end_of_each_task(
    tmp_path, settings
):
    # With three environments tasks end at 42 and 81 steps instead of 40 and 80.
    settings = {"eval_every": 10**6, "eval_eps": 7, **settings}
    tapes = dummies.Tapes(2, functools.partial(dummies.Walk, goal=4))
    lines = dummies.run(tmp_path, tapes, **settings)
    evaluations = dummies.pick(lines, "eval_success_0", "eval_success_1")
    (_, *before), (_, *last) = evaluations[-2:]
    assert lines[-1]["cl_performance"] == pytest.approx(np.mean(last))
    forgotten = (before[0] - last[0]) / 2
    assert lines[-1]["cl_forgetting"] == pytest.approx(forgotten)


def test_a_first_task_of_nothing_but_prefill_spoils_no_end(tmp_path, capsys):
    lines = dummies.run(tmp_path, dummies.Tapes(2), steps=20, prefill=25, eval_every=10)
    assert "eval_return_0" in lines[-1] or "eval_return_0" in lines[-2]
    assert "not every task was evaluated in time" in capsys.readouterr().out


def test_the_replay_is_deleted_on_demand_and_nothing_else(tmp_path):
    keep, delete = tmp_path / "keep", tmp_path / "delete"
    dummies.run(keep, dummies.Tapes(2))
    dummies.run(delete, dummies.Tapes(2), del_exp_replay=True)
    kept = {path.name for path in keep.iterdir()}
    deleted = {path.name for path in delete.iterdir()}
    assert kept - deleted == {files.REPLAY}
    assert {files.METRICS, files.CONFIG, files.CHECKPOINTS} <= deleted
    dummies.assert_same_end(keep, delete, replay=False)


@pytest.mark.parametrize("keep", [1, 3])
def test_snapshots_are_made_when_due_and_the_newest_stay(tmp_path, keep):
    settings = {"checkpoint_every": 10, "checkpoint_keep": keep}
    dummies.run(tmp_path, dummies.Tapes(2), **settings)
    names = sorted(path.name for path in (tmp_path / files.CHECKPOINTS).iterdir())
    newest = (60, 70, 80)[-keep:]
    assert names == [f"step-{step:012d}" for step in (40, *newest)]  # 40: a task ends


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("repeats", [1, 2])
def test_every_evaluation_tells_what_is_known_and_what_was_lost(
    tmp_path, repeats, envs
):
    settings = {"eval_every": 15, "envs": envs, "num_task_repeats": repeats}
    near = functools.partial(dummies.Walk, goal=3)
    lines = dummies.run(tmp_path, dummies.Tapes(2, near), eval_eps=4, **settings)
    *evaluated, last = [line for line in lines if "cl_performance" in line]
    assert evaluated == [line for line in lines if "eval_return_0" in line]
    for key in ("step", "cl_performance", "cl_forgetting"):
        assert evaluated[-1][key] == pytest.approx(last[key], abs=1e-6)
    assert any(line["cl_performance"] for line in evaluated)
    switch = -(-40 // envs) * envs  # where the first task has ended
    for line in evaluated:
        assert ("cl_forgetting" in line) == (line["step"] >= switch)


def test_a_report_says_of_a_run_what_the_run_says_itself(tmp_path):
    near = functools.partial(dummies.Walk, goal=3)
    settings = {"eval_every": 15, "eval_eps": 4, "envs": 2}
    lines = dummies.run(tmp_path, dummies.Tapes(2, near), **settings)
    (run,), left_out = runs.load([tmp_path])
    assert not (left_out or run.fault) and run.trained == ("walk0", "walk1")
    (benchmark,) = results.evaluate([run])
    ((_, method),) = benchmark.methods.items()
    for name in ("performance", "forgetting"):
        value = method.table["success"][name].mean
        assert value == pytest.approx(lines[-1][f"cl_{name}"])
    held = replay.held([run])
    last = [line for line in lines if "er_steps_1" in line][-1]
    share = last["er_steps_1"] / last["loaded_steps"]
    assert held.shares[1, -1] == pytest.approx(share)
    drawn = replay.arrivals([run])
    assert drawn.ends[-1] == last["total_episodes"]
    windows = (drawn.windows * np.diff(drawn.edges)).sum()
    assert windows == pytest.approx(
        last["drawn_task_0"] + last["drawn_task_1"], rel=0.1
    )


def test_what_the_replay_holds_and_what_is_drawn_is_told(tmp_path):
    lines = dummies.run(tmp_path, dummies.Tapes(2), replay__capacity=30)
    for line in lines:
        assert ("er_steps_0" in line) == ("updates" in line)
        assert ("drawn_width" in line) <= ("updates" in line and line["step"] % 40 == 0)
    held = [
        line["er_steps_0"] + line.get("er_steps_1", 0)
        for line in lines
        if "updates" in line
    ]
    loaded = [line["loaded_steps"] for line in lines if "updates" in line]
    assert held == loaded
    ends = [line for line in lines if "drawn_width" in line]
    assert [line["step"] for line in ends] == [40, 80]
    bins = [v for k, v in ends[-1].items() if k.startswith("drawn_bin_")]
    drawn = ends[-1]["drawn_task_0"] + ends[-1]["drawn_task_1"]
    assert sum(bins) == drawn > 0
