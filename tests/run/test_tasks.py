"""Laws of the seeds and of the random actions."""

import itertools

import numpy as np
import pytest

from common import specs
from dreamerv2.run import tasks


def all_seeds(seed, streams=("train", "eval"), counts=(3, 3, 120)):
    """{(stream, task, environment, episode): seed}."""
    result = {}
    for stream, task in itertools.product(streams, range(counts[0])):
        seed_of = tasks.seeds(seed, stream, task)
        for env, episode in itertools.product(range(counts[1]), range(counts[2])):
            result[stream, task, env, episode] = seed_of(env, episode)
    return result


def test_no_two_episodes_of_a_run_share_a_seed():
    seeds = all_seeds(0)
    assert len(seeds) == len(set(seeds.values())) == 2 * 3 * 3 * 120


def test_seeds_depend_on_nothing_but_their_five_numbers():
    assert all_seeds(7) == all_seeds(7)
    assert tasks.seeds(7, "eval", 2)(1, 30) == all_seeds(7)["eval", 2, 1, 30]
    assert not set(all_seeds(0).values()) & set(all_seeds(1).values())


def test_seeds_stay_the_same_over_versions():
    # A resumed run goes on with these; they must never change.
    assert tasks.seeds(0, "train", 0)(0, 0) == 1410947197
    assert tasks.seeds(3, "eval", 2)(1, 10) == 1062510695


def test_every_library_accepts_the_seeds():
    seeds = np.array(list(all_seeds(5).values()))
    assert seeds.min() >= 0
    assert seeds.max() < 2**31


def test_an_unknown_stream_is_refused():
    with pytest.raises(KeyError):
        tasks.seeds(0, "test", 0)(0, 0)


# Random actions.


def test_random_discrete_actions_are_one_hot_and_all_alike():
    spec = specs.ActionSpec(4, discrete=True)
    actions = np.concatenate([tasks.random_actions(0, s, 2, spec) for s in range(2000)])
    assert actions.dtype == np.float32
    assert set(np.unique(actions)) == {0, 1}
    assert (actions.sum(-1) == 1).all()
    np.testing.assert_allclose(actions.mean(0), 0.25, atol=0.03)


def test_random_continuous_actions_fill_the_box():
    spec = specs.ActionSpec(3, discrete=False)
    actions = np.concatenate([tasks.random_actions(0, s, 1, spec) for s in range(2000)])
    assert actions.shape == (2000, 3)
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(actions.var(0), 1 / 3, atol=0.03)
    assert np.abs(actions).max() <= 1


def test_random_actions_depend_on_seed_and_step_alone():
    spec = specs.ActionSpec(6, discrete=False)
    first = tasks.random_actions(1, 10, 2, spec)
    np.testing.assert_array_equal(first, tasks.random_actions(1, 10, 2, spec))
    for other in (tasks.random_actions(2, 10, 2, spec), first[::-1]):
        assert (first != other).any()
    assert (first != tasks.random_actions(1, 11, 2, spec)).any()
