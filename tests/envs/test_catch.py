"""Catch: what its tasks share, and that each excludes the others' rules."""

import numpy as np
import pytest

from common.envs.suites import catch

STAY = np.eye(3, dtype=np.float32)[1]


def play(env, rule, seed):
    """The return of an episode in which the paddle is steered as a task wants it."""
    first = env.reset(seed)
    rows = len(first["ball"]) // len(first["paddle"])
    ball = int(np.argmax(first["ball"].reshape(rows, -1)[0]))
    target = (ball + (catch.SHIFT if rule == "shift" else 0)) % len(first["paddle"])
    tran, total = first, 0.0
    while not tran["is_last"]:
        move = np.sign(target - np.argmax(tran["paddle"]))
        move = -move if rule == "swap" else move
        tran = env.step(np.eye(3, dtype=np.float32)[move + 1])
        total += tran["reward"]
    assert tran["is_terminal"] and tran["log_success"] == total
    return total, ball


def floors(name, rule, **board):
    """The mean return over all columns of the ball."""
    env = catch.make(name, pixels=False, **board)
    results = {ball: total for total, ball in (play(env, rule, s) for s in range(60))}
    assert len(results) == board.get("columns", 5)
    return sum(results.values()) / len(results)


@pytest.mark.parametrize("board", [{"rows": 6}, {"rows": 8, "columns": 7}])
def test_the_rule_of_one_task_is_worth_no_more_than_chance_in_the_others(board):
    chance = 1 / board.get("columns", 5)
    expected = [[1, chance, 0], [chance, 1, chance], [0, chance, 1]]
    found = [
        [floors(name, rule, **board) for rule in catch.NAMES] for name in catch.NAMES
    ]
    np.testing.assert_allclose(found, expected)


def test_a_ball_falls_one_row_a_step_in_its_column_until_it_is_down():
    env = catch.make("plain", rows=6, columns=4, pixels=False)
    places = [np.argmax(env.reset(3)["ball"])]
    while not (tran := env.step(STAY))["is_last"]:
        places.append(np.argmax(tran["ball"]))
    places.append(np.argmax(tran["ball"]))
    assert np.diff(places).tolist() == [4] * 5


def test_each_task_is_told_by_a_cue_of_its_own_in_the_first_observation():
    vectors = [catch.make(name, pixels=False).reset(0) for name in catch.NAMES]
    np.testing.assert_array_equal([first["cue"] for first in vectors], np.eye(3))
    assert len({first["ball"].tobytes() for first in vectors}) == 1
    images = [catch.make(name).reset(0)["image"] for name in catch.NAMES]
    backgrounds = {tuple(image[32, 32]) for image in images}
    assert len(backgrounds) == 3


def test_the_image_shows_ball_and_paddle_at_the_places_of_the_vectors():
    settings = {"rows": 10, "columns": 5}
    seen, told = (catch.make("swap", pixels=p, **settings) for p in (True, False))
    image, vectors = seen.reset(5)["image"], told.reset(5)
    for action in (0, 0, 2, 1, 2, 2, 0):
        hot = np.eye(3, dtype=np.float32)[action]
        image, vectors = seen.step(hot)["image"], told.step(hot)
        height, width = 64 / 10, 64 / 5
        row, column = divmod(int(np.argmax(vectors["ball"])), 5)
        paddle = int(np.argmax(vectors["paddle"]))
        center = image[int((row + 0.5) * height), int((column + 0.5) * width)]
        assert tuple(center) == (255, 0, 255)
        assert tuple(image[-2, int((paddle + 0.5) * width)]) == (255, 255, 255)
        colours = image.reshape(-1, 3)
        assert len(np.unique(colours, axis=0)) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "plane"}, "Unknown Catch task 'plane'.*Did you mean plain"),
        ({"columns": 2}, "catch_columns is 2.*give 3 or more"),
        ({"rows": 2}, "catch_rows is 2.*give 3 or more"),
        ({"rows": 65}, "65 rows and 5 columns does not fit.*64 x 64.*catch_pixels"),
    ],
)
def test_what_cannot_be_played_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        catch.make(**{"name": "plain", **settings})
