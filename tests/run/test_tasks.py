"""Laws of the names of tasks, of the seeds and of the random actions."""

import itertools
import sys
import types

import numpy as np
import pytest

from common import specs
from common.envs import registry
from dreamerv2 import settings
from dreamerv2.run import tasks

# Names.


@pytest.fixture
def halls(monkeypatch):
    """Registers a suite whose `make` returns the name; returns its module."""

    def check_id(name):
        if name not in ("walk", "catch_me", "long_walk"):
            raise ValueError(f"no hall {name}.")

    module = types.ModuleType("halls")
    module.make = lambda name, **options: f"halls {name}"
    module.check_id = check_id
    monkeypatch.setitem(sys.modules, "halls", module)
    monkeypatch.setattr(registry, "SUITES", dict(registry.SUITES))
    registry.register("halls", registry.Suite("halls", "halls_walk"))
    return module


def make(suite, *names):
    """What the constructors of some tasks of a script make, and the tasks' names."""
    made = tasks.of_suite(suite, names, settings.defaults).trained
    assert [task.name for task in made] == [*names]  # as they are given
    return [task.make() for task in made]


def test_an_id_is_of_the_scripts_own_suite_and_a_full_name_of_any(halls):
    walk, same, other = make("halls", "walk", "halls_walk", "gym_CartPole-v1")
    assert walk == same == "halls walk"
    assert other.act_spec == specs.ActionSpec(2, discrete=True)
    (walk,) = make("minigrid", "halls_walk")
    assert walk == "halls walk"


def test_an_id_that_begins_like_another_suite_stays_its_own(halls):
    own, long, full = make("halls", "catch_me", "long_walk", "halls_catch_me")
    assert own == full == "halls catch_me"
    assert long == "halls long_walk"
    (board,) = make("halls", "catch_plain")  # which halls does not know
    assert board.act_spec.size == 3
    del halls.check_id  # nobody knows what it has: SUITE_NAME comes first
    with pytest.raises(ValueError, match="Unknown Catch task 'me'"):
        make("halls", "catch_me")
    assert make("halls", "halls_catch_me") == ["halls catch_me"]


def test_a_suite_that_is_not_installed_does_not_stand_before_others(halls):
    def fail(name):
        raise ImportError("no such package")

    halls.check_id = fail
    (board,) = make("halls", "catch_plain")
    assert board.act_spec.size == 3
    with pytest.raises(ValueError, match="halls needs packages that are not installed"):
        make("halls", "walk")


def test_a_name_of_no_suite_is_told_what_names_there_are(halls):
    for suite, name, said in (
        ("halls", "catc_plain", "no hall catc_plain. A task of another .*atari, catch"),
        ("halls", "run", "no hall run.$"),  # nobody would take it for SUITE_NAME
        ("halls", "halls_run", "no hall run.$"),
        ("", "catc_plain", "Unknown task 'catc_plain'.*Did you mean catch_plain"),
        ("", "walk", "Unknown task 'walk'; a task is SUITE_NAME"),
    ):
        with pytest.raises(ValueError, match=said):
            tasks.of_suite(suite, ["halls_walk", name], settings.defaults)


# Seeds.


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
