"""gym_minigrid: ids, the MultiSkill levels, the fast view, the wrappers."""

import pathlib
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from minigrid.core import world_object
from minigrid.core.grid import Grid
from minigrid.minigrid_env import MiniGridEnv
from minigrid.wrappers import RGBImgPartialObsWrapper as SlowPixels

import gym_minigrid
from gym_minigrid import registration, rendering

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASKS = (
    "MiniGrid-DoorKey-9x9-v0",
    "MiniGrid-LavaCrossingS9N3-v0",
    "MiniGrid-SimpleCrossingS11N5-v0",
    "MiniGrid-Empty-5x5-v0",
    "MiniGrid-Dynamic-Obstacles-6x6-v0",
    "MiniGrid-KeyCorridorS3R3-v0",
    "MiniGrid-ObstructedMaze-Full-v1",
    "MiniGrid-Playground-v0",
    "MiniGrid-RedBlueDoors-6x6-v0",
    "MiniGrid-MultiSkill-N4-v0",
    "MiniGrid-ColorRoom-K4-v0",
)


def random_actions(count, seed=0):
    """Actions that walk, carry and open more often than uniform ones."""
    return np.random.default_rng(seed).choice([0, 1, 2, 2, 2, 3, 4, 5, 5], count)


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )


# Ids


def test_ids_of_the_ancestors_and_of_multiskill_can_be_made():
    for name in ("DoorKey-6x6", "DoorKey-9x9", "MemoryS17Random", "MultiRoom-N6"):
        gymnasium.make(f"MiniGrid-{name}-v0").reset(seed=0)
    assert [gymnasium.spec(name).kwargs["skills"] for name in registration.MULTISKILL]


def test_doorkey_9x9_is_that_size_and_can_be_the_released_8x8():
    for kwargs, size, max_steps in (({}, 9, 810), ({"size": 8}, 8, 640)):
        env = gymnasium.make(registration.DOORKEY_9, **kwargs).unwrapped
        assert (env.width, env.height, env.max_steps) == (size, size, max_steps)


def test_registering_twice_changes_nothing():
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registration.register_all()
    assert gymnasium.registry == before


# gym


@pytest.mark.parametrize("order", ["gym, gym_minigrid", "gym_minigrid, gym"])
def test_gym_makes_minigrid_whatever_is_imported_first(order):
    pytest.importorskip("gym")
    done = run_python(
        f"import {order}\n"
        "env = gym.make('MiniGrid-DoorKey-6x6-v0')\n"
        "env = gym_minigrid.wrappers.RGBImgPartialObsWrapper(env)\n"
        "observation, info = env.reset(seed=1)\n"
        "print(observation['image'].shape, len(env.step(2)), env.spec.id)"
    )
    assert done.stdout == "(56, 56, 3) 5 MiniGrid-DoorKey-6x6-v0\n", done.stderr


def test_importing_the_package_prints_nothing():
    done = run_python("import gym_minigrid")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_wrappers_of_gym_stay_in_force_below_ours():
    gym = pytest.importorskip("gym")
    env = gym.make("MiniGrid-DoorKey-9x9-v0", max_episode_steps=3, size=8)
    assert not isinstance(env, gymnasium.Env)  # gym's TimeLimit is outermost.
    env = gym_minigrid.wrappers.StateBonus(env)
    env = gym_minigrid.wrappers.RGBImgPartialObsWrapper(env)
    env.reset(seed=0)
    assert env.unwrapped.width == 8
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]
    env.close()


def test_wrapping_something_else_is_refused():
    with pytest.raises(TypeError, match="not a MiniGrid environment"):
        gym_minigrid.wrappers.StateBonus(object())


def test_without_gym_the_package_works_and_a_broken_gym_is_a_warning(monkeypatch):
    def raises(error):
        def import_module(name):
            raise error

        return import_module

    missing = ModuleNotFoundError("No module named 'gym'", name="gym")
    monkeypatch.setattr(registration.importlib, "import_module", raises(missing))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registration.register_all()
    broken = AttributeError("np.bool8")
    monkeypatch.setattr(registration.importlib, "import_module", raises(broken))
    with pytest.warns(UserWarning, match="np.bool8.*Install gym 0.26.2"):
        registration.register_all()


# The view


def test_spread_lights_the_cells_that_minigrid_lights():
    rng = np.random.default_rng(0)
    for density in np.linspace(0, 0.9, 200):
        grid = Grid(7, 7)
        for x, y in np.argwhere(rng.random((7, 7)) < density):
            grid.set(x, y, world_object.Wall())
        mask = np.zeros((7, 7), bool)
        seen = 1 << 3
        for row in range(6, -1, -1):
            free = [grid.get(column, row) is None for column in range(7)]
            clear = sum(1 << column for column in range(7) if free[column])
            lit, seen = rendering.spread(seen, clear, 7)
            mask[:, row] = [lit >> column & 1 for column in range(7)]
        np.testing.assert_array_equal(mask, grid.process_vis((3, 6)))


@pytest.mark.slow
def test_pixels_equal_those_of_minigrid():
    for task in TASKS:
        ours = gym_minigrid.wrappers.RGBImgPartialObsWrapper(gymnasium.make(task))
        theirs = SlowPixels(gymnasium.make(task))
        np.testing.assert_array_equal(
            ours.reset(seed=3)[0]["image"], theirs.reset(seed=3)[0]["image"]
        )
        for action in random_actions(200):
            observation, *result, _ = ours.step(action)
            expected, *expected_result, _ = theirs.step(action)
            np.testing.assert_array_equal(observation["image"], expected["image"])
            assert observation["direction"] == expected["direction"]
            assert result == expected_result
            if result[1] or result[2]:
                ours.reset()
                theirs.reset()


def test_another_tile_size_is_drawn_too():
    make = gymnasium.make(TASKS[0])
    pixels = gym_minigrid.wrappers.RGBImgPartialObsWrapper(make, tile_size=5)
    image = pixels.reset(seed=0)[0]["image"]
    assert image.shape == pixels.observation_space["image"].shape == (35, 35, 3)
    expected = pixels.unwrapped.get_frame(tile_size=5, agent_pov=True)
    np.testing.assert_array_equal(image, expected)


def test_an_environment_with_a_view_of_its_own_is_drawn_by_itself():
    class Blind(type(gymnasium.make("MiniGrid-Empty-5x5-v0").unwrapped)):
        def get_pov_render(self, tile_size):
            return np.zeros((56, 56, 3), np.uint8)

    assert rendering.can_draw(MiniGridEnv)
    assert not rendering.can_draw(Blind)
    pixels = gym_minigrid.wrappers.RGBImgPartialObsWrapper(Blind(size=5))
    assert not pixels.reset(seed=0)[0]["image"].any()


def test_only_numeric_keys_are_observed():
    env = gym_minigrid.wrappers.RGBImgPartialObsWrapper(gymnasium.make(TASKS[0]))
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"image", "direction"}
    assert env.observation_space.contains(observation)
    assert env.observation_space.contains(env.step(1)[0])


# State bonus


def test_state_bonus_is_one_over_the_root_of_the_visits():
    env = gym_minigrid.wrappers.StateBonus(gymnasium.make("MiniGrid-Empty-5x5-v0"))
    plain = gymnasium.make("MiniGrid-Empty-5x5-v0")
    visits = np.zeros((5, 5))
    env.reset(seed=0)
    plain.reset(seed=0)
    for step, action in enumerate(random_actions(300)):
        reward, ended = env.step(action)[1:3]
        expected = plain.step(action)[1]
        x, y = plain.unwrapped.agent_pos
        visits[x, y] += 1
        assert reward == pytest.approx(expected + 1 / np.sqrt(visits[x, y]))
        if ended or step % 50 == 49:  # Counts go on over episodes.
            env.reset(seed=step)
            plain.reset(seed=step)
    assert visits.max() > 10


def test_state_bonus_goes_on_from_its_state():
    first, second = (
        gym_minigrid.wrappers.StateBonus(gymnasium.make("MiniGrid-Empty-5x5-v0"))
        for _ in range(2)
    )
    first.reset(seed=0)
    for action in random_actions(20):
        first.step(action)
    second.set_state(first.get_state())
    for env in (first, second):
        env.reset(seed=1)
    assert first.step(0)[1] == second.step(0)[1] < 1


# MultiSkill


def flood(env, start, door_open):
    """Cells the agent can stand on, walking from start; lava and walls block."""
    reached, front = {start}, [start]
    while front:
        x, y = front.pop()
        for cell in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            obj = env.grid.get(*cell)
            kind = obj.type if obj else "empty"
            free = kind in ("empty", "goal", "key") or (kind == "door" and door_open)
            if free and cell not in reached:
                reached.add(cell)
                front.append(cell)
    return reached


def positions(env, kind):
    return [
        (index % env.width, index // env.width)
        for index, obj in enumerate(env.grid.grid)
        if obj is not None and obj.type == kind
    ]


def test_multiskill_levels_are_staircases_that_can_be_solved():
    for skills in (2, 3, 4):
        env = gymnasium.make(f"MiniGrid-MultiSkill-N{skills}-v0").unwrapped
        rooms = skills + 2
        assert env.width == env.height == 4 + (rooms - 1) * 8 + 9
        assert env.max_steps == rooms * 4 * 100
        assert np.all(np.diff(env.rooms, axis=0) == [8, 6])
        kinds = set()
        for seed in range(60):
            env.reset(seed=seed)
            kinds.update(env.skills)
            assert len(env.skills) == skills and env.skills.count("doorkey") <= 1
            start = tuple(int(c) for c in env.agent_pos)
            (goal,) = positions(env, "goal")
            assert in_room(start, env.rooms[0]) and in_room(goal, env.rooms[-1])
            walked = flood(env, start, door_open=False)
            if "doorkey" in env.skills:
                (key,) = positions(env, "key")
                (door,) = positions(env, "door")
                room = env.rooms[1 + env.skills.index("doorkey")]
                assert in_room(key, room) and in_room(door, room) and key[0] < door[0]
                assert env.grid.get(*door).is_locked
                assert key in walked and goal not in walked
                walked = flood(env, start, door_open=True)
            assert goal in walked
        assert kinds == {"doorkey", "lava", "simple"}


def in_room(cell, room):
    """Whether a cell lies inside of a room's walls."""
    return all(1 <= c - corner <= 7 for c, corner in zip(cell, room, strict=True))


def test_rivers_lie_at_even_offsets_with_one_opening():
    env = gymnasium.make("MiniGrid-MultiSkill-N4-v0").unwrapped
    seen = 0
    for seed in range(30):
        env.reset(seed=seed)
        for room, skill in zip(env.rooms[1:-1], env.skills, strict=True):
            if skill == "doorkey":
                continue
            kind = {"lava": "lava", "simple": "wall"}[skill]
            cells = [c for c in positions(env, kind) if in_room(c, room)]
            offsets = np.array(cells) - room  # [6, 2]
            (axis,) = np.flatnonzero(np.ptp(offsets, axis=0) == 0)
            assert len(cells) == 6 and offsets[0, axis] in (2, 4, 6)
            seen += 1
    assert seen > 30


def test_rooms_are_joined_by_one_gap_each():
    env = gymnasium.make("MiniGrid-MultiSkill-N2-v0").unwrapped
    env.reset(seed=0)
    for x, y in env.rooms[1:]:
        shared = [env.grid.get(x, y + row) is None for row in range(3)]
        assert shared == [False, True, False]


def test_same_seed_same_level_and_other_seed_another():
    env = gymnasium.make("MiniGrid-MultiSkill-N3-v0").unwrapped
    levels = []
    for seed in (5, 5, 6):
        env.reset(seed=seed)
        levels.append(env.hash())
    assert levels[0] == levels[1] != levels[2]


def test_a_level_without_skill_rooms_is_refused():
    with pytest.raises(ValueError, match="skills is 0"):
        gymnasium.make("MiniGrid-MultiSkill-N2-v0", skills=0)
