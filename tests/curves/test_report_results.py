"""Laws of what runs are finished, how they are grouped, and what they come to."""

import json

import fake_runs
import numpy as np
import pytest

from common.curves import evaluations, intervals
from dreamerv2.report import results
from dreamerv2.report import runs as runs_lib

A, B = fake_runs.TASKS


def load(folder):
    return runs_lib.load([folder])[0]


def evaluate(folder, **options):
    return results.evaluate(load(folder), **options)


def rising(task, step):
    """0.5 + 0.1 for the second task at the end of each, less afterwards."""
    end = 100 * (task + 1)
    if step <= end - 100:
        return 0.1
    return 0.5 + 0.1 * task if step <= end else 0.2


# What runs there are.


def test_a_run_knows_its_tasks_its_ends_and_its_seed(tmp_path):
    fake_runs.write(tmp_path, "rs_s3_1M", 3, extra=["MiniGrid-C-v0"])
    (run,) = load(tmp_path)
    assert (run.method, run.seed, run.fault) == ("rs_1M", "3", "")
    assert run.tasks == (A, B, "MiniGrid-C-v0") and run.trained == (A, B)
    assert run.ends == ((0, 100), (1, 200)) and run.total == 200
    assert run.intervals == [(0, 0, 100), (1, 100, 200)]
    assert run.place == f"{tmp_path.name}/rs_s3_1M"


def test_methods_and_seeds_come_from_the_configuration_not_from_the_folder(tmp_path):
    folder = fake_runs.write(tmp_path, "rs_s1", 4)
    folder.rename(tmp_path / "copy_s9")
    (run,) = load(tmp_path)
    assert (run.method, run.seed) == ("rs", "4")


def test_without_a_tag_folders_name_the_method_but_not_the_seed(tmp_path):
    fake_runs.write(tmp_path / "pong" / "dv2" / "3", "", 7)
    (run,) = load(tmp_path)
    assert (run.method, run.seed) == ("dv2", "7")


def test_ends_are_told_in_frames(tmp_path):
    fake_runs.write(tmp_path, "a_s0", envs=3, action_repeat=4, steps=100)
    (run,) = load(tmp_path)
    assert run.ends == ((0, 34 * 3 * 4), (1, 67 * 3 * 4))


@pytest.mark.parametrize("envs, repeat, rounds", [(1, 1, 1), (3, 2, 1), (1, 1, 2)])
def test_ends_of_an_older_version_follow_from_its_configuration(
    tmp_path, envs, repeat, rounds
):
    settings = {"envs": envs, "action_repeat": repeat, "num_task_repeats": rounds}
    folder = fake_runs.write(tmp_path, "a_s0", steps=60, **settings)
    (new,) = load(tmp_path)
    noted = json.loads((folder / "tasks.json").read_text())
    del noted["ends"]
    (folder / "tasks.json").write_text(json.dumps(noted))
    (old,) = load(tmp_path)
    assert old.ends == new.ends and len(new.ends) == 2 * rounds
    (folder / "tasks.json").unlink()
    (old,) = load(tmp_path)
    assert (old.ends, old.trained) == (new.ends, (A, B))


@pytest.mark.parametrize(
    "until, value, fault",
    [
        (None, fake_runs.nothing, ""),
        (130, fake_runs.nothing, "at step 130 of 200"),
        (
            None,
            lambda task, step: None if step == 200 and task == 0 else 0.1,
            f"no evaluation of {A} at step 200",
        ),
        (
            None,
            lambda task, step: None if step == 100 else 0.1,
            f"no evaluation of {A} at step 100",
        ),
        (None, lambda *_: None, f"no evaluation of {A} at step 100, and 2 more"),
    ],
)
def test_a_run_is_finished_if_it_was_evaluated_at_every_end(
    tmp_path, until, value, fault
):
    fake_runs.write(tmp_path, "a_s0", until=until, value=value)
    (run,) = load(tmp_path)
    assert run.fault == fault


def test_only_finished_runs_enter_the_numbers(tmp_path):
    fake_runs.write(tmp_path, "a_s0", 0, value=lambda *_: 1.0)
    fake_runs.write(tmp_path, "a_s1", 1, until=150)
    (benchmark,) = evaluate(tmp_path)
    method = benchmark.methods["a"]
    assert [run.seed for run in method.finished] == ["0"]
    assert [run.seed for run in method.unfinished] == ["1"]
    assert method.table["success"]["performance"].runs == (1.0,)


def test_runs_that_say_too_little_are_told_apart(tmp_path):
    fake_runs.write(tmp_path, "good_s0")
    empty = fake_runs.write(tmp_path, "empty_s0")
    fake_runs.write_log(empty, [])
    bare = fake_runs.write(tmp_path, "bare_s0")
    (bare / "config.yaml").unlink()
    runs, left_out = runs_lib.load([tmp_path])
    assert [run.method for run in runs] == ["good"]
    assert left_out == {
        f"{tmp_path.name}/bare_s0": "it has no config.yaml that can be read",
        f"{tmp_path.name}/empty_s0": "it has logged nothing yet",
    }


def test_no_run_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="No run below"):
        load(tmp_path)
    with pytest.raises(ValueError, match="No run below"):
        load(tmp_path / "nowhere")


def test_other_tasks_or_other_steps_are_another_benchmark(tmp_path):
    fake_runs.write(tmp_path, "a_s0")
    fake_runs.write(tmp_path, "b_s0")
    fake_runs.write(tmp_path, "a_s1", 1, steps=50)
    fake_runs.write(tmp_path, "a_s2", 2, tasks=[B, A])
    found = evaluate(tmp_path)
    assert sorted(sorted(b.methods) for b in found) == [["a"], ["a"], ["a", "b"]]


def test_one_tag_with_different_settings_is_two_methods(tmp_path):
    for seed, retention in enumerate(["fifo", "fifo", "reservoir"]):
        folder = tmp_path / retention
        fake_runs.write(folder, f"a_s{seed}", seed, replay__retention=retention)
    (benchmark,) = evaluate(tmp_path)
    counts = {name: len(m.finished) for name, m in benchmark.methods.items()}
    assert counts == {
        "a (replay.retention=fifo)": 2,
        "a (replay.retention=reservoir)": 1,
    }


# What they come to.


def test_the_measures_by_hand(tmp_path):
    fake_runs.write(tmp_path, "a_s0", value=rising)
    (benchmark,) = evaluate(tmp_path)
    table = benchmark.methods["a"].table
    # At the end 0.2 and 0.6; the first task had 0.5 when it ended.
    assert table["success"]["performance"].mean == pytest.approx(0.4)
    assert table["success"]["forgetting"].mean == pytest.approx(0.3 / 2)
    assert table["success"]["zero_shot_transfer"].mean == pytest.approx(0.0)
    assert table["return"]["performance"].mean == pytest.approx(0.36)
    matrix = benchmark.methods["a"].matrices["success"]
    assert matrix[0].tolist() == [[0.5, 0.1], [0.5, 0.1], [0.2, 0.6]]


def test_success_is_left_out_where_a_task_does_not_tell_it(tmp_path):
    fake_runs.write(tmp_path, "a_s0", success=False)
    (benchmark,) = evaluate(tmp_path)
    assert benchmark.signals == ["return"]


def test_negative_values_count_as_zero_if_asked(tmp_path):
    fake_runs.write(tmp_path, "a_s0", value=lambda task, _: -1.0 if task else 0.5)
    (benchmark,) = evaluate(tmp_path)
    table = benchmark.methods["a"].table["success"]
    assert table["performance"].mean == pytest.approx(-0.25)
    (benchmark,) = evaluate(tmp_path, clip_negative=True)
    table = benchmark.methods["a"].table["success"]
    assert table["performance"].mean == pytest.approx(0.25)


def test_seeds_are_averaged_with_the_deviation_of_a_sample(tmp_path):
    for seed, value in enumerate([0.1, 0.4, 0.7]):
        fake_runs.write(tmp_path, f"a_s{seed}", seed, value=lambda *_, v=value: v)
    (benchmark,) = evaluate(tmp_path)
    found = benchmark.methods["a"].table["success"]["performance"]
    assert (found.mean, found.std) == pytest.approx((0.4, 0.3))
    assert found.runs == pytest.approx((0.1, 0.4, 0.7))
    assert found.iqm == pytest.approx(0.4)
    assert found.low < 0.4 < found.high


def test_the_interquartile_mean_of_performance_is_over_runs_and_tasks():
    scores = np.array([[0.0, 1.0], [0.5, 1.0], [0.25, 0.0], [0.0, 0.5]])
    found = results.aggregate("performance", scores)
    assert found.iqm == intervals.interquartile_mean(scores)
    found = results.aggregate("forgetting", scores)
    assert found.iqm == intervals.interquartile_mean(scores.mean(axis=1))
    nan = results.aggregate("performance", np.array([[np.nan, 1.0]]))
    assert np.isnan([nan.mean, nan.iqm, nan.low]).all()
    one = results.aggregate("performance", np.array([[0.2, 0.4]]))
    assert (one.mean, one.iqm) == pytest.approx((0.3, 0.3))
    assert np.isnan([one.std, one.low, one.high]).all()


def test_with_two_rounds_forgetting_counts_from_the_last_training(tmp_path):
    ends = ({100: 0.9, 300: 0.6, 400: 0.2}, {200: 0.8, 300: 0.7, 400: 0.5})
    value = {"value": lambda task, step: ends[task].get(step, 0.1)}
    fake_runs.write(tmp_path, "a_s0", num_task_repeats=2, **value)
    fake_runs.write(tmp_path, "one_s0", tasks=[A], value=lambda *_: 0.0)
    fake_runs.write(tmp_path, "two_s0", tasks=[B], value=lambda *_: 0.5)
    benchmark, *_ = evaluate(tmp_path)
    method = benchmark.methods["a"]
    forgetting = method.table["success"]["forgetting"].mean
    assert forgetting == pytest.approx((0.6 - 0.2) / 2)
    assert method.matrices["success"].shape == (1, 5, 2)
    areas = (9 * 0.1 + 0.9) / 10, (9 * 0.1 + 0.8) / 10  # in the first round
    expected = (areas[0] + (areas[1] - 0.5) / (1 - 0.5)) / 2
    transfer = method.table["success"]["forward_transfer"].mean
    assert transfer == pytest.approx(expected)


# References.


def test_forward_transfer_is_against_the_seeds_of_single_task_runs(tmp_path):
    fake_runs.write(tmp_path, "a_s0", value=lambda *_: 0.6)
    for seed, value in enumerate([0.1, 0.3]):
        for k, task in enumerate((A, B)):
            single = {"tasks": [task], "value": lambda *_, v=value: v}
            fake_runs.write(tmp_path, f"single{k}_s{seed}", seed, **single)
    benchmark, *_ = evaluate(tmp_path)
    method = benchmark.methods["a"]
    assert method.references[A].method == "single0"
    assert method.references[A].seeds == ("0", "1")
    table = method.table["success"]
    assert table["forward_transfer"].mean == pytest.approx(0.4 / 0.8)
    assert table["forward_transfer_reference"].mean == pytest.approx(0.4 / 0.4)


def test_of_a_longer_reference_only_as_much_as_the_interval_counts(tmp_path):
    fake_runs.write(tmp_path, "a_s0", value=lambda *_: 0.6)
    value = {"value": lambda _, step: 0.2 if step <= 100 else 1.0, "steps": 300}
    fake_runs.write(tmp_path, "one_s0", tasks=[A], **value)
    fake_runs.write(tmp_path, "two_s0", tasks=[B], **value)
    benchmark, *_ = evaluate(tmp_path)
    table = benchmark.methods["a"].table["success"]
    assert table["forward_transfer"].mean == pytest.approx(0.4 / 0.8)


@pytest.mark.parametrize(
    "reference",
    [
        {"tasks": ["MiniGrid-C-v0"]},
        {"tasks": [B], "steps": 90},
        {"tasks": [B], "until": 90},
        {"tasks": [B, A]},
    ],
)
def test_what_is_shorter_unfinished_or_on_other_tasks_is_no_reference(
    tmp_path, reference
):
    fake_runs.write(tmp_path, "a_s0")
    fake_runs.write(tmp_path, "one_s0", tasks=[A])
    fake_runs.write(tmp_path, "two_s0", **reference)
    method = evaluate(tmp_path)[0].methods["a"]
    assert set(method.references) == {A}
    assert "forward_transfer" not in method.table["success"]
    assert "performance" in method.table["success"]


def test_the_reference_with_the_nearest_configuration_is_taken(tmp_path):
    fake_runs.write(tmp_path, "a_s0", replay__retention="reservoir", discount=0.9)
    for name, settings in (
        ("far", {}),
        ("near", {"replay__retention": "reservoir"}),
        ("other", {"discount": 0.9}),
    ):
        fake_runs.write(tmp_path, f"{name}_s0", tasks=[A], **settings)
    found = evaluate(tmp_path)[0].methods["a"].references[A]
    assert (found.method, found.differing) == ("near", ("discount",))
    same = {"replay__retention": "reservoir", "discount": 0.9, "steps": 400}
    fake_runs.write(tmp_path, "same_s0", tasks=[A], **same)
    found = evaluate(tmp_path)[0].methods["a"].references[A]
    assert (found.method, found.differing, found.total) == ("same", (), 400)


def test_areas_are_computed_once_a_run_however_many_it_is_compared_with(
    tmp_path, monkeypatch
):
    computed, mean = [], evaluations.Curve.mean

    def counted(curve, *interval):
        computed.append(interval)
        return mean(curve, *interval)

    monkeypatch.setattr(evaluations.Curve, "mean", counted)
    counts = []
    for seed in range(4):
        fake_runs.write(tmp_path, f"a_s{seed}", seed)
        for k, task in enumerate((A, B)):
            fake_runs.write(tmp_path, f"one{k}_s{seed}", seed, tasks=[task])
        computed.clear()
        evaluate(tmp_path)
        counts.append(len(computed))
    assert np.ptp(np.diff(counts)) == 0  # each seed costs as much as the one before


def test_a_perfect_reference_makes_transfer_undefined(tmp_path):
    fake_runs.write(tmp_path, "a_s0", value=rising)
    for name, task in (("one", A), ("two", B)):
        fake_runs.write(tmp_path, f"{name}_s0", tasks=[task], value=lambda *_: 1.0)
    table = evaluate(tmp_path)[0].methods["a"].table["success"]
    assert np.isnan(table["forward_transfer"].mean)
    assert np.isfinite(table["forward_transfer_reference"].mean)


def test_tasks_that_are_evaluated_only_are_columns_of_the_matrix(tmp_path):
    fake_runs.write(tmp_path, "a_s0", extra=["MiniGrid-C-v0"], value=lambda k, _: k)
    method = evaluate(tmp_path)[0].methods["a"]
    assert method.matrices["success"][0].tolist() == [[0, 1, 2]] * 3
    assert method.table["success"]["performance"].mean == 0.5


def test_curves_are_those_that_the_metrics_read_from_the_file(tmp_path):
    folder = fake_runs.write(tmp_path, "a_s0", value=rising)
    (run,) = load(tmp_path)
    expected = evaluations.read(folder / "metrics.jsonl", "eval_success")
    for k, curve in run.curves("eval_success").items():
        assert curve.steps.tolist() == expected[k].steps.tolist()
        assert curve.values.tolist() == expected[k].values.tolist()
