"""FourRooms: the pair that differs in the goal alone, and freely generated rooms."""

import collections
import itertools

import gymnasium
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from common.envs.suites import minigrid
from gym_minigrid import fourrooms

PROC, PAIR = minigrid.FOURROOMS_PROC, minigrid.FOURROOMS_PAIR
LEFT, RIGHT, FORWARD = np.eye(7, dtype=np.float32)[:3]
SIZES = st.integers(3, 12).map(lambda half: 2 * half + 1)


def core_of(env):
    """The MiniGrid environment in an adapter."""
    while not hasattr(env, "_env"):
        env = env.env
    return env._env.unwrapped


def scene(env):
    """(cells, start, direction, goal) of an episode; the goal's cell counts as free."""
    core = core_of(env)
    kinds = np.array([obj.type if obj else "" for obj in core.grid.grid])
    kinds = kinds.reshape(core.height, core.width).T  # [x, y]
    (goal,) = np.argwhere(kinds == "goal")
    kinds[tuple(goal)] = ""
    start = tuple(int(c) for c in core.agent_pos)
    return kinds, start, int(core.agent_dir), tuple(int(c) for c in goal)


def fixed(size=9, env_seed=0, episode=0):
    """The scenes of both tasks of a pair."""
    scenes = []
    for task in PAIR:
        env = minigrid.make(task, rooms_size=size, env_seed=env_seed)
        env.reset(episode)
        scenes.append(scene(env))
    return scenes


def room_of(cell, size):
    """Which room a cell lies in, (column, row); None in a wall or gap."""
    if any(c % (size // 2) == 0 for c in cell):
        return None
    return tuple(c // (size // 2) for c in cell)


def distances(free, start):
    """Steps to every cell that can be walked to."""
    found, front = {start: 0}, collections.deque([start])
    while front:
        x, y = cell = front.popleft()
        for near in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            if free[near] and near not in found:
                found[near] = found[cell] + 1
                front.append(near)
    return found


def rollout(env, count, seed=0, actions=0):
    rng = np.random.default_rng(actions)
    transitions = [env.reset(seed)]
    while len(transitions) < count:
        if transitions[-1]["is_last"]:
            transitions.append(env.reset(seed + len(transitions)))
        else:
            transitions.append(env.step(np.eye(7, dtype=np.float32)[rng.integers(7)]))
    return transitions


def images(transitions):
    return np.stack([transition["image"] for transition in transitions])


# The pair


@hypothesis.settings(max_examples=15)
@hypothesis.given(env_seed=st.integers(0, 2**32), size=SIZES)
def test_every_env_seed_gives_a_valid_pair_in_every_size(env_seed, size):
    (cells, start, direction, first), (others, *there, second) = fixed(size, env_seed)
    assert cells.shape == (size, size)
    np.testing.assert_array_equal(cells, others)  # the same walls
    assert there == [start, direction]
    free = cells == ""
    expected = np.zeros_like(free)
    for cell in np.ndindex(size, size):
        expected[cell] = room_of(cell, size) is not None
    gaps = np.argwhere(free != expected)
    assert len(gaps) == 4 and gaps.min() > 0 and gaps.max() < size - 1
    rooms = [room_of(cell, size) for cell in (start, first, second)]
    assert None not in rooms and len(set(rooms)) == 3
    ways = distances(free, start)
    assert (ways[first], ways[second]) == fourrooms.layout(env_seed, size).ways
    assert 0 < ways[first] <= size // 2 and 0 < ways[second] <= size // 2
    assert len(ways) == free.sum()  # no cell is cut off


def test_the_first_frame_does_not_tell_the_tasks_apart():
    for size in (7, 9, 19):
        for env_seed in range(30):
            first, second = (
                minigrid.make(task, rooms_size=size, env_seed=env_seed) for task in PAIR
            )
            np.testing.assert_array_equal(
                first.reset(0)["image"], second.reset(0)["image"]
            )


def test_the_layout_of_a_seed_stays_the_same_over_versions():
    # Runs of years apart are compared by their env_seed.
    assert fourrooms.layout(0, 19) == (
        ((9, 1), (9, 12), (6, 9), (17, 9)),
        (6, 2),
        3,
        ((6, 11), (11, 2)),
        (9, 7),
    )


def test_an_episode_seed_does_not_change_the_scene():
    env = minigrid.make(PAIR[0], rooms_size=9, env_seed=3)
    env.reset(0)
    before = scene(env)
    for seed in range(1, 20):
        env.reset(seed)
        cells, *rest = scene(env)
        np.testing.assert_array_equal(cells, before[0])
        assert rest == list(before[1:])
        env.step(LEFT)


def test_another_env_seed_is_another_pair():
    made = [core_of(minigrid.make(PAIR[0], env_seed=seed)) for seed in range(3)]
    assert [core.layout for core in made] == [
        fourrooms.layout(seed, 19) for seed in range(3)
    ]
    layouts = {fourrooms.layout(env_seed, 19) for env_seed in range(200)}
    assert len(layouts) > 195
    assert len({drawn.direction for drawn in layouts}) == 4
    assert len({room_of(drawn.start, 19) for drawn in layouts}) == 4
    firsts = [
        room_of(drawn.goals[0], 19)[0] == room_of(drawn.start, 19)[0]
        for drawn in layouts
    ]
    assert 60 < sum(firsts) < 140  # either goal is the first


def test_what_gives_no_layout_is_refused():
    for flags, message in (
        ({"rooms_size": 8}, "is 8; it must be odd"),
        ({"rooms_size": 5}, "is 5; .* at least 7"),
        ({"env_seed": -1}, "env_seed is -1; it must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            minigrid.make(PAIR[0], **flags)


def test_a_third_task_of_a_pair_is_refused():
    with pytest.raises(ValueError, match="goal is 3; the tasks of a pair are 1 and 2"):
        gymnasium.make(PAIR[0], goal=3)


# Freely generated


def test_free_rooms_are_those_of_minigrid_at_its_size():
    ours, theirs = minigrid.make(PROC), minigrid.make("MiniGrid-FourRooms-v0")
    np.testing.assert_array_equal(
        images(rollout(ours, 120)), images(rollout(theirs, 120))
    )


def test_free_rooms_differ_by_the_episode():
    for size in (7, 9, 11):
        env = minigrid.make(PROC, rooms_size=size)
        scenes = []
        for seed in range(30):
            env.reset(seed)
            cells, start, direction, goal = scene(env)
            assert cells.shape == (size, size)
            assert goal in distances(cells == "", start)
            scenes.append((cells.tobytes(), start, direction, goal))
        assert len(set(scenes)) > 25
        env.reset(0)
        assert scene(env)[0].tobytes() == scenes[0][0]


def test_free_rooms_of_even_size_are_refused():
    with pytest.raises(ValueError, match="is 10; it must be odd"):
        minigrid.make(PROC, rooms_size=10)


# The contract of the tasks


def test_the_same_seed_gives_the_same_50_frames_and_rewards():
    for task, size in itertools.product((PROC, *PAIR), (9, 19)):
        first, second = (
            rollout(minigrid.make(task, rooms_size=size), 50, seed=4) for _ in range(2)
        )
        np.testing.assert_array_equal(images(first), images(second))
        assert [t["reward"] for t in first] == [t["reward"] for t in second]
        image = first[0]["image"]
        assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)


def test_tasks_take_seven_actions_and_use_the_fast_view():
    for task in (PROC, *PAIR):
        env = minigrid.make(task)
        assert env.act_spec.discrete and env.act_spec.size == 7
        assert type(core_of(env)).__name__.startswith("Pixel")
        assert (core_of(env).width, core_of(env).max_steps) == (19, 100)


def way(env):
    """Actions of a shortest way to the goal, found by breadth-first search."""
    cells, start, direction, goal = scene(env)
    back = {(start, direction): None}
    front = collections.deque(back)
    while front:
        state = (x, y), towards = front.popleft()
        if (x, y) == goal:
            actions = []
            while back[state]:
                state, action = back[state]
                actions.append(action)
            return actions[::-1]
        dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1))[towards]
        ahead = (x + dx, y + dy) if cells[x + dx, y + dy] == "" else (x, y)
        moves = (
            (((x, y), (towards - 1) % 4), LEFT),
            (((x, y), (towards + 1) % 4), RIGHT),
            ((ahead, towards), FORWARD),
        )
        for after, action in moves:
            if after not in back:
                back[after] = state, action
                front.append(after)
    raise AssertionError("no way to the goal")


def test_the_goal_gives_the_reward_of_minigrid_and_terminates():
    for task, size, env_seed in itertools.product((PROC, *PAIR), (9, 19), range(5)):
        env = minigrid.make(task, rooms_size=size, env_seed=env_seed)
        env.reset(env_seed)
        *steps, last = [env.step(action) for action in way(env)]
        count = len(steps) + 1
        assert not any(s["reward"] or s["is_last"] or s["log_success"] for s in steps)
        assert last["reward"] == pytest.approx(1 - 0.9 * count / 100)
        assert last["is_last"] and last["is_terminal"] and last["log_success"] == 1


def test_one_tasks_way_does_not_solve_the_other():
    for env_seed in range(20):
        first, second = (
            minigrid.make(task, rooms_size=9, env_seed=env_seed) for task in PAIR
        )
        first.reset(0)
        second.reset(0)
        assert not any(second.step(action)["reward"] for action in way(first))


def test_the_time_limit_ends_an_episode_that_is_not_terminal():
    for task in (PROC, *PAIR):
        for flags, limit in (
            ({}, 100),
            ({"time_limit": 0}, 100),
            ({"time_limit": 7}, 7),
        ):
            env = minigrid.make(task, **flags)
            env.reset(0)
            *steps, last = [env.step(LEFT) for _ in range(limit)]
            assert not any(step["is_last"] for step in steps)
            assert last["is_last"] and not last["is_terminal"]
            assert (last["reward"], last["log_success"]) == (0, 0)


def test_the_state_bonus_can_be_added():
    env = minigrid.make(PAIR[1], rooms_size=9, state_bonus=True)
    env.reset(0)
    rewards = [float(env.step(LEFT)["reward"]) for _ in range(4)]
    assert rewards == pytest.approx([1, 2**-0.5, 3**-0.5, 0.5])
