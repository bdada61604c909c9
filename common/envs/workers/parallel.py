"""An Env in a thread or a process of its own, so that several step at once.

Besides the interface of Env they have `reset_async` and `step_async`, which begin the
work and return a function that waits for its result; the driver uses these.
"""

import functools
import os
import pathlib
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent import futures
from multiprocessing import connection
from typing import Any

import numpy as np

from common.config import faults
from common.envs import base

Constructor = Callable[[], base.Env]
Promise = Callable[[], Any]
START_SECONDS = 120  # that a process has for its imports, however short of patience
CLOSE_SECONDS = 5  # that a process has for closing its environment


class WorkerError(RuntimeError):
    """An environment worker has failed; the message holds its traceback."""


class ProcessLost(WorkerError):
    """An environment's process is gone, or has not answered in time."""


class AsyncEnv:
    """What thread and process have in common: everything is a call sent elsewhere."""

    def _send(self, method: str, *arguments: Any) -> Promise:
        raise NotImplementedError

    def reset_async(self, seed: int | None = None) -> Promise:
        """Begins a reset; the function returned waits for the transition."""
        return self._send("reset", seed)

    def step_async(self, action: np.ndarray) -> Promise:
        """Begins a step; the function returned waits for the transition."""
        return self._send("step", action)

    def reset(self, seed: int | None = None) -> base.Transition:
        """Resets and waits."""
        return self.reset_async(seed)()

    def step(self, action: np.ndarray) -> base.Transition:
        """Steps and waits."""
        return self.step_async(action)()

    def render(self) -> np.ndarray | None:
        """A picture of the environment in the worker, None if it has none."""
        return self._send("render")() if self.renders else None

    def get_state(self) -> dict[str, Any]:
        """The state of the environment in the worker."""
        return self._send("get_state")()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the environment in the worker."""
        self._send("set_state", state)()


class ThreadEnv(AsyncEnv):
    """An Env in a thread: for environments that leave Python while they work."""

    def __init__(self, constructor: Constructor):
        """Args: constructor: makes the environment; it is called in the thread."""
        self._pool = futures.ThreadPoolExecutor(1, thread_name_prefix="env")
        self._closed = False
        try:
            self._env = self._pool.submit(constructor).result()
        except BaseException:
            self._pool.shutdown()
            raise
        self.obs_specs = self._env.obs_specs
        self.act_spec = self._env.act_spec
        self.readings = getattr(self._env, "readings", None)
        self.renders = hasattr(self._env, "render")

    def _send(self, method: str, *arguments: Any) -> Promise:
        return self._pool.submit(getattr(self._env, method), *arguments).result

    def close(self) -> None:
        """Closes the environment and ends the thread; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._send("close")()
            self._pool.shutdown()


class ProcessEnv(AsyncEnv):
    """An Env in a process that imports nothing but what the environment needs (POSIX).

    Exceptions of the environment are raised again here, caused by a WorkerError whose
    message is the worker's traceback.
    """

    def __init__(self, constructor: Constructor, patience: float | None = None):
        """Starts the process and waits for its environment.

        Args:
          constructor: Makes the environment; anything that cloudpickle takes, lambdas
            and functions of the main script included.
          patience: Seconds after which waiting for an answer ends in ProcessLost, but
            START_SECONDS at least for the first; None waits for ever.
        """
        import cloudpickle

        self._patience = patience and max(patience, START_SECONDS)
        self._unread = 0  # answers under way
        self._pipe, self._process = _start_worker()
        self._closer = weakref.finalize(self, _stop, self._pipe, self._process)
        try:
            self._pipe.send(sys.path)
            built = self._send("construct", cloudpickle.dumps(constructor))()
            self.obs_specs, self.act_spec, self.readings, self.renders = built
            self._patience = patience
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Sends a signal to the process, if it still runs."""
        self._process.send_signal(signal_number)

    def _send(self, method: str, *arguments: Any) -> Promise:
        while self._unread:  # Nobody waited for it, as after an error elsewhere.
            self._answer(method)
        try:
            self._pipe.send((method, arguments))
        except OSError as error:
            raise self._death(method) from error
        self._unread += 1
        return lambda: self._receive(method)

    def _receive(self, method: str) -> Any:
        succeeded, result = self._answer(method)
        if succeeded:
            return result
        error, text = result
        cause = WorkerError(f"Environment worker failed in {method}:\n{text}")
        faults.attach(cause, text)
        if error is None:
            raise cause
        raise error from cause

    def _answer(self, method: str) -> tuple[bool, Any]:
        try:
            if not self._pipe.poll(self._patience):
                raise ProcessLost(
                    f"Environment process {self.pid} has not answered for "
                    f"{self._patience:g} s, at {method}."
                )
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death(method) from error
        self._unread -= 1
        return answer

    def _death(self, method: str) -> ProcessLost:
        try:  # It takes a moment from the closed pipe to the end of the process.
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            code = None
        return ProcessLost(
            f"Environment process {self.pid} is gone, exit code {code}, at {method}."
        )

    def close(self) -> None:
        """Closes the environment and waits for the process to end."""
        self._closer()


STRATEGIES: dict[str, Callable[[Constructor], base.Env]] = {
    "none": lambda constructor: constructor(),
    "thread": ThreadEnv,
    "process": ProcessEnv,
}


def has_own_process(constructor: Callable[..., base.Env]) -> Callable[..., base.Env]:
    """Marks a function whose environments are in a process of their own already.

    `make_parallel` leaves them there, with every strategy; it sees the mark through
    functools.partial.
    """
    constructor.has_own_process = True
    return constructor


def make_parallel(constructor: Constructor, strategy: str) -> base.Env:
    """Makes an environment here (`none`), in a `thread` or in a `process`.

    Raises:
      ValueError: An unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise ValueError(
            f"Unknown strategy {strategy!r}; choose from {sorted(STRATEGIES)}."
        )
    function: Callable[..., base.Env] = constructor
    while isinstance(function, functools.partial):
        function = function.func
    if getattr(function, "has_own_process", False):
        return constructor()
    return STRATEGIES[strategy](constructor)


def _start_worker() -> tuple[connection.Connection, subprocess.Popen]:
    ours, theirs = connection.Pipe()
    program = pathlib.Path(__file__).with_name("worker.py")
    descriptor = theirs.fileno()
    # -I: neither this folder nor PYTHONPATH shadows what the worker imports before it
    # is given our import path.
    process = subprocess.Popen(
        [sys.executable, "-I", os.fspath(program), str(descriptor)],
        pass_fds=[descriptor],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    return ours, process


def _stop(pipe: connection.Connection, process: subprocess.Popen) -> None:
    pipe.close()
    try:
        process.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
