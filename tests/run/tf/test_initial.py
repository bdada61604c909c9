"""Laws of a run that begins with another run's weights."""

import shutil

import dummies
import numpy as np
import pytest

import dreamerv2.api as dv2
from common import config as config_lib
from common.config import kinds
from common.nets import weights
from dreamerv2 import settings
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import checkpoint, rundir
from dreamerv2.run.sources import initial
from dreamerv2.trained import export, snapshot

SETTINGS = {"jit": False}  # few updates: tracing them would take longer
EXPLORES = {"expl_behavior": "Plan2Explore"}


def train(folder, env=dummies.Walk, **overrides):
    config = dummies.configure(folder, **{**SETTINGS, **overrides})
    dv2.train(env, config)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run that learned its task, with snapshots at steps 30 and 40."""
    folder = tmp_path_factory.mktemp("source")
    return train(folder, seed=5, checkpoint_every=30, checkpoint_keep=9)


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """A run of Plan2Explore, which has no head for the discount."""
    return train(tmp_path_factory.mktemp("explored"), seed=5, **EXPLORES)


def begin(folder, source, **overrides):
    """A new agent that was given the weights of a run, and one that was not."""
    config = dummies.configure(folder, init_from=str(source), **SETTINGS, **overrides)
    config = settings.resolve(config)
    env = dummies.adapt(dummies.Walk())
    made = [agent_lib.Agent(config, env.obs_specs, env.act_spec) for _ in range(2)]
    initial.give(initial.read(config), made[0], config)
    return [
        {name: value.numpy() for name, value in agent.named_state().items()}
        for agent in made
    ]


def equal(ours, theirs, names):
    return [name for name in names if np.array_equal(ours[name], theirs[name])]


def test_every_weight_is_that_of_the_snapshot_and_all_else_begins_anew(
    tmp_path, source
):
    given, fresh = begin(tmp_path, source)
    _, saved = dummies.snapshot(source)
    learned = {n for n in given if given[n].ndim and not weights.is_moment(n)}
    assert learned < set(given)
    for name, value in given.items():
        expected = saved if name in learned else fresh
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert saved["model_opt/steps"] > given["model_opt/steps"] == 0


def test_of_the_model_alone_actor_and_critic_stay_random(tmp_path, source):
    given, fresh = begin(tmp_path, source, init_from_parts="model")
    _, saved = dummies.snapshot(source)
    weighty = [n for n in given if n.endswith(("kernel", "gamma")) and "_opt" not in n]
    model = [n for n in weighty if n.startswith(("encoder", "rssm", "heads"))]
    others = [n for n in weighty if n not in model]
    assert model and {n.split("/")[0] for n in others} >= {"actor", "critic"}
    assert equal(given, saved, model) == model
    assert equal(given, fresh, others) == others


def test_a_step_names_an_earlier_snapshot(tmp_path, source):
    newest, _ = begin(tmp_path, source)
    earlier, _ = begin(tmp_path, f"{source}:30")
    at_30 = checkpoint.load_tensors(source / "checkpoints" / "step-000000000030")
    name = "encoder/dense0/kernel"
    np.testing.assert_array_equal(earlier[name], at_30[name])
    assert not np.array_equal(earlier[name], newest[name])


def test_a_run_without_plan2explore_goes_on_from_one_with_it(
    tmp_path, explored, capsys
):
    given, fresh = begin(tmp_path, explored)
    name = "heads/discount/dense0/kernel"
    np.testing.assert_array_equal(given[name], fresh[name])
    said = capsys.readouterr().out
    assert "begin anew: heads/discount" in said
    assert "not used here: expl/" in said


def test_an_ensemble_that_the_other_run_did_not_have_begins_anew(
    tmp_path, source, capsys
):
    begin(tmp_path, source, **EXPLORES)
    said = capsys.readouterr().out
    assert "begin anew: expl/" in said
    assert "not used here: heads/discount" in said


class Wide(dummies.Walk):
    """Another observation."""

    observation_space = dummies.gymnasium.spaces.Box(-9, 9, (4,), np.float32)

    def _observe(self):
        return np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("env", "source_of", "overrides", "message"),
    [
        (dummies.Walk, "{}/nowhere", {}, "no run in .*nowhere"),
        (dummies.Walk, "{}:31", {}, "no snapshot of step 31; choose from 30, 40"),
        (Wide, "{}", {}, r"(?s)vector: .*\(4,\).* here, .*\(3,\).* there"),
        (
            dummies.Walk,
            "{}",
            {"rssm.deter": 9},
            r"(?s)other shapes have .*rssm/.*rssm\.deter: 8 there, 9 here.*sizes",
        ),
        (
            dummies.Walk,
            "{}",
            {"actor.layers": 2},
            r"(?s)it lacks actor/.*init_from_parts",
        ),
        (dummies.Walk, "{}", {"init_from_parts": "actor"}, "choose all, or model"),
    ],
)
def test_what_does_not_fit_is_an_error_before_anything_is_written(
    tmp_path, source, env, source_of, overrides, message
):
    folder = tmp_path / "run"
    settings_ = {**SETTINGS, **overrides, "init_from": source_of.format(source)}
    with pytest.raises(ValueError, match=message):
        train(folder, env, **settings_)
    assert not folder.exists()


def test_the_own_folder_is_nothing_to_begin_with(tmp_path, source):
    copy = shutil.copytree(source, tmp_path / "copy")
    with pytest.raises(ValueError, match="this run itself"):
        train(copy, seed=5, init_from=str(copy), overwrite=True)
    assert (copy / "checkpoints" / "step-000000000040").exists()


def test_parts_of_nothing_are_an_error():
    with pytest.raises(config_lib.ConfigError, match="nothing to begin with"):
        settings.resolve(dummies.TINY.update(init_from_parts="model"))


class Failing(dummies.Walk):
    """A walk whose power fails after some steps."""

    def __init__(self, steps):
        super().__init__(fails_at=steps)


@pytest.mark.parametrize("fails_at", [15, 33], ids=["before a snapshot", "after it"])
def test_killed_and_resumed_it_ends_as_if_it_had_lived(tmp_path, source, fails_at):
    copy = shutil.copytree(source, tmp_path / "source")
    settings_ = {"init_from": str(copy), "checkpoint_every": 30}
    goes_on = {"seed": 5, "steps": 60, "checkpoint_every": 30, "checkpoint_keep": 9}
    train(tmp_path / "whole", lambda: dummies.Walk(), **settings_)
    with pytest.raises(KeyError, match="the power has failed"):
        train(tmp_path / "stopped", lambda: Failing(fails_at), **settings_)
    if fails_at > 30:  # its own snapshot counts
        shutil.rmtree(copy)
    else:  # the other run has learned more since
        train(copy, resume=True, **goes_on)
    train(tmp_path / "stopped", lambda: dummies.Walk(), **settings_)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")
    _, tensors = dummies.snapshot(tmp_path / "whole")
    train(tmp_path / "scratch", lambda: dummies.Walk(), checkpoint_every=30)
    _, others = dummies.snapshot(tmp_path / "scratch")
    assert not np.array_equal(
        tensors["actor/dense0/kernel"], others["actor/dense0/kernel"]
    )


def test_what_a_run_began_with_is_noted_and_cannot_change(
    tmp_path, source, monkeypatch
):
    monkeypatch.chdir(source.parent)
    train(tmp_path, init_from=source.name)
    noted = config_lib.Config.read(tmp_path / "config.yaml")
    assert (noted.init_from, noted.init_from_parts) == (f"{source}:40", "all")
    train(tmp_path, init_from=source.name)  # the same command is the same run
    for change in ({}, {"init_from": source.name, "init_from_parts": "model"}):
        with pytest.raises(rundir.RunDirError, match="init_from"):
            train(tmp_path, resume=True, steps=60, **change)


def test_an_export_of_it_begins_with_nothing(tmp_path, source):
    train(tmp_path / "run", init_from=str(source))
    exported = export.export(snapshot.load(tmp_path / "run"), tmp_path / "exported")
    config = settings.resolve(snapshot.load(exported / export.AGENT).config)
    assert (config.init_from, config.init_from_parts) == ("", "")


def test_seeds_that_begin_with_runs_of_their_own_are_of_one_method():
    assert not kinds.makes_another_method("init_from")
    assert kinds.makes_another_method("init_from_parts")
    assert kinds.makes_another_run("init_from")


def test_the_agent_of_the_package_will_do_by_its_name():
    config = settings.resolve(settings.defaults.update(init_from="quickstart"))
    assert config.init_from == "quickstart"
    assert initial.read(config).snapshot.state["step"] == 7500
