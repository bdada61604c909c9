"""The benchmark of exploration counts what it says."""

import numpy as np

from benchmarks import exploration


def test_cells_are_counted_once_in_the_order_of_their_first_visit():
    cells = np.array([[1, 1], [1, 2], [1, 1], [2, 2], [1, 2]])
    assert exploration.distinct(cells).tolist() == [1, 2, 2, 3, 3]


def test_visits_are_the_positions_after_resets_and_steps_of_whole_episodes():
    env = exploration.make(16, "whole")
    assert env.observation_space["image"].shape == (64, 64, 3)
    for _ in range(2):
        env.reset(seed=0)
        for _ in range(exploration.EPISODE):
            env.step(2)
    env.reset(seed=0)  # an episode that is not played to its end
    cells = env.cells(2 * exploration.EPISODE)
    assert cells.shape == (2, exploration.EPISODE + 1, 2)
    assert cells[0, :3].tolist() == [[1, 1], [2, 1], [3, 1]]
    assert cells[1, -1].tolist() == [14, 1]  # at the wall
    assert (cells[0] == cells[1]).all()


def test_nothing_in_the_room_gives_a_reward_or_ends_an_episode():
    env = exploration.make(8, "partial")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(300):
        _, reward, terminated, truncated, _ = env.step(rng.integers(7))
        assert reward == 0
        assert not terminated and not truncated


def test_every_position_in_the_room_looks_different():
    env = exploration.make(16, "whole")
    images = {env.reset(seed=0)[0]["image"].tobytes()}
    images |= {env.step(2)[0]["image"].tobytes() for _ in range(13)}
    images |= {env.step(1)[0]["image"].tobytes() for _ in range(3)}
    assert len(images) == 17
