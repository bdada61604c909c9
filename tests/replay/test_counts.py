"""Laws of counting what is drawn from the replay."""

import json

import numpy as np
import replays

from common.replay import counts


def count(draws):
    """The counts of draws (task, index), and the same after a way through JSON."""
    result = counts.Counts()
    for task, index in draws:
        result.add(task, index)
    again = counts.Counts()
    again.set_state(json.loads(json.dumps(result.get_state())))
    assert again.by_task() == result.by_task()
    assert again.by_arrival() == result.by_arrival()
    again.check_valid()
    return again


def test_draws_are_counted_by_task_and_by_the_number_of_their_episode():
    found = count([(0, 1), (2, 3), (0, 1)])
    assert found.by_task() == {"drawn_task_0": 2, "drawn_task_2": 1}
    bins = {f"drawn_bin_{i}": n for i, n in enumerate([0, 2, 0, 1])}
    assert found.by_arrival() == {"drawn_width": 1, **bins}


def test_bins_widen_by_twos_and_lose_no_draw():
    for newest in (counts.BINS - 1, counts.BINS, 100, 1000):
        rng = np.random.default_rng(0)
        draws = rng.integers(newest + 1, size=500).tolist() + [newest]
        found = count([(0, index) for index in draws]).by_arrival()
        width = found.pop("drawn_width")
        assert newest < counts.BINS * width <= max(2 * (newest + 1), counts.BINS)
        expected = np.bincount(np.array(draws) // width)
        assert list(found.values()) == expected.tolist()
        assert len(found) <= counts.BINS


def test_the_order_of_draws_makes_no_difference():
    draws = [(0, index) for index in (3, 900, 40, 0, 77, 31, 32)]
    assert count(draws).by_arrival() == count(draws[::-1]).by_arrival()


def make_replay(directory=None, **options):
    return replays.make(directory, capacity=40, minlen=2, maxlen=4, **options)


def test_the_replay_tells_steps_held_and_windows_drawn_by_task():
    target = make_replay()
    replays.fill(target, [10, 10])
    assert target.shares() == {"er_steps_0": 20}
    stream = target.stream(2, 4)
    for _ in range(20):
        stream.next()
    drawn = target.shares()["drawn_task_0"]
    assert drawn >= 40
    replays.fill(target, [10, 10, 7], task=1)  # the first episode leaves
    shares = target.shares()
    assert (shares["er_steps_0"], shares["er_steps_1"]) == (10, 27)
    assert shares["drawn_task_0"] == drawn and "drawn_task_1" not in shares
    for _ in range(20):
        stream.next()
    shares = target.shares(arrival=True)
    assert shares["drawn_width"] == 1
    bins = [shares[f"drawn_bin_{i}"] for i in range(5)]
    assert sum(bins) == shares["drawn_task_0"] + shares["drawn_task_1"]
    assert sum(bins[:2]) == shares["drawn_task_0"]


def test_a_stream_may_draw_without_being_counted():
    target = make_replay()
    replays.fill(target, [10])
    target.stream(2, 4, counted=False).next()
    assert target.shares() == {"er_steps_0": 10}


def test_an_unfinished_episode_counts_as_the_next_to_arrive():
    target = make_replay(ongoing=True)
    replays.fill(target, [3, 3])
    for time in range(5):
        target.add_step(replays.transition(time, time, 9))
    stream = target.stream(4, 4)
    for _ in range(10):
        stream.next()
    assert target.shares(arrival=True)["drawn_bin_2"] > 0


def test_the_counts_go_on_from_a_state(tmp_path):
    target = make_replay(tmp_path)
    replays.fill(target, [10, 10])
    target.stream(2, 4).next()
    state = json.loads(json.dumps(target.get_state()))
    shares = target.shares(arrival=True)
    target.close()
    again = make_replay(tmp_path)
    again.set_state(state)
    assert again.shares(arrival=True) == shares
    del state["drawn"]  # as an older version wrote it
    third = make_replay(tmp_path)
    third.set_state(state)
    assert third.shares() == {"er_steps_0": 20}
    for each in (again, third):
        each.close()
