"""The benchmarks of update and policy: turns, adapters, tables; nothing is timed."""

import argparse
import json
import os
import pathlib
import statistics
import sys

import pytest

from benchmarks import policy, update
from benchmarks.turns import cases, inturn
from dreamerv2 import settings

COUNTING = """
import pathlib, time

NAME = {name!r}
TAPE = pathlib.Path({tape!r})

class Update:
    info = {{"weights": 2_000_000}}

    def trace(self):
        self.note("trace")

    def note(self, what):
        with TAPE.open("a") as file:
            file.write(f"{name} {{what}}\\n")

    def __call__(self):
        print("whatever an implementation prints")
        time.sleep({sleep})
        self.note("update")

def make_update(case):
    return Update()

def make_policy(case):
    update = Update()
    return lambda: update.note((case["rows"], case["evaluate"]))
"""


@pytest.fixture
def tape(tmp_path):
    return tmp_path / "tape"


@pytest.fixture
def source(tmp_path, tape):
    """Makes adapters that note what they are asked to do."""

    def make(name="dummy", text=COUNTING, sleep=1e-3):
        path = tmp_path / f"{name}.py"
        names = dict(name=name, tape=str(tape), sleep=sleep)
        path.write_text(text.format(**names) if text is COUNTING else text)
        return inturn.Source(path, path=None)

    return make


def variant(source, suffix=""):
    return cases.Variant(source, cases.make_case("small", True, {}), suffix)


def test_updates_are_taken_in_turn(source, tape):
    columns = update.measure([variant(source("a")), variant(source("b"))], 3)
    notes = tape.read_text().splitlines()
    start = ["trace", "update", "update"]
    assert notes[:6] == [f"{name} {what}" for name in "ab" for what in start]
    assert notes[6:] == [f"{name} update" for name in "abbaab"]
    assert list(columns) == ["a", "b"]
    assert all(len(c.wall) == len(c.cpu) == 3 for c in columns.values())


def test_the_table_has_all_figures_and_ratios_to_the_first(source):
    columns = update.measure(
        [variant(source("a")), variant(source("b", sleep=0.05))], 3
    )
    first, second = update.report(columns)
    assert (first["name"], second["name"]) == ("a", "b")
    assert first["ratios"] == {}
    assert second["ratios"]["weights, million"] == 1
    quotients = [b / a for a, b in zip(first["wall"], second["wall"], strict=True)]
    assert second["ratios"][update.MEDIAN] == statistics.median(quotients)
    assert json.loads(json.dumps(second)) == second
    figures = {name: column.figures for name, column in columns.items()}
    head, *lines = inturn.table(figures, update.ratios(columns)).splitlines()
    assert head.split() == ["a", "b"]
    for line, figure in zip(lines, first["figures"], strict=True):
        assert line.startswith(figure)
        assert f"\n    {figure}  " in update.__doc__ + "  "
    assert lines[0].split()[-3:] == ["2.000", "2.000", "(1.00)"]


def test_what_an_adapter_cannot_tell_is_a_dash(source):
    text = "def make_update(case):\n    return lambda: None\n"
    columns = update.measure([variant(source("plain", text))], 1)
    assert columns["plain"].figures["tracing, s"] is None
    figures = {name: column.figures for name, column in columns.items()}
    assert "tracing, s -" in " ".join(inturn.table(figures, {}).split())


def test_policies_are_measured_for_every_mode_and_batch(source, tape, capsys):
    lines = policy.measure([variant(source("a"))], [4, 1], 2)
    keys = [(rows, evaluate) for evaluate in (False, True) for rows in (4, 1)]
    turns = [f"a {key}" for key in keys for _ in range(policy.STEPS)]
    traces = [f"a {key}" for key in keys for _ in range(3)]
    assert tape.read_text().splitlines() == traces + 2 * turns
    results = policy.report(lines)
    assert [r["figures"]["/ batch"] for r in results if r["case"]["rows"] == 1] == [
        1,
        1,
    ]
    assert all(r["figures"]["/ first"] == 1 for r in results)
    assert json.loads(json.dumps(results)) == results
    assert capsys.readouterr().out.count("a, explore, batch") == 2


# Adapters.

BAD = {
    "raise ImportError('no such network')": "ImportError: no such network",
    "NAME = 'empty'": r"no function make_update\(case\)",
    "make_update = lambda case: 3": "returned 3, which is not callable",
    "def make_update(case): raise ValueError(case['size'])": "ValueError: small",
    "make_update = lambda case: lambda: 1 / 0": "ZeroDivisionError",
    "import sys; sys.exit('first install it')": "first install it",
    "import os; os._exit(3)": "ended with status 3",
    "import os; make_update = lambda case: lambda: os._exit(3)": "ended with status 3",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_adapter_is_a_clear_error(text, source, tmp_path):
    with pytest.raises(SystemExit, match=BAD[text]) as error:
        update.measure([variant(source("bad", text))], 1)
    assert str(tmp_path / "bad.py") in str(error.value)


def test_an_interpreter_that_is_missing_is_a_clear_error(source):
    broken = source()._replace(python="/no/python")
    with pytest.raises(SystemExit, match="Cannot start '/no/python'"):
        inturn.Worker(broken)


def test_what_a_process_said_before_it_died_is_shown(source, capfd):
    text = "import os; print('out of memory', flush=True); os._exit(1)"
    with pytest.raises(SystemExit):
        inturn.Worker(source("bad", text))
    assert "out of memory" in capfd.readouterr().err


def test_an_adapter_finds_no_package_of_ours_unless_told(source, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(inturn.ROOT))
    text = "import sys, os\nNAME = repr([sys.path, os.environ.get('PYTHONPATH')])"
    for path in (None, tmp_path):
        with inturn.Worker(source("seeing", text)._replace(path=path)) as worker:
            seen, given = eval(worker.name)
        assert given == (path and str(path))
        assert str(inturn.HERE) not in seen
        assert (str(tmp_path) in seen) == (path is not None)


def test_processes_end_with_the_measurement(source):
    with inturn.Worker(source()) as worker:
        pid = worker.pid
    assert not pathlib.Path(f"/proc/{pid}").exists()


# Flags and cases.


def test_the_full_size_is_that_of_the_configuration():
    case = cases.make_case("full", True, {})
    rssm, config = settings.defaults.rssm, settings.defaults
    for key in ("deter", "hidden", "stoch"):
        assert case[key] == rssm[key]
    assert case["classes"] == rssm.discrete
    assert case["cnn_depth"] == config.encoder.cnn_depth == config.decoder.cnn_depth
    for head in ("actor", "critic", "reward_head", "discount_head", "expl_head"):
        assert (case["layers"], case["units"]) == (
            config[head].layers,
            config[head].units,
        )
    assert (case["batch"], case["length"]) == (
        config.dataset.batch,
        config.dataset.length,
    )
    assert case["horizon"] == config.imag_horizon


def parse(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["update", *words])
    parser = argparse.ArgumentParser()
    cases.add_flags(parser)
    return cases.parse(parser)


def test_variants_are_ours_then_what_is_varied_then_the_others(monkeypatch, source):
    words = ["--plan2explore", "--set", "seed=1", "--python", "other"]
    words += ["--vary", "precision=16,unroll=True", "--against", str(source().file)]
    args = parse(monkeypatch, *words)
    found = cases.variants(args, cases.make_case("full", True, args.settings))
    assert [v.suffix for v in found] == [
        *("", " precision=16,unroll=True", ""),
        *(" + P2E", " precision=16,unroll=True + P2E", " + P2E"),
    ]
    assert [v.case["plan2explore"] for v in found] == 3 * [False] + 3 * [True]
    assert found[1].case["settings"] == dict(seed="1", precision="16", unroll="True")
    assert found[0].source == inturn.Source()
    assert found[2].source == inturn.Source(source().file, "other", None)
    assert found[2].case["settings"] == {"seed": "1"}


@pytest.mark.parametrize(
    "words, message",
    [
        (["--rounds", "0"], "give at least 1"),
        (["--against", "nowhere.py"], "no file nowhere.py"),
        (["--path", "nowhere"], "no folder nowhere"),
        (["--set", "seed"], "write KEY=VALUE"),
        (["--vary", "seed=1,jit"], "write KEY=VALUE"),
        (["--size", "huge"], "invalid choice"),
    ],
)
def test_flags_are_checked_before_anything_starts(words, message, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        parse(monkeypatch, *words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "best"),
    [("fpu avx avx2", "avx2, "), ("avx2 avx512f avx512_vnni", "avx512_vnni, ")],
)
def test_a_table_names_the_processor_and_its_best_instructions(
    flags, best, monkeypatch
):
    text = f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\n"
    monkeypatch.setattr(pathlib.Path, "read_text", lambda self: text)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cases.machine() == f"Some CPU, {best}3 CPUs"
