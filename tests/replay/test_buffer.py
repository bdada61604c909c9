"""Laws of the replay as a whole: what it holds, draws, writes and restores."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common import replay
from common.replay import retention, sampling, store

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=25)  # steps of episodes


def embed(episode):
    return np.sin(next(episode.parts("count"))[:4].astype(np.float32))


def score(batch):
    return np.array([np.cos(arrays["count"][0]) for arrays in batch])


def make_replay(directory=None, keep="fifo", draw="uniform", **kwargs):
    options = {"embed": embed, "number_of_comparisons": 5} if keep == "coverage" else {}
    kept = retention.make(keep, kwargs.get("seed", 0), **options)
    options = {"score": score, "recalculation": 4} if draw == "uncertainty" else {}
    drawn = sampling.make(draw, kwargs.get("seed", 0), **options)
    defaults = dict(
        capacity=100, minlen=3, maxlen=20, prioritize_ends=True, seed=0, cache_bytes=5e4
    )
    return replay.Replay(
        directory, retention=kept, sampling=drawn, **(defaults | kwargs)
    )


class Collector:
    """Feeds episodes whose observation `count` numbers all transitions ever made."""

    def __init__(self, target):
        self.target = target
        self.count = 0
        self.made = []  # arrays of every finished episode

    def step(self, time, steps, worker=0, task=0):
        transition = {
            "count": np.int32(self.count),
            "image": np.full((2, 2, 1), self.count % 251, np.uint8),
            "action": np.full(2, self.count, np.float32),
            "reward": np.float32(np.sin(self.count)),
            "is_first": time == 0,
            "is_last": time == steps,
            "is_terminal": time == steps and steps % 2 == 0,
            "log_secret": "not stored",
        }
        self.count += 1
        return transition, self.target.add_step(transition, worker, task)

    def episode(self, steps, worker=0, task=0):
        rows = [self.step(time, steps, worker, task) for time in range(steps + 1)]
        arrays = {
            key: np.stack([np.asarray(row[key]) for row, _ in rows])
            for key in rows[0][0]
            if not key.startswith("log_")
        }
        self.made.append(arrays)
        return rows[-1][1]


def fill(target, lengths, task=0):
    collector = Collector(target)
    for steps in lengths:
        collector.episode(steps, task=task)
    return collector


def held_counts(target):
    """First `count` of every held episode, in the order in which they are held."""
    held = target._contents.episodes
    return {index: int(e.chunk(0)["count"][0]) for index, e in held.items()}


def names(directory):
    return sorted(path.name for path in directory.glob("*.npz"))


def assert_same(left, right):
    assert list(left) == list(right)
    for key in left:
        assert left[key].dtype == right[key].dtype
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


# ---------------------------------------------------------------- windows, streams


class Twin:
    """The stream, slowly: one transition after the other from whole raw episodes."""

    def __init__(self, made, batch, length, minlen, maxlen, prioritize_ends, seed):
        self.episodes = [arrays for arrays in made if len(arrays["reward"]) > minlen]
        self.minlen, self.maxlen, self.prioritize = minlen, maxlen, prioritize_ends
        self.choose = np.random.default_rng([seed, 3])
        self.cut = np.random.default_rng([seed, 4, 0])
        self.length = length
        self.waiting = [[] for _ in range(batch)]

    def next(self):
        rows = []
        for waiting in self.waiting:
            while len(waiting) < self.length:
                waiting += self.window()
            rows.append([waiting.pop(0) for _ in range(self.length)])
        return {
            key: np.stack([np.stack([step[key] for step in row]) for row in rows])
            for key in rows[0][0]
        }

    def window(self):
        arrays = self.episodes[self.choose.integers(len(self.episodes))]
        total = len(arrays["reward"])
        length = min(total, self.maxlen) - self.cut.integers(self.minlen)
        length = max(length, self.minlen)
        upper = total - length + 1 + (self.minlen if self.prioritize else 0)
        start = min(self.cut.integers(upper), total - length)
        steps = [
            {key: value[i] for key, value in arrays.items()}
            for i in range(start, start + length)
        ]
        steps[0]["is_first"] = np.bool_(True)
        return steps


@settings(max_examples=25)
@given(
    lengths=LENGTHS,
    batch=st.integers(1, 4),
    length=st.integers(1, 30),
    minlen=st.integers(1, 9),
    more=st.integers(0, 30),
    ends=st.booleans(),
    prefetch=st.booleans(),
    cache=st.sampled_from([0, 700, 10**6]),
)
def test_a_stream_equals_its_slow_twin(
    lengths, batch, length, minlen, more, ends, prefetch, cache
):
    lengths = [*lengths, minlen]
    rules = dict(minlen=minlen, maxlen=minlen + more, prioritize_ends=ends, seed=3)
    target = make_replay(capacity=10**6, cache_bytes=cache, **rules)
    made = fill(target, lengths).made
    twin = Twin(made, batch, length, **rules)
    stream = target.stream(batch, length, prefetch=prefetch)
    for _ in range(4):
        result, expected = stream.next(), twin.next()
        assert_same({k: result[k] for k in expected}, expected)
        assert set(result) == set(expected)
    target.close()


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("keep", list(retention.RETENTION))
@pytest.mark.parametrize("draw", list(sampling.SAMPLING))
def test_any_two_strategies_give_rows_that_jump_only_at_seams(keep, draw, prefetch):
    target = make_replay(keep=keep, draw=draw, capacity=60)
    collector, rows = Collector(target), [[], [], []]
    collector.episode(12)
    stream = target.stream(3, 7, prefetch=prefetch)
    rng = np.random.default_rng(0)
    for _ in range(25):
        collector.episode(int(rng.integers(3, 30)), task=int(rng.integers(3)))
        batch = stream.next()
        assert batch["count"].shape == (3, 7)
        for row in range(3):
            rows[row] += zip(batch["count"][row], batch["is_first"][row], strict=True)
    for row in rows:
        assert row[0][1]
        for (before, _), (now, first) in zip(row, row[1:], strict=False):
            assert first or now == before + 1
    target.close()


def test_first_and_last_transition_are_drawn_and_nothing_beyond():
    for ends in (False, True):
        target = make_replay(minlen=3, maxlen=6, prioritize_ends=ends)
        fill(target, [10])
        counts = target.stream(8, 50).next()["count"]
        assert set(counts.ravel()) == set(range(11))


def test_lengths_and_starts_of_windows_follow_the_specification():
    minlen, maxlen, total, draws = 4, 9, 13, 4000
    for ends in (False, True):
        target = make_replay(minlen=minlen, maxlen=maxlen, prioritize_ends=ends)
        fill(target, [total - 1])
        rng = np.random.default_rng(0)
        windows = [target._draw(rng) for _ in range(draws)]
        expected = {}
        for cut in range(minlen):
            length = max(maxlen - cut, minlen)
            upper = total - length + 1 + (minlen if ends else 0)
            for start in range(upper):
                key = (min(start, total - length), length)
                expected[key] = expected.get(key, 0) + draws / minlen / upper
        found = {key: 0 for key in expected}
        for window in windows:
            found[window.start, window.stop - window.start] += 1
        test = stats.chisquare(list(found.values()), list(expected.values()))
        assert test.pvalue > 0.001


def test_the_shortest_episode_that_is_stored_can_be_drawn_whole():
    target = make_replay(minlen=5, maxlen=5)
    assert Collector(target).episode(4) is None
    assert target.stats()["skipped_episodes"] == 1
    with pytest.raises(LookupError, match="at least 5 steps.*1 were shorter"):
        target.stream(1, 5).next()
    fill(target, [5])
    assert len(np.unique(target.stream(4, 30).next()["count"])) == 6


def test_a_batch_is_fresh_contiguous_and_does_not_reach_the_store():
    target = make_replay()
    fill(target, [10, 12])
    stream = target.stream(2, 8)
    first = stream.next()
    kept = {key: value.copy() for key, value in first.items()}
    second = stream.next()
    for key in first:
        assert first[key].flags.c_contiguous and first[key].flags.writeable
        assert not np.shares_memory(first[key], second[key])
        second[key][...] = 1
    assert_same(first, kept)
    stored = target._contents.episodes[0].arrays()
    assert stored["is_first"].tolist() == [True] + [False] * 10
    assert "log_secret" not in first


def test_a_row_keeps_its_episode_though_it_leaves_meanwhile(tmp_path):
    target = make_replay(tmp_path, capacity=30, maxlen=30, minlen=1)
    collector = Collector(target)
    collector.episode(29)
    stream = target.stream(1, 2)
    before = stream.next()["count"][0, -1]
    while not stream.uses():
        before = stream.next()["count"][0, -1]
    collector.episode(29)
    target.flush()
    assert target.stats()["loaded_episodes"] == 1
    assert len(names(tmp_path)) == 2
    batch = stream.next()
    assert batch["count"][0, 0] == before + 1 and not batch["is_first"][0, 0]
    while stream.uses() and stream.uses()[0].index == 0:
        stream.next()
    collector.episode(29)
    target.flush()
    assert "000000-task0-len0029.npz" not in names(tmp_path)
    target.close()


# ------------------------------------------------------------- capacity, counters


@settings(max_examples=30)
@given(
    lengths=LENGTHS,
    capacity=st.integers(5, 80),
    keep=st.sampled_from(list(retention.RETENTION)),
    draw=st.sampled_from(list(sampling.SAMPLING)),
)
def test_capacity_and_counters_hold_after_every_episode(lengths, capacity, keep, draw):
    target = make_replay(keep=keep, draw=draw, capacity=capacity, minlen=3)
    collector, stored, skipped = Collector(target), [], 0
    for number, steps in enumerate(lengths):
        before = set(target._contents.episodes)
        index = collector.episode(steps, task=number % 3)
        held = target._contents.episodes
        skipped += steps < 3
        stored += [steps] if steps >= 3 else []
        assert set(held) <= before | {index}
        assert (index is None) == (index not in held)
        total = sum(episode.steps for episode in held.values())
        assert total <= capacity or list(held) == [len(stored) - 1]
        counts = target.stats()
        assert counts["total_steps"] == sum(stored)
        assert counts["total_episodes"] == len(stored)
        assert counts["skipped_episodes"] == skipped
        assert counts["loaded_steps"] == total
        assert counts["loaded_episodes"] == len(held) == len(target._contents._sampling)
        tasks = [episode.task for episode in held.values()]
        for task in range(3):
            assert counts.get(f"er_task_{task}", 0) == tasks.count(task)


@pytest.mark.parametrize("keep", list(retention.RETENTION))
def test_an_episode_longer_than_the_capacity_is_held_only_alone(keep):
    target = make_replay(keep=keep, capacity=20)
    collector = Collector(target)
    for steps, held in [(30, [30]), (25, [25]), (8, [8]), (7, [8, 7]), (30, [8, 7])]:
        collector.episode(steps)
        lengths = [episode.steps for episode in target._contents.episodes.values()]
        assert lengths == held


def simulate(keep, tasks, capacity, seeds):
    """Share of each task in the replay at the end, and the episodes counted."""
    counts = np.zeros(len(tasks))
    # All episodes of one length are alike: what is in them does not matter here.
    spare = Collector(make_replay(minlen=1))
    made = {
        length: [spare.step(time, length)[0] for time in range(length + 1)]
        for length in {length for _, steps in tasks for length in steps}
    }
    for seed in range(seeds):
        target = make_replay(keep=keep, seed=seed, capacity=capacity, minlen=1)
        for task, (number, steps) in enumerate(tasks):
            for i in range(number):
                for transition in made[steps[i % len(steps)]]:
                    target.add_step(transition, task=task)
        held = target.stats()
        counts += [held[f"er_task_{task}"] for task in range(len(tasks))]
    return counts


def test_reservoir_holds_four_equal_tasks_alike():
    counts = simulate("reservoir", [(50, [2])] * 4, 100, seeds=30)
    assert stats.chisquare(counts).pvalue > 0.01


def test_reservoir_holds_equal_tasks_alike_though_lengths_differ():
    lengths = [[2], [2, 6], [6], [1, 4]]
    counts = simulate("reservoir", [(50, steps) for steps in lengths], 200, seeds=30)
    assert stats.chisquare(counts).pvalue > 0.01


def test_reservoir_holds_unequal_tasks_in_proportion():
    counts = simulate("reservoir", [(20, [2]), (120, [2])], 40, seeds=30)
    assert stats.chisquare(counts, counts.sum() * np.array([1, 6]) / 7).pvalue > 0.01


def test_random_replacement_lets_old_tasks_fade():
    counts = simulate("random_replacement", [(50, [2])] * 4, 100, seeds=30)
    np.testing.assert_allclose(
        counts / counts.sum(), [0.04, 0.09, 0.25, 0.62], atol=0.03
    )


def test_fifo_holds_the_last_task_only():
    counts = simulate("fifo", [(50, [2])] * 4, 100, seeds=1)
    assert counts.tolist() == [0, 0, 0, 50]


# ---------------------------------------------------------------- unfinished ones


def test_workers_do_not_mix_and_an_abandoned_episode_is_forgotten():
    target = make_replay()
    collector = Collector(target)
    for time in range(5):
        collector.step(time, 9, worker=0)
        collector.step(time, 4, worker=1)
    assert target.stats()["loaded_episodes"] == 1
    counts = target._contents.episodes[0].arrays()["count"]
    assert counts.tolist() == [1, 3, 5, 7, 9]
    collector.episode(6, worker=0)  # begins anew although one was under way
    counts = target._contents.episodes[1].arrays()["count"]
    assert counts.tolist() == list(range(10, 17))


def test_no_episode_spans_a_reset_or_a_task_switch():
    target = make_replay()
    collector = Collector(target)
    collector.step(0, 9, task=0)
    with pytest.raises(ValueError, match="task 1, but one of task 0 is under way"):
        collector.step(1, 9, task=1)
    target.drop_ongoing()
    with pytest.raises(ValueError, match="but none is under way"):
        collector.step(2, 9, task=0)


def test_unfinished_episodes_are_drawn_only_if_asked_for():
    for ongoing in (False, True):
        target = make_replay(ongoing=ongoing, minlen=4, maxlen=8)
        collector = Collector(target)
        for time in range(4):
            collector.step(time, 40)
        with pytest.raises(LookupError):
            target.stream(1, 4).next()
        for time in range(4, 30):
            collector.step(time, 40)
        if not ongoing:
            with pytest.raises(LookupError):
                target.stream(1, 4).next()
            continue
        stream = target.stream(8, 100, prefetch=True)
        assert set(stream.next()["count"].ravel()) == set(range(30))
        collector.step(30, 40)
        stream.next()
        assert 30 in stream.next()["count"]
        state = json.loads(json.dumps(stream.get_state()))
        assert {saved for saved in state["rows"]} <= {None}
        target.drop_ongoing()
        with pytest.raises(LookupError):
            target.stream(1, 4).next()
        target.close()


# ----------------------------------------------------------------- disk and resume


def run_on(target, collector, stream, rounds, seed=0):
    """Collects and draws in turn; returns all draws."""
    rng, batches = np.random.default_rng(seed), []
    for _ in range(rounds):
        collector.episode(int(rng.integers(2, 30)), task=int(rng.integers(3)))
        batches += [stream.next(), stream.next()]
    return batches


@pytest.mark.parametrize("keep", list(retention.RETENTION))
@pytest.mark.parametrize("draw", list(sampling.SAMPLING))
def test_a_resumed_run_goes_on_exactly(tmp_path, keep, draw):
    def open_replay():
        target = make_replay(tmp_path, keep=keep, draw=draw, capacity=90, maxlen=25)
        return target, target.stream(3, 8, prefetch=draw == "reward")

    target, stream = open_replay()
    collector = Collector(target)
    run_on(target, collector, stream, 12)
    state = json.dumps([target.get_state(), stream.get_state()])
    assert str(tmp_path) not in state
    count, counters, held = collector.count, target.stats(), held_counts(target)
    expected = run_on(target, collector, stream, 12, seed=1)  # then the process dies
    target.flush()
    resumed, stream = open_replay()
    replay_state, stream_state = json.loads(state)
    resumed.set_state(replay_state)
    stream.set_state(stream_state)
    assert resumed.stats() == counters
    assert list(held_counts(resumed).items()) == list(held.items())
    collector = Collector(resumed)
    collector.count = count
    for one, other in zip(
        run_on(resumed, collector, stream, 12, seed=1), expected, strict=True
    ):
        assert_same(one, other)
    resumed.flush()
    assert resumed.stats() == target.stats()
    assert held_counts(resumed) == held_counts(target)
    last = resumed.get_state()
    resumed.close()
    assert set(names(tmp_path)) == {*last["held"], *last["in_use"]}


@settings(max_examples=15)
@given(lengths=LENGTHS, keep=st.sampled_from(["fifo", "reservoir"]))
def test_a_folder_without_a_state_comes_back_in_order(tmp_path_factory, lengths, keep):
    path = tmp_path_factory.mktemp("replay")
    target = make_replay(path, keep=keep, capacity=60, seed=5)
    fill(target, [*lengths, 5], task=2)
    target.close()
    again = make_replay(path, keep=keep, capacity=60, seed=5)
    assert held_counts(again) == held_counts(target)
    assert names(path) == [e.name for e in again._contents.episodes.values()]
    counts = target.stats()
    expected = counts | {
        "total_steps": counts["loaded_steps"],
        "total_episodes": counts["loaded_episodes"],
        "skipped_episodes": 0,
    }
    assert again.stats() == expected
    one, other = target.stream(2, 9), again.stream(2, 9)
    for _ in range(3):
        assert_same(one.next(), other.next())
    again.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_reservoir_without_a_state_goes_on_with_its_threshold(tmp_path, seed):
    rules = dict(keep="reservoir", capacity=100, seed=seed)
    target = make_replay(tmp_path, **rules)
    collector = fill(target, [31] * 12)
    while collector.episode(31) is None:  # the newest index must be on the disk
        pass
    target.close()
    again = make_replay(tmp_path, **rules)
    target._archive._folder = again._archive._folder = store.Nowhere()
    for _ in range(20):
        fill(target, [5])
        fill(again, [5])
        assert list(again._contents.episodes) == list(target._contents.episodes)


def test_nothing_drawn_before_a_state_is_restored_is_seen_after(tmp_path):
    target = make_replay(tmp_path)
    collector = fill(target, [9])
    state = target.get_state()
    collector.episode(9)
    target.close()
    again = make_replay(tmp_path)
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
    for keep in ("fifo", "reservoir", "random_replacement"):
        path = tmp_path / keep
        target = make_replay(path, keep=keep, capacity=30)
        fill(target, [9] * 12)
        target.flush()
        held = [episode.name for episode in target._contents.episodes.values()]
        assert [entry.name for entry in sorted(path.iterdir())] == sorted(held)
        target.close()


@pytest.mark.parametrize("keep", ["fifo", "reservoir"])
def test_evicted_files_are_kept_aside_if_asked_for(tmp_path, keep):
    target = make_replay(tmp_path, keep=keep, capacity=30, keep_evicted=True, seed=1)
    fill(target, [9] * 12)
    target.close()
    assert len(names(tmp_path)) == 3
    everything = names(tmp_path) + names(tmp_path / "evicted")
    indices = sorted(int(name[:6]) for name in everything)
    assert indices == list(range(12))
    again = make_replay(tmp_path, keep=keep, capacity=30, keep_evicted=True, seed=1)
    assert held_counts(again) == held_counts(target)
    assert again.stats() == target.stats()
    again.close()


def test_files_stay_as_long_as_one_of_two_saved_states_needs_them(tmp_path):
    target = make_replay(tmp_path, capacity=20, minlen=9)
    collector = fill(target, [9, 9])

    def on_disk():
        target.flush()
        return [int(name[:6]) for name in names(tmp_path)]

    target.get_state()  # needs 0 and 1
    collector.episode(9)
    assert on_disk() == [0, 1, 2]
    target.get_state()  # 1 and 2
    collector.episode(9)
    assert on_disk() == [0, 1, 2, 3]
    target.get_state()  # 2 and 3
    assert on_disk() == [1, 2, 3]
    target.get_state()
    assert on_disk() == [2, 3]
    target.close()


def test_episodes_after_the_state_are_dropped_and_lost_ones_reported(tmp_path):
    target = make_replay(tmp_path, capacity=50, minlen=9)
    collector = fill(target, [9] * 4)
    stream = target.stream(4, 5)
    stream.next()
    state, stream_state = target.get_state(), stream.get_state()
    collector.episode(9)
    target.close()
    for name in names(tmp_path)[:3]:
        (tmp_path / name).unlink()
    again = make_replay(tmp_path, capacity=50, minlen=9)
    with pytest.warns(UserWarning, match="3 of 4 episodes.*missing"):
        again.set_state(state)
    assert list(again._contents.episodes) == [3]
    assert [int(name[:6]) for name in names(tmp_path)] == [3]
    stream = again.stream(4, 5)
    with pytest.warns(UserWarning, match="gone"):
        stream.set_state(stream_state)
    assert stream.next()["count"].min() >= 30
    again.close()


def test_a_state_is_refused_that_cannot_belong_to_the_replay(tmp_path):
    target = make_replay(tmp_path)
    fill(target, [9])
    state, stream_state = target.get_state(), target.stream(2, 5).get_state()
    target.close()
    with pytest.raises(ValueError, match="None of the 1 episodes"):
        make_replay(tmp_path / "other").set_state(state)
    with pytest.raises(ValueError, match="Fifo.*Reservoir"):
        make_replay(tmp_path, keep="reservoir").set_state(state)
    with pytest.raises(ValueError, match="2 rows.*3"):
        make_replay().stream(3, 5).set_state(stream_state)


# ----------------------------------------------------------------------- bad input


def test_bad_files_are_moved_aside_with_one_warning(tmp_path):
    target = make_replay(tmp_path, capacity=1000)
    fill(target, [9] * 5)
    target.close()
    bad = names(tmp_path)[1:3]
    for name in bad:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    np.savez(tmp_path / "weights.npz", w=np.zeros(3))
    (tmp_path / "000009-task0-len0009.npz.tmp").write_text("cut short")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = make_replay(tmp_path, capacity=1000)
    assert len(caught) == 1 and "3 files" in str(caught[0].message)
    assert again.stats()["corrupt_files"] == 3
    assert list(again._contents.episodes) == [0, 3, 4]
    corrupt = sorted(path.name for path in tmp_path.glob("*.corrupt"))
    assert corrupt == [f"{name}.corrupt" for name in [*bad, "weights.npz"]]
    assert not list(tmp_path.glob("*.tmp"))
    assert fill(again, [9]).target.stats()["loaded_episodes"] == 4
    again.close()


def test_a_full_disk_costs_no_episode_and_one_warning(tmp_path, monkeypatch):
    target = make_replay(tmp_path, capacity=1000)
    collector = fill(target, [9])
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
        assert len(names(tmp_path)) == 1
        assert target.stats()["loaded_episodes"] == 6
        target.stream(2, 50).next()
        monkeypatch.setattr(np.lib.format, "write_array", write)
        collector.episode(9)
        target.flush()
        assert len(caught) == 1
        assert target.stats()["unwritten_episodes"] == 0
        assert len(names(tmp_path)) == 7
        monkeypatch.setattr(np.lib.format, "write_array", full)
        collector.episode(9)
        target.flush()
        assert len(caught) == 2
        monkeypatch.setattr(np.lib.format, "write_array", write)
    target.close()
    assert len(names(tmp_path)) == 8


def test_an_episode_that_left_is_not_written_any_more(tmp_path, monkeypatch):
    target = make_replay(tmp_path, capacity=20)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="No space"):
        patch.setattr(np.lib.format, "write_array", full)
        fill(target, [9] * 6)
        target.flush()
    target.close()
    assert [int(name[:6]) for name in names(tmp_path)] == [4, 5]


def test_other_shapes_are_an_error_that_names_both(tmp_path):
    target = make_replay(tmp_path)
    fill(target, [9])
    target.close()
    spec = np.zeros((3, 3, 1), np.uint8)
    specs = {"count": np.zeros((), np.int32), "image": spec}
    for make in (
        lambda: make_replay(tmp_path, specs=specs),
        lambda: fill(make_replay(specs=specs), [9]),
    ):
        with pytest.raises(ValueError) as error:
            make()
        assert "image uint8[2, 2, 1]" in str(error.value)
        assert "image uint8[3, 3, 1]" in str(error.value)
    specs["image"] = np.zeros((2, 2, 1), np.uint8)
    make_replay(tmp_path, specs=specs).close()
    again = make_replay(tmp_path)
    wrong = {
        **{"action": np.zeros(2, np.float32), "reward": 0.0, "is_first": True},
        **{"is_last": False, "is_terminal": False, "other": np.zeros(5)},
    }
    with pytest.raises(ValueError, match=r"other float64\[5\].*count int32\[\]"):
        again.add_step(wrong)
    again.close()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"minlen": 0}, "minlen is 0"),
        ({"maxlen": 2}, "maxlen is 2, less than replay.minlen, 3"),
        ({"capacity": 2}, "capacity is 2 steps, less than replay.minlen, 3"),
    ],
)
def test_impossible_lengths_are_errors_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        make_replay(**options)


def test_impossible_batches_are_errors_at_once(tmp_path):
    with pytest.raises(ValueError, match="capacity is 100 steps.*length, 101"):
        make_replay().stream(1, 101)
    with pytest.raises(ValueError, match="0 x 5"):
        make_replay().stream(0, 5)
    target = make_replay(tmp_path)
    fill(target, [9])
    target.close()
    with pytest.raises(ValueError, match="len0009.npz has fewer steps.*minlen, 10"):
        make_replay(tmp_path, minlen=10)
