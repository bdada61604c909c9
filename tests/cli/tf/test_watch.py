"""Laws of watching: what is shown is what was trained, and nothing is disturbed."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import dummies
import numpy as np
import pytest
import tiny_agent
from PIL import Image

import dreamerv2.api as dv2
from common import config as config_lib
from common.config import plugins
from common.envs import registry
from common.records import files
from dreamerv2 import settings
from dreamerv2.algorithm import explore
from dreamerv2.run import checkpoint, loop, rundir
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.trained import evaluation
from dreamerv2.trained import player as player_lib
from dreamerv2.trained import snapshot as snapshot_lib
from dreamerv2.trained import tasks as trained_tasks
from dreamerv2.watch import __main__ as watch
from dreamerv2.watch import film, show

SETTINGS = {
    "seed": 1,  # goes right
    "jit": False,  # few updates: tracing them would take longer
    "eval_every": 1000,
    "eval_eps": 3,
    "train_every": 20,
    "checkpoint_every": 30,
    "eval_state_mean": True,
    "sep_exp_eval_policies": True,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder and the tapes of a run of two tasks, seen as images."""
    folder = tmp_path_factory.mktemp("run")
    tapes = dummies.Tapes(2, dummies.Gallery)
    dummies.run(folder, tapes, **SETTINGS)
    return folder, tapes


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, to be spoilt."""
    return shutil.copytree(trained[0], tmp_path / "run")


@pytest.fixture
def script(trained, monkeypatch):
    """Puts the tasks of the run behind a script's name; returns new tapes."""
    tapes = dummies.Tapes(2, dummies.Gallery)

    def make_tasks(config):
        return tasks_lib.TaskList(tapes.tasks[:1], tapes.tasks[1:])

    module = types.SimpleNamespace(make_tasks=make_tasks)
    monkeypatch.setitem(sys.modules, "galleries", module)
    return tapes


def watched(capsys, folder, *flags):
    """Watches with flags; returns what was printed."""
    watch.main(["--logdir", str(folder), "--script=galleries", *flags])
    return capsys.readouterr().out


def contents(folder):
    """Content by path."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Playing.


def test_an_evaluation_is_that_of_the_run(trained):
    folder, before = trained
    tapes = dummies.Tapes(2, dummies.Gallery)
    player = player_lib.Player(snapshot_lib.load(folder))
    episodes = len(dummies.seeds(before.eval[0]))  # of all evaluations of the run
    tasks = trained_tasks.choose(tapes.tasks, [])
    results = evaluation.evaluate(player, tasks, episodes)
    for name, weight in player.agent.named_weights().items():
        np.testing.assert_array_equal(weight, player.snapshot.tensors[name])
    last = [line for line in dummies.read(folder) if "eval_return_0" in line][-1]
    for k in range(2):
        assert dummies.seeds(tapes.eval[k]) == dummies.seeds(before.eval[k])
        ends = [i for i, call in enumerate(before.eval[k]) if call[0] == "reset"]
        since = ends[-3] - len(before.eval[k])
        calls = [call for call in tapes.eval[k] if call[0] != "close"]
        expected = [call for call in before.eval[k] if call[0] != "close"]
        assert calls[since + 1 :] == expected[since + 1 :]
        for name, values in results[k].values().items():
            assert len(set(results[k].values()["length"])) > 1
            assert np.mean(values[-3:]) == pytest.approx(last[f"eval_{name}_{k}"])


def test_episodes_depend_on_the_seed_and_not_on_the_other_tasks(trained):
    tapes = dummies.Tapes(2, dummies.Gallery)

    def play(chosen, seed, policy="sample", count=3):
        player = player_lib.Player(snapshot_lib.load(trained[0]), policy, seed)
        chosen = trained_tasks.choose(tapes.tasks, chosen)
        del tapes.eval[1][:]
        evaluation.evaluate(player, chosen, count)
        return dummies.seeds(tapes.eval[1]), dummies.steps(tapes.eval[1])

    seeds, steps = play([], 7)
    assert play([1], 7) == (seeds, steps) == play(["walk1"], 7)
    assert play([1], 7, count=2)[0] == seeds[:2]
    assert play([1], 8)[0] != seeds
    assert set(steps) == {0, 1}  # samples
    assert play([1], None)[0] == play([1], 1)[0]  # the run's seed


def test_a_run_can_be_watched_while_it_holds_its_folder(trained):
    with rundir.locked(trained[0]):
        assert snapshot_lib.load(trained[0]).step == 80


def test_a_run_of_many_devices_is_watched_on_one(trained):
    snapshot = snapshot_lib.load(trained[0])
    snapshot = snapshot._replace(config=snapshot.config.update(devices=16))
    tasks = dummies.Tapes(1, dummies.Gallery).tasks
    assert list(player_lib.Player(snapshot).play(tasks[0], 0, 1))


def test_explored_is_what_the_run_explored_with(trained):
    tasks = trained_tasks.choose(dummies.Tapes(1, dummies.Gallery).tasks, [])
    snapshot = snapshot_lib.load(trained[0])
    with pytest.raises(ValueError, match="expl_behavior is greedy; choose mode"):
        player_lib.Player(snapshot, "explore")
    with pytest.raises(ValueError, match="'best'; choose from run, mode, sample"):
        player_lib.Player(snapshot, "best")
    with pytest.raises(ValueError, match="seed is -2"):
        player_lib.Player(snapshot, seed=-2)
    config = snapshot.config.update(sep_exp_eval_policies=False, expl_until=100)
    for until, expected in ((100, True), (50, False), (0, True)):
        config = config.update(expl_until=until)
        player = player_lib.Player(snapshot._replace(config=config))
        calls = []
        agent = types.SimpleNamespace(
            policy=lambda obs, state, calls=calls, **options: (
                calls.append(options) or (np.eye(2, dtype=np.float32)[[1]], None)
            ),
            set_state=lambda state: None,
        )
        player._agent_for = lambda name, env, agent=agent: agent
        player.agent = agent
        evaluation.evaluate(player, tasks, 1)
        (options,) = {(*c["exploring"], c["evaluate"], c["step"]) for c in calls}
        assert options == (expected, False, 80)


def test_a_task_with_other_spaces_is_named(trained):
    tapes = dummies.Tapes(2, dummies.Gallery)
    other = dummies.Tapes(1).tasks[0]._replace(name="vector")
    player = player_lib.Player(snapshot_lib.load(trained[0]))
    with pytest.raises(ValueError, match="task vector has other spaces"):
        evaluation.evaluate(player, {0: tapes.tasks[0], 1: other}, 1)


# The video.


def stills(path):
    gif = Image.open(path)
    for index in range(gif.n_frames):
        gif.seek(index)
        yield gif.info["duration"], np.asarray(gif.convert("RGB")).astype(int)


def test_a_video_shows_truth_and_model_and_when_it_predicts(trained, tmp_path):
    tapes = dummies.Tapes(2, dummies.Gallery)
    player = player_lib.Player(snapshot_lib.load(trained[0]))
    path = tmp_path / "v.gif"
    tasks = trained_tasks.choose(tapes.tasks, [1])
    options = {"fps": 10, "scale": 2, "context": 3, "horizon": 6}
    (result,) = show.record(player, tasks, 2, path, **options)
    assert (result.task, result.name, len(result.episodes)) == (1, "walk1", 2)
    (again,) = evaluation.evaluate(player, tasks, 2)
    assert again == result  # the same episodes, whether shown or not
    frames = [frame for ms, frame in stills(path) for _ in range(ms // 100)]
    lengths = [episode.length + 1 for episode in result.episodes]
    assert len(frames) == sum(lengths) + 2 * 5  # half a second after each
    border, left = 16 + 6 + 1, 8 + 1  # inside of the first border, pixels
    for time in range(lengths[0]):
        colour = film.PREDICTS if time % 6 >= 3 else film.SEES
        np.testing.assert_allclose(frames[time][border, left], colour, atol=12)
    top, left = 16 + 4 + 4, 8 + 4
    for frame in frames[: lengths[0]]:
        panels = [frame[top : top + 128, x : x + 128] for x in (left, left + 144)]
        assert np.ptp(panels[0][::16, 5]) <= 24  # columns of light in the truth
        light = np.abs(panels[0][64, ::16].mean(-1) - 255) < 12
        assert light.sum() == 1
        assert np.abs(panels[0] - panels[1]).mean() > 5  # the model knows little


def test_the_model_predicts_from_the_images_that_it_sees(trained):
    agent = tiny_agent.make("image", rssm__discrete=0)
    episode = {k: v[0] for k, v in tiny_agent.batch("image", length=13).items()}
    episode["is_first"][1:] = False
    with tiny_agent.running(eagerly=True):
        predictor = film.Predictor(agent, context=2, horizon=5)

        def changed(key, time):
            other = {k: v.copy() for k, v in episode.items()}
            other[key][time] = 1 - other[key][time]
            difference = predictor(other)["image"] != predictor(episode)["image"]
            return np.flatnonzero(difference.any((1, 2, 3))).tolist()

        before = predictor(episode)["image"]
        assert before.shape == episode["image"].shape and before.dtype == np.uint8
        assert [predictor.ahead(t) for t in range(8)] == [0, 0, 1, 2, 3, 0, 0, 1]
        assert changed("image", 0)[0] == 0
        assert changed("image", 1)[:2] == [1, 2]
        # Not seen before the second stretch, which goes on from all that was.
        assert changed("image", 3)[0] == 5
        assert changed("action", 3)[:2] == [3, 4]
        assert set(changed("image", 12)) == set()
        assert 12 in changed("image", 10)


def test_a_model_that_decodes_no_image_leaves_the_truth_alone():
    truth = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    (one, two) = film.frames(truth, None, [0, 1], ["a", "b"], scale=4)
    (wide, _) = film.frames(truth, truth, [0, 1], ["a", "b"], scale=4)
    assert one.shape[1] < wide.shape[1]
    assert one.shape == two.shape
    shown = truth[0].repeat(4, 0).repeat(4, 1)
    top, left = 16 + 8, 12
    np.testing.assert_array_equal(
        one[top : top + 32, left : left + 32], np.broadcast_to(shown, (32, 32, 3))
    )
    gap = 32 + 16
    error = wide[top : top + 32, left + 2 * gap : left + 2 * gap + 32]
    assert (error == 127).all()


@pytest.mark.parametrize("context, horizon", [(0, 5), (5, 5)])
def test_numbers_that_leave_nothing_to_predict_are_refused(context, horizon):
    with pytest.raises(ValueError, match=f"context is {context} and horizon 5"):
        film.Predictor(None, context, horizon)


# Snapshots.


def test_any_snapshot_can_be_chosen(run):
    steps = [
        checkpoint.step_of(p)
        for p in checkpoint.Checkpoints(run / "checkpoints").paths()
    ]
    assert len(steps) > 1
    for step in steps:
        assert snapshot_lib.load(run, step).step == step
    assert snapshot_lib.load(run).step == steps[-1]
    with pytest.raises(ValueError, match=f"step 7; choose from {steps[0]}, "):
        snapshot_lib.load(run, 7)


def test_a_damaged_snapshot_is_passed_over_and_left_where_it_is(run, caplog):
    *_, before, newest = sorted((run / "checkpoints").iterdir())
    (newest / "state.json").write_text("{}")
    content = contents(run)
    assert snapshot_lib.load(run).step == checkpoint.step_of(before)
    assert f"{newest} is damaged (state.json" in caplog.text
    assert contents(run) == content
    with pytest.raises(checkpoint.CheckpointError, match="1 are damaged"):
        snapshot_lib.load(run, checkpoint.step_of(newest))


def test_a_snapshot_that_vanishes_is_replaced_by_the_one_that_came(run, monkeypatch):
    (*_, newest) = sorted((run / "checkpoints").iterdir())
    find_fault = checkpoint.find_fault

    def vanish(path):
        if newest.exists():  # the run saves another and deletes all before
            shutil.copytree(newest, newest.with_name("step-000000000090"))
            for old in (run / "checkpoints").glob("*[!9]0"):
                shutil.rmtree(old)
        return find_fault(path)

    monkeypatch.setattr(checkpoint, "find_fault", vanish)
    assert snapshot_lib.load(run).path.name == "step-000000000090"


def test_what_is_missing_is_named(run, tmp_path):
    with pytest.raises(ValueError, match=f"no run in {tmp_path}.*runs in {run}"):
        snapshot_lib.load(tmp_path)
    with pytest.raises(ValueError, match="no run in .*none.*Give the folder"):
        snapshot_lib.load(tmp_path / "none")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ValueError, match="no snapshot yet.*every 30 steps.*wait"):
        snapshot_lib.load(run)


def test_configurations_of_other_versions_are_read(run, caplog):
    settings = config_lib.Config.read(run / "config.yaml").flat
    del settings["deterministic"]
    config_lib.Config({**settings, "colour": "red"}).save(run / "config.yaml")
    assert snapshot_lib.load(run).config.deterministic is False
    assert "unknown keys colour" in caplog.text


def test_weights_of_another_size_are_refused(run):
    snapshot = snapshot_lib.load(run)
    config = snapshot.config.update({"rssm.deter": 9})
    player = player_lib.Player(snapshot._replace(config=config))
    tasks = trained_tasks.choose(dummies.Tapes(1, dummies.Gallery).tasks, [])
    with pytest.raises(checkpoint.CheckpointError, match="other shapes have .* here"):
        evaluation.evaluate(player, tasks, 1)


# The command.


def test_the_command_evaluates(trained, script, capsys):
    told = json.loads(watched(capsys, trained[0], "--eval=4", "--json"))
    assert [task["name"] for task in told["tasks"]] == ["walk0", "walk1"]
    assert (told["step"], told["policy"], told["seed"]) == (80, "run", 1)
    for task in told["tasks"]:
        for name in ("return", "length", "success"):
            values = task[name]["values"]
            assert len(values) == task["episodes"] == 4
            assert task[name]["min"] == min(values) <= task[name]["mean"]
            assert task[name]["max"] == max(values)
            assert task[name]["std"] == pytest.approx(np.std(values))
    text = watched(capsys, trained[0], "--eval=4", "--task", "walk1")
    assert "step 80" in text and "walk1" in text and "walk0" not in text
    mean = f"{told['tasks'][1]['length']['mean']:.4g}"
    assert mean in next(line for line in text.splitlines() if "length" in line)
    assert len(dummies.seeds(script.eval[1])) == 8
    assert dummies.count(script.train[0], "make") == 0


def test_the_command_makes_a_video(trained, script, capsys, tmp_path):
    path = tmp_path / "v.gif"
    text = watched(capsys, trained[0], "--episodes=1", f"--out={path}", "--scale=1")
    assert str(path) in text and "walk0" in text
    assert Image.open(path).size == (3 * 80 + 8, 64 + 8 + 4 * 16)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--eval=1", "--task=5"], "no task '5' in this run; it has 0 walk0, 1 walk1"),
        (["--eval=-1"], "episodes is -1"),
        (["--episodes=0"], "episodes is 0"),
        (["--scale=0"], "scale is 0"),
        (["--checkpoint=last"], "no snapshot of step last; choose from .* newest"),
        (["--out=none/v.mp4"], "no folder"),
        (["--out=v.avi"], r"end in \.mp4 or \.gif"),
        (["--evall=1"], "Unknown flag --evall. Did you mean --eval"),
        (["--script=pathlib"], "pathlib has no 'make_tasks'"),
        (["--script=galerie"], "script names the module 'galerie', which cannot be im"),
    ],
)
def test_bad_flags_are_named(trained, script, capsys, flags, message):
    with pytest.raises(ValueError, match=message):
        watched(capsys, trained[0], *flags)


def test_the_command_asks_for_the_run():
    with pytest.raises(ValueError, match="--logdir RUN"):
        watch.main([])


def test_a_run_that_cannot_be_made_again_says_what_to_do(run, script):
    with pytest.raises(ValueError, match=r"dv2\.watch\(env, logdir\)"):
        watch.main(["--logdir", str(run), "--eval=1"])
    files.write_tasks(run, files.Tasks("galleries", ("walk0", "walk2")))
    with pytest.raises(ValueError, match="tasks walk0, walk2, but galleries makes wal"):
        watch.main(["--logdir", str(run), "--eval=1"])
    (run / "tasks.json").unlink()
    with pytest.raises(ValueError, match="an unknown script; say with --script"):
        watch.main(["--logdir", str(run), "--eval=1"])


PLUGIN = """
import dummies
from common.envs import registry
from dreamerv2.algorithm import explore
from dreamerv2.run import tasks


class Restless(explore.BEHAVIOURS["Random"]):
    pass


def make(name, **options):
    return dummies.adapt(dummies.Gallery())


def make_tasks(config):
    return tasks.of_suite("halls", ["walk"], config)


explore.BEHAVIOURS["Restless"] = Restless
registry.SUITES["halls"] = registry.Suite("halls", "halls_walk")
"""


@pytest.fixture
def forget(monkeypatch):
    """Makes this process one that has not imported the plugin."""
    known = settings.Settings({**settings.defaults.flat, "plugins": []})
    monkeypatch.setattr(settings, "defaults", known)

    def run():
        for table, key in (
            (sys.modules, "halls"),
            (plugins._FILES, "halls"),
            (registry.SUITES, "halls"),
            (explore.BEHAVIOURS, "Restless"),
        ):
            table.pop(key, None)

    yield run
    run()


def test_a_run_with_a_suite_and_a_behaviour_of_ones_own_is_watched(
    tmp_path, forget, capsys
):
    path, folder = tmp_path / "halls.py", tmp_path / "run"
    path.write_text(PLUGIN)
    options = {"jit": False, "steps": 20, "prefill": 10, "expl_behavior": "Restless"}
    config = settings.defaults.update(dummies.configure(folder, **options).flat)
    with pytest.raises(ValueError, match="Unknown task 'halls_walk'"):
        tasks_lib.of_suite("halls", ["walk"], config)
    config = settings.resolve(config.update(plugins=[str(path)]))
    made = tasks_lib.of_suite("halls", ["walk"], config)
    loop.train(made, config, script=str(path))
    forget()
    capsys.readouterr()
    watch.main(["--logdir", str(folder), "--eval=2", "--policy=explore", "--json"])
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["name"], task["episodes"]) == ("walk", 2)


# From a program.


def test_a_program_watches_what_it_has_trained(trained, tmp_path):
    envs = [dummies.Gallery(0), lambda: dummies.Gallery(1)]
    results = dv2.watch(envs, trained[0], out="", episodes=2, seed=3)
    assert [(result.task, result.name) for result in results] == [
        *((0, "walk0"), (1, "walk1"))
    ]
    assert dummies.count(envs[0].tape, "close") == 0  # it is the user's
    assert results == dv2.watch(envs, trained[0], out="", episodes=2, seed=3)
    with pytest.raises(ValueError, match="2 tasks walk0, walk1, but 1 env"):
        dv2.watch(envs[0], trained[0])
    named = {"walk1": envs[1], "walk0": envs[0]}  # in any order
    assert results == dv2.watch(named, trained[0], out="", episodes=2, seed=3)
    with pytest.raises(ValueError, match="walk0, walk1, but .* for slow"):
        dv2.watch({"slow": envs[0]}, trained[0])


SCRIPT = """
import dummies
from dreamerv2.run import tasks


def make_tasks(config):
    return tasks.TaskList(dummies.Tapes(1, dummies.Gallery).tasks)


if __name__ == "__main__":
    import sys
    from dreamerv2.run import loop

    config = dummies.configure(sys.argv[1], jit=False, steps=20, prefill=10)
    loop.train(make_tasks(config), config, script={script})
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", ["__name__", "'own_galleries'", "__file__"])
def test_a_run_of_ones_own_script_is_watched_from_any_folder(
    tmp_path, monkeypatch, script, capsys
):
    path, folder = tmp_path / "own_galleries.py", tmp_path / "run"
    path.write_text(SCRIPT.replace("{script}", script))
    tests = pathlib.Path(dummies.__file__).parent
    paths = os.pathsep.join([str(tests.parent), str(tests)])
    done = subprocess.run(
        [sys.executable, str(path), str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0
    assert files.read_tasks(folder).script == str(path)
    monkeypatch.delitem(sys.modules, "own_galleries", raising=False)
    watch.main(["--logdir", str(folder), "--eval=2", "--json"])
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["name"], task["episodes"]) == ("walk0", 2)
    sys.modules.pop("own_galleries")


def test_a_script_that_has_moved_is_looked_for_by_its_name(trained, script, capsys):
    noted = files.read_tasks(trained[0])
    try:
        files.write_tasks(trained[0], noted._replace(script="/elsewhere/galleries.py"))
        watch.main(["--logdir", str(trained[0]), "--eval=1"])
    finally:
        files.write_tasks(trained[0], noted)
    assert "walk1" in capsys.readouterr().out


def test_vectors_are_evaluated_and_not_shown(tmp_path):
    env = dummies.Walk()
    settings = {"jit": False, "steps": 20, "prefill": 10, "train_every": 10}
    dv2.train(env, dummies.configure(tmp_path, **settings))
    (result,) = dv2.watch(env, tmp_path, out="", policy="mode")
    assert len(result.episodes) == 3
    with pytest.raises(ValueError, match="vector, without an image.*--eval"):
        dv2.watch(env, tmp_path, out=str(tmp_path / "v.gif"))
    assert not list(tmp_path.glob("*.gif"))
