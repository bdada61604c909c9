"""Laws of the report that people read, and of the files beside it."""

import csv
import json
import re
import sys

import fake_runs
import pytest

from common.envs.suites import minigrid, minihack
from dreamerv2 import report
from dreamerv2.report import __main__ as command
from dreamerv2.report import published, tables, writer
from dreamerv2.report.pages import text as text_lib

A, B = fake_runs.TASKS


def write(tmp_path, **options):
    """The text of the report of the runs below tmp_path/logs, and its JSON."""
    path = report.write([tmp_path / "logs"], tmp_path / "out", **options)
    assert path == tmp_path / "out" / "report.md"
    return path.read_text(), json.loads((path.parent / "report.json").read_text())


def add(tmp_path, tag, seed=0, **options):
    return fake_runs.write(tmp_path / "logs", tag, seed, **options)


def rows(text, start):
    """Cells of the table rows whose first cell begins so."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


@pytest.fixture
def without_pictures(monkeypatch):
    """Pictures take long, and most tests do not need them."""
    monkeypatch.setattr(writer, "_draw", lambda *_: {})


@pytest.fixture
def full(tmp_path):
    """Two methods of different seeds, references, and a run under way."""
    for seed in range(2):
        add(tmp_path, f"fifo_s{seed}", seed, value=lambda *_, v=seed: 0.4 + 0.2 * v)
    add(tmp_path, "reservoir_s0", value=lambda *_: 0.5, replay__retention="reservoir")
    add(tmp_path, "reservoir_s1", 1, until=150, replay__retention="reservoir")
    for k, task in enumerate((A, B)):
        add(tmp_path, f"single{k}_s0", tasks=[task], value=lambda *_: 0.25)
    return tmp_path


@pytest.mark.slow
def test_the_report_has_its_tables_notes_and_pictures(full):
    text, content = write(full)
    assert "7 runs" not in text and "6 runs, 5 finished." in text
    fifo, *_ = rows(text, "fifo")
    assert fifo[1:5] == ["2", "0.50 ± 0.14", "0.00 ± 0.00", "0.33 ± 0.19"]
    reservoir, *_ = rows(text, "reservoir")
    assert reservoir[1:5] == ["1 of 2", "0.50", "0.00", "0.33"]  # one seed: no ±
    assert "different numbers of seeds: fifo 2, reservoir 1" in text
    assert "One seed says nothing of the spread" in text
    assert "nearest configuration, which differs in replay.retention" in text
    assert "the same configuration: A (single0), B (single1)" in text
    missing = [line for line in text.splitlines() if "reservoir_s1" in line]
    assert "at step 150 of 200" in missing[0] and "75%" in missing[0]
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures == [
        *("curves_1.png", "matrix_1.png", "replay_1.png", "drawn_1.png"),
        "single_0.png",
    ]
    for name in pictures:
        assert (full / "out" / name).stat().st_size > 5000
    for measure in content["measures"].values():
        assert f"**{measure['title']}** ({measure['better']} is better)" in text
    assert str(full) not in text + json.dumps(content)  # no path of this machine


def test_the_json_and_the_tables_hold_the_same_numbers(full, without_pictures):
    _, content = write(full)
    continual, *single = content["benchmarks"]
    fifo, reservoir = continual["methods"]
    values = fifo["metrics"]["success"]["performance"]
    assert (values["mean"], values["runs"]) == (0.5, [0.4, 0.6])
    assert [run["seed"] for run in fifo["runs"]] == ["0", "1"]
    assert reservoir["unfinished"] == 1
    assert content["unfinished"][0]["of"] == 200
    assert fifo["replay"]["held"]["shares"][0][-1] == 0.5
    assert {tuple(b["tasks"]) for b in single} == {(A,), (B,)}
    with (full / "out" / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    found = [r for r in table if (r["method"], r["value"]) == ("fifo", "success")]
    assert {r["metric"]: r["mean"] for r in found}["performance"] == "0.5"
    assert {r["seeds"] for r in found} == {"2"}
    with (full / "out" / "runs.csv").open() as file:
        runs = {row["run"]: row for row in csv.DictReader(file)}
    assert runs["logs/fifo_s1"]["success_performance"] == "0.6"
    assert runs["logs/reservoir_s1"]["fault"] == "at step 150 of 200"
    assert runs["logs/reservoir_s1"]["success_performance"] == ""
    with (full / "out" / "matrix.csv").open() as file:
        cells = [r for r in csv.DictReader(file) if r["run"] == "logs/fifo_s1"]
    assert {(r["after"], r["task"]) for r in cells} >= {("0", "1"), ("2", "2")}


def test_without_references_there_is_no_forward_transfer(tmp_path, without_pictures):
    add(tmp_path, "a_s0")
    add(tmp_path, "one_s0", tasks=[A])
    text, content = write(tmp_path)
    assert "No forward transfer of a: there is no finished run on B alone" in text
    assert "forward transfer" not in rows(text, "method")[0]
    metrics = content["benchmarks"][0]["methods"][0]["metrics"]
    assert "forward_transfer" not in metrics["success"]


def test_what_is_not_defined_is_said_and_null(tmp_path, without_pictures):
    add(tmp_path, "a_s0")
    for name, task in (("one", A), ("two", B)):
        add(tmp_path, f"{name}_s0", tasks=[task], value=lambda *_: 1.0)
    text, content = write(tmp_path)
    assert "forward transfer of success is not defined in 1 of 1 run, because" in text
    metrics = content["benchmarks"][0]["methods"][0]["metrics"]
    assert metrics["success"]["forward_transfer"]["mean"] is None
    assert "not defined" in rows(text, "a ")[0]
    assert "nan" not in text


def test_a_run_without_a_value_at_the_end_is_in_no_number(tmp_path, without_pictures):
    add(tmp_path, "a_s0")
    add(tmp_path, "a_s1", 1, value=lambda _, step: None if step == 200 else 9.0)
    text, _ = write(tmp_path)
    assert rows(text, "a ")[0][1:3] == ["1 of 2", "0.00"]
    assert "no evaluation of MiniGrid-A-v0 at step 200" in text


def test_a_bad_line_costs_no_more_than_itself(tmp_path, without_pictures, caplog):
    add(tmp_path, "a_s0", value=lambda *_: 0.5, tail='{"step": 20')
    text, _ = write(tmp_path)
    assert rows(text, "a ")[0][2] == "0.50"
    assert "line" in caplog.text and "metrics.jsonl" in caplog.text


def test_two_methods_of_one_tag_are_told_apart(tmp_path, without_pictures):
    p2e = {"expl_behavior": "Plan2Explore", "expl_extr_scale": 0.9}
    fake_runs.write(tmp_path / "logs" / "x", "a_s0")
    fake_runs.write(tmp_path / "logs" / "y", "a_s0", **p2e)
    text, content = write(tmp_path)
    assert [row[0] for row in rows(text, "a [")[:2]] == ["a [1]", "a [2]"]
    names = {m["method"] for b in content["benchmarks"] for m in b["methods"]}
    for name in names:
        assert f"is `{name}`." in text
    assert any("expl_behavior=Plan2Explore" in name for name in names)


def test_a_method_has_one_label_on_all_tasks(tmp_path, without_pictures):
    keys = ("discount", "expl_extr_scale", "expl_intr_scale")
    for task, values in ((A, (0.1, 0.2)), (B, (0.2, 0.3))):
        for value in values:
            logdir = tmp_path / "logs" / f"{task}_{value}"
            options = {"tasks": [task], "value": lambda *_, v=value: v}
            fake_runs.write(logdir, "a_s0", **options, **dict.fromkeys(keys, value))
    text, _ = write(tmp_path)
    table = [row for task in "AB" for row in rows(text, f"{task} ")]
    found = {(row[0], row[-2]): row[1] for row in table}
    assert found["A", "0.20"] == found["B", "0.20"]
    assert len(set(found.values())) == 3
    for value in ("0.1", "0.2", "0.3"):  # each is told once
        (told,) = re.findall(rf"`(a \[.\])` is `a \(discount={value},", text)
        assert told in found.values()


@pytest.mark.parametrize(
    "settings, words",
    [
        (
            {},
            "2 tasks, 100 steps each; an evaluation is 5 episodes of each task, every",
        ),
        ({"eval_eps": 1}, "is 1 episode of each task, every 10 steps."),
        ({"action_repeat": 2}, "2 tasks, 200 steps each; an"),
        ({"action_repeat": 2}, "every 20 steps."),
        ({"eval_steps": 1000}, "an evaluation is 1,000 steps over all tasks, every"),
        ({"num_task_repeats": 2}, "100 steps each, the sequence 2 times; an"),
    ],
)
def test_the_setting_is_told(tmp_path, without_pictures, settings, words):
    add(tmp_path, "a_s0", **settings)
    assert words in write(tmp_path)[0]


def test_a_seed_that_was_run_twice_is_noted(tmp_path, without_pictures):
    add(tmp_path, "a_s0")
    add(tmp_path, "a_s1", 0)
    assert "a: seed 0 was run more than once" in write(tmp_path)[0]


def test_runs_that_are_all_under_way_have_a_report_too(tmp_path):
    add(tmp_path, "a_s0", until=50)
    text, content = write(tmp_path)
    assert "a: no finished run yet, 1 run under way or broken off." in text
    assert content["benchmarks"][0]["methods"][0]["metrics"] == {}
    assert "curves_1.png" in text and "matrix" not in text.partition("##")[2]


@pytest.mark.parametrize("steps, shown", [(750_000, True), (1_000_000, False)])
def test_published_figures_stand_beside_runs_of_their_budget(
    tmp_path, without_pictures, steps, shown
):
    tasks = published.TABLES[0].tasks
    folder = add(tmp_path, "a_s0", tasks=tasks, steps=steps, until=10)
    values = {f"eval_return_{i}": 0.5 for i in range(3)}
    records = [{"step": k * steps, **values} for k in (1, 2, 3)]
    fake_runs.write_log(folder, records)
    text, content = write(tmp_path)
    found = rows(text, "*published: DreamerV2*")
    assert content["benchmarks"][0]["published"]["comparable"] is shown
    if shown:
        cells = ["20", "0.72 ± 0.24", "-0.11 ± 0.30", "0.49 ± 0.83"]
        assert found[0][1:5] == cells
        assert rows(text, "a ")[0][1:5] == ["1", "0.50", "0.00", "–"]
        assert (
            "20 seeds, returns, negative ones counted as 0: `--clip_negative`" in text
        )
        assert "counted as 0:" not in write(tmp_path, clip_negative=True)[0]
    else:
        assert not found and "have another budget" in text


def test_without_forward_transfer_published_figures_keep_their_columns():
    table = published.TABLES[0]
    row = text_lib.published_row("DreamerV2", table, ["performance", "zero_shot"])
    assert row == ["*published: DreamerV2*", "20", "0.72 ± 0.24", "–"]


def test_the_published_benchmarks_are_those_of_the_environments():
    tasks = [table.tasks for table in published.TABLES]
    assert tasks == [tuple(minigrid.MINIGRID_3), tuple(minihack.MINIHACK_8)]
    for table in published.TABLES:
        ends = tuple((k, (k + 1) * table.steps) for k in range(len(table.tasks)))
        assert published.find(table.tasks, ends) == (table, True)
        assert published.find(table.tasks, ends[:-1]) == (table, False)
        assert published.find(table.tasks[:2], ends) == (None, False)


def test_negative_values_count_as_zero_if_asked(tmp_path, without_pictures):
    add(tmp_path, "a_s0", value=lambda *_: -1.0)
    assert rows(write(tmp_path)[0], "a ")[0][2] == "-1.00"
    text, content = write(tmp_path, clip_negative=True)
    assert rows(text, "a ")[0][2] == "0.00" and content["clip_negative"]
    assert "Negative values count as 0" in text


def test_without_matplotlib_the_tables_are_written_and_the_way_out_is_named(
    tmp_path, monkeypatch, caplog
):
    add(tmp_path, "a_s0")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for package, name in (
        ("common.curves", "drawing"),
        ("dreamerv2.report", "figures"),
    ):
        monkeypatch.delitem(sys.modules, f"{package}.{name}", raising=False)
        monkeypatch.delattr(f"{package}.{name}", raising=False)
    text, _ = write(tmp_path)
    assert "performance" in text and "![" not in text
    assert "pip install -e '.[plot]'" in caplog.text


def test_no_run_and_no_folder_are_errors(tmp_path):
    (tmp_path / "logs").mkdir()
    with pytest.raises(ValueError, match="No run below"):
        write(tmp_path)
    assert not (tmp_path / "out").exists()
    add(tmp_path, "a_s0")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ValueError, match="--outdir"):
        write(tmp_path)


def test_the_command_line_takes_folders_and_flags(tmp_path, without_pictures, capsys):
    add(tmp_path, "a_s0", value=lambda *_: -1.0)
    out = str(tmp_path / "out")
    command.main(
        ["--indir", str(tmp_path / "logs"), "--outdir", out, "--clip_negative"]
    )
    assert "Written: " in capsys.readouterr().out
    assert "Negative values count as 0" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(SystemExit):
        command.main(["--indir", "x", "--outdir", out, "--clip_negativ"])


def test_numbers_have_as_many_digits_as_say_something():
    texts = {0.456: "0.46", -0.001: "0.00", -1234.5: "-1234", 123.45: "123.5"}
    texts[float("nan")] = "not defined"
    assert {value: text_lib.number(value) for value in texts} == texts


def test_a_task_has_one_short_name_with_and_without_its_suite():
    for task in ("MiniGrid-DoorKey-9x9-v0", "minigrid_MiniGrid-DoorKey-9x9-v0"):
        assert tables.short(task) == "DoorKey-9x9"
    for task in ("catch_plain", "minigrid_x", "atari_pong"):
        assert tables.short(task) == task
