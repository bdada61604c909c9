"""Laws of the replay's folder: what is on the disk, and how a run goes on from it."""

import json
import pathlib
import warnings

import numpy as np
import pytest
import replays
from hypothesis import given, settings
from hypothesis import strategies as st

from common import replay
from common.replay import store
from common.replay.strategies import retention, sampling

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=25)  # steps of episodes


def run_on(target, collector, stream, rounds, seed=0):
    """Collects and draws in turn; returns all draws."""
    rng, batches = np.random.default_rng(seed), []
    for _ in range(rounds):
        collector.episode(int(rng.integers(2, 30)), task=int(rng.integers(3)))
        batches += [stream.next(), stream.next()]
    return batches


@pytest.mark.parametrize("keep", list(retention.RETENTION))
def test_a_resumed_run_goes_on_exactly(tmp_path, keep):
    for draw in sampling.SAMPLING:
        resume_and_compare(tmp_path / draw, keep, draw)


def resume_and_compare(path, keep, draw):
    def open_replay():
        target = replays.make(path, keep=keep, draw=draw, capacity=90, maxlen=25)
        return target, target.stream(3, 8, prefetch=draw == "reward")

    target, stream = open_replay()
    collector = replays.Collector(target)
    run_on(target, collector, stream, 12)
    state = json.dumps([target.get_state(), stream.get_state()])
    assert str(path) not in state
    count, counters, held = (
        collector.count,
        target.stats(),
        replays.first_counts(target),
    )
    expected = run_on(target, collector, stream, 12, seed=1)  # then the process dies
    target.flush()
    resumed, stream = open_replay()
    replay_state, stream_state = json.loads(state)
    resumed.set_state(replay_state)
    stream.set_state(stream_state)
    assert resumed.stats() == counters
    assert replays.first_counts(resumed) == held
    collector = replays.Collector(resumed)
    collector.count = count
    for one, other in zip(
        run_on(resumed, collector, stream, 12, seed=1), expected, strict=True
    ):
        replays.assert_same(one, other)
    resumed.flush()
    assert resumed.stats() == target.stats()
    assert replays.first_counts(resumed) == replays.first_counts(target)
    last = resumed.get_state()
    resumed.keep([last])
    resumed.close()
    assert set(replays.names(path)) == {*last["held"], *last["in_use"]}


@pytest.mark.filterwarnings(replays.LONG)
@settings(max_examples=15)
@given(lengths=LENGTHS, keep=st.sampled_from(["fifo", "reservoir", "split"]))
def test_a_folder_without_a_state_comes_back_in_order(tmp_path_factory, lengths, keep):
    path = tmp_path_factory.mktemp("replay")
    target = replays.make(path, keep=keep, capacity=60, seed=5)
    replays.fill(target, [*lengths, 5], task=2)
    target.close()
    again = replays.make(path, keep=keep, capacity=60, seed=5)
    assert replays.first_counts(again) == replays.first_counts(target)
    assert replays.names(path) == [e.name for e in replays.held(again).values()]
    counts = target.stats()
    expected = counts | {
        "total_steps": counts["loaded_steps"],
        "total_episodes": counts["loaded_episodes"],
        "skipped_episodes": 0,
    }
    assert again.stats() == expected
    one, other = target.stream(2, 9), again.stream(2, 9)
    for _ in range(3):
        replays.assert_same(one.next(), other.next())
    again.close()


def test_a_reservoir_without_a_state_goes_on_with_its_threshold(tmp_path):
    for seed in range(5):
        rules = dict(keep="reservoir", capacity=100, seed=seed)
        target = replays.make(tmp_path / str(seed), **rules)
        collector = replays.fill(target, [31] * 12)
        while collector.episode(31) is None:  # the newest index must be on the disk
            pass
        target.close()
        again = replays.make(tmp_path / str(seed), **rules)
        again.close()
        target._archive._folder = again._archive._folder = store.Nowhere()
        for _ in range(20):
            replays.fill(target, [5])
            replays.fill(again, [5])
            assert list(replays.held(again)) == list(replays.held(target))


def test_nothing_drawn_before_a_state_is_restored_is_seen_after(tmp_path):
    target = replays.make(tmp_path)
    collector = replays.fill(target, [9])
    state = target.get_state()
    collector.episode(9)
    target.close()
    again = replays.make(tmp_path)
    again.stream(4, 50).next()
    again.set_state(state)
    collector.target = again
    collector.episode(9)  # has the index of the episode that was dropped
    assert set(again.stream(4, 50).next()["count"].ravel()) == {
        *range(10),
        *range(20, 30),
    }
    again.close()


def test_only_what_is_retained_stays_on_disk(tmp_path):
    for keep in ("fifo", "reservoir", "split", "random_replacement"):
        path = tmp_path / keep
        target = replays.make(path, keep=keep, capacity=30)
        replays.fill(target, [9] * 12)
        target.flush()
        held = [episode.name for episode in replays.held(target).values()]
        assert [entry.name for entry in sorted(path.iterdir())] == sorted(held)
        target.close()


@pytest.mark.parametrize("keep", ["fifo", "reservoir", "split"])
def test_evicted_files_are_kept_aside_if_asked_for(tmp_path, keep):
    target = replays.make(tmp_path, keep=keep, capacity=30, keep_evicted=True, seed=1)
    replays.fill(target, [9] * 12)
    target.close()
    assert len(replays.names(tmp_path)) == 3
    everything = replays.names(tmp_path) + replays.names(tmp_path / "evicted")
    indices = sorted(int(name[:6]) for name in everything)
    assert indices == list(range(12))
    again = replays.make(tmp_path, keep=keep, capacity=30, keep_evicted=True, seed=1)
    assert replays.first_counts(again) == replays.first_counts(target)
    assert again.stats() == target.stats()
    again.close()


def test_files_stay_as_long_as_a_state_that_is_kept_needs_them(tmp_path):
    target = replays.make(tmp_path, capacity=20, minlen=9)
    collector = replays.fill(target, [9, 9])

    def on_disk():
        target.flush()
        return replays.numbers(tmp_path)

    states = [target.get_state()]  # needs 0 and 1
    collector.episode(9)
    assert on_disk() == [0, 1, 2]
    states.append(target.get_state())  # 1 and 2
    target.keep(states)
    collector.episode(9)
    assert on_disk() == [0, 1, 2, 3]
    for _ in range(3):
        target.get_state()  # 2 and 3; whether it has come to the disk is not known
    assert on_disk() == [0, 1, 2, 3]
    target.keep(states[1:])
    assert on_disk() == [1, 2, 3]
    target.close()
    assert replays.numbers(tmp_path) == [1, 2, 3]


def test_a_state_that_names_an_unwritten_episode_is_refused(tmp_path, monkeypatch):
    target = replays.make(tmp_path, capacity=20, minlen=9)
    collector = replays.fill(target, [9, 9])
    states = [target.get_state()]

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="No space"):
        patch.setattr(np.lib.format, "write_array", full)
        for _ in range(3):
            collector.episode(9)
            with pytest.raises(replay.UnwrittenError, match="[12] episodes .*No space"):
                target.get_state()
    target.close()
    again = replays.make(tmp_path, capacity=20, minlen=9)
    again.set_state(states[0])
    assert list(replays.held(again)) == [0, 1]
    again.close()


@pytest.mark.parametrize("drawn", [False, True])
def test_a_folder_that_was_only_opened_is_as_it_was(tmp_path, drawn):
    target = replays.make(tmp_path, capacity=100)
    collector = replays.fill(target, [9] * 8)
    state = target.get_state()
    collector.episode(9)  # later than the state
    target.close()
    name = replays.names(tmp_path)[2]
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    (tmp_path / "000009-task0-len0009.npz.tmp").write_text("cut short")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for restored in (False, True):
        with pytest.warns(UserWarning, match="no complete episodes"):
            again = replays.make(tmp_path, capacity=30)
        if drawn:
            again.stream(2, 5).next()
        if restored:
            with pytest.warns(UserWarning, match="1 of 8 episodes"):
                again.set_state(state)
        again.close()
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_episodes_after_the_state_are_dropped_and_lost_ones_reported(tmp_path):
    target = replays.make(tmp_path, capacity=50, minlen=9)
    collector = replays.fill(target, [9] * 4)
    stream = target.stream(4, 5)
    stream.next()
    state, stream_state = target.get_state(), stream.get_state()
    collector.episode(9)
    target.close()
    for name in replays.names(tmp_path)[:3]:
        (tmp_path / name).unlink()
    again = replays.make(tmp_path, capacity=50, minlen=9)
    with pytest.warns(UserWarning, match="3 of 4 episodes.*missing"):
        again.set_state(state)
    assert list(replays.held(again)) == [3]
    assert replays.numbers(tmp_path) == [3, 4]
    stream = again.stream(4, 5)
    with pytest.warns(UserWarning, match="gone"):
        stream.set_state(stream_state)
    assert stream.next()["count"].min() >= 30
    collector.target = again
    collector.episode(12)
    again.close()
    assert replays.names(tmp_path)[1:] == ["000004-task0-len0012.npz"]


def test_all_rows_begin_anew_if_the_batch_chosen_ahead_is_lost():
    target = replays.make()
    replays.fill(target, [20, 20])
    ahead, plain = target.stream(4, 3, prefetch=True), target.stream(4, 3)
    for _ in range(5):
        ahead.next()
    plain.set_state(ahead.get_state())  # else the rows went on behind that batch
    assert plain.next()["is_first"][:, 0].all()
    target.close()


def test_a_state_is_refused_that_cannot_belong_to_the_replay(tmp_path):
    target = replays.make(tmp_path)
    replays.fill(target, [9])
    state = target.get_state()
    target.close()
    with pytest.raises(ValueError, match="None of the 1 episodes"):
        replays.make(tmp_path / "other").set_state(state)
    with pytest.raises(ValueError, match="Fifo.*Reservoir"):
        replays.make(tmp_path, keep="reservoir").set_state(state)


def test_a_state_of_another_number_of_rows_lets_all_begin_anew():
    target = replays.make()
    replays.fill(target, [20, 20])
    stream, wider = target.stream(2, 3, prefetch=True), target.stream(3, 3)
    for _ in range(2):
        stream.next()
    wider.set_state(stream.get_state())
    assert wider.next()["is_first"][:, 0].all()
    assert not wider.next()["is_first"][:, 0].any()
    target.close()


@pytest.mark.filterwarnings(replays.LONG)
@pytest.mark.parametrize("keep", list(retention.RETENTION))
@pytest.mark.parametrize("capacity", [50, 400])
def test_a_replay_goes_on_with_another_capacity(tmp_path, keep, capacity):
    target = replays.make(tmp_path, keep=keep, capacity=200)
    collector = replays.fill(target, [9, 25] * 12)
    state = target.get_state()
    target.close()
    again = replays.make(None, keep=keep, capacity=capacity)
    again.open(tmp_path, state)
    again.set_state(state)
    held = [episode.name for episode in replays.held(again).values()]
    assert held == state["held"] or capacity < 200 > again.stats()["loaded_steps"]
    collector.target = again
    for steps in [9, 25] * 12:
        collector.episode(steps)
        assert again.stats()["loaded_steps"] <= capacity
    again.close()


def test_bad_files_are_moved_aside_with_one_warning(tmp_path):
    target = replays.make(tmp_path, capacity=1000)
    replays.fill(target, [9] * 5)
    target.close()
    bad = replays.names(tmp_path)[1:3]
    for name in bad:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    np.savez(tmp_path / "weights.npz", w=np.zeros(3))
    (tmp_path / "000009-task0-len0009.npz.tmp").write_text("cut short")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = replays.make(tmp_path, capacity=1000)
    assert len(caught) == 1 and "2 files" in str(caught[0].message)
    assert again.stats()["corrupt_files"] == 2
    assert list(replays.held(again)) == [0, 3, 4]
    assert replays.fill(again, [9]).target.stats()["loaded_episodes"] == 4
    again.close()
    corrupt = sorted(path.name for path in tmp_path.glob("*.corrupt"))
    assert corrupt == [f"{name}.corrupt" for name in bad]
    assert not list(tmp_path.glob("*.tmp"))
    assert (tmp_path / "weights.npz").exists()  # somebody else's


def test_folders_named_like_episodes_are_moved_out_of_the_way(tmp_path):
    names = [f"00000{i}-task0-len0009.npz" for i in range(3)]
    taken = [names[0], f"{names[1]}.tmp", f"{names[2]}.corrupt"]
    for name in taken:
        (tmp_path / name).mkdir()
        (tmp_path / name / "own").write_text("own")
    (tmp_path / names[2]).write_text("no episode")
    with pytest.warns(UserWarning, match="1 files .* no complete episodes"):
        target = replays.make(tmp_path, capacity=1000)
    replays.fill(target, [9] * 3)
    target.close()
    assert replays.names(tmp_path) == names
    left = sorted(path.name for path in tmp_path.glob("*.corrupt*"))
    assert left == sorted(
        [f"{taken[0]}.corrupt", f"{taken[1]}.corrupt", taken[2], f"{taken[2]}-2"]
    )
    assert len(list(tmp_path.glob("*/own"))) == 3


def test_a_number_that_no_run_comes_to_is_refused_at_once(tmp_path):
    target = replays.make(tmp_path, capacity=1000)
    replays.fill(target, [9])
    target.close()
    (name,) = replays.names(tmp_path)
    (tmp_path / name).rename(tmp_path / "999999999-task0-len0009.npz")
    with pytest.raises(ValueError, match="has the number 999999999, but 1 are there"):
        replays.make(tmp_path, capacity=1000)
    (tmp_path / "999999999-task0-len0009.npz").rename(
        tmp_path / f"{10**18}-task0-len0009.npz"
    )
    replays.make(tmp_path, capacity=1000).close()  # is somebody else's
    assert replays.names(tmp_path) == [f"{10**18}-task0-len0009.npz"]


def test_files_that_cannot_be_removed_cost_one_warning_and_nothing_else(
    tmp_path, monkeypatch
):
    target = replays.make(tmp_path, capacity=30, cls=replay.Replay)
    collector = replays.fill(target, [9] * 3)
    target.flush()

    def forbidden(self, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(pathlib.Path, "unlink", forbidden)
    with pytest.warns(UserWarning, match="stays: .*Permission denied") as caught:
        for _ in range(3):
            collector.episode(9)
        target.close()
    assert len(caught) == 1
    assert len(replays.names(tmp_path)) == 6


def test_a_full_disk_costs_no_episode_and_one_warning(tmp_path, monkeypatch):
    target = replays.make(tmp_path, capacity=1000)
    collector = replays.fill(target, [9])
    target.flush()
    write = np.lib.format.write_array

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(5):
            collector.episode(9)
        target.flush()
        assert len(caught) == 1 and "No space left" in str(caught[0].message)
        assert target.stats()["unwritten_episodes"] == 5
        assert len(replays.names(tmp_path)) == 1
        assert target.stats()["loaded_episodes"] == 6
        target.stream(2, 50).next()
        monkeypatch.setattr(np.lib.format, "write_array", write)
        collector.episode(9)
        target.flush()
        assert len(caught) == 1
        assert target.stats()["unwritten_episodes"] == 0
        assert len(replays.names(tmp_path)) == 7
        monkeypatch.setattr(np.lib.format, "write_array", full)
        collector.episode(9)
        target.flush()
        assert len(caught) == 2
        monkeypatch.setattr(np.lib.format, "write_array", write)
    target.close()
    assert len(replays.names(tmp_path)) == 8


def test_an_episode_that_left_is_not_written_any_more(tmp_path, monkeypatch):
    target = replays.make(tmp_path, capacity=20)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="No space"):
        patch.setattr(np.lib.format, "write_array", full)
        replays.fill(target, [9] * 6)
        target.flush()
    target.close()
    assert replays.numbers(tmp_path) == [4, 5]
