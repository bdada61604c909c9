"""Laws of a run that learns from a folder of episodes alone.

A recorder of calls takes the agent's place.
"""

import shutil

import dummies
import numpy as np
import pytest

from common.config import coerce
from common.records import files
from dreamerv2 import settings as settings_lib
from dreamerv2.run import learner, loop, rundir, tasks


@pytest.fixture(autouse=True)
def recorder(agents):
    """The agents that were made, newest last."""
    return agents


@pytest.fixture
def episodes(tmp_path):
    """A folder of episodes: the replay of a run."""
    dummies.run(tmp_path / "source", dummies.Tapes(), steps=60)
    return tmp_path / "source" / files.REPLAY


def run(folder, tapes, episodes, **settings):
    config = dummies.configure(folder, offline=str(episodes), **settings)
    loop.train(tasks.TaskList(tapes.tasks), settings_lib.resolve(config))
    return dummies.read(folder)


def contents(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_no_training_environment_is_stepped_and_evaluation_goes_on(
    tmp_path, episodes, recorder
):
    tapes = dummies.Tapes()
    lines = run(tmp_path / "run", tapes, episodes, eval_every=10)
    assert {call[0] for call in tapes.train[0]} == {"make", "close"}
    assert dummies.steps(tapes.eval[0])
    assert len(dummies.pick(lines, "eval_return")) == 5  # 1, 11, 21, 31 and the end
    assert all(evaluate for _, _, evaluate in recorder[-1].acts)


@pytest.mark.parametrize(("every", "each"), [(10, 1), (5, 3)])
def test_updates_come_as_if_steps_were_collected(
    tmp_path, episodes, recorder, every, each
):
    settings = {"train_every": every, "train_steps": each, "pretrain": 2}
    lines = run(tmp_path / "run", dummies.Tapes(), episodes, **settings)
    assert len(recorder[-1].batches) == 2 + each * 40 // every
    assert dummies.pick(lines, "updates")[-1] == (40, 2 + each * 40 // every)


def test_every_transition_learned_from_is_of_the_folder(tmp_path, episodes, recorder):
    run(tmp_path / "run", dummies.Tapes(), episodes, train_every=2)
    known = set()
    for path in episodes.glob("*.npz"):
        with np.load(path) as file:
            known |= {row.tobytes() for row in file["vector"]}
    drawn = {
        row.tobytes()
        for _, batch in recorder[-1].batches
        for row in batch["vector"].reshape(-1, 3)
    }
    assert len(drawn) > 5
    assert drawn <= known


def test_the_folder_is_only_read(tmp_path, episodes):
    before = contents(episodes)
    folder = tmp_path / "run"
    run(folder, dummies.Tapes(), episodes, eval_replay=30, eval_every=10)
    assert contents(episodes) == before
    assert not (folder / files.REPLAY).exists()
    run(folder, dummies.Tapes(), episodes, eval_replay=30, eval_every=10)  # it is over
    assert contents(episodes) == before


@pytest.mark.parametrize("update", [1, 6, 11])
@pytest.mark.parametrize("retention", ["fifo", "reservoir"])
def test_killed_and_resumed_it_ends_as_if_it_had_lived(
    tmp_path, episodes, update, retention
):
    settings = {"checkpoint_every": 8, "eval_every": 10, "train_every": 3}
    settings |= {"eval_replay": 30, "replay__retention": retention}
    run(tmp_path / "whole", dummies.Tapes(), episodes, **settings)

    def fail(agent):
        if len(agent.batches) == update:
            raise KeyError("the power has failed")

    dummies.Recorder.on_train = fail
    with pytest.raises(KeyError, match="the power has failed"):
        run(tmp_path / "stopped", dummies.Tapes(), episodes, **settings)
    dummies.Recorder.on_train = None
    run(tmp_path / "stopped", dummies.Tapes(), episodes, **settings)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")


def test_with_other_episodes_a_run_does_not_go_on(tmp_path, episodes):
    copy = shutil.copytree(episodes, tmp_path / "copy")
    run(tmp_path / "run", dummies.Tapes(), episodes)
    longer = {"steps": 60, "resume": True}
    min(copy.iterdir()).unlink()
    before = contents(tmp_path / "run")
    with pytest.raises(ValueError, match="not those that this run has learned from"):
        run(tmp_path / "run", dummies.Tapes(), copy, **longer)
    after = contents(tmp_path / "run")
    assert {k: v for k, v in after.items() if k.name != files.LOCK} == {
        k: v for k, v in before.items() if k.name != files.LOCK
    }
    same = shutil.copytree(episodes, tmp_path / "same")  # at another place
    lines = run(tmp_path / "run", dummies.Tapes(), same, **longer)
    assert lines[-1]["step"] == 60


def test_collecting_and_recorded_episodes_do_not_take_turns_in_a_run(
    tmp_path, episodes
):
    longer = {"steps": 80, "resume": True}
    copy = shutil.copytree(episodes, tmp_path / "copy")
    with pytest.raises(ValueError, match="has learned from its own"):
        run(episodes.parent, dummies.Tapes(), copy, **longer)
    run(tmp_path / "run", dummies.Tapes(), episodes)
    with pytest.raises(ValueError, match="give --offline with the folder"):
        dummies.run(tmp_path / "run", dummies.Tapes(), **longer)


def test_what_cannot_be_learned_from_is_refused_before_anything_is_written(
    tmp_path, episodes
):
    folder = tmp_path / "run"
    with pytest.raises(coerce.ConfigError, match="2 tasks, walk0, walk1"):
        run(folder, dummies.Tapes(2), episodes)
    with pytest.raises(ValueError, match="no folder"):
        run(folder, dummies.Tapes(), tmp_path / "nowhere")
    with pytest.raises(ValueError, match="it lacks image"):
        run(folder, dummies.Tapes(1, dummies.Gallery), episodes)
    with rundir.locked(episodes.parent):
        with pytest.raises(coerce.ConfigError, match="a run under way writes"):
            run(folder, dummies.Tapes(), episodes)
    assert not folder.exists()
    before = contents(episodes)
    with pytest.raises(coerce.ConfigError, match="of this run itself"):
        run(episodes.parent, dummies.Tapes(), episodes, overwrite=True)
    assert contents(episodes) == before


def test_nobody_is_told_that_nothing_came_to_the_replay(
    tmp_path, episodes, caplog, monkeypatch
):
    monkeypatch.setattr(learner, "PATIENCE", 5)
    run(tmp_path / "run", dummies.Tapes(), episodes)
    assert not [r for r in caplog.records if r.name == learner.__name__]


def test_there_is_no_prefill_and_the_path_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = settings_lib.resolve(dummies.configure(tmp_path, offline="episodes"))
    assert (config.prefill, config.offline) == (0, str(tmp_path / "episodes"))
