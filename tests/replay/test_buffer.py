"""Laws of the replay as a whole: what it holds and what it draws."""

import json

import numpy as np
import pytest
import replays
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from common import replay
from common.replay.strategies import retention, sampling

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=25)  # steps of episodes


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
    target = replays.make(capacity=10**6, cache_bytes=cache, **rules)
    made = replays.fill(target, lengths).made
    twin = Twin(made, batch, length, **rules)
    stream = target.stream(batch, length, prefetch=prefetch)
    for _ in range(4):
        result, expected = stream.next(), twin.next()
        replays.assert_same(result, expected)
    target.close()


@pytest.mark.slow
@pytest.mark.parametrize("prefetch", [False, True])
def test_any_two_strategies_give_rows_that_jump_only_at_seams(prefetch):
    for keep, draw in replays.PAIRS:
        target = replays.make(keep=keep, draw=draw, capacity=60)
        collector, batches = replays.Collector(target), []
        collector.episode(12)
        stream = target.stream(3, 7, prefetch=prefetch)
        rng = np.random.default_rng(0)
        for _ in range(25):
            collector.episode(int(rng.integers(3, 30)), task=int(rng.integers(3)))
            batches.append(stream.next())
        counts, first = (
            np.concatenate([batch[key] for batch in batches], 1)
            for key in ("count", "is_first")
        )
        assert counts.shape == (3, 25 * 7) and first[:, 0].all()
        seams = np.diff(counts) != 1
        assert not (seams & ~first[:, 1:]).any(), (keep, draw)
        target.close()


def test_first_and_last_transition_are_drawn_and_nothing_beyond():
    for ends in (False, True):
        target = replays.make(minlen=3, maxlen=6, prioritize_ends=ends)
        replays.fill(target, [10])
        counts = target.stream(8, 50).next()["count"]
        assert set(counts.ravel()) == set(range(11))


def test_lengths_and_starts_of_windows_follow_the_specification():
    minlen, maxlen, total, draws = 4, 9, 13, 4000
    for ends in (False, True):
        target = replays.make(minlen=minlen, maxlen=maxlen, prioritize_ends=ends)
        replays.fill(target, [total - 1])
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
    target = replays.make(minlen=5, maxlen=5)
    assert replays.Collector(target).episode(4) is None
    assert target.stats()["skipped_episodes"] == 1
    with pytest.raises(LookupError, match="at least 5 steps.*1 were shorter"):
        target.stream(1, 5).next()
    replays.fill(target, [5])
    assert len(np.unique(target.stream(4, 30).next()["count"])) == 6


def test_a_batch_is_fresh_contiguous_and_does_not_reach_the_store():
    target = replays.make()
    replays.fill(target, [10, 12])
    stream = target.stream(2, 8)
    first = stream.next()
    kept = {key: value.copy() for key, value in first.items()}
    second = stream.next()
    for key in first:
        assert first[key].flags.c_contiguous and first[key].flags.writeable
        assert not np.shares_memory(first[key], second[key])
        second[key][...] = 1
    replays.assert_same(first, kept)
    stored = replays.held(target)[0].arrays()
    assert stored["is_first"].tolist() == [True] + [False] * 10
    assert "log_secret" not in first


def test_a_row_keeps_its_episode_though_it_leaves_meanwhile(tmp_path):
    target = replays.make(tmp_path, capacity=30, maxlen=30, minlen=1)
    collector = replays.Collector(target)
    collector.episode(29)
    stream = target.stream(1, 2)
    before = stream.next()["count"][0, -1]
    while not stream.uses():
        before = stream.next()["count"][0, -1]
    collector.episode(29)
    target.flush()
    assert target.stats()["loaded_episodes"] == 1
    assert len(replays.names(tmp_path)) == 2
    batch = stream.next()
    assert batch["count"][0, 0] == before + 1 and not batch["is_first"][0, 0]
    while stream.uses() and stream.uses()[0].index == 0:
        stream.next()
    collector.episode(29)
    target.flush()
    assert "000000-task0-len0029.npz" not in replays.names(tmp_path)
    target.close()


# ------------------------------------------------------------- capacity, counters


@pytest.mark.filterwarnings(replays.LONG)
@settings(max_examples=30)
@given(
    lengths=LENGTHS,
    capacity=st.integers(5, 80),
    keep=st.sampled_from(list(retention.RETENTION)),
    draw=st.sampled_from(list(sampling.SAMPLING)),
)
def test_capacity_and_counters_hold_after_every_episode(lengths, capacity, keep, draw):
    target = replays.make(keep=keep, draw=draw, capacity=capacity, minlen=3)
    collector, stored, skipped = replays.Collector(target), [], 0
    for number, steps in enumerate(lengths):
        before = set(replays.held(target))
        index = collector.episode(steps, task=number % 3)
        held = replays.held(target)
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
        assert counts["loaded_episodes"] == len(held)
        tasks = [episode.task for episode in held.values()]
        for task in range(3):
            assert counts.get(f"er_task_{task}", 0) == tasks.count(task)


@pytest.mark.filterwarnings(replays.LONG)
def test_an_episode_longer_than_the_capacity_is_held_only_alone():
    story = [(30, [30]), (25, [25]), (8, [8]), (7, [8, 7]), (30, [8, 7])]
    for keep in retention.RETENTION:
        target = replays.make(keep=keep, capacity=20)
        collector = replays.Collector(target)
        for steps, expected in story:
            collector.episode(steps)
            lengths = [episode.steps for episode in replays.held(target).values()]
            assert lengths == expected, keep


def simulate(keep, tasks, capacity, seeds):
    """Share of each task in the replay at the end, and the episodes counted."""
    counts = np.zeros(len(tasks))
    # All episodes of one length are alike: what is in them does not matter here.
    spare = replays.Collector(replays.make(minlen=1))
    made = {
        length: [spare.step(time, length)[0] for time in range(length + 1)]
        for length in {length for _, steps in tasks for length in steps}
    }
    for seed in range(seeds):
        rules = dict(capacity=capacity, minlen=1, cls=replay.Replay)
        target = replays.make(keep=keep, seed=seed, **rules)
        for task, (number, steps) in enumerate(tasks):
            for i in range(number):
                for transition in made[steps[i % len(steps)]]:
                    target.add_step(transition, task=task)
        held = target.stats()
        counts += [held[f"er_task_{task}"] for task in range(len(tasks))]
    return counts


@pytest.mark.parametrize(
    ("tasks", "capacity"),
    [
        ([(50, [2])] * 4, 100),
        ([(50, steps) for steps in ([2], [2, 6], [6], [1, 4])], 200),
        ([(20, [2]), (120, [2])], 40),
    ],
    ids=["equal", "of other lengths", "unequal"],
)
def test_reservoir_holds_tasks_in_proportion_to_their_episodes(tasks, capacity):
    counts = simulate("reservoir", tasks, capacity, seeds=30)
    arrived = np.array([number for number, _ in tasks])
    expected = counts.sum() * arrived / arrived.sum()
    assert stats.chisquare(counts, expected).pvalue > 0.01


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
    target = replays.make()
    collector = replays.Collector(target)
    for time in range(5):
        collector.step(time, 9, worker=0)
        collector.step(time, 4, worker=1)
    assert target.stats()["loaded_episodes"] == 1
    counts = replays.held(target)[0].arrays()["count"]
    assert counts.tolist() == [1, 3, 5, 7, 9]
    collector.episode(6, worker=0)  # begins anew although one was under way
    counts = replays.held(target)[1].arrays()["count"]
    assert counts.tolist() == list(range(10, 17))


def test_no_episode_spans_a_reset_or_a_task_switch():
    target = replays.make()
    collector = replays.Collector(target)
    collector.step(0, 9, task=0)
    with pytest.raises(ValueError, match="task 1, but one of task 0 is under way"):
        collector.step(1, 9, task=1)
    target.drop_ongoing()
    with pytest.raises(ValueError, match="but none is under way"):
        collector.step(2, 9, task=0)


def test_unfinished_episodes_are_drawn_only_if_asked_for():
    for ongoing in (False, True):
        target = replays.make(ongoing=ongoing, minlen=4, maxlen=8)
        collector = replays.Collector(target)
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


def test_other_shapes_are_an_error_that_names_both(tmp_path):
    target = replays.make(tmp_path)
    replays.fill(target, [9])
    target.close()
    spec = np.zeros((3, 3, 1), np.uint8)
    specs = {"count": np.zeros((), np.int32), "image": spec}
    for make in (
        lambda: replays.make(tmp_path, specs=specs),
        lambda: replays.fill(replays.make(specs=specs), [9]),
    ):
        with pytest.raises(ValueError) as error:
            make()
        assert "image uint8[2, 2, 1]" in str(error.value)
        assert "image uint8[3, 3, 1]" in str(error.value)
    specs["image"] = np.zeros((2, 2, 1), np.uint8)
    replays.make(tmp_path, specs=specs).close()
    again = replays.make(tmp_path)
    wrong = {
        **{"action": np.zeros(2, np.float32), "reward": 0.0, "is_first": True},
        **{"is_last": False, "is_terminal": False, "other": np.zeros(5)},
    }
    with pytest.raises(ValueError, match=r"other float64\[5\].*count int32\[\]"):
        again.add_step(wrong)
    again.close()


def test_impossible_lengths_are_errors_at_once(tmp_path):
    for options, message in (
        ({"minlen": 0}, "minlen is 0"),
        ({"maxlen": 2}, "maxlen is 2, less than replay.minlen, 3"),
        ({"capacity": 2}, "capacity is 2 steps, less than replay.minlen, 3"),
    ):
        with pytest.raises(ValueError, match=message):
            replays.make(**options)
    with pytest.raises(ValueError, match="capacity is 100 steps.*length, 101"):
        replays.make().stream(1, 101)
    with pytest.raises(ValueError, match="0 x 5"):
        replays.make().stream(0, 5)
    target = replays.make(tmp_path)
    replays.fill(target, [9])
    target.close()
    with pytest.raises(ValueError, match="len0009.npz has fewer steps.*minlen, 10"):
        replays.make(tmp_path, minlen=10)
