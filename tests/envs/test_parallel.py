"""Environments in threads and processes: the same Env, faults included."""

import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from common import driver, specs
from common.envs.workers import parallel

REMOTE = ["thread", "process"]


class Counter:
    """Observes its seed and step count; fails when told to."""

    obs_specs = {"vector": specs.ArraySpec((2,), np.dtype(np.float32))}
    act_spec = specs.ActionSpec(2, discrete=False)

    def __init__(self, length=3, seconds=0.0):
        self.length, self.seconds = length, seconds
        self.memory = {"resets": 0}

    def reset(self, seed=None):
        self.seed, self.count = seed or 0, 0
        self.memory["resets"] += 1
        return self._transition(0.0)

    def step(self, action):
        if action[0] < 0:
            raise ValueError(f"bad action {action.tolist()}")
        time.sleep(self.seconds)
        self.count += 1
        return self._transition(float(action.sum()))

    def _transition(self, reward):
        return {
            "vector": np.array([self.seed, self.count], np.float32),
            "reward": np.float32(reward),
            "is_first": np.bool_(self.count == 0),
            "is_last": np.bool_(self.count == self.length),
            "is_terminal": np.bool_(False),
        }

    def close(self):
        self.closed = True

    def get_state(self):
        return self.memory

    def set_state(self, state):
        self.memory = state


def policy(obs, state):
    count = len(obs["reward"])
    return np.arange(2 * count, dtype=np.float32).reshape(count, 2), state


def record(strategy, envs=2, steps=12):
    """Everything that a driver tells over some steps, as lists."""
    made = [parallel.make_parallel(Counter, strategy) for _ in range(envs)]
    told = []
    drv = driver.Driver(made, lambda env, episode: 10 * env + episode)
    drv.on_step(
        lambda t, i: told.append((i, {k: np.asarray(v).tolist() for k, v in t.items()}))
    )
    drv.run(policy, steps=steps)
    state = drv.get_state()
    for env in made:
        env.close()
    return told, state


@pytest.fixture
def make():
    """Makes parallel environments and closes them after the test."""
    made = []

    def construct(strategy, constructor=Counter):
        made.append(parallel.make_parallel(constructor, strategy))
        return made[-1]

    yield construct
    for env in made:
        env.close()


def test_a_driver_sees_no_difference():
    expected = record("none")
    assert [record(strategy) for strategy in REMOTE] == [expected, expected]


def test_specs_and_state_pass_through(make):
    for strategy in REMOTE:
        env = make(strategy)
        assert env.obs_specs == Counter.obs_specs and env.act_spec == Counter.act_spec
        env.reset(seed=1)
        assert env.get_state() == {"resets": 1}
        env.set_state({"resets": 5})
        env.reset()
        assert env.get_state() == {"resets": 6}


@pytest.mark.slow
def test_environments_step_at_the_same_time(make):
    for strategy in REMOTE:
        envs = [make(strategy, lambda: Counter(seconds=0.3)) for _ in range(4)]
        for env in envs:
            env.reset()
        start = time.perf_counter()
        promises = [env.step_async(np.ones(2)) for env in envs]
        rewards = [promise()["reward"] for promise in promises]
        assert rewards == [2.0] * 4
        assert time.perf_counter() - start < 1.1  # One after the other: 1.2.


def test_an_exception_is_raised_again_and_the_worker_goes_on(make):
    for strategy in REMOTE:
        env = make(strategy)
        env.reset(seed=4)
        with pytest.raises(ValueError, match=r"bad action \[-1.0, 0.0\]") as caught:
            env.step(np.array([-1.0, 0.0]))
        if strategy == "process":
            cause = str(caught.value.__cause__)
            assert "failed in step" in cause
            assert "test_parallel.py" in cause and 'raise ValueError(f"bad' in cause
        assert env.step(np.zeros(2))["vector"].tolist() == [4, 1]


class Stubborn(Exception):
    """Cannot be rebuilt from its arguments."""

    def __init__(self, first, second):
        super().__init__(f"{first}{second}")


def test_an_exception_that_cannot_be_pickled_arrives_as_text(make):
    def fail():
        raise Stubborn("can", "not")

    with pytest.raises(parallel.WorkerError, match=r"(?s)construct.*Stubborn: cannot"):
        make("process", fail)


def test_a_failing_constructor_raises_its_own_error(make):
    def fail():
        raise KeyError("no such task")

    for strategy in REMOTE:
        with pytest.raises(KeyError, match="no such task"):
            make(strategy, fail)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(make):
    env = make("process")
    env.reset(seed=1)
    env.step_async(np.ones(2))
    assert env.get_state() == {"resets": 1}
    assert env.step(np.ones(2))["vector"].tolist() == [1, 2]


def test_a_process_that_dies_is_named(make):
    env = make("process", functools.partial(Counter, seconds=30.0))
    env.reset()
    promise = env.step_async(np.ones(2))
    os.kill(env._process.pid, signal.SIGKILL)
    with pytest.raises(parallel.WorkerError, match="process .* is gone.* at step"):
        promise()
    with pytest.raises(parallel.WorkerError, match="is gone"):
        env.reset()


def test_close_leaves_no_process_and_may_be_repeated():
    env = parallel.ProcessEnv(Counter)
    process = env._process
    env.close()
    assert process.returncode == 0
    env.close()


def test_a_forgotten_environment_takes_its_process_along():
    env = parallel.ProcessEnv(Counter)
    process = env._process
    del env
    assert process.returncode == 0


def test_a_process_does_not_import_the_main_script(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "print('imported', flush=True)\n"
        "import test_parallel\n"
        "from common.envs.workers import parallel\n"
        "env = parallel.ProcessEnv(lambda: test_parallel.Counter(length=7))\n"
        "print(env.reset(3)['vector'])\n"  # Neither guard nor close().
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("imported\n[3. 0.]\n", "")


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match=r"'fork'.*\['none', 'process', 'thread'\]"):
        parallel.make_parallel(Counter, "fork")
