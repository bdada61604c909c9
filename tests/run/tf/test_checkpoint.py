"""Laws of snapshots: whole or not there, exact, and the newest ones stay."""

import errno
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from dreamerv2.run import checkpoint

STATE = {"step": 12, "nested": {"a": [1, 2.5, None, "word"]}, "big": 2**80}
ARRAYS = {
    "weights/a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "steps": np.int64(2**40),
    "mask": np.array([True, False]),
    "half": np.array([1.5, -2], np.float16),
    "empty": np.zeros((0, 4), np.float32),
}


def tensors():
    return {key: tf.constant(value) for key, value in ARRAYS.items()}


@pytest.fixture
def snapshots(tmp_path):
    return checkpoint.Checkpoints(tmp_path / "checkpoints", keep=2)


def names(snapshots):
    return [path.name for path in snapshots.paths()]


# Saving and loading.


def test_what_was_saved_is_loaded_exactly(snapshots):
    path = snapshots.save(12, tensors(), STATE)
    assert path.name == "step-000000000012"
    assert checkpoint.load_state(path) == STATE
    loaded = checkpoint.load_tensors(path)
    assert set(loaded) == set(ARRAYS)
    for key, value in ARRAYS.items():
        np.testing.assert_array_equal(loaded[key], value)
        assert np.asarray(loaded[key]).dtype == value.dtype


def test_bfloat16_keeps_its_bits(snapshots):
    value = tf.constant([1.0, 3.14159, -1e-20], tf.bfloat16)
    loaded = checkpoint.load_tensors(snapshots.save(1, {"carry": value}, {}))
    assert tf.constant(loaded["carry"]).dtype == tf.bfloat16
    np.testing.assert_array_equal(tf.constant(loaded["carry"]), value)


def test_variables_are_saved_as_they_are_at_that_time(snapshots):
    variable = tf.Variable([1.0, 2.0])
    path = snapshots.save(1, {"weight": variable}, {})
    variable.assign([7.0, 7.0])
    np.testing.assert_array_equal(checkpoint.load_tensors(path)["weight"], [1, 2])
    checkpoint.assign({"weight": variable}, checkpoint.load_tensors(path))
    np.testing.assert_array_equal(variable, [1, 2])


def test_there_is_no_snapshot_at_first(snapshots):
    assert snapshots.paths() == []
    assert snapshots.latest() is None


def test_the_newest_stay_in_the_order_of_their_steps(snapshots):
    for step in (5, 40, 300, 2_000_000_000_000):
        snapshots.save(step, tensors(), {"step": step})
    assert names(snapshots) == ["step-000000000300", "step-2000000000000"]
    assert checkpoint.load_state(snapshots.latest())["step"] == 2_000_000_000_000


def test_a_snapshot_of_the_same_step_is_replaced(snapshots):
    snapshots.save(5, tensors(), {"try": 1})
    path = snapshots.save(5, {"other": tf.constant(1.0)}, {"try": 2})
    assert names(snapshots) == ["step-000000000005"]
    assert checkpoint.load_state(path) == {"try": 2}
    assert list(checkpoint.load_tensors(path)) == ["other"]


def test_at_least_one_snapshot_has_to_stay(tmp_path):
    with pytest.raises(ValueError, match="checkpoint_keep is 0"):
        checkpoint.Checkpoints(tmp_path, keep=0)


# Failures.


@pytest.mark.parametrize("moment", ["tensors", "state", "flush", "rename"])
def test_a_failure_at_any_moment_leaves_the_older_snapshots(
    snapshots, monkeypatch, moment
):
    old = snapshots.save(5, tensors(), {"step": 5})

    def refuse(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    where = {
        "tensors": (checkpoint, "_write_tensors"),
        "state": (checkpoint.pathlib.Path, "write_text"),
        "flush": (os, "fsync"),
        "rename": (os, "replace"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*where[moment], refuse)
        wanted = "step-000000000006.*No space.*older"
        with pytest.raises(checkpoint.CheckpointError, match=wanted):
            snapshots.save(6, tensors(), {"step": 6})
    assert snapshots.latest() == old
    np.testing.assert_array_equal(
        checkpoint.load_tensors(old)["weights/a"], ARRAYS["weights/a"]
    )
    assert [path.name for path in old.parent.iterdir()] == [old.name]
    snapshots.save(6, tensors(), {"step": 6})
    assert names(snapshots) == ["step-000000000005", "step-000000000006"]


def test_tensorflow_failing_to_write_is_told_the_same_way(snapshots, monkeypatch):
    def refuse(**kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "disk full")

    monkeypatch.setattr(tf.raw_ops, "SaveV2", refuse)
    with pytest.raises(checkpoint.CheckpointError, match="disk full"):
        snapshots.save(6, tensors(), {})


def test_a_snapshot_that_was_cut_short_is_never_seen(snapshots):
    path = snapshots.save(5, tensors(), {"step": 5})
    cut = path.with_name("step-000000000009.partial")
    cut.mkdir()
    (cut / "state.json").write_text('{"step": 9')
    assert snapshots.latest() == path
    snapshots.save(9, tensors(), {"step": 9})  # the left-over is in nobody's way
    assert names(snapshots) == ["step-000000000005", "step-000000000009"]


@pytest.mark.parametrize("name", ["tensors.index", "tensors.data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_a_damaged_tensor_file_is_named_with_the_way_out(snapshots, name, damage):
    path = snapshots.save(5, tensors(), {})
    file = path / name
    content = file.read_bytes()
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 255])
    damaged = content[:middle] + flipped + content[middle + 1 :]
    file.unlink()
    if damage != "gone":
        file.write_bytes(damaged if damage == "changed" else content[:middle])
    with pytest.raises(checkpoint.CheckpointError, match="step-000000000005.*Delete"):
        checkpoint.load_tensors(path)


def test_a_damaged_state_is_named_with_the_way_out(snapshots):
    path = snapshots.save(5, tensors(), STATE)
    (path / "state.json").write_text(json.dumps(STATE)[:-3])
    with pytest.raises(checkpoint.CheckpointError, match="step-000000000005.*Delete"):
        checkpoint.load_state(path)
    (path / "state.json").unlink()
    with pytest.raises(checkpoint.CheckpointError, match="cannot be read"):
        checkpoint.load_state(path)


# Assigning.


def test_weights_that_a_network_lacks_are_named_and_nothing_is_set():
    variables = {"net/a": tf.Variable([0.0]), "net/b": tf.Variable([0.0])}
    saved = {"net/a": np.ones(1, np.float32), "net/c": np.ones(1, np.float32)}
    wanted = "lacks net/b; the agent's networks have no net/c.*config.yaml"
    with pytest.raises(checkpoint.CheckpointError, match=wanted):
        checkpoint.assign(variables, saved)
    assert variables["net/a"] == 0


def test_a_counter_that_an_older_version_lacked_begins_anew(caplog):
    variables = {"net/a": tf.Variable([0.0]), "new": tf.Variable(5.0)}
    checkpoint.assign(variables, {"net/a": np.ones(1, np.float32)})
    assert (variables["net/a"][0], variables["new"]) == (1, 5)
    assert "begins anew: new" in caplog.text


def test_shapes_that_differ_are_told():
    variables = {"a": tf.Variable([0.0, 0.0])}
    with pytest.raises(checkpoint.CheckpointError, match=r"\(3,\).*\(2,\)"):
        checkpoint.assign(variables, {"a": np.zeros(3, np.float32)})


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("name", ["tensors.data-00000-of-00001", "state.json"])
def test_a_truncated_snapshot_is_moved_aside_and_the_one_before_taken(
    tmp_path, name, tenth, caplog
):
    snapshots = checkpoint.Checkpoints(tmp_path)
    for step in (1, 2):
        snapshots.save(step, {"a": tf.range(100)}, {"step": step, "text": "x" * 50})
    path = tmp_path / "step-000000000002" / name
    os.truncate(path, path.stat().st_size * tenth // 10)
    assert snapshots.latest() == tmp_path / "step-000000000001"
    assert "step-000000000002 is damaged" in caplog.text
    assert len(snapshots.paths()) == 2  # nothing is moved before the run goes on
    (tmp_path / "damaged-step-000000000002").mkdir()  # from another time
    snapshots.move_aside()
    assert (tmp_path / "damaged-step-000000000002-2" / "checksums.json").is_file()
    assert len(snapshots.paths()) == 1


def test_without_a_whole_snapshot_nothing_is_taken_for_one(tmp_path):
    snapshots = checkpoint.Checkpoints(tmp_path)
    snapshots.save(1, {"a": tf.range(3)}, {})
    (tmp_path / "step-000000000001" / "state.json").write_text("{}  ")
    for _ in range(2):
        with pytest.raises(checkpoint.CheckpointError, match="All 1 snapshots"):
            snapshots.latest()
        snapshots = checkpoint.Checkpoints(tmp_path)


def test_a_snapshot_that_cannot_be_read_for_once_is_not_passed_over(
    tmp_path, monkeypatch
):
    snapshots = checkpoint.Checkpoints(tmp_path)
    for step in (1, 2):
        snapshots.save(step, {"a": tf.range(3)}, {"step": step})
    read = checkpoint._checksum

    def refuse(path):
        if "step-000000000002" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_checksum", refuse)
        with pytest.raises(checkpoint.CheckpointError, match="2 cannot be read: .*13"):
            snapshots.latest()
        assert "Permission" in checkpoint.find_fault(snapshots.paths()[-1])
    snapshots.move_aside()
    assert snapshots.latest() == tmp_path / "step-000000000002"


def test_what_is_not_named_like_a_snapshot_is_somebody_elses(tmp_path):
    snapshots = checkpoint.Checkpoints(tmp_path, keep=1)
    snapshots.save(1, {"a": tf.range(3)}, {"step": 1})
    (tmp_path / "step-backup.tar").write_text("mine")
    (tmp_path / "step-000000000009").symlink_to(tmp_path / "step-000000000001")
    (tmp_path / "step-000000000008.old").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert snapshots.latest().name == "step-000000000001"
    snapshots.move_aside()
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    snapshots.save(2, {"a": tf.range(3)}, {"step": 2})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*before, "step-000000000002"} - {"step-000000000001"}


def test_the_states_of_all_snapshots_are_known_as_they_are_on_the_disk(tmp_path):
    snapshots = checkpoint.Checkpoints(tmp_path, keep=2, always=[1])
    for step in (1, 2, 3, 4):
        snapshots.save(step, {"a": tf.range(3)}, {"step": step})
        again = checkpoint.Checkpoints(tmp_path).states()
        assert snapshots.states() == again
    assert [state["step"] for state in again] == [1, 3, 4]
    (tmp_path / "step-000000000003" / "state.json").write_text('{"st')
    again = checkpoint.Checkpoints(tmp_path).states()
    assert [state["step"] for state in again] == [1, 4]


def test_the_ends_of_tasks_stay_beside_the_newest(tmp_path):
    snapshots = checkpoint.Checkpoints(tmp_path, 1, always=[2])
    for step in (1, 2, 3, 4):
        snapshots.save(step, {"a": tf.range(3)}, {})
    assert [path.name[-1] for path in snapshots.paths()] == ["2", "4"]
