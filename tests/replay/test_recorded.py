"""Laws of recorded episodes: read as our own replay has them, and never written."""

import numpy as np
import pytest

from common import specs
from common.replay import recorded
from common.replay.strategies import retention, sampling

IMAGE, VECTOR = (4, 4, 3), (2,)
OBS = {
    "image": specs.ArraySpec(IMAGE, np.dtype(np.uint8)),
    "vector": specs.ArraySpec(VECTOR, np.dtype(np.float32)),
}
CHOICE = specs.Spaces(OBS, specs.ActionSpec(3, True))
NUMBERS = specs.Spaces(OBS, specs.ActionSpec(2, False))


def episode(steps, seed=0, discrete=True, **changes):
    """Arrays as our own replay writes them, some of them changed; None leaves out."""
    rng, rows = np.random.default_rng(seed), steps + 1
    action = rng.uniform(-1, 1, (rows, 2)).astype(np.float32)
    if discrete:
        action = np.eye(3, dtype=np.float32)[rng.integers(3, size=rows)]
    action[0] = 0
    arrays = {
        "image": rng.integers(0, 256, (rows, *IMAGE), np.uint8),
        "vector": rng.normal(size=(rows, *VECTOR)).astype(np.float32),
        "action": action,
        "reward": rng.normal(size=rows).astype(np.float32),
        "is_first": np.arange(rows) == 0,
        "is_last": np.arange(rows) == steps,
        "is_terminal": np.arange(rows) == steps,
    }
    arrays |= {key: value for key, value in changes.items()}
    return {key: value for key, value in arrays.items() if value is not None}


def write(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def read(path, spaces=CHOICE, minlen=2, capacity=100):
    return recorded.Folder(path, spaces, minlen=minlen, capacity=capacity)


def make_replay(folder):
    result = recorded.Replay(
        folder,
        capacity=100,
        minlen=2,
        maxlen=9,
        prioritize_ends=True,
        retention=retention.Fifo(0),
        sampling=sampling.Uniform(0),
        seed=0,
        specs=OBS,
    )
    result.open("/nowhere")
    result.check_valid()
    return result


@pytest.mark.parametrize(
    ("spaces", "discrete"), [(CHOICE, True), (NUMBERS, False)], ids=["one-hot", "box"]
)
def test_what_our_replay_has_written_is_read_as_it_was(tmp_path, spaces, discrete):
    arrays = episode(7, discrete=discrete)
    write(tmp_path / "000000-task2-len0007.npz", arrays)
    (found,) = read(tmp_path, spaces).load()
    assert found.task == 0
    for key, value in arrays.items():
        np.testing.assert_array_equal(found.arrays()[key], value, err_msg=key)
        assert found.arrays()[key].dtype == value.dtype


def test_other_types_and_left_out_flags_give_the_same_episode(tmp_path):
    ours = episode(7)
    theirs = episode(
        7,
        action=ours["action"].argmax(1).astype(np.int32),
        reward=ours["reward"].astype(np.float64),
        vector=ours["vector"].astype(np.float64),
        is_terminal=ours["is_terminal"].astype(np.int64),
        is_first=None,
        is_last=None,
        agent_pos=np.zeros((8, 2)),
        log_speed=np.zeros(8),
    )
    write(tmp_path / "ours" / "000000-task0-len0007.npz", ours)
    write(tmp_path / "theirs" / "a day in may.npz", theirs)
    one, other = read(tmp_path / "ours"), read(tmp_path / "theirs")
    assert one.digest == other.digest
    assert (one.unread, other.unread) == (set(), {"agent_pos"})


def test_our_episodes_come_by_number_and_others_behind_them(tmp_path):
    names = ("1000000-task0-len0003.npz", "999999-task0-len0004.npz", "b.npz", "a.npz")
    for steps, name in enumerate(names, start=3):
        write(tmp_path / name, episode(steps))
    assert [e.steps for e in read(tmp_path).load()] == [4, 3, 6, 5]


def test_short_episodes_are_left_out_and_counted(tmp_path):
    for steps in (1, 5, 2, 4):
        write(tmp_path / f"{steps}.npz", episode(steps))
    folder = read(tmp_path, minlen=4)
    assert ([e.steps for e in folder.load()], folder.skipped) == ([4, 5], 2)
    assert make_replay(folder).stats()["skipped_episodes"] == 2
    with pytest.raises(recorded.RecordedError, match="All 4 .*minlen, 6"):
        read(tmp_path, minlen=6)


def test_more_steps_than_the_capacity_are_an_error(tmp_path):
    for seed in range(3):
        write(tmp_path / f"{seed}.npz", episode(5, seed))
    assert read(tmp_path, capacity=15).steps == 15
    with pytest.raises(recorded.RecordedError, match="14; raise --replay.capacity"):
        read(tmp_path, capacity=14)


ONES = np.ones(6, bool)


@pytest.mark.parametrize(
    ("spaces", "changes", "message"),
    [
        (CHOICE, {"is_terminal": None}, "it lacks is_terminal"),
        (CHOICE, {"image": None}, "it lacks image, and has action"),
        (CHOICE, {"reward": np.zeros(5)}, r"reward \(5,\).* a row for the reset"),
        (CHOICE, {"reward": np.full(6, np.nan)}, "reward has values that are no"),
        (CHOICE, {"image": np.zeros((6, 3, 4, 4), np.uint8)}, r"uint8\[3, 4, 4\]"),
        (CHOICE, {"image": np.zeros((6, *IMAGE))}, "image is float64.*uint8"),
        (CHOICE, {"action": np.arange(6)}, "numbers from 1 to 5.*0 to 2"),
        (CHOICE, {"action": np.full((6, 3), 0.5)}, "not one-hot"),
        (CHOICE, {"action": np.full((6, 4), 0.5)}, r"action is .*\[4\].*\[3\]"),
        (NUMBERS, {"action": np.full((6, 2), 1.5)}, "as large as 1.5.*scale"),
        (CHOICE, {"is_first": ONES}, "is_first is True in row 1 of 6"),
        (CHOICE, {"is_last": ~ONES}, "is_last is False in row 5 of 6"),
        (CHOICE, {"is_terminal": ONES}, "is_terminal is True in row 0 of 6"),
        (CHOICE, {"is_terminal": 2 * ONES}, "is_terminal is no row of booleans"),
        (CHOICE, {"reward": np.array("nothing")}, "a row for the reset"),
    ],
)
def test_what_is_no_episode_of_the_task_names_file_and_key(
    tmp_path, spaces, changes, message
):
    write(tmp_path / "odd.npz", episode(5, **changes))
    with pytest.raises(recorded.RecordedError, match=rf"odd\.npz: .*{message}"):
        read(tmp_path, spaces)


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    write(tmp_path / "whole.npz", episode(9))
    content = (tmp_path / "whole.npz").read_bytes()
    for name, damaged in (
        ("cut", content[:-200]),
        ("empty", b""),
        ("text", b"not an archive"),
        ("flipped", content[:300] + bytes(20) + content[320:]),
    ):
        (tmp_path / f"{name}.npz").write_bytes(damaged)
        with pytest.raises(recorded.RecordedError, match=rf"{name}\.npz cannot be"):
            read(tmp_path)
        (tmp_path / f"{name}.npz").unlink()
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(recorded.RecordedError, match=r"array\.npz cannot be"):
        read(tmp_path)


def test_a_folder_without_episodes_tells_where_there_are_some(tmp_path):
    with pytest.raises(recorded.RecordedError, match="no .npz files. Give --offline"):
        read(tmp_path)
    with pytest.raises(recorded.RecordedError, match="is no folder"):
        read(tmp_path / "nowhere")
    write(tmp_path / "train_replay" / "a.npz", episode(5))
    with pytest.raises(recorded.RecordedError, match="There are some in .*_replay"):
        read(tmp_path)


def test_a_state_goes_on_with_the_same_batches_and_with_nothing_else(tmp_path):
    for seed in range(4):
        write(tmp_path / f"{seed}.npz", episode(5 + seed, seed))
    there = make_replay(read(tmp_path))
    stream = there.stream(2, 6)
    for _ in range(5):
        stream.next()
    states = there.get_state(), stream.get_state()
    again = make_replay(read(tmp_path))
    twin = again.stream(2, 6)
    again.set_state(states[0])
    twin.set_state(states[1])
    for _ in range(5):
        one, other = stream.next(), twin.next()
        for key, value in one.items():
            np.testing.assert_array_equal(value, other[key], err_msg=key)
    write(tmp_path / "2.npz", episode(7, seed=9))  # of the same name and length
    with pytest.raises(recorded.RecordedError, match="are not those that this run"):
        make_replay(read(tmp_path)).set_state(states[0])


def test_a_state_of_another_replay_is_refused(tmp_path):
    write(tmp_path / "a.npz", episode(5))
    target = make_replay(read(tmp_path))
    state = target.get_state()
    del state["recorded"]
    with pytest.raises(recorded.RecordedError, match="are not those that"):
        target.set_state(state)
