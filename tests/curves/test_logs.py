"""Laws of reading runs: which values count, what a run is called, which are seeds."""

import json

import fake_runs
import numpy as np
import pytest

from common.curves import logs
from common.records import logger, outputs

POINTS = [{"step": 1, "eval_return": 2.0}]


def named(folder):
    return {run.path.parent.name: run for run in logs.load_runs([folder])}


def test_runs_are_named_by_their_folders(tmp_path):
    fake_runs.write_log(tmp_path / "atari_pong" / "dreamerv2" / "3", POINTS)
    fake_runs.write_log(tmp_path / "rs_s3_1M", POINTS)
    fake_runs.write_log(tmp_path / "p2e0.9_seed4", POINTS)
    fake_runs.write_log(tmp_path / "steps_s", POINTS)
    fake_runs.write_log(tmp_path / "quick" / "s7", POINTS)
    runs = named(tmp_path)
    assert {name: (run.method, run.seed) for name, run in runs.items()} == {
        "3": ("dreamerv2", "3"),
        "rs_s3_1M": ("rs_1M", "3"),
        "p2e0.9_seed4": ("p2e0.9", "4"),
        "steps_s": ("steps_s", ""),
        "s7": ("quick", "7"),
    }
    assert runs["3"].tasks == ("atari_pong",)
    assert runs["steps_s"].task(0) == "steps_s"


def test_a_configuration_knows_tasks_and_seed_better_than_a_folder(tmp_path):
    fake_runs.write_log(
        tmp_path / "pong" / "dv2" / "3", POINTS, "task: atari_pong\nseed: 0\n"
    )
    fake_runs.write_log(
        tmp_path / "rs_1M", POINTS, "seed: 5\ncl: true\ntasks: [A-v0, 'B']\n"
    )
    fake_runs.write_log(
        tmp_path / "cl_s1", POINTS, "task: default\ncl: true\ntasks: []\n"
    )
    runs = named(tmp_path)
    assert (runs["3"].tasks, runs["3"].seed) == (("atari_pong",), "3")
    assert (runs["rs_1M"].tasks, runs["rs_1M"].seed) == (("A-v0", "B"), "5")
    assert runs["rs_1M"].task(2) == "task_3"
    assert runs["cl_s1"].task(0) == "task_1"


def test_the_tasks_that_a_script_or_a_program_has_noted_are_the_runs_tasks(tmp_path):
    """A program's run has a task in its configuration, too, which it never plays."""
    for name, script in (("a_s1", "train_minigrid"), ("b_s1", "")):
        fake_runs.write_log(tmp_path / name, POINTS, "task: default\n")
        noted = {"script": script, "tasks": ["A-v0", "B-v0"]}
        (tmp_path / name / "tasks.json").write_text(json.dumps(noted))
    fake_runs.write_log(tmp_path / "c_s1", POINTS, "task: default\n")
    (tmp_path / "c_s1" / "tasks.json").write_text('{"scri')  # a killed run
    runs = named(tmp_path)
    assert runs["a_s1"].tasks == runs["b_s1"].tasks == ("A-v0", "B-v0")
    assert runs["c_s1"].tasks == ("default",)


def test_runs_of_one_name_and_different_settings_are_different_methods(
    tmp_path, caplog
):
    config = "tag: {0}\nlogdir: x{0}\nseed: {0}\ntask: t\nsteps: {0}\nlog_every: {0}\n"
    more = "replay: {{retention: {1}}}\n"
    for seed, retention in enumerate(["fifo", "fifo", "reservoir"]):
        text = (config + more).format(seed, retention)
        fake_runs.write_log(tmp_path / f"run_s{seed}", POINTS, text)
    fake_runs.write_log(tmp_path / "old_s0", POINTS, config.format(0))
    fake_runs.write_log(tmp_path / "old_s1", POINTS, config.format(1) + "new: 1\n")
    runs = named(tmp_path)
    assert runs["old_s0"].method == runs["old_s1"].method == "old"
    assert runs["run_s0"].method == runs["run_s1"].method
    assert runs["run_s0"].method == "run (replay.retention=fifo)"
    assert runs["run_s2"].method == "run (replay.retention=reservoir)"
    assert "replay.retention" in caplog.text


def test_one_name_in_two_suites_is_one_method(tmp_path):
    fake_runs.write_log(
        tmp_path / "a" / "dv2" / "1", POINTS, "task: atari_pong\nactor_ent: 1e-3\n"
    )
    fake_runs.write_log(
        tmp_path / "b" / "dv2" / "1", POINTS, "task: dmc_walk\nactor_ent: 1e-4\n"
    )
    assert {run.method for run in logs.load_runs([tmp_path])} == {"dv2"}


def test_a_run_below_two_of_the_folders_counts_once(tmp_path):
    fake_runs.write_log(tmp_path / "a" / "b", POINTS)
    assert len(logs.load_runs([tmp_path, tmp_path / "a"])) == 1


def test_what_is_no_record_is_named_with_file_and_line(tmp_path, caplog):
    tail = '[3]\n{"step": 2, "r": 3}\n{"step": 2, "r'
    path = fake_runs.write_log(tmp_path, [{"step": 1, "r": 2}], tail=tail)
    log = logs.read_log(path)
    assert log.series["r"].tolist() == [[1, 2], [2, 3]]
    assert f"{path}: left out what is no record: line 2, 4." in caplog.text


def test_missing_values_are_left_out_and_the_last_of_one_step_counts(tmp_path):
    points = [(3, 1), (2, None), (1, float("nan")), (0, 5), (3, 2)]
    records = [*({"step": x, "r": y} for x, y in points), {"r": 7}, {"step": 9}]
    log = logs.read_log(fake_runs.write_log(tmp_path, records))
    assert log.series["r"].tolist() == [[0, 5], [3, 2]]
    assert log.keys == {"step", "r"}


@pytest.mark.parametrize("content", ["", "{]", None])
def test_a_file_without_records_is_a_warning_and_the_others_are_read(
    tmp_path, caplog, content
):
    fake_runs.write_log(tmp_path / "good", POINTS)
    (tmp_path / "bad").mkdir()
    path = tmp_path / "bad" / "metrics.jsonl"
    path.mkdir() if content is None else path.write_text(content)
    (run,) = logs.load_runs([tmp_path, tmp_path / "nowhere"])
    assert run.method == "good"
    assert str(path) in caplog.text and "nowhere" in caplog.text


def test_a_broken_configuration_is_a_warning(tmp_path, caplog):
    fake_runs.write_log(tmp_path / "run_s1", POINTS, "task: [unclosed\n")
    (run,) = logs.load_runs([tmp_path])
    assert (run.method, run.settings) == ("run", {})
    assert "config.yaml" in caplog.text


def test_only_what_was_asked_for_is_kept_but_all_names_are_known(tmp_path):
    fake_runs.write_log(
        tmp_path / "a", [{"step": 1, "r": 2, "r_0": 3, "r_x": 4, "task": 0, "l": 5}]
    )
    (run,) = logs.load_runs([tmp_path], metric="r")
    assert set(run.log.series) == {"r", "r_0", "task"}
    assert run.log.keys == {"step", "r", "r_0", "r_x", "task", "l"}


def test_training_intervals_follow_the_task_of_the_records(tmp_path):
    steps = [(0, 0), (50, 0), (100, 0), (110, 1), (200, 1), (300, 2), (310, 0)]
    fake_runs.write_log(tmp_path / "a", [{"step": s, "task": k} for s, k in steps])
    (run,) = logs.load_runs([tmp_path])
    stretches = [(0, 0.0, 100.0), (1, 100.0, 200.0), (2, 200.0, 300.0)]
    assert run.intervals() == [*stretches, (0, 300.0, 310.0)]
    assert run.continual


def test_each_task_of_a_continual_run_has_a_curve(tmp_path, caplog):
    record = {"step": 1, "eval_return": 2, "eval_return_0": 1, "eval_return_1": 3}
    fake_runs.write_log(tmp_path / "cl_s1", [record], "cl: true\ntasks: [A, B]\n")
    fake_runs.write_log(tmp_path / "cl_s2", [record], "cl: true\ntasks: [A, B]\n")
    fake_runs.write_log(tmp_path / "other", [{"step": 1, "loss": 2}])
    found = logs.curves_of(logs.load_runs([tmp_path]), "eval_return")
    groups = logs.group(found)
    assert {task: list(methods) for task, methods in groups.items()} == {
        **{"A": ["cl"], "B": ["cl"]}
    }
    assert [c.seed for c in groups["B"]["cl"]] == ["1", "2"]
    assert groups["B"]["cl"][0].points.tolist() == [[1, 3]]
    assert "other" in caplog.text and "eval_return" in caplog.text


def test_a_metric_of_all_tasks_belongs_to_none_of_them(tmp_path):
    records = [{"step": s, "task": s // 5, "return": s} for s in range(10)]
    fake_runs.write_log(tmp_path / "cl", records, "cl: true\ntasks: [A, B]\n")
    fake_runs.write_log(tmp_path / "single", records[:4], "task: pong\ntasks: []\n")
    found = logs.curves_of(logs.load_runs([tmp_path]), "return")
    assert [curve.task for curve in found] == [logs.ALL_TASKS, "pong"]


@pytest.fixture
def logged(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with logger.Logger([outputs.JSONLOutput(path)]) as log:
        log.write(1, {"loss": np.float32(0.5), "image": np.zeros((4, 4, 3), np.uint8)})
        log.write(2, {"loss": float("nan"), "grad": float("inf"), "success": True})
    return path


def test_what_the_logger_writes_is_read(logged):
    (run,) = logs.load_runs([logged.parent])
    assert run.log.series["loss"].tolist() == [[1, 0.5]]
    assert run.log.series["success"].tolist() == [[2, 1]]


def test_pandas_reads_what_the_logger_writes(logged):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_json(logged, lines=True)
    assert frame["step"].tolist() == [1, 2]
    assert frame["loss"].isna().tolist() == [False, True]
