"""Laws of `run.json` and of the wall clock: where a run comes from, how long it is."""

import json
import subprocess

import numpy as np
import pytest

from common.records import files, logger, origin, outputs


def read(folder):
    return json.loads((folder / files.RUN).read_text())


def walls(folder):
    lines = (folder / files.METRICS).read_text().splitlines()
    return [json.loads(line)["time_wall"] for line in lines]


def write(folder, since, steps):
    with logger.Logger([outputs.JSONLOutput(folder / files.METRICS, since)]) as log:
        for step in steps:
            log.write(step, {"return": 1.0})


def test_a_run_tells_code_versions_machine_command_and_times(tmp_path):
    with origin.noted(tmp_path, is_new=True, device="a CPU"):
        (program,) = read(tmp_path)["programs"]
        assert program["end"] is None  # as it stays if the program is killed
    (program,) = read(tmp_path)["programs"]
    assert program["versions"]["numpy"] == np.__version__
    assert program["versions"]["dreamerv2"] and program["versions"]["python"]
    assert program["device"] == "a CPU" and program["host"]
    assert program["command"]
    assert read(tmp_path)["started"] == program["start"] <= program["end"]


def test_a_run_that_goes_on_adds_a_program_and_a_new_one_forgets_them(tmp_path):
    for is_new, count in ((True, 1), (False, 2), (False, 3), (True, 1)):
        with origin.noted(tmp_path, is_new=is_new):
            files.write_saved(tmp_path, True)
        assert len(read(tmp_path)["programs"]) == count
        assert files.read_saved(tmp_path) is True


@pytest.mark.parametrize("text", ['{"saved": true}\n', '{"saved": true, "started": 3}'])
def test_the_file_of_an_older_version_keeps_what_it_said(tmp_path, text):
    (tmp_path / files.RUN).write_text(text)
    assert origin.started(tmp_path) is None
    assert files.read_saved(tmp_path) is True
    with origin.noted(tmp_path, is_new=False):
        assert files.read_saved(tmp_path) is True


def test_nothing_of_it_stops_a_run(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("there is no git")

    monkeypatch.setattr(subprocess, "run", fail)
    (tmp_path / files.RUN).write_text("[no, JSON")
    with origin.noted(tmp_path, is_new=False):
        (program,) = read(tmp_path)["programs"]
        assert program["commit"] is None and program["changed"] is None
    monkeypatch.setattr(files, "write_run", fail)
    with origin.noted(tmp_path, is_new=False):
        pass
    assert "could not be written: there is no git" in caplog.text


def test_code_that_git_does_not_keep_has_no_commit(tmp_path, monkeypatch):
    """An installed package may lie in somebody else's repository."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    copy = tmp_path / "origin.py"
    copy.write_text("")
    monkeypatch.setattr(origin, "__file__", str(copy))
    assert origin.describe()["commit"] is None


def test_a_folder_that_took_the_place_of_the_runs_is_left_alone(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with origin.noted(folder, is_new=True):
        folder.rename(tmp_path / "moved")
        folder.mkdir()
    assert not any(folder.iterdir())


def test_each_line_tells_the_seconds_since_the_run_began(tmp_path):
    with origin.noted(tmp_path, is_new=True):
        began = origin.started(tmp_path)
    write(tmp_path, began - 100, [1, 2])
    first, second = walls(tmp_path)
    assert 100 <= first <= second < 160


def test_the_seconds_never_fall_whatever_the_clock_or_a_lost_file_says(tmp_path):
    began = origin.started(tmp_path) or 0.0
    write(tmp_path, began, [1])  # long ago
    write(tmp_path, 4e9, [2])  # a clock set back: the run begins in the future
    assert walls(tmp_path) == sorted(walls(tmp_path)) and len(walls(tmp_path)) == 2


def test_without_a_beginning_no_line_tells_seconds(tmp_path):
    write(tmp_path, None, [1])
    assert "time_wall" not in (tmp_path / files.METRICS).read_text()
