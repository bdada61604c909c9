"""Laws of the check against reference numbers."""

import pathlib
import shutil

import numpy as np
import pytest
import tiny_agent

from common.compute import devices
from common.nets import coders
from dreamerv2.verify import __main__ as verify

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
CASES = {"discrete": "eager", "continuous": "graphs", "p2e": "graphs_in_pieces"}


@pytest.fixture
def folder(tmp_path):
    """A copy of a folder of reference numbers, to be damaged."""
    shutil.copy(GOLDEN / "config.yaml", tmp_path)
    return shutil.copytree(GOLDEN / "discrete", tmp_path / "discrete")


@pytest.fixture
def eager(monkeypatch):
    """Computes without tracing graphs, which is faster for one evaluation."""
    with tiny_agent.running(eagerly=True):
        monkeypatch.setattr(devices, "setup", lambda: "Device: as it is")
        yield


@pytest.fixture
def graphs():
    with tiny_agent.running(eagerly=False):
        yield


@pytest.fixture
def graphs_in_pieces(graphs, monkeypatch):
    """Observations are predicted two states at a time."""
    monkeypatch.setattr(coders, "_PIECE", 2)


def edit(path, **changes):
    """Changes arrays of an .npz file by functions, `__` for a slash in a name."""
    with np.load(path) as file:
        arrays = dict(file)
    for key, function in changes.items():
        name = key.replace("__", "/")
        arrays[name] = function(arrays[name])
    np.savez(path, **arrays)


def failed(output):
    return {line.split()[0] for line in output.splitlines() if line.endswith("FAILED")}


@pytest.mark.parametrize("case, how", CASES.items())
def test_this_machine_computes_the_reference_numbers(case, how, request, capsys):
    request.getfixturevalue(how)
    assert verify.main([str(GOLDEN / case)]) == 0
    output = capsys.readouterr().out
    assert "OK: 0 entries" in output
    assert not failed(output)
    with np.load(GOLDEN / case / "expected.npz") as file:
        names = file.files
    lines = [line.split() for line in output.splitlines() if line.endswith(" ok")]
    assert [line[0] for line in lines] == names


def test_a_changed_weight_is_found_in_the_entries_that_depend_on_it(
    folder, eager, capsys
):
    edit(folder / "weights.npz", heads__reward__out__out__bias=lambda x: x + 0.1)
    assert verify.main([str(folder), str(GOLDEN / "discrete")]) == 1
    output = capsys.readouterr().out
    names = failed(output)
    expected = {
        "heads/reward/mean",
        "world_model/metrics/reward_loss",
        "behaviour/target",
        "train_step/weights/heads/reward/out/out/bias",
    }
    assert expected <= names
    assert not {name for name in names if name.startswith(("rssm/", "encoder/"))}
    assert f"FAILED: {len(names)} entries" in output  # none in the second folder


def test_an_entry_that_nobody_computes_fails(folder, eager, capsys):
    with np.load(folder / "expected.npz") as file:
        arrays = dict(file)
    np.savez(folder / "expected.npz", **arrays, **{"rssm/unheard": np.zeros(3)})
    assert verify.main([str(folder)]) == 1
    assert failed(capsys.readouterr().out) == {"rssm/unheard"}


def test_the_tolerances_can_be_scaled_for_another_precision(folder, eager, capsys):
    arguments = [str(folder), "--precision", "bfloat16"]
    assert verify.main(arguments) == 1
    assert verify.main([*arguments, "--scale", "1e9"]) == 0


@pytest.mark.parametrize("name", ["weights.npz", "batch.npz", "expected.npz"])
def test_a_missing_file_is_named(folder, name, capsys):
    (folder / name).unlink()
    assert verify.main([str(folder)]) == 2
    message = capsys.readouterr().err
    assert str(folder / name) in message
    assert "is missing" in message


def test_a_missing_configuration_is_named(folder, capsys):
    (folder.parent / "config.yaml").unlink()
    assert verify.main([str(folder)]) == 2
    assert "config.yaml is missing" in capsys.readouterr().err


def test_a_folder_without_a_block_of_its_name_is_answered_with_the_names(
    folder, capsys
):
    other = folder.rename(folder.parent / "other")
    assert verify.main([str(other)]) == 2
    message = capsys.readouterr().err
    assert "no block 'other'" in message
    assert all(name in message for name in CASES)


def test_a_damaged_file_is_refused(folder, capsys):
    path = folder / "weights.npz"
    path.write_bytes(path.read_bytes()[:1000])
    assert verify.main([str(folder)]) == 2
    assert f"{path} is damaged" in capsys.readouterr().err


def test_errors_are_relative_to_the_norm_of_the_reference():
    reference = np.array([3.0, 4.0], np.float32)
    error = verify.relative_error(reference + [0.0, 0.05], reference)
    np.testing.assert_allclose(error, 0.01, rtol=1e-5)
    assert verify.relative_error(np.full(2, 0.5), np.zeros(2)) == np.sqrt(0.5)
    assert verify.relative_error(None, reference) == np.inf
    assert verify.relative_error(np.zeros(3), reference) == np.inf
    assert verify.relative_error(np.array([np.nan, 1]), reference) == np.inf


def test_gradients_and_updated_weights_have_a_wider_tolerance():
    one = np.ones(1)
    names = ["rssm/feat", "world_model/grad/x", "train_step/weights/x"]
    verdicts = {}
    for error in (0.5e-4, 5e-4, 50e-4):
        rows = verify.compare(
            dict.fromkeys(names, one), dict.fromkeys(names, one + error)
        )
        verdicts[error] = [row.passed for row in rows]
    assert verdicts == {
        0.5e-4: [True, True, True],
        5e-4: [False, True, True],
        50e-4: [False, False, False],
    }
