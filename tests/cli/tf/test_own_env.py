"""Laws of an environment of one's own: check_env and train take and say the same."""

import sys

import dummies
import gymnasium
import numpy as np
import pages
import pytest
from gymnasium import spaces
from PIL import Image

import dreamerv2.api as dv2

VECTOR = spaces.Box(-1, 1, (2,))
TINY = {"jit": False, "train_every": 20, "seed": 1}


class Odd(gymnasium.Env):
    """Episodes of four steps, in any space, whose steps may return anything."""

    def __init__(self, space=VECTOR, action=None, change=None, render_mode=None):
        self.observation_space = space
        self.action_space = action or spaces.Discrete(2)
        self.render_mode = render_mode
        self.change = change or (lambda result: result)
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.count = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.actions.append(action)
        self.count += 1
        result = [self.observation_space.sample(), 1.0, self.count == 4, False, {}]
        return self.change(result)

    def render(self):
        return np.full((40, 60, 3), 50 * self.count, np.uint8)


def puts(index, value):
    """Changes one value of a step."""
    return lambda result: (*result[:index], value, *result[index + 1 :])


def box(*shape, **options):
    return spaces.Box(**{"low": 0, "high": 255, "shape": shape, "dtype": np.uint8})


RESULTS = {
    "as it is": None,
    "a list": list,
    "a reward in an array": puts(1, np.ones(1)),
    "a reward in a list": puts(1, [1.0]),
    "two rewards": puts(1, np.ones(2)),
    "no reward": puts(1, None),
    "a flag in an array": puts(3, np.zeros(1, bool)),
    "no flag": puts(3, None),
    "half a flag": puts(3, 0.5),
    "no info": puts(4, None),
    "info in a list": puts(4, []),
    "three values": lambda result: tuple(result[:3]),
    "six values": lambda result: (*result, 0),
    "nothing": lambda result: None,
    "an observation in a list": lambda result: (result[0].tolist(), *result[1:]),
    "one observation of one": lambda result: (result[0][None], *result[1:]),
    "no observation": puts(0, None),
    "a longer observation": puts(0, np.zeros(3, np.float32)),
}


def outcome(call):
    """None if it was taken, else what was said, from the cause on."""
    try:
        call()
    except ValueError as error:
        return str(error).partition("call 1: ")[2] or str(error)
    return None


@pytest.mark.parametrize("name", RESULTS)
def test_check_env_and_train_agree_about_what_a_step_returns(name, tmp_path, agents):
    def make():
        return Odd(change=RESULTS[name])

    config = dummies.configure(tmp_path)
    checked = outcome(lambda: dv2.check_env(make(), config=config))
    assert outcome(lambda: dv2.train(make, config)) == checked


SPACES = {
    "grey": box(64, 64),
    "channels first": box(3, 20, 30),
    "stack": box(4, 16, 16, 3),
    "opacity": box(20, 30, 4),
    "symbols": spaces.Box(0, 10, (7, 7, 3), np.uint8),
    "floats": spaces.Box(0, 1, (20, 20, 3)),
    "number": spaces.Box(-1, 1, ()),
    "empty": spaces.Box(0, 1, (0,)),
    "partly empty": spaces.Dict(a=VECTOR, b=spaces.Box(0, 1, (0,))),
    "odd names": spaces.Dict({"a/b": VECTOR, "my key": VECTOR, "ключ": VECTOR}),
    "dots": spaces.Dict({"agent.pos": VECTOR}),
    "reserved": spaces.Dict({"x": VECTOR, "discount": VECTOR}),
    "inner names": spaces.Dict(task=VECTOR, embed=VECTOR, stoch=VECTOR, reset=VECTOR),
    "text": spaces.Dict(x=VECTOR, mission=spaces.Text(9)),
    "two sizes": spaces.Dict(rgb=box(64, 64, 3), depth=box(48, 48, 1)),
    "truth": spaces.Box(0, 1, (5,), bool),
    "nested": spaces.Dict(a=spaces.Dict(b=VECTOR)),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Observation")
@pytest.mark.parametrize("name", SPACES)
def test_check_env_and_train_agree_about_what_is_observed(name, tmp_path):
    config = dummies.configure(
        tmp_path, **TINY, steps=24, eval_every=20, log_every_video=20
    )
    checked = outcome(lambda: dv2.check_env(Odd(SPACES[name]), config=config))
    assert outcome(lambda: dv2.train(lambda: Odd(SPACES[name]), config)) == checked
    assert (checked is None) == (name not in ("empty", "reserved", "nested"))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((64,), "render_size is \\[64\\]"),
        ((64, 64, 3), "render_size is \\[64, 64, 3\\]"),
        ((0, 64), "render_size is \\[0, 64\\]"),
        ((64, 80), "only squares"),
        ((80, 80), r'config.update\(\{"decoder.cnn_kernels": \[7, 5, 6, 6\]\}\)'),
        ((8, 8), r'"encoder.cnn_kernels": \[4\]'),
    ],
    ids=str,
)
def test_an_unusual_size_is_named_with_what_fits(size, said, tmp_path):
    config = dummies.configure(tmp_path, render_size=list(size), **TINY)
    env = Odd(box(64, 64, 3))
    for call in (
        lambda: dv2.check_env(env, config=config),
        lambda: dv2.train(env, config),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    assert not list(tmp_path.glob("*.jsonl"))


def test_both_say_what_is_seen_and_done(tmp_path, agents, capsys):
    config = dummies.configure(tmp_path)
    space = spaces.Dict(vector=VECTOR, view=box(20, 30, 3), mission=spaces.Text(9))
    told = []
    for call in (dv2.check_env, lambda env: dv2.train(env, config)):
        with pytest.warns(UserWarning, match="'mission' is ignored: Text"):
            call(Odd(space))
        found = capsys.readouterr().out.splitlines()
        start = found.index("What the agent sees and does:")
        told.append(found[start + 1 : start + 5])
    assert told[0] == told[1]
    assert [line.split()[:2] for line in told[0]] == [
        ["vector", "vector:"],
        ["view", "image:"],
        ["mission", "ignored:"],
        ["action", "actions:"],
    ]


def test_several_choices_at_once_are_trained_on_as_one(tmp_path, agents, capsys):
    env = Odd(action=spaces.MultiDiscrete([2, 3]))
    dv2.train(env, dummies.configure(tmp_path))
    assert "one of 6, each a combination of MultiDiscrete([2 3])" in (
        capsys.readouterr().out
    )
    assert {tuple(action) for action in env.actions} == {
        (a, b) for a in range(2) for b in range(3)
    }


def test_success_of_an_own_environment_is_logged(tmp_path, agents):
    env = Odd(change=puts(4, {"is_success": True}))
    dv2.train(env, dummies.configure(tmp_path))
    episodes = dummies.pick(dummies.read(tmp_path), "return", "success")
    assert episodes and all(success == 1 for _, _, success in episodes)


def test_a_configuration_needs_no_command_line(tmp_path, agents, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    config = dummies.configure(tmp_path)
    assert config.parse_flags() == config
    dv2.train(Odd(), config)
    with pytest.raises(ValueError) as told:
        dv2.train(Odd(), config.update(train_every=7))
    assert 'config.update({"resume": True})' in str(told.value)
    assert 'config.update({"overwrite": True})' in str(told.value)
    assert "--" not in str(told.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose images have four channels, with an evaluation and its videos."""
    folder = tmp_path_factory.mktemp("run")
    settings = {"eval_every": 20, "log_every_video": 20, "checkpoint_every": 20}
    config = dummies.configure(folder, **TINY, **settings)
    with pytest.warns(UserWarning, match="4 channels"):
        dv2.train(lambda: Odd(box(20, 30, 4)), config)
    return folder, config


def frames(path):
    with Image.open(path) as gif:
        return gif.n_frames, gif.size


def test_images_of_any_channels_are_evaluated_and_watched(trained, tmp_path):
    folder, _ = trained
    assert dummies.read(folder)[-1]["step"] == 40
    out = tmp_path / "v.gif"
    dv2.watch(lambda: Odd(box(20, 30, 4)), folder, out=str(out), episodes=1, scale=1)
    assert frames(out)[0] >= 5


def test_another_environment_is_named_and_not_its_kernels(trained):
    folder, config = trained
    image, fewer = box(20, 30, 4), box(20, 30, 3)
    for env in (Odd(fewer), Odd(image, spaces.Discrete(3)), Odd()):
        with pytest.raises(ValueError, match="other spaces than the run:\n  .* there"):
            dv2.watch(env, folder, out="", episodes=1)
    with pytest.raises(ValueError, match="other spaces than this run had:\n  image: "):
        dv2.train(Odd(fewer), config.update(steps=60, resume=True))


def test_who_learns_from_vectors_is_watched_as_it_renders(tmp_path):
    folder, out = tmp_path / "run", tmp_path / "v.gif"
    dv2.train(Odd(), dummies.configure(folder, **TINY, steps=24))
    with pytest.raises(ValueError, match="without an image.*render_mode='rgb_array'"):
        dv2.watch(Odd(), folder, out=str(out), episodes=1)
    dv2.watch(Odd(render_mode="rgb_array"), folder, out=str(out), episodes=1)
    count, (width, height) = frames(out)
    assert count >= 5 and width > 240 and height > 160


TRAINS = [
    b for b in pages.blocks("docs/own_environment.md", "python") if ".train(" in b
]
SHORT = ["--steps", "60", "--prefill", "30", "--pretrain", "1", "--jit", "False"]
SHORT += ["--train_every", "20", "--time_limit", "10", "--replay.minlen", "2"]
SHORT += ["--configs", "small", "--dataset.batch", "2", "--dataset.length", "4"]


def test_the_page_trains_on_three_environments():
    assert len(TRAINS) == 3


@pytest.mark.parametrize("block", TRAINS, ids=["pixels", "a box", "own"])
def test_what_the_page_trains_is_trained(block, tmp_path, monkeypatch, capsys):
    flags = ["program.py", *SHORT, "--logdir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", flags)
    exec(compile(block, "program.py", "exec"), {"__name__": "__main__"})
    assert ", retention fifo, sampling uniform; when full, " in capsys.readouterr().out
    assert "model_loss" in (tmp_path / "run/metrics.jsonl").read_text()
