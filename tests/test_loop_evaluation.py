"""Laws of evaluation in the training loop, and of what a run ends with.

A recorder of calls takes the place of the agent; tests/test_runs.py has the real one.
"""

import functools

import dummies
import numpy as np
import pytest

from dreamerv2 import loop, phases, run, rundir

pytestmark = pytest.mark.tf


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
    loop.train(trained.tasks, schedule, config, eval_only=skills.tasks)
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
        run.Run, "_write", lambda self, metrics, step=None: written.append(metrics)
    )
    settings = {"eval_every": 10, "log_every_video": 20, "log_keys_video": ["vector"]}
    dummies.run(tmp_path, dummies.Tapes(1), **settings)
    assert sum("openl_image" in metrics for metrics in written) == 2


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
    assert kept - deleted == {rundir.REPLAY}
    assert {rundir.METRICS, rundir.CONFIG, rundir.CHECKPOINTS} <= deleted
    dummies.assert_same_end(keep, delete, replay=False)


@pytest.mark.parametrize("keep", [1, 3])
def test_snapshots_are_made_when_due_and_the_newest_stay(tmp_path, keep):
    settings = {"checkpoint_every": 10, "checkpoint_keep": keep}
    dummies.run(tmp_path, dummies.Tapes(2), **settings)
    names = sorted(path.name for path in (tmp_path / rundir.CHECKPOINTS).iterdir())
    newest = (60, 70, 80)[-keep:]
    assert names == [f"step-{step:012d}" for step in (40, *newest)]  # 40: a task ends
