"""Laws of what an evaluation shows: something of each environment, and no error."""

import dummies
import gymnasium
import numpy as np
import pytest

from common.envs import checks
from dreamerv2.run import build
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.run.evaluation import evaluator as evaluator_lib
from dreamerv2.run.evaluation import pictures

BOX = gymnasium.spaces.Box


class Seen(dummies.Walk):
    """The walk with an image besides, of any number of channels."""

    def __init__(self, *args, channels=4, key="image", **options):
        super().__init__(*args, **options)
        self._key, self._shape = key, (64, 64, channels)
        image = BOX(0, 255, self._shape, np.uint8)
        spaces = {"vector": dummies.Walk.observation_space, key: image}
        self.observation_space = gymnasium.spaces.Dict(spaces)

    def _observe(self):
        image = np.full(self._shape, len(dummies.steps(self.tape)), np.uint8)
        return {"vector": super()._observe(), self._key: image}


class Rendered(dummies.Walk):
    """The walk that draws itself, if asked to: all in the colour of its place."""

    render_mode = "rgb_array"
    fails = False

    def render(self):
        if self.fails:
            raise RuntimeError("no display")
        return np.full((300, 600, 3), self._place, np.uint8)


def task(make):
    def adapted():
        return checks.adapt(make())

    return tasks_lib.Task("seen", adapted, adapted)


def go_right(obs, state):
    return np.eye(2, dtype=np.float32)[np.ones(len(obs["is_first"]), int)], state


def evaluated(tmp_path, make, videos=True, **settings):
    config = dummies.configure(tmp_path, eval_eps=2, **settings)
    evaluator = evaluator_lib.Evaluator([task(make)], 1, config)
    metrics = evaluator(go_right, videos)
    evaluator.close()
    return metrics


class Tape:
    """An output that keeps the videos of a run."""

    def __init__(self):
        self.videos = {}

    def write(self, record):
        self.videos |= record.videos

    def close(self):
        pass


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_a_run_shows_images_of_any_number_of_channels(
    tmp_path, agents, monkeypatch, channels
):
    tape, usual = Tape(), build.make_outputs
    monkeypatch.setattr(build, "make_outputs", lambda *args: [tape, *usual(*args)])
    config = dummies.configure(tmp_path, eval_every=20, log_every_video=20)
    made = tasks_lib.TaskList([task(lambda: Seen(channels=channels))])
    assert dummies.loop.train(made, config)
    _, height, width, shown = tape.videos["eval_image_0"].shape
    assert (height, width, shown) == (64, 64 * channels, 1)


@pytest.mark.parametrize("strategy", ["none", "thread", "process"])
def test_what_renders_is_shown_of_who_sees_no_image(tmp_path, strategy):
    metrics = evaluated(tmp_path, Rendered, envs_parallel=strategy, envs=2)
    video = metrics["eval_log_image_0"]
    assert video.shape[1:] == (128, 256, 3)
    places = video[:, 0, 0, 0].tolist()
    assert places == list(range(places[0], 7))  # from the reset to the goal, each once


def test_an_image_to_look_at_is_shown_and_the_agent_does_not_see_it(tmp_path):
    metrics = evaluated(tmp_path, lambda: Seen(channels=3, key="log_image"))
    video = metrics["eval_log_image_0"]
    assert video[:, 0, 0, 0].tolist() == list(range(len(video)))
    env = checks.adapt(Seen(key="log_image"))
    assert set(env.obs_specs) == {"vector"}


def test_nothing_is_drawn_but_for_a_video(tmp_path):
    class Counted(Rendered):
        drawn = 0

        def render(self):
            Counted.drawn += 1
            return super().render()

    assert "eval_log_image_0" not in evaluated(tmp_path, Counted, videos=False)
    evaluated(tmp_path, Counted, log_keys_video=[])
    assert not Counted.drawn
    seen = evaluated(tmp_path, lambda: Seen())
    assert "eval_log_image_0" not in seen and "eval_image_0" in seen


def test_a_picture_that_fails_is_warned_of_once_and_ends_nothing(tmp_path, caplog):
    class Failing(Rendered):
        fails = True

    metrics = evaluated(tmp_path, Failing)
    assert "eval_log_image_0" not in metrics and "eval_return_0" in metrics
    assert [r.message for r in caplog.records] == [
        "A picture could not be drawn, and is left out: RuntimeError: no display"
    ]
    for wrong in (np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.uint8([1])):
        env = Rendered()
        env.render = lambda wrong=wrong: wrong
        assert pictures.of(checks.adapt(env)) is None


def test_an_environment_that_knows_nothing_of_pictures_has_none():
    assert pictures.of(object()) is None


def test_episodes_that_do_not_tell_success_have_failed_if_others_tell(tmp_path):
    class Silent(dummies.Walk):
        def step(self, action):
            *result, info = super().step(action)
            first = dummies.count(self.tape, "reset") == 1
            return *result, {} if first else {"is_success": True}

    assert evaluated(tmp_path, Silent)["eval_success_0"] == 0.5
    assert "eval_success_0" not in evaluated(tmp_path, Mute)
    assert evaluated(tmp_path, dummies.Walk)["eval_success_0"] == 1


class Mute(dummies.Walk):
    """Never tells success."""

    def step(self, action):
        *result, _ = super().step(action)
        return *result, {}
