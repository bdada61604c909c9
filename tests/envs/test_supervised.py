"""Environments whose process is watched: crashes, hangs and leaks end no run."""

import functools
import logging
import os
import re
import signal
import tempfile

import numpy as np
import pytest
import shaky

from common import driver
from common.envs.workers import parallel, supervised

BLOCK = 2**20  # bytes

pytestmark = pytest.mark.slow  # each starts a process


@pytest.fixture
def make():
    """Makes supervised environments and closes them after the test."""
    made = []

    def construct(patience=20.0, growth=8 * BLOCK, failures=3, **options):
        env = supervised.SupervisedEnv(
            functools.partial(shaky.Shaky, **options),
            patience=patience,
            growth=growth,
            failures=failures,
        )
        made.append(env)
        return env

    yield construct
    for env in made:
        env.close()


def test_it_is_an_environment_like_the_one_inside(make):
    inside, env = shaky.Shaky(), make()
    assert (
        env.obs_specs == shaky.Shaky.obs_specs and env.act_spec == shaky.Shaky.act_spec
    )
    expected = [inside.reset(3), *[inside.step(shaky.FINE) for _ in range(4)]]
    seen = [env.reset(3), *[env.step(shaky.FINE) for _ in range(4)]]
    for left, right in zip(expected, seen, strict=True):
        assert {k: v.tolist() for k, v in left.items()} == {
            k: v.tolist() for k, v in right.items()
        }
    assert env.get_state() == {"keeps": 1}
    assert env.restarts == env.recycled == 0


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        (shaky.RAISE, "the dungeon collapsed"),
        (shaky.CRASH, "exit code -11.*\n.*Segmentation fault.*\n(.*\n)*.*shaky.py"),
        (shaky.LEAVE, "exit code 7"),
        (shaky.HANG, "has not answered for 0.5 s.*\n(.*\n)*.*shaky.py"),
    ],
    ids=["raise", "crash", "leave", "hang"],
)
def test_a_fault_closes_the_episode_as_truncated(make, caplog, fault, report):
    env = make(patience=0.5 if fault is shaky.HANG else 20.0)
    env.reset(4)
    env.reset(5)
    before = env.step(shaky.FINE)
    pid = env._process.pid
    with caplog.at_level(logging.WARNING):
        tran = env.step(fault)
    assert tran["vector"].tolist() == before["vector"].tolist() == [5, 1]
    assert tran["vector"] is not before["vector"]
    flags = [bool(tran[f"is_{name}"]) for name in ("first", "last", "terminal")]
    assert flags == [False, True, False]
    assert tran["reward"] == 0 and tran["log_success"] == 0
    assert tran["reward"].dtype == np.float32
    assert set(tran) == set(before)
    assert env.restarts == 1
    (record,) = caplog.records
    assert re.search(report, record.getMessage()), record.getMessage()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert env.reset(6)["vector"].tolist() == [6, 0]
    assert env.step(shaky.FINE)["vector"].tolist() == [6, 1]
    assert env.get_state() == {"keeps": 2}  # the first one's and the new one's


def test_the_warning_is_given_once_for_each_failure(make, caplog):
    env = make(failures=9)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            env.reset(0)
            env.step(shaky.RAISE)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == env.restarts == 3
    assert all(f"(failure {i})" in message for i, message in enumerate(told, 1))


def test_failures_in_a_row_end_in_an_error_with_the_traceback(make):
    env = make()
    for _ in range(2):
        env.reset(0)
        assert env.step(shaky.RAISE)["is_last"]
    env.reset(0)
    with pytest.raises(parallel.WorkerError) as caught:
        env.step(shaky.RAISE)
    message = str(caught.value)
    assert "failed 3 times" in message and "in raise_error" in message
    assert "ValueError: the dungeon collapsed" in message
    assert env.restarts == 3


def test_an_episode_that_ends_by_itself_forgives_failures(make):
    env = make(failures=2, length=1)
    for _ in range(3):
        env.reset(0)
        env.step(shaky.RAISE)
        env.reset(0)
        assert env.step(shaky.FINE)["is_terminal"]
    assert env.restarts == 3


def test_a_reset_that_fails_once_is_repeated_with_the_same_seed(make, tmp_path):
    env = make(marker=tmp_path / "marker")
    tran = env.reset(8)
    assert tran["vector"].tolist() == [8, 0] and tran["is_first"]
    assert env.restarts == 1


def test_a_seed_that_cannot_be_played_is_replaced(make):
    env = make(evil_seeds=(8,))
    tran = env.reset(8)
    assert tran["vector"][0] != 8 and tran["is_first"]
    assert env.restarts == 2
    again = make(evil_seeds=(8,)).reset(8)
    assert again["vector"].tolist() == tran["vector"].tolist()  # by a rule


def test_resets_that_fail_end_in_an_error(make):
    env = make(evil_seeds=(8,), failures=2)
    with pytest.raises(parallel.WorkerError, match=r"at reset.*\n(.*\n)*.*no level of"):
        env.reset(8)


def test_what_the_constructor_raises_at_first_is_raised_as_it_is():
    def fail():
        raise KeyError("no such task")

    with pytest.raises(KeyError, match="no such task"):
        supervised.SupervisedEnv(fail)


def test_a_process_that_grows_is_replaced_at_a_reset(make):
    env = make(leak=BLOCK, growth=5 * BLOCK)
    pids, sizes = [], []
    for seed in range(60):
        assert env.reset(seed)["vector"].tolist() == [seed, 0]
        pids.append(env._process.pid)
        sizes.append(env.resident())
        env.step(shaky.FINE)
    assert env.recycled == len(set(pids)) - 1 >= 2
    assert env.restarts == 0
    most = supervised.SETTLING + 7  # blocks
    assert max(sizes) - sizes[0] < most * BLOCK
    assert env.get_state() == {"keeps": 60}


def test_a_process_that_does_not_grow_is_kept(make):
    env = make(growth=5 * BLOCK)
    env.reset(0)
    pid = env._process.pid
    for seed in range(40):
        env.reset(seed)
    assert env._process.pid == pid and env.recycled == 0


def test_environments_work_at_the_same_time_and_one_fault_hurts_one(make):
    envs = [make() for _ in range(3)]
    told = []
    drv = driver.Driver(envs, lambda env, episode: 10 * env + episode)
    drv.on_step(lambda tran, i: told.append((i, tran["vector"].tolist())))
    faults = {(1, 2): shaky.LEAVE}

    def policy(obs, state):
        now = (state or 0) + 1
        return np.stack([faults.get((i, now), shaky.FINE) for i in range(3)]), now

    drv.run(policy, steps=3 * 5)
    assert [env.restarts for env in envs] == [0, 1, 0]
    of = {i: [vector for j, vector in told if j == i] for i in range(3)}
    whole = [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4], [1, 0], [1, 1]]
    assert of[0] == whole
    assert of[1] == [[10, 0], [10, 1], [10, 1], [11, 0], [11, 1], [11, 2], [11, 3]]
    assert drv.episodes == [2, 2, 2]


def test_an_episode_that_fails_while_it_is_played_again_is_closed(make):
    """A driver that resumes plays actions again; the fault comes again with them."""
    saved = {
        "episodes": [4],
        "envs": [{"env": {"keeps": 3}, "actions": [a.tolist() for a in ACTIONS]}],
    }
    env, told = make(), []
    drv = driver.Driver([env], lambda env, episode: episode)
    drv.on_step(lambda tran, i: told.append(bool(tran["is_last"])))
    drv.set_state(saved)
    assert told == [False, False, True]
    assert drv.get_state()["envs"][0]["actions"] is None
    drv.run(lambda obs, state: (shaky.FINE[None], state), steps=1)
    assert told == [False, False, True, False, False]
    assert drv.episodes == [5] and env.restarts == 1


ACTIONS = (shaky.FINE, shaky.RAISE, shaky.FINE, shaky.FINE)


def test_a_step_after_a_failure_asks_for_a_reset(make):
    env = make()
    env.reset(0)
    env.step(shaky.RAISE)
    with pytest.raises(RuntimeError, match="reset first"):
        env.step(shaky.FINE)


@pytest.mark.parametrize("end", ["close", "kill", "forget"])
def test_nothing_temporary_is_left_behind(end, tmp_path, monkeypatch):
    # Other tests, in other processes, have folders of their own in the usual place.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    env = supervised.SupervisedEnv(shaky.Writer)
    process = env._process._process
    env.reset(0)
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} >= {"mine"}
    if end == "kill":
        os.kill(process.pid, signal.SIGKILL)
        env.step(shaky.FINE)
    elif end == "close":
        env.close()
    del env
    process.wait(5)
    assert not list(tmp_path.iterdir())


def test_no_second_process_is_put_around_it():
    @parallel.has_own_process
    def construct(length):
        return supervised.SupervisedEnv(functools.partial(shaky.Shaky, length))

    for strategy in parallel.STRATEGIES:
        env = parallel.make_parallel(functools.partial(construct, 4), strategy)
        assert isinstance(env, supervised.SupervisedEnv)
        env.close()
        env.close()


def test_a_signal_that_asks_the_whole_group_to_end_is_left_to_the_parent(make):
    env = make()
    env.reset(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        env._process.kill(number)
    assert env.step(shaky.FINE)["vector"].tolist() == [0, 1]
    assert env.restarts == 0
