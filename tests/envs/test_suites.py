"""Tasks by name, and what is particular to Atari, DM Control and Crafter."""

import importlib
import os
import subprocess
import sys
import types

import gymnasium
import numpy as np
import pytest

from common import config as config_lib
from common.config import plugins
from common.envs import registry
from common.envs.workers import parallel
from dreamerv2 import settings as settings_lib
from dreamerv2 import train

DEFAULTS = settings_lib.defaults


# The table of suites


def test_a_task_is_made_as_the_configuration_says():
    config = DEFAULTS.update(
        {"action_repeat": 2, "time_limit": 3, "render_size": [32, 32]}
    )
    env = registry.constructor("minigrid_MiniGrid-Empty-5x5-v0", config)()
    assert env.obs_specs["image"].shape == (32, 32, 3)
    env.reset(0)
    left = np.eye(7, dtype=np.float32)[0]
    assert [bool(env.step(left)["is_last"]) for _ in range(3)] == [False, False, True]


def test_any_id_of_gymnasium_is_a_task():
    env = registry.constructor("gym_CartPole-v1", DEFAULTS)()
    assert env.act_spec.size == 2


def test_exploration_rewards_are_for_training_alone():
    config = DEFAULTS.update({"state_bonus": True, "doorkey_size": 8})
    task = "minigrid_MiniGrid-DoorKey-9x9-v0"
    rewards = []
    for training in (True, False):
        env = registry.constructor(task, config, training=training)()
        env.reset(0)
        rewards.append(float(env.step(np.eye(7, dtype=np.float32)[0])["reward"]))
    assert rewards == [1.0, 0.0]
    with pytest.raises(ValueError, match="state_bonus.*'gym_CartPole-v1'"):
        registry.constructor("gym_CartPole-v1", config)


def test_a_suite_is_given_what_every_suite_takes(monkeypatch):
    calls = []
    fake = types.ModuleType("common.envs.suites.minihack")
    fake.make = lambda name, **settings: calls.append((name, settings))
    monkeypatch.setitem(sys.modules, "common.envs.suites.minihack", fake)
    registry.constructor("minihack_MiniHack-Room_5x5-v0", DEFAULTS)()
    (name, settings), *_ = calls
    assert name == "MiniHack-Room_5x5-v0"
    assert settings == {"action_repeat": 1, "time_limit": 0, "size": (64, 64)}


def test_a_misspelt_task_is_answered_with_the_nearest():
    answers = {
        "atrai_pong": "'atrai_pong'.*SUITE_NAME.*Did you mean atari_pong",
        "pong": "'pong'; a task is SUITE_NAME, such as atari_pong",
        "gym_": "SUITE_NAME",
        "": "SUITE_NAME",
        "minigrid_MiniGrid-Empty-5x6-v0": "5x6.*nearest are .*MiniGrid-Empty-5x5-v0",
    }
    for task, message in answers.items():
        with pytest.raises(ValueError, match=message):
            registry.constructor(task, DEFAULTS)


@pytest.mark.parametrize("name", ["atari", "crafter", "dmc"])
def test_a_missing_package_is_answered_with_the_command(name, monkeypatch):
    suite = registry.SUITES[name]
    if name == "dmc":  # asks another process
        dmc = importlib.import_module(suite.module)
        dmc.choose_gl.cache_clear()
        monkeypatch.setattr(dmc, "_PROBE", "import a_package_that_is_missing")
    else:
        monkeypatch.delitem(sys.modules, suite.module, raising=False)
        for package in ("ale_py", "crafter"):
            monkeypatch.setitem(sys.modules, package, None)
    command = rf"pip install -e '\.\[{name}\]' -c constraints.txt"
    with pytest.raises(ValueError, match=f"not installed.*{command}"):
        registry.constructor(suite.example, DEFAULTS)


# A suite of the user's

MAZE = """
from common.envs import gym_adapter, registry, wrappers
from gymnasium.envs.classic_control import cartpole


def make(name, *, action_repeat, time_limit, size, color):
    env = cartpole.CartPoleEnv()
    env.made = name, color, action_repeat, size
    return Env(gym_adapter.GymAdapter(env), time_limit)


class Env(wrappers.TimeLimit):
    def get_state(self):
        return {"made": self.env._env.made}


def check_id(name):
    if name not in ("small", "large_red"):
        raise ValueError(f"no maze {name}")


def options(config, training):
    return {"color": "red" if training else "blue"}


registry.register("maze", registry.Suite(__name__, "maze_small", own_process=OWN))
"""


@pytest.fixture
def maze(tmp_path, monkeypatch):
    """Registers a suite from a file that Python would not find."""
    monkeypatch.setattr(registry, "SUITES", dict(registry.SUITES))

    def register(own_process):
        path = tmp_path / "my_maze.py"
        path.write_text(MAZE.replace("OWN)", f"{own_process})"))
        monkeypatch.delitem(sys.modules, "my_maze", raising=False)
        registry.SUITES.pop("maze", None)
        words = ["--plugins", str(path), "--task", "maze_large_red", "--time_limit=7"]
        config = train.parse_flags(words)
        plugins.load(config.plugins)
        return config

    return register


def test_a_registered_suite_is_trained_on_in_any_process_without_an_edit(maze):
    for own_process in (False, True):
        config = maze(own_process)
        (task,) = train.make_tasks(config).trained
        for make, color in ((task.make, "red"), (task.make_eval, "blue")):
            env = parallel.make_parallel(make, "process")
            assert isinstance(env, parallel.ProcessEnv) != own_process
            made = ["large_red", color, config.action_repeat, config.render_size]
            assert [*env.get_state()["made"]] == made
            env.reset(0)
            steps = [env.step(np.float32([0, 1])) for _ in range(7)]
            assert steps[-1]["is_last"]
            env.close()
    with pytest.raises(ValueError, match="no maze tiny"):
        registry.constructor("maze_tiny", config)
    with pytest.raises(ValueError, match="Did you mean maze_small"):
        registry.constructor("mace_small", config)


def test_a_suite_of_another_kind_is_registered_under_a_name_of_its_own(maze):
    maze(own_process=False)
    suite = registry.SUITES["maze"]
    registry.register("maze", suite)  # nothing new
    for name, wrong, message in (
        ("maze", suite._replace(module="another"), "other than atari.*maze"),
        ("my_maze", suite, "without an underscore"),
        ("", suite, "without an underscore"),
        ("mine", suite, "'maze_small' of the suite mine is none of its tasks"),
        ("mine", suite._replace(example="mine_"), "give one, mine_NAME"),
    ):
        with pytest.raises(config_lib.ConfigError, match=message):
            registry.register(name, wrong)


def test_every_block_with_a_task_names_one_that_exists():
    tasks = [b["task"] for b in settings_lib.configs.values() if "task" in b]
    assert len(tasks) > 3
    assert all(task.partition("_")[0] in registry.SUITES for task in tasks)


# Atari


@pytest.fixture
def atari():
    pytest.importorskip("ale_py")
    from common.envs.suites import atari

    return atari


class Screen(gymnasium.Env):
    """Four frames a life; frame n has one bright pixel at column n."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 64), np.uint8)
    action_space = gymnasium.spaces.Discrete(18)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.actions = 0, []
        return self._draw(), {}

    def step(self, action):
        self.count += 1
        self.actions.append(action)
        return self._draw(), 1.0, self.count >= 60, False, {}

    def _draw(self):
        frame = np.zeros((4, 64), np.uint8)
        frame[:, self.count % 64] = 200
        return frame


def test_an_atari_image_holds_the_last_two_frames_of_an_action(atari):
    game = atari._Game(Screen(), 4, (4, 64))
    image, _ = game.reset(seed=0)
    begin = game.unwrapped.count
    assert np.flatnonzero(image[0, :, 0]).tolist() == [begin]
    image, reward, *_ = game.step(5)
    assert np.flatnonzero(image[0, :, 0]).tolist() == [begin + 3, begin + 4]
    assert reward == 4 and game.unwrapped.actions[-4:] == [5] * 4


def test_an_atari_episode_begins_with_up_to_30_frames_without_action(atari):
    game, counts = atari._Game(Screen(), 4, (4, 64)), []
    for seed in range(200):
        game.reset(seed=seed)
        assert set(game.unwrapped.actions) == {0}
        counts.append(game.unwrapped.count)
    assert (min(counts), max(counts)) == (1, 30)
    assert len(set(counts)) == 30


def test_an_atari_episode_that_ends_amid_an_action_is_not_played_on(atari):
    game = atari._Game(Screen(), 7, (4, 64))
    game.reset(seed=0)
    total = game.unwrapped.count
    terminated = False
    while not terminated:
        _, reward, terminated, _, _ = game.step(1)
        total += reward
    assert total == game.unwrapped.count == 60


@pytest.mark.parametrize("size", [(64, 64), (84, 84), (210, 160), (300, 7)])
def test_an_atari_pixel_is_the_average_of_the_area_that_it_covers(atari, size):
    image = np.random.default_rng(0).integers(0, 256, (210, 160), np.uint8)
    shares = []
    for source, target in zip(image.shape, size, strict=True):
        fine = np.zeros((target, source))  # cut into parts that both grids have
        for part in range(source * target):
            fine[part // source, part // target] += 1 / source
        shares.append(fine)
    expected = shares[0] @ image @ shares[1].T
    found = atari.resize(image, size)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


def test_atari_is_grey_sticky_with_all_actions_and_without_lives(atari, monkeypatch):
    asked = {}
    make = gymnasium.make
    monkeypatch.setattr(
        gymnasium, "make", lambda *a, **k: asked.update(k) or make(*a, **k)
    )
    env = atari.make("pong")
    assert env.obs_specs["image"].shape == (64, 64, 1)
    assert env.act_spec.size == 18
    assert asked["repeat_action_probability"] == 0.25
    assert asked["frameskip"] == 1
    assert not any(key.startswith("log_") for key in env.reset(0))


def test_atari_games_have_their_usual_names(atari):
    for name in ("james_bond", "jamesbond", "MsPacman", "up_n_down"):
        atari.check_id(name)


def test_a_misspelt_atari_game_is_answered_with_the_nearest(atari):
    with pytest.raises(ValueError, match="'pnog'; the nearest are pong"):
        atari.make("pnog")


# Crafter


@pytest.fixture
def crafter():
    pytest.importorskip("crafter")
    from common.envs.suites import crafter

    return crafter


@pytest.mark.slow
def test_crafter_tells_its_reward_and_achievements_also_without(crafter):
    env = crafter.make("noreward")
    tran = env.reset(1)
    rewards, rng = [], np.random.default_rng(0)
    for _ in range(60):
        tran = env.step(np.eye(17, dtype=np.float32)[rng.integers(17)])
        assert tran["reward"] == 0
        rewards.append(float(tran["log_reward"]))
    assert max(rewards) >= 1
    counts = [tran[key] for key in tran if key.startswith("log_achievement_")]
    assert len(counts) == 22 and max(counts) >= 1


def test_crafter_does_not_depend_on_the_order_of_a_set(crafter, monkeypatch):
    order = []
    monkeypatch.setattr(
        crafter._World.__base__, "_balance_object", lambda *a: order.append(a[2])
    )
    creatures = [types.SimpleNamespace(pos=p) for p in ((3, 1), (2, 9))]
    world = crafter._World(seed=0)
    world._balance_object((0, 1, 2, 3), creatures)
    world._balance_object((0, 1, 2, 3), creatures[::-1])
    assert order == [creatures[::-1]] * 2


def test_another_crafter_task_is_refused(crafter):
    with pytest.raises(ValueError, match="'rewards'; choose from reward or noreward"):
        crafter.make("rewards")


# DM Control


@pytest.fixture
def dmc():
    pytest.importorskip("dm_env")
    from common.envs.suites import dmc

    return dmc


@pytest.fixture
def probes(dmc, monkeypatch):
    """Lets a test decide which backends of OpenGL work."""
    dmc.choose_gl.cache_clear()
    works = set()

    def probe(backend):
        code = 0 if backend in works | {"disable"} else 139
        return subprocess.CompletedProcess([], code, "walker_walk reacher_easy", "x")

    monkeypatch.setattr(dmc, "_probe", probe)
    monkeypatch.setenv("MUJOCO_GL", "")
    yield works
    dmc.choose_gl.cache_clear()


def test_the_first_backend_that_works_is_chosen_and_told(dmc, probes, capsys):
    probes.update({"osmesa", "glfw"})
    dmc.check_id("walker_walk")
    dmc.check_id("reacher_easy")
    assert os.environ["MUJOCO_GL"] == "osmesa"
    assert capsys.readouterr().out.count("renders with osmesa") == 1


def test_the_users_backend_is_not_overruled(dmc, probes, monkeypatch, capsys):
    probes.update({"egl", "glfw"})
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    dmc.choose_gl()
    assert os.environ["MUJOCO_GL"] == "glfw"
    assert not capsys.readouterr().out


def test_without_opengl_packages_and_another_way_are_named(dmc, probes):
    with pytest.raises(ValueError, match="egl, osmesa.*apt-get install.*dmc_proprio"):
        dmc.make("walker_walk")
    assert os.environ["MUJOCO_GL"] == "disable"


def test_a_misspelt_dmc_task_is_answered_with_the_nearest(dmc, probes):
    with pytest.raises(ValueError, match="'walker_wlak'; the nearest are walker_walk"):
        dmc.check_id("walker_wlak")


def test_images_are_rendered_only_if_they_are_looked_at(dmc, probes):
    probes.add("egl")

    def rendered(block):
        config = DEFAULTS.update(config_lib.Config(settings_lib.configs[block]))
        make = registry.constructor("dmc_walker_walk", config, training=True)
        return make.keywords["render"]

    assert (rendered("dmc"), rendered("dmc_proprio")) == (True, False)
