"""MiniHack levels: one contract for the eleven of the papers, and how episodes end."""

import importlib.util
import sys

import numpy as np
import pytest

from common import specs
from common.envs import registry
from common.envs.suites import minihack
from common.envs.workers import parallel, supervised
from dreamerv2 import settings

MISSING = importlib.util.find_spec("minihack") is None
pytestmark = [
    pytest.mark.slow,  # each starts a process
    pytest.mark.skipif(MISSING, reason="needs MiniHack, whose import takes seconds"),
]

ACTIONS = np.eye(8, dtype=np.float32)
NORTH, SOUTH_EAST, NORTH_WEST = ACTIONS[0], ACTIONS[5], ACTIONS[7]
SMALL = "MiniHack-Room-5x5-v0"  # from the upper left to the lower right corner
IMAGE = {"image": specs.ArraySpec((64, 64, 3), np.dtype(np.uint8))}


@pytest.fixture
def make():
    """Makes levels and closes them after the test."""
    made = []

    def construct(name, **options):
        made.append(minihack.make(name, **options))
        return made[-1]

    yield construct
    for env in made:
        env.close()


def rollout(env, seed, count=50):
    """So many transitions with random actions; episode i is seeded with seed + i."""
    rng = np.random.default_rng(0)
    transitions = [env.reset(seed)]
    while len(transitions) < count:
        if transitions[-1]["is_last"]:
            seed += 1
            transitions.append(env.reset(seed))
        else:
            transitions.append(env.step(ACTIONS[rng.integers(8)]))
    return transitions


def same(left, right):
    return all(
        np.array_equal(a[key], b[key])
        for a, b in zip(left, right, strict=True)
        for key in a
    )


@pytest.mark.parametrize("name", minihack.ALL)
def test_a_level_keeps_the_contract(name, make):
    env = make(name)
    assert env.obs_specs == IMAGE
    assert env.act_spec == specs.ActionSpec(8, discrete=True)
    first = rollout(env, 7)
    assert not same(first, rollout(env, 8))
    for _ in range(3):
        env.reset()  # other episodes, with seeds of their own
        env.step(NORTH)
    assert same(first, rollout(env, 7))
    flags = {"is_first", "is_last", "is_terminal"}
    for tran in first:
        assert set(tran) == {"image", "reward", "log_success"} | flags
        assert (tran["image"].shape, tran["image"].dtype) == ((64, 64, 3), np.uint8)
        assert tran["reward"].dtype == tran["log_success"].dtype == np.float32
        assert all(tran[key].dtype == bool and tran[key].shape == () for key in flags)
        assert tran["is_last"] or not tran["is_terminal"]
        goal = tran["log_success"] == 1
        assert any(np.isclose(tran["reward"] - goal, (0, -0.001)))
    assert first[0]["is_first"] and first[0]["reward"] == 0
    assert len(np.unique(first[0]["image"])) > 3  # something is to be seen
    assert env.restarts == 0


def test_the_same_seed_is_the_same_episode_in_another_process(make):
    name = "MiniHack-River-MonsterLava-v0"
    first, other = make(name), make(name)
    rollout(other, 100)
    assert same(rollout(first, 5), rollout(other, 5))


class Original:
    """`pixel_crop` as MiniHack draws it, for a comparison."""

    obs_specs, act_spec = IMAGE, specs.ActionSpec(8, discrete=True)

    def __init__(self, name):
        import gymnasium
        import minihack  # noqa: F401  registers the ids

        settings = {
            "character": "mon-hum-neu-mal",
            "penalty_step": -0.001,
            "fix_moon_phase": True,
        }
        made = gymnasium.make(name, observation_keys=("pixel_crop",), **settings)
        self.env = made.unwrapped

    def reset(self, seed):
        self.env.seed(seed, seed, reseed=False)
        return self._transition(self.env.reset()[0], 0.0, False)

    def step(self, action):
        return self._transition(*self.env.step(int(action.argmax()))[:3])

    def _transition(self, obs, reward, last):
        padded = np.pad(obs["pixel_crop"], ((2, 2), (2, 2), (0, 0)))  # [148, 148, 3]
        nearest = ((np.arange(64) + 0.5) * 148 / 64).astype(int)
        image = padded[nearest][:, nearest]
        return {"image": image, "reward": np.float32(reward), "is_last": last}

    def close(self):
        self.env.close()


@pytest.mark.parametrize("name", ["MiniHack-Room-Ultimate-15x15-v0", SMALL])
def test_frames_and_rewards_are_those_of_minihack(name, make):
    original = parallel.ProcessEnv(lambda: Original(name))
    expected = rollout(original, 3, 90)
    original.close()
    for theirs, ours in zip(expected, rollout(make(name), 3, 90), strict=True):
        np.testing.assert_array_equal(theirs["image"], ours["image"])
        assert theirs["reward"] == ours["reward"]
        assert theirs["is_last"] == ours["is_last"]


def test_the_goal_is_rewarded_and_terminal(make):
    env = make(SMALL)
    env.reset(0)
    transitions = [env.step(SOUTH_EAST) for _ in range(4)]
    assert [float(tran["log_success"]) for tran in transitions] == [0, 0, 0, 1]
    assert [bool(tran["is_terminal"]) for tran in transitions] == [0, 0, 0, 1]
    assert sum(tran["reward"] for tran in transitions) == pytest.approx(1, abs=0.004)


def test_a_wall_costs_a_penalty_and_no_time(make):
    env = make(SMALL)
    before = env.reset(0)
    tran = env.step(NORTH_WEST)
    assert tran["reward"] == np.float32(-0.001)
    np.testing.assert_array_equal(tran["image"], before["image"])


def test_a_limit_truncates_and_the_last_frame_is_seen(make):
    for time_limit, repeat, steps in ((100, 1, 100), (0, 1, 100), (0, 3, 34)):
        env = make(SMALL, time_limit=time_limit, action_repeat=repeat)
        before = env.reset(0)
        transitions = [env.step(NORTH_WEST) for _ in range(steps)]
        lasts = [bool(tran["is_last"]) for tran in transitions]
        assert lasts == [False] * (steps - 1) + [True], (time_limit, repeat)
        assert not transitions[-1]["is_terminal"]
        np.testing.assert_array_equal(transitions[-1]["image"], before["image"])
        assert env.reset(0)["is_first"]


def test_death_is_terminal_without_reward(make):
    env = make("MiniHack-River-MonsterLava-v0")
    seed = 0
    while True:
        last = [t for t in rollout(env, seed, 100) if t["is_last"]]
        if last and last[0]["is_terminal"] and not last[0]["log_success"]:
            break
        seed += 1
        assert seed < 20
    assert last[0]["reward"] <= 0


def test_time_limit_and_size_are_as_asked_for(make):
    env = make(SMALL, time_limit=3, size=(32, 48))
    assert env.reset(0)["image"].shape == (32, 48, 3)
    ends = [bool(env.step(NORTH_WEST)["is_last"]) for _ in range(3)]
    assert ends == [False, False, True]


def test_levels_made_in_python_follow_the_seed_too(make):
    env = make("MiniHack-MultiRoom-N4-v0")
    first = rollout(env, 7)
    assert not same(first, rollout(env, 8))
    assert same(first, rollout(env, 7))


def test_a_level_is_in_one_process_of_its_own():
    make = registry.constructor(f"minihack_{SMALL}", settings.defaults)
    env = parallel.make_parallel(make, "process")
    assert isinstance(env, supervised.SupervisedEnv)
    env.close()


def test_an_unknown_level_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="'MiniHack-Rivr-v0'.*MiniHack-River-v0"):
        minihack.make("MiniHack-Rivr-v0")


def test_a_missing_package_is_one_line_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "minihack", None)
    with pytest.raises(RuntimeError, match=r"pip install -e '\.\[minihack\]' -c") as e:
        minihack.check_id(SMALL)
    assert "\n" not in str(e.value)


def test_nethack_does_not_seed_itself_anew_on_the_way():
    env = minihack.make_here(SMALL, 1, 0, (64, 64))
    env.reset(5)
    core, disp, reseeds, _ = env._env.get_seeds()
    env.close()
    assert (core, disp, reseeds) == (5, 5, False)
