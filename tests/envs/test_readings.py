"""What observations and actions are taken for is said, and doubted where odd."""

import re
import warnings

import gymnasium
import numpy as np
import pytest
import source
from gymnasium import spaces

from common.envs import base, checks
from common.envs.meaning import readings
from common.envs.suites import catch, generic, minigrid
from common.envs.workers import parallel

BYTES = {"low": 0, "high": 255, "dtype": np.uint8}


class Looking(gymnasium.Env):
    """Never played; its spaces are all that matters."""

    def __init__(self, space, action=None, render_mode=None):
        self.observation_space = space
        self.action_space = action or spaces.Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        raise AssertionError("Nobody plays.")

    def step(self, action):
        raise AssertionError("Nobody plays.")

    def render(self):
        raise AssertionError("Nobody looks.")


def lines(space, **options):
    """The line of each key, and all doubts."""
    env = checks.adapt(Looking(space, **options))
    found = readings.of_env(env)
    doubts = [each.doubt for each in found if each.doubt]
    return {each.key: str(each).split(maxsplit=1)[1] for each in found}, doubts


def test_each_key_has_a_line_that_says_what_is_done_to_it():
    space = spaces.Dict(
        image=spaces.Box(shape=(210, 160, 3), **BYTES),
        grey=spaces.Box(shape=(64, 64), **BYTES),
        ram=spaces.Box(shape=(128,), **BYTES),
        speed=spaces.Box(-4.8, np.inf, (2, 3)),
        number=spaces.Box(-1, 1, ()),
        compass=spaces.Discrete(4),
        dice=spaces.MultiDiscrete([6, 6]),
        mission=spaces.Text(5),
        empty=spaces.Box(0, 1, (0,)),
        log_score=spaces.Box(0, 9, ()),
    )
    told, doubts = lines(space)
    assert told == {
        "image": "image: 64x64x3, 0 to 255, resized from 210x160",
        "grey": "image: 64x64x1, 0 to 255, as it is",
        "ram": "vector: 128, 0 to 255, as it is",
        "speed": "vector: 6, -4.8 to inf, flattened from 2x3",
        "number": "vector: 1, -1 to 1, as it is",
        "compass": "vector: 4, one-hot, of Discrete(4)",
        "dice": "vector: 2, as it is, of MultiDiscrete([6 6])",
        "mission": "ignored: Text is not numeric",
        "empty": "ignored: it holds no number",
        "log_score": "ignored: the agent does not see it, it is for the log",
        "action": "actions: one of 2",
    }
    assert [re.search("'.*'", doubt)[0] for doubt in doubts] == ["'mission'", "'empty'"]


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (spaces.Discrete(7, start=2), "one of 7"),
        (spaces.MultiDiscrete([3, 2]), "one of 6, each a combination of MultiDisc"),
        (spaces.MultiBinary(3), "one of 8, each a combination of MultiBinary"),
        (spaces.Box(-2, 3, (4,)), "4 numbers, -2 to 3, rescaled from -1 to 1"),
    ],
)
def test_actions_have_a_line_too(action, line):
    told, _ = lines(spaces.Box(-1, 1, (2,)), action=action)
    assert told["action"].startswith(f"actions: {line}")


ODD = {
    "channels first": (spaces.Box(shape=(3, 64, 64), **BYTES), r"transpose\(1, 2, 0\)"),
    "frames first": (spaces.Box(shape=(4, 84, 84), **BYTES), "channels, height, width"),
    "stack of images": (spaces.Box(shape=(4, 32, 32, 3), **BYTES), "leave the stack"),
    "floats": (spaces.Box(0, 1, (64, 64, 3)), "as bytes: uint8"),
    "grey floats": (spaces.Box(0, 1, (64, 64)), "as bytes: uint8"),
    "symbols": (spaces.Box(0, 10, (7, 7, 3), np.uint8), "ends at 10.*one-hot"),
    "tiny": (spaces.Box(shape=(7, 7, 3), **BYTES), "only 7x7.*symbols or ids"),
    "opacity": (spaces.Box(shape=(64, 64, 4), **BYTES), "4 channels.*side by side"),
    "two channels": (spaces.Box(shape=(64, 64, 2), **BYTES), "2 channels"),
    "glyphs": (spaces.Box(0, 5991, (21, 79), np.int16), "ids, such as glyphs"),
    "whole colours": (spaces.Box(0, 255, (64, 64, 3), np.int32), "give uint8"),
    "ids": (spaces.MultiDiscrete(np.full((9, 9), 30)), "of amounts"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_looks_as_if_something_else_was_meant_is_doubted(name):
    space, words = ODD[name]
    _, (doubt,) = lines(space)
    assert re.search(words, doubt), doubt


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(shape=(64, 64, 3), **BYTES),
        spaces.Box(shape=(210, 160, 1), **BYTES),
        spaces.Box(shape=(16, 16), **BYTES),
        spaces.Box(shape=(128,), **BYTES),
        spaces.Box(-np.inf, np.inf, (4, 4)),
        spaces.Discrete(500),
        spaces.MultiBinary([3, 4]),
    ],
    ids=str,
)
def test_what_is_common_is_not_doubted(space):
    assert not lines(space)[1]


def test_the_advice_for_channels_first_works():
    env = Looking(spaces.Box(shape=(3, 80, 96), **BYTES))
    (doubt,) = (each.doubt for each in readings.of_env(checks.adapt(env)) if each.doubt)
    call = re.search(r"gymnasium\.wrappers\..*\)(?=\.)", doubt)[0]
    space = spaces.Box(shape=(80, 96, 3), **BYTES)
    moved = eval(call, {"gymnasium": gymnasium, "env": env, "space": space})
    (image, _) = readings.of_env(checks.adapt(moved))
    assert (image.doubt, image.text) == ("", "64x64x3, 0 to 255, resized from 80x96")


def test_it_is_said_what_a_video_shows_of_vectors():
    vector, image = spaces.Box(-1, 1, (2,)), spaces.Box(shape=(64, 64, 3), **BYTES)
    assert "render_mode='rgb_array'" in lines(vector)[0]["video"]
    assert "video" not in lines(image)[0]
    rendered, _ = lines(vector, render_mode="rgb_array")
    assert rendered["video"].startswith("rendered:")
    shown, doubts = lines(spaces.Dict(x=vector, log_image=image))
    assert "video" not in shown and "videos show it" in shown["log_image"]
    assert not doubts


def test_what_the_settings_leave_out_is_said_to_be_ignored(capsys):
    space = spaces.Dict(
        image=spaces.Box(shape=(64, 64, 4), **BYTES), x=spaces.Box(-1, 1, (2,))
    )
    found = readings.of_env(checks.adapt(Looking(space)))
    settings = {"cnn_keys": "image", "mlp_keys": "$^"}
    with pytest.warns(UserWarning, match="4 channels"):
        readings.tell(found, settings, settings)
    told = capsys.readouterr().out
    assert "vector: 2, -1 to 1, as it is; ignored, as mlp_keys leaves it out" in told
    assert told.count("ignored") == 1
    blind = {"cnn_keys": "$^", "mlp_keys": ".*"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Nobody doubts what is ignored.
        readings.tell(found, blind, blind)


@pytest.mark.parametrize("strategy", ["none", "thread", "process"])
def test_environments_elsewhere_are_read_the_same(strategy):
    def make():
        return checks.adapt(gymnasium.make("CartPole-v1", render_mode="rgb_array"))

    env = parallel.make_parallel(make, strategy)
    try:
        assert readings.of_env(env) == readings.of_env(make())
        env.reset(0)
        assert env.render().shape == (400, 600, 3)
    finally:
        env.close()


def test_the_suites_give_no_cause_for_doubt():
    for env in (minigrid.make(minigrid.COLORROOM[0]), catch.make("plain")):
        found = readings.of_env(env)
        assert [each.doubt for each in found if each.doubt] == []
        assert {each.key for each in found} >= {*env.obs_specs, "action"}


def test_what_the_page_shows_is_what_is_printed(capsys):
    page = (source.ROOT / "docs" / "own_environment.md").read_text()
    shown = re.search(r"```text\n(.*?)```", page, re.DOTALL)[1]
    with pytest.warns(UserWarning) as told:
        checks.check_env(gymnasium.make("MiniGrid-Empty-5x5-v0"))
    assert capsys.readouterr().out == shown
    words = [str(each.message) for each in told]
    assert [next(w for w in ("mission", "7x7") if w in word) for word in words] == [
        "7x7",
        "mission",
    ]


def test_the_page_names_every_name_that_is_reserved():
    page = (source.ROOT / "docs" / "own_environment.md").read_text()
    named = re.search(r"are refused: (.*?)\.", page, re.DOTALL)[1]
    assert tuple(re.findall(r"`(\w+)`", named)) == base.RESERVED


MODULE = """
import gymnasium
from gymnasium.envs.classic_control import cartpole


class Bare(cartpole.CartPoleEnv):
    metadata = {"render_modes": []}


gymnasium.register("Drawn-v0", cartpole.CartPoleEnv, max_episode_steps=9)
gymnasium.register("Bare-v0", "seen_elsewhere:Bare", max_episode_steps=9)
"""


def test_tasks_by_their_ids_are_drawn_where_they_can(tmp_path, monkeypatch):
    (tmp_path / "seen_elsewhere.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    kinds = {"seen_elsewhere:Drawn-v0": "rendered", "seen_elsewhere:Bare-v0": "none"}
    for task, kind in {**kinds, "CartPole-v1": "rendered"}.items():
        env = generic.make(task)
        (video,) = (each for each in readings.of_env(env) if each.key == "video")
        env.reset(0)
        assert video.kind == kind
        assert (env.render() is None) == (kind == "none")
        env.close()
