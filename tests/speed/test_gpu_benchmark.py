"""The benchmark of a GPU: its cells, their processes, its tables and hours."""

import json
import os
import pathlib
import stat
import time

import pytest

from benchmarks.gpu import __main__ as benchmark
from benchmarks.gpu import busy, grid, hours, results, table
from benchmarks.turns import cases

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "devices.md"
DEVICE = {"gpus": ["H100", "H100"], "tensorflow": "2.21", "cuda": "12", "cudnn": None}
DEVICE |= {"machine": "Some CPU, 4 CPUs"}
FAKE = """
import json, os, pathlib, subprocess, sys, time
cell, path = json.load(sys.stdin), pathlib.Path(sys.argv[1])
with open("tape", "a") as tape: print(cell["case"]["does"], file=tape)
match cell["case"]["does"]:
    case "work": path.write_text(json.dumps({"figures": {"answer": 42}}))
    case "fail": path.write_text(json.dumps({"error": "OOM when allocating"}))
    case "die": os._exit(3)
    case "hang": time.sleep(600)
    case "leave":
        child = subprocess.Popen(["sleep", "600"])
        path.write_text(json.dumps({"figures": {"child": child.pid}}))
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Lets a script in the present folder measure the cells."""
    (tmp_path / "fake_measure.py").write_text(FAKE)
    monkeypatch.setattr(results, "MEASURE", "fake_measure")
    monkeypatch.chdir(tmp_path)


def cell(does, name=None):
    case = dict(does=does, rehearse=True, tiny=True)
    return grid.Cell("update", f"update/{name or does}", case)


def new_content(**cells):
    return {"device": DEVICE, "tiny": False, "rehearse": False, "cells": cells}


# Cells.


def test_updates_are_measured_in_every_precision_compiled_or_not_in_both_loops():
    cells = grid.make(1, tiny=False, rehearse=False)
    names = [each.name for each in cells]
    assert len(names) == len(set(names))
    for work in ("small", "full", "full + P2E"):
        found = [each.case for each in cells if each.name.startswith(f"update/{work}/")]
        kinds = {
            tuple(case["settings"][key] for key in ("precision", "jit_compile"))
            + (case["settings"]["unroll"],)
            for case in found
        }
        assert len(found) == len(kinds) == 3 * 2 * 2
        assert {case["plan2explore"] for case in found} == {work == "full + P2E"}
    assert {each.kind for each in cells} == {
        *("verify", "environment", "policy", "update", "loop")
    }


def test_networks_of_a_suite_are_those_of_its_block():
    atari = grid.make_case(grid.WORKS["atari"], "16", False)
    assert atari["settings"]["rssm"] == {"hidden": 600, "deter": 600}
    minihack = grid.make_case(grid.WORKS["minihack"], "16", False)
    assert minihack["settings"][r".*\.norm"] == "layer"


@pytest.mark.parametrize(
    ("devices", "counts"), [(1, []), (2, [2]), (3, [2]), (8, [2, 4, 8])]
)
def test_as_many_gpus_share_an_update_as_there_are_and_divide_its_batch(
    devices, counts
):
    cells = grid.make(devices, tiny=False, rehearse=False)
    shared = [each for each in cells if each.name.startswith("devices/")]
    assert sorted({each.case["settings"]["devices"] for each in shared}) == counts
    assert all(each.case["devices"] in counts for each in shared)
    assert not any("jit_compile" in each.case["settings"] for each in shared)


def test_single_precision_is_compared_with_exact_products_too():
    cells = grid.make(1, tiny=True, rehearse=False)
    exact, rounded = (each for each in cells if each.name.startswith("verify/32"))
    assert exact.environment == {"NVIDIA_TF32_OVERRIDE": "0"}
    assert rounded.environment == {}
    assert exact.case["scale"] == 1 < rounded.case["scale"]


# Processes.


@pytest.mark.parametrize(
    ("does", "error"),
    [
        ("fail", "OOM when allocating"),
        ("die", "the process ended with status 3"),
        ("hang", "killed after 0.01 minutes"),
    ],
)
def test_a_cell_that_fails_has_its_error_in_one_line(does, error, fake):
    found = results.run(cell(does), minutes=0.01 if does == "hang" else 1)
    assert found["error"] == error
    assert "figures" not in found


def test_what_a_cell_has_started_ends_with_it(fake):
    pid = results.run(cell("leave"), minutes=1)["figures"]["child"]
    for _ in range(100):
        status = pathlib.Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} lives on")


def measure(monkeypatch, cells, *words):
    """Runs the command with these cells; returns what it wrote."""
    monkeypatch.setattr(results, "describe", lambda rehearse, minutes: DEVICE)
    monkeypatch.setattr(grid, "make", lambda devices, **switches: cells)
    code = benchmark.main(["--out", "gpu.json", "--rehearse", *words])
    assert code == 0
    return json.loads(pathlib.Path("gpu.json").read_text())


def test_the_same_command_goes_on_where_it_was_stopped(fake, monkeypatch):
    names = ("fail", "work", "die")
    cells = [cell(name) for name in names]
    first = measure(monkeypatch, cells[:2])
    second = measure(monkeypatch, cells)
    assert pathlib.Path("tape").read_text().split() == list(names)
    assert list(second["cells"]) == [f"update/{name}" for name in names]
    for name, found in first["cells"].items():
        assert second["cells"][name] == found
    measure(monkeypatch, cells, "--again")
    assert pathlib.Path("tape").read_text().split() == [*names, "fail", "die"]


def test_a_cell_is_in_the_file_as_soon_as_it_is_measured(fake, monkeypatch):
    save, kept = results.save, []
    monkeypatch.setattr(
        results,
        "save",
        lambda path, all_: (save(path, all_), kept.append([*all_["cells"]])),
    )
    measure(monkeypatch, [cell("work", "a"), cell("work", "b")])
    assert kept == [["update/a"], ["update/a", "update/b"]]


def test_a_file_of_another_device_or_case_is_refused(fake, monkeypatch, capsys):
    measure(monkeypatch, [cell("work")])
    other = cell("work")
    other.case["deter"] = 7
    monkeypatch.setattr(grid, "make", lambda devices, **switches: [other])
    assert benchmark.main(["--out", "gpu.json", "--rehearse"]) == 2
    assert "update/work with another deter" in capsys.readouterr().err
    assert benchmark.main(["--out", "gpu.json", "--rehearse", "--rounds", "3"]) == 2
    assert "rounds" in capsys.readouterr().err
    monkeypatch.setattr(results, "describe", lambda r, m: DEVICE | {"gpus": ["A100"]})
    assert benchmark.main(["--out", "gpu.json", "--rehearse"]) == 2
    error = capsys.readouterr().err
    assert "A100" in error and "H100" in error and "another --out" in error


def test_names_and_tables_need_no_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "describe", None)
    assert benchmark.main(["--list", "--only", "^devices/full"]) == 0
    assert capsys.readouterr().out.split() == ["devices/full/32/2", "devices/full/16/2"]
    path = tmp_path / "gpu.json"
    cells = {"environment/atari": result("environment", figures={"ms a step": 2.0})}
    path.write_text(json.dumps(new_content(**cells)))
    assert benchmark.main(["--table", str(path)]) == 0
    assert "| atari | 2 |" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": {}}'])
def test_a_file_of_something_else_is_named(text, tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text(text)
    assert benchmark.main(["--table", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_without_a_gpu_nothing_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "describe", lambda r, m: DEVICE | {"gpus": []})
    path = tmp_path / "gpu.json"
    assert benchmark.main(["--out", str(path)]) == 2
    error = capsys.readouterr().err
    assert "TensorFlow sees no GPU" in error and "--rehearse" in error
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "give at least 1"),
        (["--minutes", "0"], "more than 0"),
        (["--minutes", "nan"], "more than 0"),
        (["--out", "no/where.json"], "no folder no"),
        (["--only", "("], "no regular expression"),
    ],
)
def test_flags_are_checked_before_anything_starts(words, message, capsys):
    with pytest.raises(SystemExit):
        benchmark.parse(words)
    assert message in capsys.readouterr().err


def test_a_choice_of_no_cell_is_an_error():
    args = benchmark.parse(["--only", "nothing of the kind"])
    with pytest.raises(ValueError, match="--only 'nothing of the kind' is in none of"):
        benchmark.choose(args, 1)


def test_the_share_of_time_is_the_mean_of_what_the_driver_tells(tmp_path, monkeypatch):
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\nprintf '90\\n100\\n[N/A]\\n80\\n'; exec sleep 60\n")
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with busy.Sampler() as sampler:
        time.sleep(0.5)
    assert sampler.share == 90
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with busy.Sampler() as sampler:
        pass
    assert sampler.share is None


def test_the_page_has_the_formula_the_number_of_cells_and_an_empty_table():
    page = PAGE.read_text()
    formula, _, _ = hours.FORMULA.split("; ", 2)
    first, second = formula.split(", ", 1)
    assert f"    {first}\n    {second}\n" in page
    assert f"measures {len(grid.make(1, tiny=False, rehearse=False))} cells" in page
    tiny = grid.make(benchmark.REHEARSED, tiny=True, rehearse=True)
    assert f"tiny networks: {len(tiny)} cells" in page
    heads = ["size", "precision", "XLA", "loops"]
    heads += [head for head, _ in table.UPDATE.values()]
    assert f"| {' | '.join(heads)} |" in page


# Hours and tables.


def test_steps_and_updates_are_those_of_configs_yaml_and_the_command():
    counts = {name: hours.counts(run) for name, run in hours.RUNS.items()}
    grid3 = 2_250_000, 2_240_000, 224_001
    hack4 = 4_000_000, 3_990_000, 399_001
    assert counts == {
        "MiniGrid-3, 750k steps each": grid3,
        "MiniGrid-3 with Plan2Explore": grid3,
        "MiniHack-4, 1M steps each": hack4,
        "MiniHack-4 with Plan2Explore": hack4,
        "MiniHack-8, 1M steps each": (8_000_000, 7_990_000, 799_001),
        "Atari, 50M steps": (50_000_000, 49_950_000, 3_121_876),
    }


def test_hours_are_the_sum_of_updates_policy_and_environment():
    run = hours.RUNS["MiniGrid-3, 750k steps each"]
    parts = hours.Parts(update=0.1, policy=0.002, environment=0.001)
    seconds = 224_001 * 0.1 + 2_240_000 * 0.002 + 2_250_000 * 0.001
    assert hours.estimate(run, parts) == pytest.approx(seconds / 3600)
    assert hours.estimate(run, parts._replace(policy=None)) < seconds / 3600
    assert hours.estimate(run, parts._replace(update=None)) is None


def test_every_run_finds_its_parts_among_the_cells():
    cells = {each.name: each for each in grid.make(1, tiny=False, rehearse=False)}
    figures = {"update, median s": 2.0, "ms a step": 3.0}
    figures["explore, batch 1, median ms"] = 4.0
    measured = {name: {"figures": figures} for name in cells}
    for run in hours.RUNS.values():
        for precision in grid.PRECISIONS:
            for compiler in grid.COMPILERS:
                found = hours.parts(run, measured, precision, compiler)
                assert found == (2.0, 0.004, 0.003)


def result(kind, **more):
    times = {"date": "2026-11-29T01:02:03", "commit": "abc", "seconds": 1.0}
    return {"kind": kind, "case": {}, **times, **more}


def test_a_table_has_figures_errors_and_hours():
    figures = {"first update, s": 12.3456, "update, median s": 0.0512}
    figures |= {"device memory, GB": 3.0, "device busy, %": 97.25}
    content = new_content(
        **{
            "update/full/16/xla/loop": result("update", figures=figures),
            "update/full/16/xla/unrolled": result("update", error="OOM | at node"),
            "environment/minigrid": result("environment", figures={"ms a step": 0.5}),
        }
    )
    text = table.render(content)
    head, *_ = text.splitlines()
    assert head == (
        "2 x H100, Some CPU, 4 CPUs, TensorFlow 2.21, cuda 12, 2026-11-29, abc."
    )
    assert "| full | 16 | xla | loop | - | 12.3 | 51.2 | - | 3 | - | 97.2 |" in text
    assert "| full | 16 | xla | unrolled | failed: OOM / at node |" in text
    assert "| minigrid | 0.5 |" in text
    assert f"{hours.FORMULA[1:]}." in text
    (line,) = [x for x in text.splitlines() if x.startswith("| MiniGrid-3, 750k")]
    total = (224_001 * 0.0512 + 2_250_000 * 0.0005) / 3600  # the policy is missing
    cells = [part.strip() for part in line.strip("|").split("|")]
    assert cells == [
        *("MiniGrid-3, 750k steps each", "224,001", "-", "-", "-"),
        *(f"> {total:.3g}", "-", "-"),
    ]


def test_lines_of_a_table_have_as_many_cells_as_its_head():
    cells = grid.make(4, tiny=False, rehearse=False)
    content = new_content(
        **{
            each.name: result(
                each.kind, **({"error": "no"} if i % 2 else {"figures": {}})
            )
            for i, each in enumerate(cells)
        }
    )
    width = None
    for line in table.render(content).splitlines():
        if line.startswith("|"):
            width = width or line.count("|")
            assert line.count("|") == width, line
        else:
            width = None
    names = table.render(content).count("failed: no")
    assert names == len(cells) // 2


def test_a_rehearsal_says_that_it_measures_nothing():
    content = new_content() | {"rehearse": True, "tiny": True}
    assert table.REHEARSAL in table.render(content)
    assert table.REHEARSAL not in table.render(new_content())


def test_cases_are_fit_for_json():
    for each in grid.make(4, tiny=False, rehearse=True):
        assert json.loads(json.dumps(each.case)) == each.case
    assert set(grid.TINY) <= {*cases.SIZES["full"], *cases.ALWAYS}
