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
METHODS = {name: lambda self: None for name in ("observation_space", "action_space")}
FAULTS = {
    "nothing": (None, "None is not an environment: it has no reset and step"),
    "text": ("CartPole-v1", "'CartPole-v1' is not an environment"),
    "no spaces": (
        type("Bare", (), {"reset": None, "step": None})(),
        "no observation_space and action_space",
    ),
    "unbounded actions": (
        Good(action=spaces.Box(-np.inf, np.inf, (2,))),
        "unbounded.*TransformAction",
    ),
    "no numbers": (Good(observation=spaces.Text(3)), "is numeric"),
    "a method for a space": (
        type("Many", (Good,), {"__init__": lambda self: None, **METHODS})(),
        "observation_space of .* must be a space",
    ),
    "several environments": (
        gymnasium.make_vec("CartPole-v1", num_envs=2),
        r"vector environment, 2 in one.*config.update\(envs=2\)",
    ),
    "one environment of several": (
        gymnasium.make_vec("Pendulum-v1", num_envs=1),
        "vector environment, 1 in one",
    ),
    "no observation": (changed(reset=lambda self, **_: None), "reset returned None"),
    "no dict": (
        returns((OBSERVATION, 0.0, False, False)),
        "4 values, of which the last, info, is False",
    ),
    "neither end nor none": (
        returns((OBSERVATION, 0.0, None, False, {})),
        "terminated is None of type NoneType",
    ),
    "half an end": (
        returns((OBSERVATION, 0.0, False, 0.5, {})),
        "truncated is 0.5, but must be True or False",
    ),
    "two rewards": (
        returns((OBSERVATION, [0.0, 1.0], False, False, {})),
        r"The reward is \[0.0, 1.0\], but must be one number",
    ),
    "an observation of nothing": (
        returns((None, 0.0, False, False, {})),
        "'vector' is None of type NoneType",
    ),
    "an observation of words": (
        returns((["a", "b"], 0.0, False, False, {})),
        "'vector' is .* of type list, but must be numeric",
    ),
    "ragged rows": (
        returns(([[1.0], [2.0, 3.0]], 0.0, False, False, {})),
        "'vector' is .* of type list, but must be numeric",
    ),
    "success in words": (
        returns((OBSERVATION, 0.0, True, False, {"success": "yes"})),
        r"info\['success'\] is 'yes' of type str",
    ),
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
    "a reward in words": (
        returns((OBSERVATION, "much", False, False, {})),
        "call 1: The reward is 'much' of type str",
    ),
    "exception": (
        changed(step=lambda self, action: {}["lost"]),
        "call 1: KeyError: 'lost'",
    ),
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


# What check_env and train both take, by one way in.


def ends_in(*results):
    """Environments whose first step ends the episode with one of these results."""
    return [returns(result) for result in results]


def last_of(env):
    """The transition that ends the first episode."""
    adapted = checks.adapt(env)
    adapted.reset(0)
    return adapted.step(np.eye(2, dtype=np.float32)[0])


def test_numbers_in_every_form_are_the_same_numbers():
    one = np.ones(1)
    for env in ends_in(
        (OBSERVATION, 1.0, True, False, {}),
        (OBSERVATION, np.float64(1), np.bool_(True), np.bool_(False), {}),
        (OBSERVATION, one, one.astype(bool), ~one.astype(bool), {}),
        (OBSERVATION, [1], [True], [False], None),
        (OBSERVATION, np.array(1), 1, 0, {}),
        (OBSERVATION, True, 1.0, 0.0, {}),
        [OBSERVATION, 1, True, False, {}],
        ([0, 0], 1, True, False, {}),
        ((0.0, 0.0), 1, True, False, {}),
        (OBSERVATION[None], 1, True, False, {}),
        (OBSERVATION.astype(int), 1, True, None is not None, {}),
        (OBSERVATION, 1, True, {}),
        (OBSERVATION, 1, one, None),
    ):
        tran = last_of(env)
        assert tran["vector"].tolist() == [0, 0]
        for key, value in (("reward", 1), ("is_last", 1), ("is_terminal", 1)):
            assert tran[key].shape == () and tran[key] == value, key
        checks.check_env(env)


def test_reset_may_give_the_observation_alone_or_with_info():
    for result in (
        OBSERVATION,
        [0.0, 0.0],
        (0.0, 0.0),
        (OBSERVATION, {}),
        [OBSERVATION, {}],
        (OBSERVATION, None),
    ):
        env = changed(
            reset=lambda self, result=result, **_: setattr(self, "count", 0) or result
        )
        assert checks.adapt(env).reset(0)["vector"].tolist() == [0, 0]


def sees(space, value):
    env = Good(observation=space)
    env.observe = lambda: value
    return checks.adapt(env).reset(0)


def test_bytes_may_come_as_whole_numbers_of_another_type():
    space = spaces.Box(0, 255, (64, 64), np.uint8)
    tran = sees(space, np.full((64, 64, 1), 255, np.int64))
    assert tran["image"].dtype == np.uint8 and tran["image"].min() == 255
    for value in (256, -1):
        with pytest.raises(ValueError, match=f"int64, expected uint8.*{value} to"):
            sees(space, np.full((64, 64), value))
    with pytest.raises(ValueError, match="is float64, expected uint8"):
        sees(space, np.zeros((64, 64)))


def test_a_choice_that_its_space_does_not_have_is_named():
    space = spaces.Discrete(3, start=2)
    for value in (4, np.array([4]), 4.0):
        assert sees(space, value)["vector"].tolist() == [0, 0, 1]
    for value in (1, 5, 2.5):
        with pytest.raises(ValueError, match=f"'vector' is {value}.* from 2 to 4"):
            sees(space, value)


def test_an_observation_that_is_no_dict_is_named_where_one_is_expected():
    with pytest.raises(ValueError, match="of type ndarray.*a Dict of x"):
        sees(spaces.Dict(x=spaces.Box(-1, 1, (2,))), OBSERVATION)


def test_a_class_makes_environments_as_a_function_does():
    checks.check_env(Good)
    assert checks.is_constructor(Good) and checks.is_constructor(lambda: Good())
    assert not checks.is_constructor(Good())
    called = type("Called", (Good,), {"__call__": lambda self: None})()
    assert not checks.is_constructor(called)


def test_the_advice_for_actions_without_bounds_works():
    env = Good(action=spaces.Box(-np.inf, np.inf, (2,)))
    with pytest.raises(ValueError) as told:
        checks.check_env(env)
    call = re.search(r"gymnasium\.wrappers\..*\)(?=\.)", str(told.value))[0]
    checks.check_env(eval(call, {"gymnasium": gymnasium, "env": env}))


def test_the_checker_of_classic_gym_is_named_before_it_fails():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gym says that it is unmaintained
        gym = pytest.importorskip("gym")
        if hasattr(np, "bool8"):
            pytest.skip("it works with this NumPy")
        with pytest.raises(ValueError, match="disable_env_checker=True"):
            checks.check_env(gym.make("CartPole-v1"))
        checks.check_env(gym.make("CartPole-v1", disable_env_checker=True))


def test_a_simulator_called_env_is_not_taken_for_a_wrapped_environment():
    class Simulator:
        def reset(self):
            return None

    seen = []

    class Driving(Good):
        def __init__(self):
            super().__init__()
            self.env = Simulator()

        def reset(self, seed=None, options=None):
            seen.append(seed)
            return super().reset(seed=seed)

    checks.adapt(Driving()).reset(7)
    checks.adapt(gymnasium.wrappers.TimeLimit(Driving(), 3)).reset(8)
    assert seen == [7, 8]


# Success.


def successes(told, **options):
    """`log_success` of the steps of an episode, None where there is none."""

    def step(self, action):
        observation, reward, *ends, _ = Good.step(self, action)
        return observation, reward, *ends, told(self.count)

    env = checks.adapt(changed(step=step), **options)
    transitions = [env.reset(0)]
    while not transitions[-1]["is_last"]:
        transitions.append(env.step(np.eye(2, dtype=np.float32)[0]))
    return [t.get("log_success") for t in transitions]


def test_success_is_what_info_says_at_the_end_of_an_episode():
    for key in ("success", "is_success"):
        at_each = successes(lambda count, key=key: {key: count >= 3})
        assert at_each == [None] * 5 + [1]
        assert successes(lambda count, key=key: {key: count < 3})[-1] == 0
        assert successes(lambda count, key=key: {key: [count == 5]})[-1] == 1
    cut = successes(lambda count: {"success": count == 4}, time_limit=4)
    assert cut == [None] * 4 + [1]
    assert successes(lambda count: {}) == [None] * 6


def test_success_that_is_told_of_some_episodes_alone_is_warned_of():
    def step(self, action):
        *result, _ = Good.step(self, action)
        return *result, {"success": 1} if self.np_random.random() < 0.5 else {}

    with pytest.warns(UserWarning, match="success at the end of .* of 16"):
        checks.check_env(changed(step=step))


def test_check_env_says_what_it_understood(capsys):
    env = gymnasium.make("CartPole-v1", max_episode_steps=9)
    checks.check_env(env, time_limit=7)
    printed = capsys.readouterr().out
    for line in (
        "vector      vector: 4, ",
        "action      actions: one of 2",
        "time limit  9 steps, the environment's and 7 steps, the setting time_limit",
        "success     not told",
    ):
        assert line in printed
    step = returns((OBSERVATION, 0.0, True, False, {"is_success": True}))
    checks.check_env(step)
    assert "told at the end of 50 of 50 episodes" in capsys.readouterr().out


def test_an_environment_without_an_end_is_warned_of():
    env = returns((OBSERVATION, 0.0, False, False, {}))
    with pytest.warns(UserWarning, match="No episode .* ended in 100 .*time_limit"):
        checks.check_env(env)
