"""A run that the code before the rooms has stopped goes on as it did with that code.

What stands in tests/golden/old_run, and how it was made, tells the README there.
"""

import json
import pathlib
import shutil
import sys

import dummies
import numpy as np
import pytest

import train_minigrid
from dreamerv2.report import __main__ as report
from dreamerv2.report import writer
from dreamerv2.watch import __main__ as watch

OLD = pathlib.Path(__file__).resolve().parents[2] / "golden" / "old_run"


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The run's folder after its own flags were given again."""
    folder = tmp_path_factory.mktemp("old") / "run"
    shutil.copytree(OLD / "stopped", folder)
    words = (OLD / "flags.txt").read_text().split()
    with pytest.MonkeyPatch.context() as patch:
        argv = ["train_minigrid.py", *words, "--logdir", str(folder)]
        patch.setattr(sys, "argv", argv)
        train_minigrid.main()
    return folder


def generators(state):
    """Where the random generators of a snapshot stand, wherever it notes them."""
    if isinstance(state, int):
        return {state} if state >= 2**64 else set()
    below = state.values() if isinstance(state, dict) else state
    found = map(generators, below) if isinstance(state, dict | list) else ()
    return set().union(*found)


def test_the_metrics_are_those_of_the_old_code_before_and_after_the_stop(resumed):
    expected, found = dummies.timeless(OLD / "end"), dummies.timeless(resumed)
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    before = (OLD / "stopped" / "metrics.jsonl").read_text()
    assert (resumed / "metrics.jsonl").read_text().startswith(before)
    assert found[-1]["step"] == 200 > dummies.timeless(OLD / "stopped")[-1]["step"]
    for one, two in zip(expected, found, strict=True):
        for key, value in one.items():
            if isinstance(value, float):
                np.testing.assert_allclose(two[key], value, 1e-3, 1e-4, err_msg=key)
            else:
                assert two[key] == value, (one["step"], key)


def test_the_last_snapshot_is_that_of_the_old_code(resumed):
    (before, weights), (state, tensors) = map(dummies.snapshot, (OLD / "end", resumed))
    assert set(tensors) == set(weights)
    for name, value in weights.items():
        if np.issubdtype(value.dtype, np.integer):
            assert tensors[name] == value, name
        # Without oneDNN the moments differ by 2e-5; a missing update changes weights
        # by about 1e-4 each, which is more than this.
        bound = 1e-4 * np.linalg.norm(value) + 1e-6 * value.size**0.5
        assert np.linalg.norm(tensors[name] - value) <= bound, name
    assert state["step"] == before["step"] == 200
    assert state["agent"] == before["agent"]  # calls, from which its seeds follow
    assert generators(state) == generators(before)
    assert len(generators(before)) > 5
    files = {path.name for path in (resumed / "train_replay").iterdir()}
    assert files == dummies.needed(resumed)
    assert files >= {*before["replay"]["held"], *before["replay"]["in_use"]}


def test_watching_shows_the_episodes_that_the_old_code_showed(resumed, capsys):
    watch.main(["--logdir", str(resumed), "--eval=2", "--json"])
    found = json.loads(capsys.readouterr().out)
    expected = json.loads((OLD / "watched.json").read_text())
    assert pathlib.Path(found.pop("checkpoint")).parents[1] == resumed
    del expected["checkpoint"]
    assert found == expected


def test_a_report_tells_its_end(resumed, tmp_path):
    report.main(["--indir", str(resumed), "--outdir", str(tmp_path)])
    page = (tmp_path / writer.PAGE).read_text()
    assert "1 run, 1 finished." in page
    assert "Empty-5x5 → Empty-Random-5x5" in page
    assert "| run | 1 | 1.00 | 0.00 | 0.00 |" in page
    assert {"curves_1.png", "matrix_1.png"} <= {p.name for p in tmp_path.iterdir()}
