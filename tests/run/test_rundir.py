"""Laws of a run's folder: nothing is lost by accident, every refusal says why."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest

from common import config as config_lib
from common.config import kinds
from common.records import files
from dreamerv2 import settings
from dreamerv2.run import rundir


@pytest.fixture
def config(tmp_path):
    return settings.defaults.update(logdir=str(tmp_path / "logs"), tag="run")


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def make_run(config):
    """A folder in which a run has left something of every kind, and a stranger."""
    folder = rundir.prepare(config)
    for name in (files.REPLAY, files.CHECKPOINTS, files.TENSORBOARD):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    for name in (files.METRICS, files.WANDB_ID, "notes.txt"):
        (folder / name).write_text(name)
    files.write_tasks(folder, files.Tasks("train_minigrid", ("a", "b")))
    return folder


def test_the_folder_is_the_logdir_with_the_tag(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = settings.defaults.update(logdir="~/logs")
    assert rundir.path_of(config) == tmp_path / "logs"
    assert rundir.path_of(config.update(tag="a")) == tmp_path / "logs" / "a"


def test_preparing_makes_the_folder_and_saves_the_configuration(config, tmp_path):
    folder = rundir.prepare(config)
    assert folder == tmp_path / "logs" / "run"
    assert contents(folder) == [files.CONFIG]
    assert config_lib.Config.read(folder / files.CONFIG) == config


def test_the_same_configuration_goes_on(config):
    folder = make_run(config)
    before = contents(folder)
    assert rundir.prepare(config) == folder
    assert contents(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        {"del_exp_replay": True},
        {"envs_parallel": "thread"},
        {"devices": 2},
        {"wandb.mode": "disabled"},
        {"wandb.group": "other"},
    ],
)
def test_where_and_how_a_run_takes_place_may_change(config, change):
    folder = make_run(config)
    assert rundir.prepare(config.update(change)) == folder


def test_another_configuration_is_refused_and_the_keys_are_named(config):
    folder = make_run(config)
    before = contents(folder)
    other = config.update({"seed": 3, "rssm.deter": 8, "wandb.group": "x"})
    with pytest.raises(rundir.RunDirError) as error:
        rundir.prepare(other)
    message = str(error.value)
    assert "seed: 0 there, 3 now" in message
    assert "rssm.deter: 1024 there, 8 now" in message
    assert "wandb" not in message
    assert all(way in message for way in ("--resume", "--overwrite", "--tag"))
    assert contents(folder) == before
    assert config_lib.Config.read(folder / files.CONFIG) == config


def test_a_key_that_came_later_counts_as_its_default(config):
    path = make_run(config) / files.CONFIG
    new = {"unroll", "plugins", "outputs", "replay.retention_args"}
    before = {key: value for key, value in config.flat.items() if key not in new}
    config_lib.Config(before).save(path)
    rundir.check_same(config)
    with pytest.raises(rundir.RunDirError, match="unroll: False there, True now"):
        rundir.check_same(config.update(unroll=True))
    config_lib.Config({**before, "gone": 1}).save(path)
    with pytest.raises(rundir.RunDirError, match="gone: 1 there, None now"):
        rundir.check_same(config)


def test_a_run_that_failed_before_its_first_line_stands_in_nobodys_way(config):
    folder = rundir.prepare(config.update({"rssm.act": "mistyped"}))
    (folder / files.METRICS).touch()
    (folder / files.REPLAY).mkdir()
    assert rundir.prepare(config) == folder
    assert config_lib.Config.read(folder / files.CONFIG) == config


@pytest.mark.parametrize("name", [files.METRICS, files.CHECKPOINTS])
def test_metrics_or_snapshots_make_a_run(config, name):
    folder = make_run(config)
    for other in {files.METRICS, files.CHECKPOINTS} - {name}:
        rundir._delete(folder / other)
    with pytest.raises(rundir.RunDirError):
        rundir.prepare(config.update(seed=3))


def test_resume_goes_on_under_the_new_configuration(config):
    folder = make_run(config)
    before = contents(folder)
    other = config.update(seed=3)
    assert rundir.prepare(other.update(resume=True)) == folder
    assert contents(folder) == before
    assert rundir.prepare(other) == folder  # the word is needed once
    with pytest.raises(rundir.RunDirError, match="seed"):
        rundir.prepare(config)


def test_overwrite_deletes_the_run_and_nothing_else(config):
    folder = make_run(config)
    other = config.update(seed=3)
    assert rundir.prepare(other.update(overwrite=True)) == folder
    assert contents(folder) == [files.CONFIG, "notes.txt"]
    assert config_lib.Config.read(folder / files.CONFIG) == other


def test_a_run_without_a_snapshot_keeps_its_identity_and_no_data(config):
    folder = make_run(config)
    rundir.forget_unsaved(folder)
    left = {
        files.CONFIG,
        files.TASKS,
        files.CHECKPOINTS,
        files.WANDB_ID,
        "notes.txt",
    }
    assert set(contents(folder)) == left


def test_a_foreign_file_in_place_of_the_configuration_is_refused(config):
    folder = make_run(config)
    (folder / files.CONFIG).write_text("a: [1\n")
    with pytest.raises(config_lib.ConfigError, match="Cannot read"):
        rundir.prepare(config)


# A run in its folder.

NOTED = files.Tasks("train_minigrid", ("a", "b"), ((0, 10), (1, 20)))


def test_an_open_folder_is_locked_and_knows_configuration_and_tasks(config):
    with rundir.opened(config, NOTED, lambda: True) as folder:
        assert rundir.is_locked(folder)
        assert config_lib.Config.read(folder / files.CONFIG) == config
        assert files.read_tasks(folder) == NOTED
    assert not rundir.is_locked(folder)


@pytest.mark.parametrize("saved", [False, True])
def test_what_no_snapshot_covers_is_deleted_when_the_folder_is_opened(config, saved):
    folder = make_run(config)
    before = contents(folder)
    with rundir.opened(config, NOTED, lambda: saved):
        lost = set(before) - set(contents(folder))
    assert lost == (set() if saved else {files.METRICS, files.REPLAY, "tensorboard"})


def test_a_folder_that_is_refused_is_left_as_it_was(config):
    folder = make_run(config)
    before = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(rundir.RunDirError, match="seed: 0 there, 1 now"):
        with rundir.opened(config.update(seed=1), NOTED, lambda: False):
            raise AssertionError("It was opened.")
    (folder / files.LOCK).unlink()
    after = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"scri', files.Tasks()),  # a killed run of an old version
        ("[]", files.Tasks()),
        ('{"script": "s"}', files.Tasks()),
        ('{"script": "s", "tasks": ["a"]}', files.Tasks("s", ("a",))),
        ('{"tasks": ["a"], "ends": [[0, 9]]}', files.Tasks("", ("a",), ((0, 9),))),
        ('{"tasks": ["a"], "ends": [[0, "end"]]}', files.Tasks()),
    ],
)
def test_what_tasks_json_does_not_say_is_unknown(tmp_path, text, expected):
    assert files.read_tasks(tmp_path) == files.Tasks()
    (tmp_path / files.TASKS).write_text(text)
    assert files.read_tasks(tmp_path) == expected


def test_every_kind_of_keys_has_keys_and_what_learns_is_in_none():
    kinds_of = (kinds.START, kinds.PLACE, kinds.NAME, kinds.SPEED, kinds.LOGGED)
    known = {*settings.defaults.flat, "plugins"}
    for kind in (*kinds_of, kinds.TASKS, kinds.SCHEDULE):
        for pattern in kind:
            assert any(kinds.is_one_of(key, (pattern,)) for key in known), pattern
    for key in ("discount", "replay.capacity", "expl_behavior", "rssm.deter"):
        assert kinds.makes_another_run(key) and kinds.makes_another_method(key)
    free = {key for key in known if not kinds.makes_another_run(key)}
    assert {"logdir", "wandb.mode", "checkpoint_keep", "force"} <= free
    assert not any(map(kinds.makes_another_method, free))
    assert kinds.makes_another_run("seed") and not kinds.makes_another_method("seed")


# Disks.


def test_a_file_in_place_of_the_folder_is_refused(config, tmp_path):
    (tmp_path / "logs").write_text("I am here already.")
    with pytest.raises(rundir.RunDirError) as error:
        rundir.prepare(config)
    message = str(error.value)
    assert str(tmp_path / "logs" / "run") in message
    assert "--logdir" in message
    assert (tmp_path / "logs").read_text() == "I am here already."


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EROFS, "Read-only file system"), (errno.ENOSPC, "No space left")],
)
def test_a_disk_that_takes_nothing_is_noticed_at_once(
    config, monkeypatch, number, reason
):
    folder = make_run(config)
    before = contents(folder)

    def refuse(self, content):
        raise OSError(number, reason)

    monkeypatch.setattr(pathlib.Path, "write_bytes", refuse)
    with pytest.raises(rundir.RunDirError, match=f"{reason}.*--logdir"):
        rundir.prepare(config.update(overwrite=True))
    assert contents(folder) == before


def test_a_second_process_is_refused_as_long_as_the_first_one_lives(tmp_path):
    script = (
        "import pathlib, sys; from dreamerv2.run import rundir\n"
        f"with rundir.locked(pathlib.Path({str(tmp_path)!r})):\n"
        "    print('mine', flush=True); sys.stdin.read()"
    )
    root = pathlib.Path(rundir.__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=root,
        text=True,
    ) as other:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(rundir.RunDirError, match=f"process {other.pid}"):
            with rundir.locked(tmp_path):
                raise AssertionError("The folder was locked twice.")
        other.kill()
    with rundir.locked(tmp_path):  # a dead process holds nothing
        assert (tmp_path / files.LOCK).read_text() == str(os.getpid())


def test_a_precision_that_the_machine_chooses_is_no_other_configuration(config):
    make_run(config.update(precision="16"))
    rundir.check_same(config.update(precision="auto"))
    with pytest.raises(rundir.RunDirError, match="precision: '16' there, '32' now"):
        rundir.check_same(config.update(precision="32"))


def test_a_lock_is_seen_from_outside_and_ends_with_its_holder(config):
    folder = rundir.path_of(config)
    assert not rundir.is_locked(folder)
    with rundir.locked(folder):
        assert rundir.is_locked(folder)
    assert not rundir.is_locked(folder)
