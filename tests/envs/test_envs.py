"""The adapter of gym's environments, the wrappers, and MiniGrid in pixels."""

import itertools
import json
import logging

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import gym_minigrid
from common import specs
from common.envs import (
    base,
    gym_adapter,
    gym_spaces,
    native,
    statistics,
    wrappers,
)
from common.envs.suites import generic, minigrid

UINT8, FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)
SPACES = {
    "image": spaces.Box(0, 255, (56, 40, 3), np.uint8),
    "speed": spaces.Box(-np.inf, np.inf, (2, 3), np.float64),
    "compass": spaces.Discrete(4, start=1),
    "text": spaces.Text(5),
}


class Toy(gymnasium.Env):
    """Random observations of any space; ends when its level, 0 or 1, is reached."""

    def __init__(self, observation_space=None, action_space=None, length=5):
        self.observation_space = observation_space or spaces.Dict(SPACES)
        self.action_space = action_space or spaces.Discrete(3, start=2)
        self.length = length
        self.actions = []
        self.closed = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.count = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.actions.append(action)
        self.count += 1
        reward = float(self.np_random.random())
        terminated, truncated = self.count == self.length, self.count == 4
        info = {"success": 1.0} if terminated else {}
        return self.observation_space.sample(), reward, terminated, truncated, info

    def close(self):
        self.closed = True


class ClassicToy:
    """The interface of gym before 0.26: one done flag, seed() apart from reset()."""

    def __init__(self, limit=4, **kwargs):
        self.toy, self.limit = Toy(**kwargs), limit
        self.observation_space = self.toy.observation_space
        self.action_space = self.toy.action_space
        self.next_seed = None

    def seed(self, seed=None):
        self.next_seed = seed

    def reset(self):
        observation, _ = self.toy.reset(seed=self.next_seed)
        self.next_seed = None
        return observation

    def step(self, action):
        observation, reward, terminated, _, info = self.toy.step(action)
        truncated = self.toy.count == self.limit
        if truncated:
            info["TimeLimit.truncated"] = not terminated
        return observation, reward, terminated or truncated, info

    def close(self):
        self.toy.close()


def toy():
    return gym_adapter.GymAdapter(Toy(), log_info=("success",))


def actions_of(env, count, seed=0):
    rng = np.random.default_rng(seed)
    size = env.act_spec.size
    if env.act_spec.discrete:
        return np.eye(size, dtype=np.float32)[rng.integers(size, size=count)]
    return rng.uniform(-1, 1, (count, size)).astype(np.float32)


def rollout(env, count, seed):
    """So many transitions; episode i is seeded with seed + i."""
    transitions = [env.reset(seed)]
    for action in actions_of(env, count - 1):
        if transitions[-1]["is_last"]:
            seed += 1
            transitions.append(env.reset(seed))
        else:
            transitions.append(env.step(action))
    return transitions


# The adapter: spaces


def test_observations_become_images_and_vectors():
    env = toy()
    assert env.obs_specs == {
        "image": specs.ArraySpec((64, 64, 3), UINT8),
        "speed": specs.ArraySpec((6,), FLOAT32),
        "compass": specs.ArraySpec((4,), FLOAT32),
    }
    tran = env.reset(0)
    assert tran["compass"].sum() == 1 and tran["compass"].max() == 1


def test_a_lone_observation_is_called_image_or_vector():
    cases = [
        (spaces.Box(0, 255, (9, 8, 3), np.uint8), "image", (64, 64, 3), UINT8),
        (spaces.Box(0, 255, (9, 8), np.uint8), "image", (64, 64, 1), UINT8),
        (spaces.Box(0, 255, (7,), np.uint8), "vector", (7,), FLOAT32),
        (spaces.Box(-1, 1, (), np.float32), "vector", (1,), FLOAT32),
        (spaces.Box(-1, 1, (2, 3, 4), np.float64), "vector", (24,), FLOAT32),
        (spaces.Box(-9, 9, (3,), np.int64), "vector", (3,), FLOAT32),
        (spaces.Discrete(5), "vector", (5,), FLOAT32),
        (spaces.MultiDiscrete([3, 4]), "vector", (2,), FLOAT32),
        (spaces.MultiBinary(3), "vector", (3,), FLOAT32),
    ]
    for space, name, shape, dtype in cases:
        env = gym_adapter.GymAdapter(Toy(space))
        assert env.obs_specs == {name: specs.ArraySpec(shape, dtype)}, space
        tran = env.reset(0)
        assert (tran[name].shape, tran[name].dtype) == (shape, dtype), space


def test_discrete_observations_count_from_their_start():
    space = spaces.Discrete(4, start=-2)
    parts = gym_spaces.observation_parts(space, None)
    assert parts["vector"].convert(np.asarray(-2)).tolist() == [1, 0, 0, 0]
    assert parts["vector"].convert(np.asarray(1)).tolist() == [0, 0, 0, 1]


def test_nearest_pixels_are_those_whose_centres_are():
    for source, target in itertools.product(range(1, 40), repeat=2):
        exact = [(2 * i + 1) * source // (2 * target) for i in range(target)]
        assert native.nearest_indices(source, target).tolist() == exact


def test_images_are_resized_as_pillow_does():
    image_module = pytest.importorskip("PIL.Image")
    for source in ((56, 56), (148, 148), (64, 64), (210, 160)):
        image = np.random.default_rng(0).integers(0, 256, (*source, 3), np.uint8)
        parts = gym_spaces.observation_parts(
            spaces.Box(0, 255, image.shape, np.uint8), (64, 64)
        )
        pillow = image_module.fromarray(image).resize((64, 64), image_module.NEAREST)
        np.testing.assert_array_equal(parts["image"].convert(image), np.asarray(pillow))


def test_images_keep_their_size_if_none_is_given():
    env = gym_adapter.GymAdapter(Toy(), size=None)
    assert env.obs_specs["image"].shape == (56, 40, 3)


def test_log_keys_of_an_observation_are_given_out_but_are_no_spec():
    space = spaces.Dict({"log_x": spaces.Box(0, 1, (1,)), "x": spaces.Box(0, 1, (2,))})
    env = gym_adapter.GymAdapter(Toy(space))
    assert set(env.obs_specs) == {"x"} and "log_x" in env.reset(0)


def test_one_hot_actions_are_indices_from_the_start_of_the_space():
    toy = Toy()
    env = gym_adapter.GymAdapter(toy)
    env.reset(0)
    for row in np.eye(3, dtype=np.float32):
        env.step(row)
    assert toy.actions == [2, 3, 4]
    assert env.act_spec == specs.ActionSpec(3, discrete=True)


def test_continuous_actions_are_rescaled_to_the_bounds_and_clipped():
    low, high = np.array([[-3, 0]], np.float32), np.array([[1, 10]], np.float32)
    toy = Toy(action_space=spaces.Box(low, high))
    env = gym_adapter.GymAdapter(toy)
    assert env.act_spec == specs.ActionSpec(2, discrete=False)
    env.reset(0)
    for action in ([-1, -1], [0, 0.5], [1, 1], [-7, 7]):
        env.step(np.array(action, np.float32))
    expected = [[-3, 0], [-1, 7.5], [1, 10], [-3, 10]]
    np.testing.assert_allclose(np.reshape(toy.actions, (4, 2)), expected)


def test_spaces_that_are_not_supported_are_refused():
    cases = [
        (spaces.Text(3), None, "Nothing in the observation space"),
        (spaces.Dict({"mission": spaces.Text(3)}), None, "numeric"),
        (spaces.Dict({"a": spaces.Dict(SPACES)}), None, "'a' is nested"),
        (spaces.Tuple([spaces.Discrete(2)]), None, "nested"),
        *(
            (spaces.Dict({key: spaces.Discrete(2)}), None, f"'{key}' is reserved.*kl")
            for key in base.RESERVED
        ),
        (spaces.Box(0, 1, (0,)), None, "Nothing in the observation space"),
        (None, spaces.Box(-np.inf, 1, (2,)), "unbounded"),
        (None, spaces.Box(0, 9, (2,), np.int64), "Box of floats"),
        (None, spaces.MultiDiscrete([40, 40]), "1600 combinations.*at most 1024"),
        (None, spaces.MultiBinary(70), f"{2**70} combinations"),
        (None, spaces.Tuple([spaces.Discrete(2)]), "mixed or nested"),
        (None, spaces.Dict({"a": spaces.Discrete(2)}), "mixed or nested"),
    ]
    for observation, action, message in cases:
        with pytest.raises(ValueError, match=message):
            gym_adapter.GymAdapter(Toy(observation, action))


# The adapter: steps


class Faulty(Toy):
    """Lets a test replace what a step returns."""

    def __init__(self, observation=None, reward=0.0, **kwargs):
        box = spaces.Box(-1, 1, (2,), np.float32)
        image = spaces.Box(0, 255, (2, 2, 3), np.uint8)
        super().__init__(spaces.Dict({"vector": box, "image": image}), **kwargs)
        self.change, self.reward = observation or {}, reward

    def step(self, action):
        sample = {**self.observation_space.sample(), **self.change}
        sample = {k: v for k, v in sample.items() if v is not None}
        return sample, self.reward, False, False, {}


def test_observations_that_break_their_space_are_named():
    cases = [
        ({"vector": np.zeros(3)}, r"'vector' has shape \(3,\), expected \(2,\)"),
        ({"image": np.zeros((3, 2, 3), np.uint8)}, r"'image' .*expected \(2, 2, 3\)"),
        ({"image": np.zeros((2, 2, 3))}, "'image' is float64, expected uint8"),
        ({"vector": np.array([0, np.nan])}, r"'vector' holds NaN.*\[ 0. nan\]"),
        ({"vector": np.array([0, np.inf])}, "'vector' holds NaN or infinity"),
        ({"vector": None}, "lacks 'vector'"),
    ]
    for fault, message in cases:
        env = gym_adapter.GymAdapter(Faulty(fault))
        env.reset(0)
        with pytest.raises(ValueError, match=message):
            env.step(actions_of(env, 1)[0])


def test_a_reward_that_is_not_finite_is_named():
    for reward in (np.nan, np.inf):
        env = gym_adapter.GymAdapter(Faulty(reward=reward))
        env.reset(0)
        with pytest.raises(ValueError, match=f"reward is {reward}"):
            env.step(actions_of(env, 1)[0])


def test_a_step_of_another_interface_is_named():
    toy = Toy()
    toy.step = lambda action: (None, 0.0, False)
    env = gym_adapter.GymAdapter(toy)
    env.reset(0)
    with pytest.raises(ValueError, match="returned 3 values"):
        env.step(actions_of(env, 1)[0])


def episode(env):
    transitions = [env.reset(0)]
    while not transitions[-1]["is_last"]:
        transitions.append(env.step(actions_of(env, 1)[0]))
    return transitions


def test_terminated_and_truncated_are_told_apart():
    for kind in (Toy, ClassicToy):
        for length, steps, terminal in (
            (3, 3, True),
            (9, 4, False),
            (4, 4, True),  # Both at once: it has ended for real.
        ):
            transitions = episode(gym_adapter.GymAdapter(kind(length=length)))
            assert len(transitions) == steps + 1, (kind, length)
            assert bool(transitions[-1]["is_terminal"]) is terminal, (kind, length)


def test_old_gym_environments_equal_new_ones():
    old, new = (gym_adapter.GymAdapter(cls(length=3)) for cls in (ClassicToy, Toy))
    for a, b in zip(rollout(old, 20, 5), rollout(new, 20, 5), strict=True):
        assert all(np.array_equal(a[key], b[key]) for key in b)


def test_a_wrapper_that_hides_the_seed_of_an_old_environment_is_seen_through():
    class Passing:
        def __init__(self, env):
            self.env = env

        def __getattr__(self, name):
            return getattr(self.env, name)

        def reset(self, **kwargs):
            return self.env.reset(**kwargs)

    env = gym_adapter.GymAdapter(Passing(ClassicToy()))
    assert np.array_equal(env.reset(3)["image"], env.reset(3)["image"])


def test_an_environment_that_cannot_be_seeded_is_warned_of():
    class Unseeded(ClassicToy):
        seed = property()  # Reading it raises AttributeError.

    with pytest.warns(UserWarning, match="cannot be seeded"):
        env = gym_adapter.GymAdapter(Unseeded())
    env.reset(3)


def test_info_is_given_out_as_log_keys():
    env = gym_adapter.GymAdapter(Toy(length=3), log_info=("success",))
    assert [float(tran["log_success"]) for tran in episode(env)] == [0, 0, 0, 1]


def test_close_reaches_the_environment():
    toy = Toy()
    wrappers.TimeLimit(gym_adapter.GymAdapter(toy), 3).close()
    assert toy.closed


def test_environments_of_gym_are_understood():
    gym = pytest.importorskip("gym")
    env = gym_adapter.GymAdapter(
        gym.make("CartPole-v1", disable_env_checker=True, max_episode_steps=7)
    )
    assert env.obs_specs == {"vector": specs.ArraySpec((4,), FLOAT32)}
    assert env.act_spec == specs.ActionSpec(2, discrete=True)
    assert np.array_equal(env.reset(3)["vector"], env.reset(3)["vector"])
    left_right = itertools.cycle(np.eye(2, dtype=np.float32))
    ends = [env.step(next(left_right)) for _ in range(7)]
    assert [bool(tran["is_last"]) for tran in ends] == [False] * 6 + [True]
    assert not ends[-1]["is_terminal"]


# Wrappers


def test_a_time_limit_ends_without_terminating():
    for frames, length in ((3, 3), (99, 4)):
        env = wrappers.TimeLimit(gym_adapter.GymAdapter(Toy(length=9)), frames)
        for _ in range(2):  # The count begins anew.
            transitions = episode(env)
            assert len(transitions) == length + 1
            assert not transitions[-1]["is_terminal"]


def test_a_time_limit_leaves_a_real_end_terminal():
    env = wrappers.TimeLimit(gym_adapter.GymAdapter(Toy(length=3)), 3)
    assert episode(env)[-1]["is_terminal"]


def test_action_repeat_sums_rewards_and_stops_at_the_end():
    plain = episode(gym_adapter.GymAdapter(Toy(length=3)))
    repeated = episode(wrappers.ActionRepeat(gym_adapter.GymAdapter(Toy(length=3)), 2))
    rewards = [float(tran["reward"]) for tran in plain]
    assert [float(tran["reward"]) for tran in repeated] == pytest.approx(
        [0, rewards[1] + rewards[2], rewards[3]]
    )
    assert np.array_equal(repeated[1]["image"], plain[2]["image"])


def test_numbers_below_one_are_refused():
    for wrapper in (wrappers.TimeLimit, wrappers.ActionRepeat):
        with pytest.raises(ValueError, match="is 0, but must be at least 1"):
            wrapper(gym_adapter.GymAdapter(Toy()), 0)


# MiniGrid


def test_minigrid_tasks_show_64x64_pixels_and_take_7_actions():
    for task in (*minigrid.MINIGRID_3, *minigrid.MULTISKILL):
        env = minigrid.make(task)
        assert env.act_spec == specs.ActionSpec(7, discrete=True)
        assert env.obs_specs == {"image": specs.ArraySpec((64, 64, 3), UINT8)}


def test_the_tasks_are_those_of_the_paper():
    rooms = [core_of(minigrid.make(task)) for task in minigrid.MINIGRID_3]
    assert [(room.width, room.max_steps) for room in rooms] == [
        (9, 810),
        (9, 324),
        (9, 324),
    ]
    assert core_of(minigrid.make(minigrid.MINIGRID_3[0], doorkey_size=8)).width == 8


@pytest.mark.slow
def test_frames_and_rewards_equal_those_of_minigrid_itself():
    from minigrid import wrappers as theirs

    rows = native.nearest_indices(56, 64)
    for task in (
        *minigrid.MINIGRID_3,
        *minigrid.MULTISKILL,
        minigrid.FOURROOMS_PROC,
        *minigrid.FOURROOMS_PAIR,
    ):
        env = minigrid.make(task)
        reference = theirs.RGBImgPartialObsWrapper(gymnasium.make(task))
        tran, (observation, _) = env.reset(11), reference.reset(seed=11)
        for action in actions_of(env, 100):
            expected = observation["image"][rows][:, rows]
            np.testing.assert_array_equal(tran["image"], expected, err_msg=task)
            if tran["is_last"]:
                tran, (observation, _) = env.reset(12), reference.reset(seed=12)
            else:
                tran = env.step(action)
                observation, reward, *_ = reference.step(int(action.argmax()))
                assert tran["reward"] == np.float32(reward), task


def test_the_time_limit_is_100_steps_and_not_terminal():
    env = minigrid.make("MiniGrid-DoorKey-9x9-v0")
    done = np.eye(7, dtype=np.float32)[6]
    env.reset(0)
    transitions = [env.step(done) for _ in range(100)]
    assert [i for i, tran in enumerate(transitions) if tran["is_last"]] == [99]
    assert not any(tran["is_terminal"] for tran in transitions)


def core_of(env):
    """The MiniGrid environment inside of ours."""
    while isinstance(env, base.Wrapper):
        env = env.env
    return env._env.unwrapped


def path_to(core, kind):
    """The shortest actions (turn left, right, forward) onto a cell of that kind."""
    start = (*(int(c) for c in core.agent_pos), core.agent_dir)
    queue, seen = [(start, [])], {start}
    while queue:
        (x, y, heading), actions = queue.pop(0)
        dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1))[heading]
        ahead = core.grid.get(x + dx, y + dy)
        if ahead is not None and ahead.type == kind:
            return [*actions, 2]
        states = [((x, y, (heading - 1) % 4), 0), ((x, y, (heading + 1) % 4), 1)]
        if ahead is None:
            states.append(((x + dx, y + dy, heading), 2))
        for state, action in states:
            if state not in seen:
                seen.add(state)
                queue.append((state, [*actions, action]))
    raise AssertionError(f"no way to a cell of kind {kind}")


def test_success_is_the_goal_alone_whatever_the_bonus():
    for kind, state_bonus in itertools.product(("goal", "lava"), (False, True)):
        env = minigrid.make("MiniGrid-LavaCrossingS9N1-v0", state_bonus=state_bonus)
        env.reset(2)
        path = path_to(core_of(env), kind)
        *before, last = [env.step(np.eye(7, dtype=np.float32)[a]) for a in path]
        assert last["is_last"] and last["is_terminal"]
        expected = 1 - 0.9 * len(path) / 324 if kind == "goal" else 0
        assert last["reward"] == pytest.approx(expected + state_bonus)  # A new cell: 1.
        assert [tran["log_success"] for tran in before] == [0] * (len(path) - 1)
        assert last["log_success"] == (kind == "goal")


def test_the_visits_outlive_the_environment():
    first, second = (
        minigrid.make("MiniGrid-Empty-5x5-v0", state_bonus=True) for _ in range(2)
    )
    rollout(first, 20, seed=0)
    second.set_state(first.get_state())
    assert second.get_state() == first.get_state() != {}
    assert minigrid.make("MiniGrid-Empty-5x5-v0").get_state() == {}


def test_tasks_with_wrappers_of_their_own_keep_them():
    entry = gymnasium.spec("MiniGrid-Empty-5x5-v0").entry_point
    gymnasium.register("MiniGrid-Short-v0", entry, max_episode_steps=3)
    try:
        env = minigrid.make("MiniGrid-Short-v0")
        assert set(env.obs_specs) == {"image"}
        env.reset(0)
        ends = [env.step(np.eye(7)[0])["is_last"] for _ in range(3)]
    finally:
        del gymnasium.registry["MiniGrid-Short-v0"]
    assert ends == [False, False, True]


@pytest.mark.parametrize("library", ["gym", "gymnasium"])
def test_the_environment_of_the_readme_is_understood(library):
    make = pytest.importorskip(library).make
    pixels = gym_minigrid.wrappers.RGBImgPartialObsWrapper
    env = gym_adapter.GymAdapter(pixels(make("MiniGrid-DoorKey-6x6-v0")))
    assert env.obs_specs == {
        "image": specs.ArraySpec((64, 64, 3), UINT8),
        "direction": specs.ArraySpec((4,), FLOAT32),
    }
    expected = minigrid.make("MiniGrid-DoorKey-6x6-v0")
    for ours, theirs in zip(rollout(env, 9, 1), rollout(expected, 9, 1), strict=True):
        np.testing.assert_array_equal(ours["image"], theirs["image"])


def test_unknown_ids_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="'MiniGrid-DorKey-9x9-v0'.*DoorKey-9x9-v0"):
        minigrid.make("MiniGrid-DorKey-9x9-v0")
    with pytest.raises(ValueError, match="must be a MiniGrid"):
        minigrid.make("~")
    with pytest.raises(ValueError, match="'CartPool-v1'.*CartPole-v1"):
        generic.make("CartPool-v1")


# What wrappers keep over episodes.


class Curriculum(gymnasium.Wrapper):
    """Adds the number of episodes to the reward, and tells it."""

    level = 0

    def reset(self, **options):
        self.level += 1
        return self.env.reset(**options)

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        return observation, reward + self.level, *rest

    def get_state(self):
        return {"level": self.level}

    def set_state(self, state):
        self.level = state["level"]


class Secretive(gymnasium.Wrapper):
    """Keeps a mean, and does not tell it."""

    running_mean = 0

    def __init__(self, env):
        super().__init__(env)
        self.running_mean = np.zeros(3)


def normalised(dtype=np.float32):
    """An environment that is normalised in every way, as the driver steps it."""
    env = Toy(spaces.Box(-9, 9, (2, 3), dtype))
    env = gymnasium.wrappers.NormalizeObservation(Curriculum(env))
    return gym_adapter.GymAdapter(gymnasium.wrappers.NormalizeReward(env))


def play_on(env, seed):
    """All that two episodes tell."""
    told = []
    for episode in range(2):
        told.append(env.reset(seed + episode))
        while not told[-1]["is_last"]:
            told.append(env.step(np.eye(3, dtype=np.float32)[0]))
    return [{key: value.tobytes() for key, value in tran.items()} for tran in told]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_wrappers_keep_goes_on_bit_for_bit_in_another_environment(dtype):
    first, second = normalised(dtype), normalised(dtype)
    play_on(first, 3)
    state = json.loads(json.dumps(first.get_state()))
    names = [each["name"] for each in state[statistics.KEY]]
    assert names == ["NormalizeReward", "NormalizeObservation", "Curriculum"]
    assert play_on(second, 9) != play_on(first, 9)
    first.set_state(state)
    second.set_state(state)
    assert play_on(second, 9) == play_on(first, 9)
    assert second.get_state() == first.get_state() != state


def test_the_state_of_other_wrappers_is_refused():
    state = normalised().get_state()
    other = gym_adapter.GymAdapter(Curriculum(Toy(spaces.Box(-9, 9, (2,)))))
    with pytest.raises(ValueError, match="NormalizeReward.*this one has .'Curriculum'"):
        other.set_state(state)
    assert not statistics.fits(state, other.get_state())
    assert gym_adapter.GymAdapter(Toy(spaces.Box(-9, 9, (2,)))).get_state() == {}


def test_a_wrapper_that_keeps_what_it_does_not_tell_is_warned_of_once(
    monkeypatch, caplog
):
    monkeypatch.setattr(statistics, "_told", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            env = gym_adapter.GymAdapter(Secretive(Toy(spaces.Box(-9, 9, (2,)))))
    assert env.get_state() == {}
    assert caplog.text.count("Secretive keeps running_mean") == 1
    assert "get_state()" in caplog.text
