"""check_env: what is wrong with an environment is said, and at which step."""

import re
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from common.envs import checks


class Good(gymnasium.Env):
    """A random walk, five steps long."""

    def __init__(self, **spaces_given):
        self.observation_space = spaces_given.get(
            "observation", spaces.Box(-9, 9, (2,))
        )
        self.action_space = spaces_given.get("action", spaces.Discrete(2))
        self.closed = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def step(self, action):
        self.count += 1
        return self.observe(), 0.0, self.count == 5, False, {}

    def observe(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def close(self):
        self.closed = True


def test_nothing_is_said_of_a_good_environment():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_env(Good())
        checks.check_env(gymnasium.make("CartPole-v1"))
        checks.check_env(lambda: gymnasium.make("Pendulum-v1"), steps=300)


def test_only_what_was_made_here_is_closed():
    made = []

    def make():
        made.append(Good())
        return made[-1]

    checks.check_env(make)
    own = Good()
    checks.check_env(own)
    assert [env.closed for env in made] == [True]
    assert not own.closed


def test_looking_at_the_interface_takes_no_step():
    env = Good()
    checks.check_interface(env)
    assert not hasattr(env, "count")


def changed(**methods):
    return type("Changed", (Good,), methods)()


def fails_at_three(value):
    def observe(self):
        return value if self.count == 3 else Good.observe(self)

    return changed(observe=observe)


def returns(result):
    return changed(step=lambda self, action: result)


OBSERVATION = np.zeros(2, np.float32)
FAULTS = {
    "nothing": (None, "None is not an environment: it has no reset and step"),
    "text": ("CartPole-v1", "'CartPole-v1' is not an environment"),
    "no spaces": (
        type("Bare", (), {"reset": None, "step": None})(),
        "no observation_space and action_space",
    ),
    "unbounded actions": (
        Good(action=spaces.Box(-np.inf, np.inf, (2,))),
        "unbounded.*RescaleAction",
    ),
    "no numbers": (Good(observation=spaces.Text(3)), "is numeric"),
    "nested": (
        Good(observation=spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2)))),
        "'a' is nested.*Flatten",
    ),
    "reset with arguments": (
        changed(reset=lambda self, level: None),
        r"cannot be called as reset\(\).*level",
    ),
    "step without action": (
        changed(step=lambda self: None),
        r"cannot be called as step\(action\)",
    ),
    "NaN": (
        fails_at_three(np.array([0, np.nan], np.float32)),
        "call 3: .*'vector' holds NaN",
    ),
    "other shape": (
        fails_at_three(np.zeros(3, np.float32)),
        r"call 3: .*shape \(3,\), expected \(2,\)",
    ),
    "three results": (returns((OBSERVATION, 0.0, False)), "call 1: .*3 values.*5"),
    "no results": (returns(None), "call 1: .*step returned None"),
    "NaN reward": (
        returns((OBSERVATION, float("nan"), False, False, {})),
        "call 1: The reward is nan",
    ),
    "exception": (returns((OBSERVATION, "much", False, False, {})), "call 1: .*much"),
}


def test_a_fault_is_named():
    for name, (env, message) in FAULTS.items():
        with pytest.raises(ValueError) as told:
            checks.check_env(env)
        assert re.search(message, str(told.value), re.DOTALL), name


def test_randomness_without_the_seed_is_warned_of():
    rng = np.random.default_rng(0)
    env = changed(observe=lambda self: rng.uniform(-1, 1, 2).astype(np.float32))
    with pytest.warns(UserWarning, match="same seed and actions.*np_random"):
        checks.check_env(env)


def test_observations_outside_of_their_bounds_are_warned_of():
    with pytest.warns(UserWarning, match="'vector' leaves its space"):
        checks.check_env(fails_at_three(np.array([0, 99], np.float32)))
