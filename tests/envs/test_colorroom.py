"""ColorRoom: what its tasks share, and that each excludes the others' rules."""

import collections
import functools

import gymnasium
import numpy as np
import pytest

import gym_minigrid
from common.envs.suites import minigrid
from gym_minigrid import colorroom, rendering

LEFT, RIGHT, FORWARD = range(3)
NUMBERS = range(4)
MOVES = ((1, 0), (0, 1), (-1, 0), (0, -1))


def make(task, **kwargs):
    """The MiniGrid environment of a task, counted from 0."""
    return gymnasium.make(minigrid.COLORROOM[task], **kwargs).unwrapped


def state_of(env):
    """Where the agent of a MiniGrid environment is and looks, and the tiles."""
    found = {
        obj.color: (index % env.width, index // env.width)
        for index, obj in enumerate(env.grid.grid)
        if obj.type == "goal"
    }
    (x, y), tiles = env.agent_pos, tuple(found[color] for color in colorroom.TILES)
    return (int(x), int(y), int(env.agent_dir)), tiles


# A slow twin: states are (x, y, direction).


def first(scene):
    """The state in which an episode begins."""
    return (*scene.start, scene.direction)


def move(state, action, exchanged, size):
    """The next state; actions beyond FORWARD do nothing."""
    x, y, direction = state
    if action == FORWARD:
        x, y = (c + d for c, d in zip((x, y), MOVES[direction], strict=True))
        inside = 0 < min(x, y) and max(x, y) < size - 1
        return (x, y, direction) if inside else state
    turn = {LEFT: -1, RIGHT: 1}.get(action, 0)
    return x, y, (direction + (-turn if exchanged else turn)) % 4


def tile_at(state, tiles):
    """The colour of the tile that the agent stands on, or None."""
    return dict(zip(tiles, colorroom.TILES, strict=True)).get(state[:2])


@functools.cache
def rule(task, tiles, size):
    """The actions of all shortest ways to the right tile, by state, and their steps."""
    wanted, exchanged = colorroom.TASKS[task].right, colorroom.TASKS[task].exchanged
    inside = range(1, size - 1)
    into = collections.defaultdict(list)
    for state in ((x, y, d) for x in inside for y in inside for d in range(4)):
        if tile_at(state, tiles) is None:
            for action in (LEFT, RIGHT, FORWARD):
                into[move(state, action, exchanged, size)].append((state, action))
    steps = {s: 0 for s in into if tile_at(s, tiles) == wanted}
    best, front = collections.defaultdict(list), collections.deque(steps)
    while front:
        after = front.popleft()
        for state, action in into[after]:
            if state not in steps:
                steps[state] = steps[after] + 1
                front.append(state)
            if steps[state] == steps[after] + 1:
                best[state].append(action)
    return best, steps


def reached(played, task, scene, size):
    """The tiles that the best rule of `played` may reach, however ties are broken."""
    best, _ = rule(played, scene.tiles, size)
    front = [first(scene)]
    seen = set(front)
    while front:
        state = front.pop()
        for action in best[state]:
            after = move(state, action, colorroom.TASKS[task].exchanged, size)
            if after not in seen:
                seen.add(after)
                front.append(after)
    return {tile_at(state, scene.tiles) for state in seen} - {None}


@pytest.mark.slow
@pytest.mark.parametrize("size", colorroom.SIZES)
def test_the_best_rule_of_one_task_is_worth_nothing_in_the_others(size):
    for task, asks in enumerate(colorroom.TASKS):
        for played, says in enumerate(colorroom.TASKS):
            found = collections.Counter(
                tile
                for scene in colorroom.scenes(size)
                for tile in reached(played, task, scene, size)
            )
            same_keys = asks.exchanged == says.exchanged
            expected = {says.right: len(colorroom.scenes(size))} if same_keys else {}
            assert found == expected, (task, played)
            assert (found[asks.right] > 0) == (task == played)


@pytest.mark.parametrize(("size", "mean", "most"), [(5, 0.879, 8), (6, 0.855, 9)])
def test_the_best_rule_of_a_task_earns_most_of_the_reward_in_it(size, mean, most):
    for task in NUMBERS:
        counts = [
            rule(task, scene.tiles, size)[1][first(scene)]
            for scene in colorroom.scenes(size)
        ]
        assert max(counts) == most
        assert 1 - 0.9 * np.mean(counts) / 25 == pytest.approx(mean, abs=5e-4)


def chance(size, steps=25):
    """With which probability random actions end at the red and at the blue tile."""
    starts = collections.defaultdict(list)
    for scene in colorroom.scenes(size):
        starts[scene.tiles].append(first(scene))
    total = collections.Counter()
    for tiles, states in starts.items():
        now = collections.Counter(states)
        for _ in range(steps):
            after = collections.Counter()
            for state, weight in now.items():
                if tile_at(state, tiles):
                    after[state] += weight
                    continue
                after[state] += weight * 4 / 7
                for action in (LEFT, RIGHT, FORWARD):
                    after[move(state, action, False, size)] += weight / 7
            now = after
        for state, weight in now.items():
            total[tile_at(state, tiles)] += weight
    return [total[color] / len(colorroom.scenes(size)) for color in colorroom.TILES]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "expected"), [(5, 0.157), (6, 0.106)])
def test_random_actions_find_either_tile_equally_seldom(size, expected):
    assert chance(size) == pytest.approx([expected] * 2, abs=5e-4)


@pytest.mark.slow
def test_random_actions_succeed_in_each_task_as_often_as_computed():
    rng = np.random.default_rng(0)
    for task in minigrid.COLORROOM:
        env = minigrid.make(task)
        wins = 0.0
        for seed in range(400):
            tran = env.reset(seed)
            while not tran["is_last"]:
                tran = env.step(np.eye(7, dtype=np.float32)[rng.integers(7)])
            wins += tran["log_success"]
        assert 0.06 < wins / 400 < 0.152  # three standard deviations around 0.106


# The rooms


@pytest.mark.parametrize("size", colorroom.SIZES)
def test_the_agent_moves_as_in_the_twin(size):
    rng = np.random.default_rng(0)
    for task in NUMBERS:
        env = make(task, size=size)
        ended = True
        for seed in range(500):
            if ended:
                env.reset(seed=seed)
            before, tiles = state_of(env)
            action = int(rng.integers(7))
            _, reward, terminated, truncated, _ = env.step(action)
            after, _ = state_of(env)
            exchanged = colorroom.TASKS[task].exchanged
            assert after == move(before, action, exchanged, size)
            assert terminated == (tile_at(after, tiles) is not None)
            right = tile_at(after, tiles) == colorroom.TASKS[task].right
            assert reward == pytest.approx(right * (1 - 0.9 * env.step_count / 25))
            ended = terminated or truncated


def core_of(env):
    """The MiniGrid environment in an adapter."""
    while not hasattr(env, "_env"):
        env = env.env
    return env._env.unwrapped


@pytest.mark.parametrize("task", NUMBERS)
@pytest.mark.parametrize("played", NUMBERS)
def test_the_rules_played_in_the_suite_succeed_in_their_own_task_alone(played, task):
    env = minigrid.make(minigrid.COLORROOM[task])
    for seed in range(20):
        tran, count = env.reset(seed), 0
        while not tran["is_last"]:
            state, tiles = state_of(core_of(env))
            action = rule(played, tiles, 6)[0][state][0]
            tran = env.step(np.eye(7, dtype=np.float32)[action])
            count += 1
            assert tran["is_last"] or not tran["reward"]
        own = played == task
        same_keys = played // 2 == task // 2
        assert tran["reward"] == pytest.approx(own * (1 - 0.9 * count / 25))
        assert tran["log_success"] == own and tran["is_terminal"] == same_keys
        assert same_keys or count == 25


def test_an_episode_begins_with_both_tiles_in_sight_and_neither_straight_ahead():
    for size in colorroom.SIZES:
        seen = set()
        env = make(0, size=size)
        for seed in range(300):
            observation, _ = env.reset(seed=seed)
            state, tiles = state_of(env)
            seen.add((state, tiles))
            kinds = observation["image"][..., 0]  # 8 is a goal
            assert (kinds == 8).sum() == 2 and not (kinds[3] == 8).any()
        assert len(seen) > 200
        assert seen <= {(first(s), s.tiles) for s in colorroom.scenes(size)}


def test_the_scenes_are_all_that_there_are_and_none_twice():
    assert [len(set(colorroom.scenes(size))) for size in (5, 6)] == [528, 3840]
    assert [len(colorroom.scenes(size)) for size in (5, 6)] == [528, 3840]
    for scene in colorroom.scenes(6):
        assert len({scene.start, *scene.tiles}) == 3


def test_the_first_frame_is_another_in_each_task_and_the_scene_is_not():
    made = [minigrid.make(task) for task in minigrid.COLORROOM]
    for seed in range(10):
        frames = {env.reset(seed)["image"].tobytes() for env in made}
        assert len(frames) == 4
        assert len({state_of(core_of(env)) for env in made}) == 1


def test_the_colour_of_the_room_is_in_view_from_any_pose():
    cues = []
    for task in minigrid.COLORROOM:
        core = core_of(minigrid.make(task))
        core.reset(seed=0)
        seen = []
        for x, y, direction in np.ndindex(4, 4, 4):
            core.agent_pos, core.agent_dir = (x + 1, y + 1), direction
            image = core.gen_obs()["image"]
            colours, counts = np.unique(
                image.reshape(-1, 3), axis=0, return_counts=True
            )
            large = colours[counts >= 4 * 8 * 8]  # of four cells or more
            seen.append({tuple(map(int, colour)) for colour in large})
        cues.append(set.intersection(*seen))
    for one in cues:
        others = set().union(*(other for other in cues if other is not one))
        assert one - others, "the walls' colour, which no other task has"


# The contract of the tasks


def test_pixels_are_drawn_quickly_and_equal_those_of_minigrid():
    assert rendering.can_draw(colorroom.ColorRoomEnv)
    rng = np.random.default_rng(0)
    for task in minigrid.COLORROOM:
        assert type(core_of(minigrid.make(task))).__name__ == "PixelColorRoomEnv"
        env = gym_minigrid.wrappers.RGBImgPartialObsWrapper(gymnasium.make(task))
        image = env.reset(seed=0)[0]["image"]
        for seed in range(200):
            expected = env.unwrapped.get_frame(tile_size=8, agent_pov=True)
            np.testing.assert_array_equal(image, expected)
            observation, _, *ended, _ = env.step(rng.integers(3))
            image = (env.reset(seed=seed)[0] if any(ended) else observation)["image"]


def test_an_episode_is_cut_after_25_steps_and_then_not_terminal():
    for task in minigrid.COLORROOM:
        env = minigrid.make(task)
        env.reset(0)
        *steps, last = [env.step(np.eye(7, dtype=np.float32)[LEFT]) for _ in range(25)]
        assert not any(step["is_last"] for step in steps)
        assert last["is_last"] and not last["is_terminal"]
        assert (last["reward"], last["log_success"]) == (0, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": 0}, "task is 0; ColorRoom's are 1 to 4"),
        ({"task": 5}, "task is 5; ColorRoom's are 1 to 4"),
        ({"size": 4}, "size of ColorRoom is 4; it must be 5 or 6"),
        ({"size": 7}, "size of ColorRoom is 7; it must be 5 or 6.*sees both tiles"),
    ],
)
def test_what_cannot_be_played_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        gymnasium.make(minigrid.COLORROOM[0], **settings)
