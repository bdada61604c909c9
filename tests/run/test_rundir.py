"""Laws of a run's folder: nothing is lost by accident, every refusal says why."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest

from common import config as config_lib
from common.config import kinds
from common.records import belongings, files
from dreamerv2 import settings
from dreamerv2.run import rundir

STEP = f"{files.CHECKPOINTS}/step-000000000009"
LEFT = (  # what a run leaves, by what it is
    (files.CHECKPOINTS, [f"{STEP}/{n}" for n in ("state.json", "tensors.index")]),
    (files.CHECKPOINTS, [f"{files.CHECKPOINTS}/damaged-step-000000000003/state.json"]),
    (files.REPLAY, [f"{files.REPLAY}/000000-task0-len0009.npz"]),
    (files.REPLAY, [f"{files.REPLAY}/evicted/000001-task0-len0009.npz"]),
    (files.TENSORBOARD, [f"{files.TENSORBOARD}/events.out.tfevents.17.host"]),
    (files.METRICS, [files.METRICS]),
    (files.WANDB_ID, [files.WANDB_ID]),
)
STRANGERS = (  # what somebody else has put beside it
    "notes.txt",
    f"{files.REPLAY}/notes.txt",
    f"{files.REPLAY}/demonstrations.npz",
    f"{files.TENSORBOARD}/notes.txt",
    f"{files.CHECKPOINTS}/step-backup.tar",
    f"{STEP}/notes.txt",
)
NOTED = files.Tasks("train_minigrid", ("a", "b"), ((0, 10), (1, 20)))


@pytest.fixture
def config(tmp_path):
    return settings.defaults.update(logdir=str(tmp_path / "logs"), tag="run")


def contents(folder):
    """What is in a folder at any depth, without the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != files.LOCK
    }


def write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'{{"step": 9}} {name}\n')


def make_run(config, strangers=()):
    """A folder in which a run has left something of every kind."""
    folder = rundir.begin(config, NOTED, is_saved=True)
    for _, names in LEFT:
        write(folder, names)
    write(folder, strangers)
    return folder


def start(config, saved=9, tasks=NOTED):
    """What a run does to its folder before it trains."""
    with rundir.opened(config):
        rundir.check(config, tasks, None if config.overwrite else saved)
        is_saved = saved is not None and not config.overwrite
        return rundir.begin(config, tasks, is_saved)


def test_the_folder_is_the_logdir_with_the_tag(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = settings.defaults.update(logdir="~/logs")
    assert rundir.path_of(config) == tmp_path / "logs"
    assert rundir.path_of(config.update(tag="a")) == tmp_path / "logs" / "a"


@pytest.mark.parametrize("tag", ["..", "a/../..", "/tmp"])
def test_a_tag_that_leads_out_of_the_logdir_is_refused(config, tag):
    with pytest.raises(rundir.RunDirError, match="out of the logdir"):
        rundir.path_of(config.update(tag=tag))


def test_a_run_that_begins_notes_what_it_is(config, tmp_path):
    folder = start(config, None)
    assert folder == tmp_path / "logs" / "run"
    assert set(contents(folder)) == {files.CONFIG, files.TASKS, files.RUN}
    assert config_lib.Config.read(folder / files.CONFIG) == config
    assert files.read_tasks(folder) == NOTED
    assert files.read_saved(folder) is False


def test_the_same_configuration_goes_on(config):
    folder = make_run(config, STRANGERS)
    before = contents(folder)
    assert start(config) == folder
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
    assert start(config.update(change)) == folder


def test_another_configuration_is_refused_and_the_keys_are_named(config):
    folder = make_run(config)
    before = contents(folder)
    other = config.update({"seed": 3, "rssm.deter": 8, "wandb.group": "x"})
    with pytest.raises(rundir.RunDirError) as error:
        start(other)
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
    folder = start(config.update({"rssm.act": "mistyped"}), None)
    (folder / files.METRICS).touch()
    (folder / files.REPLAY).mkdir()
    assert start(config, None) == folder
    assert config_lib.Config.read(folder / files.CONFIG) == config


@pytest.mark.parametrize("name", [files.METRICS, files.CHECKPOINTS])
def test_metrics_or_snapshots_make_a_run(config, name):
    folder = make_run(config)
    belongings.delete(folder, tuple({files.METRICS, files.CHECKPOINTS} - {name}))
    with pytest.raises(rundir.RunDirError, match="another configuration"):
        start(config.update(seed=3))


def test_resume_goes_on_under_the_new_configuration(config):
    folder = make_run(config)
    before = contents(folder)
    other = config.update(discount=0.9)
    assert start(other.update(resume=True)) == folder
    assert contents(folder).keys() == before.keys()
    assert start(other) == folder  # the word is needed once
    with pytest.raises(rundir.RunDirError, match="discount"):
        start(config)


@pytest.mark.parametrize(
    "change",
    [
        *({"seed": 3}, {"action_repeat": 2}, {"replay.sampling": "reward"}),
        *({"replay.retention": "split"}, {"replay.coverage.filters": 9}),
    ],
)
def test_what_a_run_was_begun_with_for_good_stays(config, change):
    folder = make_run(config)
    before = contents(folder)
    with pytest.raises(rundir.RunDirError, match=f"{next(iter(change))}: .* there"):
        start(config.update({**change, "resume": True}))
    assert contents(folder) == before


def test_other_tasks_are_another_run_though_the_configuration_is_the_same(config):
    make_run(config)
    tasks = NOTED._replace(names=("a", "b", "c"), ends=(*NOTED.ends, (2, 30)))
    with pytest.raises(rundir.RunDirError, match="tasks: a, b there, a, b, c now"):
        start(config, 9, tasks)
    start(config.update(resume=True), 9, tasks)
    assert files.read_tasks(rundir.path_of(config)) == tasks


@pytest.mark.parametrize(
    ("ends", "saved", "fits"),
    [
        (((0, 10), (1, 40)), 15, True),  # the phase under way gets longer
        (((0, 10), (1, 16)), 15, True),  # or shorter
        (((0, 10), (1, 12)), 15, False),  # than what is done
        (((0, 10), (1, 40)), 20, True),  # the last phase goes on
        (((0, 10), (1, 20), (0, 30)), 20, True),  # another one follows
        (((0, 16), (1, 32)), 15, False),  # the first has ended already
        (((0, 16), (1, 32)), 10, False),
        (((0, 16), (1, 32)), 5, True),
        (((1, 10), (0, 20)), 5, False),
        (((0, 10),), 15, False),
        (((0, 10),), 10, True),
    ],
)
def test_what_has_been_trained_keeps_its_place_and_length(config, ends, saved, fits):
    folder = make_run(config)
    before = contents(folder)
    config, tasks = config.update(resume=True), NOTED._replace(ends=ends)
    if fits:
        start(config, saved, tasks)
        assert files.read_tasks(folder) == tasks
    else:
        with pytest.raises(rundir.RunDirError, match=f"trained up to frame {saved}"):
            start(config, saved, tasks)
        assert contents(folder) == before


@pytest.mark.parametrize("names", [("a",), ("b", "a"), ("a", "c", "b")])
def test_tasks_keep_their_numbers(config, names):
    make_run(config)
    tasks = NOTED._replace(names=names)
    with pytest.raises(rundir.RunDirError, match="has the tasks a, b, not"):
        start(config.update(resume=True), 9, tasks)


def test_overwrite_deletes_the_run_and_nothing_else(config):
    folder = make_run(config, STRANGERS)
    other = config.update(seed=3)
    assert start(other.update(overwrite=True)) == folder
    ours = {files.CONFIG, files.TASKS, files.RUN}
    assert set(contents(folder)) == {*STRANGERS, *ours}
    assert config_lib.Config.read(folder / files.CONFIG) == other


def test_a_run_that_never_came_to_a_snapshot_begins_anew(config):
    folder = make_run(config, STRANGERS)
    files.write_saved(folder, False)
    belongings.delete(folder, (files.CHECKPOINTS,))
    start(config, None)
    ours = {files.CONFIG, files.TASKS, files.RUN, files.WANDB_ID}
    assert set(contents(folder)) == {*STRANGERS, *ours}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("noted", [False, True])
def test_a_run_whose_snapshots_are_elsewhere_is_left_as_it_is(config, resume, noted):
    folder = make_run(config)
    belongings.delete(folder, (files.CHECKPOINTS,))
    if not noted:  # by an older version
        (folder / files.RUN).unlink()
    before = contents(folder)
    with pytest.raises(rundir.RunDirError, match="none of its snapshots"):
        start(config.update(resume=resume), None)
    assert contents(folder) == before
    start(config.update(overwrite=True), None)
    assert set(contents(folder)) == {files.CONFIG, files.TASKS, files.RUN}


@pytest.mark.parametrize(("kind", "names"), LEFT)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_no_run_has_written_is_never_touched(config, kind, names, overwrite):
    folder = rundir.path_of(config)
    write(folder, names)
    before = contents(folder)
    with pytest.raises(rundir.RunDirError, match=f"holds {kind}.* somebody else's"):
        start(config.update(overwrite=overwrite), None)
    assert contents(folder) == before


def test_another_programs_configuration_makes_no_run(config):
    folder = rundir.path_of(config)
    write(folder, [files.METRICS])
    (folder / files.CONFIG).write_text("logdir: here\nlr: 0.1\n")
    with pytest.raises(rundir.RunDirError, match=f"{files.METRICS}, {files.CONFIG}"):
        start(config.update(overwrite=True), None)


def test_empty_folders_that_a_disk_may_be_mounted_at_are_in_nobodys_way(config):
    folder = rundir.path_of(config)
    (folder / files.CHECKPOINTS).mkdir(parents=True)
    (folder / files.REPLAY).mkdir()
    start(config, None)
    assert config_lib.Config.read(folder / files.CONFIG) == config


@pytest.mark.parametrize("overwrite", [False, True])
def test_snapshots_that_could_go_nowhere_are_an_error_at_once(config, overwrite):
    config = config.update(overwrite=overwrite)
    snapshots = rundir.path_of(config) / files.CHECKPOINTS
    snapshots.parent.mkdir(parents=True)
    snapshots.symlink_to("/nowhere/at/all")
    with pytest.raises(rundir.RunDirError, match="a link to /nowhere/at/all"):
        start(config, None)
    snapshots.unlink()
    snapshots.write_text("a file")
    with pytest.raises(rundir.RunDirError, match="is a file"):
        start(config, None)
    assert set(contents(snapshots.parent)) == {files.CHECKPOINTS}


def test_a_foreign_file_in_place_of_the_configuration_is_refused(config):
    folder = make_run(config)
    (folder / files.CONFIG).write_text("a: [1\n")
    with pytest.raises(config_lib.ConfigError, match="Cannot read"):
        start(config.update(overwrite=True))


# A run in its folder.


def test_an_open_folder_is_locked_and_nothing_is_written_yet(config):
    with rundir.opened(config) as folder:
        assert rundir.is_locked(folder)
        assert not contents(folder)
    assert not folder.exists()
    make_run(config)
    before = contents(folder)
    with rundir.opened(config):
        assert contents(folder) == before
    assert not rundir.is_locked(folder)
    assert contents(folder) == before


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
    for kind in (*kinds_of, kinds.SOURCE, kinds.TASKS, kinds.SCHEDULE):
        for pattern in kind:
            assert any(kinds.is_one_of(key, (pattern,)) for key in known), pattern
    for pattern in kinds.FIXED:
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
        start(config)
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
        start(config.update(overwrite=True))
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
