"""Laws of the split replay: the newest in one part, a sample of the others beside."""

import types
import warnings

import numpy as np
import pytest
import replays
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from common import config as config_lib
from common.replay import contents, episodes, strategies
from common.replay.strategies import reservoir, sampling

pytestmark = pytest.mark.filterwarnings(replays.LONG)
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=60)  # steps of episodes
SHARES = st.sampled_from([0.25, 0.5, 0.7])


class Run:
    """A replay of empty episodes, valid after each call."""

    def __init__(self, capacity, seed=0, recent=0.5):
        self.capacity, self.recent, self.seed = capacity, recent, seed
        self.lengths = []
        self.open()

    def open(self):
        self.split = reservoir.Split(
            self.seed, capacity=self.capacity, recent=self.recent
        )
        self.contents = contents.Contents(self.capacity, self.split, sampling.Uniform())

    def open_again(self):
        """Takes over what is held, as a folder without a state."""
        held = list(self.contents.episodes.values())
        self.open()
        self.contents.take_over(held)
        self.contents.check_valid()

    def add(self, *lengths):
        """Adds episodes of so many steps; returns the indices held."""
        for steps in lengths:
            index = len(self.lengths)
            self.lengths.append(steps)
            episode = episodes.Episode(index, 0, steps + 1, 0.0, None, ())
            self.contents.arrive(episode)
        self.contents.check_valid()
        return set(self.contents.episodes)


def key(seed, index):
    return np.random.default_rng([seed, 2, index]).random()


class Twin:
    """The definition, slowly: all lengths that ever arrived, and a threshold."""

    def __init__(self, capacity, seed=0, recent=0.5):
        self.capacity, self.seed = capacity, seed
        self.part = round(recent * capacity)
        self.threshold = 0.0

    def newest(self, lengths):
        """The longest row of newest episodes that fit, at least one."""
        count = 1
        while count < len(lengths) and sum(lengths[-count - 1 :]) <= self.part:
            count += 1
        return set(range(len(lengths) - count, len(lengths)))

    def hold(self, lengths):
        """The indices held after the last of these."""
        newest = self.newest(lengths)
        room = self.capacity - sum(lengths[i] for i in newest)
        keys = {
            i: key(self.seed, i)
            for i in range(min(newest))
            if lengths[i] <= self.capacity - self.part
        }
        above = sorted((k, i) for i, k in keys.items() if k > self.threshold)
        while sum(lengths[i] for _, i in above) > room:
            self.threshold = above.pop(0)[0]
        return newest | {i for _, i in above}


@settings(max_examples=60)
@given(
    lengths=LENGTHS, capacity=st.integers(9, 40), seed=st.integers(0, 99), recent=SHARES
)
def test_split_holds_what_a_plain_twin_holds(lengths, capacity, seed, recent):
    run, twin = Run(capacity, seed, recent), Twin(capacity, seed, recent)
    for count, steps in enumerate(lengths, 1):
        assert run.add(steps) == twin.hold(lengths[:count])
        assert run.split.threshold == twin.threshold


@settings(max_examples=60)
@given(
    lengths=LENGTHS,
    later=LENGTHS,
    capacity=st.integers(18, 40),
    seed=st.integers(0, 99),
    recent=st.sampled_from([0.4, 0.5]),
)
# An older one of the sample would fit beside the newest, had not one between them left.
@example([8, 2, 8, 2, 1, 1, 8, 1, 8, 8], [2, 2, 2, 2], 23, 45, 0.5)
@example([1, 9, 2, 8, 2, 9, 2, 2, 1, 1, 9, 9, 9], [2, 2, 1, 1], 27, 29, 0.5)
def test_without_a_state_split_goes_on_as_if_it_had_never_stopped(
    lengths, later, capacity, seed, recent
):
    lived, again = Run(capacity, seed, recent), Run(capacity, seed, recent)
    assert lived.add(*lengths) == again.add(*lengths)
    again.open_again()
    for steps in later:
        assert lived.split.threshold == again.split.threshold
        assert lived.add(steps) == again.add(steps)


@settings(max_examples=60)
@given(
    lengths=LENGTHS, capacity=st.integers(9, 40), seed=st.integers(0, 99), recent=SHARES
)
def test_without_a_state_all_stay_even_after_long_episodes_of_high_keys_have_left(
    lengths, capacity, seed, recent
):
    run = Run(capacity, seed, recent)
    held = run.add(*lengths)
    run.open_again()
    assert set(run.contents.episodes) == held


def test_split_takes_over_a_folder_that_another_rule_left():
    run = Run(10, seed=3)
    held = [episodes.Episode(i, 0, 2, 0.0, None, ()) for i in range(70, 80)]
    run.contents.take_over(held)
    assert set(run.contents.episodes) == set(range(70, 80))


def test_nothing_leaves_before_the_replay_is_full():
    run = Run(100)
    assert run.add(*[3] * 33) == set(range(33))
    assert run.split.threshold == 0.0


def test_a_low_key_leaves_the_newest_part_at_once_even_if_there_is_room():
    seed = next(s for s in range(99) if np.argmin([key(s, i) for i in range(4)]) == 3)
    run = Run(20, seed)
    assert 3 in run.add(7, 7, 7, 1, 9)
    assert run.split.threshold > key(seed, 3)
    held = run.add(1)  # for which the short one grows out
    assert 3 not in held
    assert sum(run.lengths[i] for i in held) < run.capacity - run.lengths[3]


def outside(run):
    """Indices of those held that are not in the newest part."""
    newest = Twin(run.capacity, recent=run.recent).newest(run.lengths)
    return sorted(set(run.contents.episodes) - newest)


@pytest.mark.parametrize("lengths", [[2], [2, 6], [1, 9, 4]], ids=str)
def test_the_others_are_a_uniform_sample_of_all_that_left_the_newest_part(lengths):
    counts = np.zeros(4)
    for seed in range(100):
        run = Run(60, seed)
        run.add(*(lengths * 200)[:200])
        left = min(Twin(60).newest(run.lengths))
        for index in outside(run):
            counts[4 * index // left] += 1
    assert counts.sum() > 400
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.slow
def test_long_and_short_episodes_stay_alike():
    counts = np.zeros(2)
    for seed in range(300):
        run = Run(200, seed)
        run.add(*[1, 9] * 60)
        for index in outside(run):
            counts[index % 2] += 1
    assert counts.sum() > 4000
    assert abs(counts[0] - counts[1]) / counts.sum() < 0.04


def test_the_newest_task_has_its_part_and_the_older_ones_share_the_rest():
    counts = np.zeros(4)
    for seed in range(30):
        run = Run(100, seed)
        run.add(*[2] * 200)
        counts += np.bincount([i // 50 for i in run.contents.episodes], minlength=4)
    shares = counts / counts.sum()
    np.testing.assert_allclose(shares, [1 / 7, 1 / 7, 1 / 7, 4 / 7], atol=0.03)


def test_an_episode_longer_than_the_sample_never_enters_it_nor_raises_its_threshold():
    run = Run(20, recent=0.75)  # 15 and 5 steps
    run.add(*[2] * 12)
    assert 12 in run.add(6)
    threshold = run.split.threshold
    held = run.add(10)
    assert 12 not in held and 13 in held
    assert run.split.threshold == threshold
    assert len(outside(run)) > 0


def test_an_episode_longer_than_the_newest_part_is_held_alone_in_it_until_the_next():
    run = Run(20, recent=0.25)  # 5 and 15 steps
    run.add(*[2] * 9)
    held = run.add(12)
    assert 9 in held and outside(run) == sorted(held - {9})
    assert sum(run.lengths[i] for i in held) <= 20
    run.add(2)
    assert 10 in run.contents.episodes
    assert (9 in run.contents.episodes) == (key(0, 9) > run.split.threshold)


def test_a_long_episode_is_told_once():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Run(20).add(10, 11, 12)
    (warning,) = told
    assert "Episode 1 has 11 steps" in str(warning.message)
    assert "10 steps for the newest" in str(warning.message)
    assert "Raise replay.capacity" in str(warning.message)


@pytest.mark.parametrize("shares", [(0.7, 0.25), (0.25, 0.7)], ids=str)
def test_another_share_holds_from_the_next_episode_on(shares):
    before, after = (Run(40, recent=share) for share in shares)
    before.add(*[2] * 30)
    state, held = before.contents.get_state(), before.contents.episodes.values()
    after.contents.set_state(state, held)
    after.lengths = list(before.lengths)
    after.add(2)
    common = Twin(40, recent=min(shares)).newest(after.lengths)
    assert common <= set(after.contents.episodes)
    after.add(*[2] * 14)
    newest = Twin(40, recent=shares[1]).newest(after.lengths)
    assert newest <= set(after.contents.episodes)
    assert 0.0 < after.split.threshold < 1.0


def configure(**replay):
    ours = {"retention": "split", "capacity": 40, "minlen": 3, "split_recent": 0.25}
    return config_lib.Config({"seed": 3, "replay": {**ours, **replay}})


def test_the_configuration_gives_seed_capacity_and_share():
    made = strategies.make_retention(configure(), types.SimpleNamespace())
    run = Run(40)
    run.contents = contents.Contents(40, made, sampling.Uniform())
    twin = Twin(40, 3, 0.25)
    for count in range(1, 40):
        assert run.add(4) == twin.hold([4] * count)


@pytest.mark.parametrize("recent", [0.0, 1.0, -0.5, 1.5, float("nan"), "half", True])
def test_a_share_that_leaves_a_part_empty_is_refused(recent):
    with pytest.raises(ValueError, match="split_recent is .*above 0 and below 1"):
        reservoir.Split(capacity=40, recent=recent)


@pytest.mark.parametrize("recent", [0.05, 0.95])
def test_a_part_that_holds_no_episode_is_refused_with_the_way_out(recent):
    strategies.make_retention(configure(split_recent=recent, minlen=2), None)
    message = f"is 40 steps.*{recent}, gives .*minlen, 3.*Raise the capacity"
    with pytest.raises(ValueError, match=message):
        strategies.make_retention(configure(split_recent=recent), None)


def test_a_replay_goes_on_by_its_folder_alone(tmp_path):
    rules = dict(keep="split", capacity=100)
    target, twin = replays.make(tmp_path, **rules), replays.make(**rules)
    collectors = (
        replays.fill(target, [31, 9, 5] * 9),
        replays.fill(twin, [31, 9, 5] * 9),
    )
    target.close()
    again = replays.make(tmp_path, **rules)
    assert list(replays.held(again)) == list(replays.held(twin))
    collectors[0].target = again
    for steps in [5, 31, 12] * 9:
        for collector in collectors:
            collector.episode(steps)
        assert list(replays.held(again)) == list(replays.held(twin))
    again.close()
