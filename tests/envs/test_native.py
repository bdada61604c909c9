"""Laws of raw forms: what an environment writes, told by the specs alone."""

import json

import gymnasium
import numpy as np
import pytest

from common import specs
from common.envs import gym_adapter, gym_spaces, gym_view, native

BOX = gymnasium.spaces.Box
SPACES = {
    "image": BOX(0, 255, (20, 31, 3), np.uint8),
    "grey": BOX(0, 255, (9, 9), np.uint8),
    "matrix": BOX(-1, 1, (2, 3), np.float64),
    "number": BOX(-1, 1, (), np.float32),
    "choice": gymnasium.spaces.Discrete(4, start=-2),
    "bits": gymnasium.spaces.MultiBinary(3),
}
ACTIONS = {
    "choice": gymnasium.spaces.Discrete(3, start=5),
    "plain": gymnasium.spaces.Discrete(2),
    "box": BOX(np.array([[-3.0, 0.0]]), np.array([[1.0, 10.0]]), dtype=np.float64),
    "single": BOX(-2, 2, (3,), np.float32),
    "several": gymnasium.spaces.MultiDiscrete([2, 3, 4], start=[0, -1, 5]),
    "square": gymnasium.spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "bits": gymnasium.spaces.MultiBinary(3),
    "still": BOX(np.float32([1, 0]), np.float32([1, 2])),
}


class Mirror(gymnasium.Env):
    """Shows a sample of its space; the reward is its action, summed up."""

    observation_space = gymnasium.spaces.Dict(SPACES)

    def __init__(self, actions):
        self.action_space, self.taken = actions, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.taken.append(action)
        over = len(self.taken) == 3
        return self.observation_space.sample(), 1.0, over, not over, {"success": 1}


def known(space):
    """The spaces after a snapshot has written and read them."""
    parts = gym_spaces.observation_parts(gymnasium.spaces.Dict(SPACES), (16, 16))
    act_spec, _ = gym_spaces.action_part(ACTIONS[space])
    found = specs.Spaces({key: part.spec for key, part in parts.items()}, act_spec)
    return specs.Spaces.from_state(json.loads(json.dumps(found.to_state()))), found


@pytest.mark.parametrize("space", ACTIONS)
def test_spaces_are_read_as_they_were_written(space):
    read, written = known(space)
    assert read == written
    assert read.act_spec.native == written.act_spec.native
    for key, spec in written.obs_specs.items():
        assert read.obs_specs[key].native == spec.native, key


def test_specs_alone_convert_observations_as_the_adapter_does():
    adapter = gym_adapter.GymAdapter(Mirror(ACTIONS["plain"]), (16, 16))
    tran = adapter.reset(seed=3)
    raw, _ = Mirror(ACTIONS["plain"]).reset(seed=3)
    read, _ = known("plain")
    for key, spec in read.obs_specs.items():
        found = native.observer(spec)(np.asarray(raw[key]))
        assert (found.shape, found.dtype) == (spec.shape, spec.dtype), key
        np.testing.assert_array_equal(found, tran[key], err_msg=key)


@pytest.mark.parametrize("space", ACTIONS)
def test_an_action_that_was_recorded_is_taken_again(space):
    read, _ = known(space)
    act, record = native.actor(read.act_spec), native.recorder(read.act_spec)
    ACTIONS[space].seed(0)
    for _ in range(5):
        action = ACTIONS[space].sample()
        ours = record(action)
        assert (ours.shape, ours.dtype) == ((read.act_spec.size,), np.float32)
        again = act(ours)
        np.testing.assert_allclose(again, action, atol=1e-5)
        assert ACTIONS[space].contains(again)


def test_each_combination_of_choices_is_one_action():
    for name in ("several", "square", "bits"):
        read, _ = known(name)
        act, size = native.actor(read.act_spec), read.act_spec.size
        taken = [act(row) for row in np.eye(size, dtype=np.float32)]
        assert len({action.tobytes() for action in taken}) == size
        assert all(ACTIONS[name].contains(action) for action in taken)
    assert act(np.float32([0, 1, 0, 0, 0, 0, 0, 0])).tolist() == [0, 0, 1]


def test_who_did_not_tell_its_form_is_taken_for_ours():
    act = native.actor(specs.ActionSpec(2, discrete=False))
    np.testing.assert_array_equal(act(np.float32([-0.5, 1])), np.float32([-0.5, 1]))
    assert native.actor(specs.ActionSpec(3, discrete=True))(np.eye(3)[1]) == 1
    spec = specs.ArraySpec((2,), np.dtype(np.float32))
    np.testing.assert_array_equal(native.observer(spec)(np.float32([3, 4])), [3, 4])


def test_two_tasks_may_differ_in_their_form():
    one, two = (known(space)[0].act_spec for space in ("box", "box"))
    other = specs.ActionSpec(2, False, specs.Native((2,), "float32", None, [0], [1]))
    assert one == two == other
    assert "native" not in repr(one)


def test_a_view_is_an_environment_of_gymnasium():
    inside = Mirror(ACTIONS["box"])
    adapter = gym_adapter.GymAdapter(inside, (16, 16), log_info=("success",))
    view = gym_view.GymView(adapter)
    obs, info = view.reset(seed=1)
    assert view.observation_space.contains(obs)
    action = np.array([[-1.0, 2.5]])
    assert view.action_space == ACTIONS["box"]
    obs, reward, terminated, truncated, info = view.step(action)
    np.testing.assert_allclose(inside.taken[0], action, atol=1e-6)
    assert view.observation_space.contains(obs)
    assert (reward, terminated, truncated) == (1.0, False, True)
    assert info == {"success": 1}
    view.step(action)
    assert view.step(action)[2:4] == (True, False)
