"""An Env in a process that may crash, hang or leak without an end to the run.

For environments that leave Python: a fault in them ends the process, not a Python
exception. What happens when is told at `SupervisedEnv`.
"""

import atexit
import faulthandler
import functools
import logging
import os
import pathlib
import resource
import shutil
import signal
import tempfile
import time
from typing import Any

import numpy as np

from common.envs import base
from common.envs.workers import parallel

_LOG = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds
GROWTH = 8 * 2**20  # bytes
SETTLING = 20  # resets until the memory that a process needs anyway is taken
LAST_WORDS_SECONDS = 0.2  # for a process that hangs to say where
FAULTS = "faults.txt"  # where a process tells what it was doing when it ended


class SupervisedEnv:
    """An Env in a process of its own, which is watched and replaced when need be.

    A process that is gone, that has not answered for `patience` seconds, or whose
    environment raised an exception has failed. It is killed, a new one takes its place,
    and a warning tells of it. A failed step closes the episode: the last observation
    again, reward 0, is_last and not is_terminal. A failed reset is tried again, at
    first with the same seed. After `failures` of them in a row, without an episode that
    ended by itself in between, the next call raises.

    A process whose memory has grown by `growth` is replaced at a reset, which is no
    failure. What the environment keeps over episodes moves to the new process.

    Attributes:
      restarts: Failures so far.
      recycled: Processes replaced because of their memory.
    """

    def __init__(
        self,
        constructor: parallel.Constructor,
        *,
        patience: float = PATIENCE,
        growth: int = GROWTH,
        failures: int = 3,
    ):
        """Starts the process and makes the environment in it.

        Args:
          constructor: Makes the environment; anything that cloudpickle takes. What it
            raises here, at first, is raised as it is.
          patience: Seconds to wait for an answer.
          growth: Bytes of resident memory above those after the first resets.
          failures: How many in a row are too many.
        """
        self.restarts = self.recycled = 0
        self._constructor, self._patience = constructor, patience
        self._growth, self._failures = growth, failures
        self._in_a_row = 0
        self._state: dict[str, Any] = {}
        self._last: base.Transition = {}
        self._process: parallel.ProcessEnv | None = None
        self._start()
        self.obs_specs = self._process.obs_specs
        self.act_spec = self._process.act_spec
        self.readings = self._process.readings

    def reset_async(self, seed: int | None = None) -> parallel.Promise:
        """Begins a reset; the function returned waits for the transition.

        It raises WorkerError after too many failures.
        """
        begun = _catching(lambda: self._begin_reset(seed))

        def wait() -> base.Transition:
            waiting, attempt = begun, 0
            while True:
                try:
                    return self._keep(waiting())
                except Exception as error:
                    self._fail("reset", error)
                attempt += 1
                other = _other_seed(seed, attempt)
                waiting = _catching(lambda other=other: self._begin_reset(other))

        return wait

    def step_async(self, action: np.ndarray) -> parallel.Promise:
        """Begins a step; the function returned waits for the transition.

        It raises WorkerError after too many failures.
        """
        if self._process is None:
            raise RuntimeError("The episode has ended with a failure; reset first.")
        begun = _catching(lambda: self._process.step_async(action))

        def wait() -> base.Transition:
            try:
                tran = self._keep(begun())
            except Exception as error:
                self._fail("step", error)
                return self._closing()
            if tran["is_last"]:
                self._in_a_row = 0
            return tran

        return wait

    def reset(self, seed: int | None = None) -> base.Transition:
        """Resets and waits."""
        return self.reset_async(seed)()

    def step(self, action: np.ndarray) -> base.Transition:
        """Steps and waits."""
        return self.step_async(action)()

    def render(self) -> np.ndarray | None:
        """A picture of the environment, None if it has none or has failed."""
        return None if self._process is None else self._process.render()

    def get_state(self) -> dict[str, Any]:
        """The state of the environment; after a failure the last one known."""
        if self._process is not None:
            try:
                self._state = self._process.get_state()
            except Exception as error:
                self._fail("get_state", error)
        return self._state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the environment, and those that will take its place."""
        self._state = state
        if self._process is not None:
            self._process.set_state(state)

    def resident(self) -> int:
        """Bytes of memory of the process, 0 where the system has no /proc."""
        return 0 if self._process is None else _resident(self._process.pid)

    def close(self) -> None:
        """Closes the environment and ends its process; a second call does nothing."""
        if self._process is not None:
            self._process.close()
            self._process = None
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        """Starts a process in the place of none."""
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="dreamerv2-env-"))
        try:
            self._process = parallel.ProcessEnv(
                functools.partial(_construct, str(self._folder), self._constructor),
                self._patience,
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._resets, self._settled = 0, 0
        if self._state:
            self._process.set_state(self._state)

    def _begin_reset(self, seed: int | None) -> parallel.Promise:
        """Begins a reset, in a new process if there is none or it has grown too far."""
        if self._process is not None:
            self._state = self._process.get_state()
            self._resets += 1
            if self._resets == SETTLING:
                self._settled = self.resident()
            elif self._settled and self.resident() - self._settled > self._growth:
                self.close()
                self.recycled += 1
        if self._process is None:
            self._start()
        return self._process.reset_async(seed)

    def _keep(self, tran: base.Transition) -> base.Transition:
        self._last = dict(tran)
        return tran

    def _closing(self) -> base.Transition:
        """The transition that ends an episode in place of the one that never came."""
        tran = {
            key: np.zeros_like(value) if key.startswith("log_") else value.copy()
            for key, value in self._last.items()
        }
        tran["reward"] = np.float32(0)
        tran["is_first"] = np.bool_(False)
        tran["is_last"] = np.bool_(True)
        tran["is_terminal"] = np.bool_(False)
        return tran

    def _fail(self, method: str, error: Exception) -> None:
        """Ends the process and counts; raises WorkerError if it is one too many."""
        cause = error.__cause__
        report = str(cause if isinstance(cause, parallel.WorkerError) else error)
        if isinstance(error, parallel.ProcessLost) and self._process is not None:
            report += self._last_words(self._process)
        self.close()
        self.restarts += 1
        self._in_a_row += 1
        if self._in_a_row >= self._failures:
            raise parallel.WorkerError(
                f"An environment has failed {self._in_a_row} times without an episode "
                f"that ended by itself in between, the last time at {method}.\n{report}"
            ) from error
        _LOG.warning(
            "An environment has failed at %s and is started anew (failure %d).\n%s",
            *(method, self.restarts, report),
        )

    def _last_words(self, process: parallel.ProcessEnv) -> str:
        """Kills a process; returns the traceback that it left, '' if there is none."""
        faults = self._folder / FAULTS
        if not _size(faults):
            process.kill(signal.SIGUSR1)  # One that hangs says where.
            time.sleep(LAST_WORDS_SECONDS)
        process.kill()
        return f"\n{faults.read_text().strip()}" if _size(faults) else ""


def _catching(call: Any) -> parallel.Promise:
    """Begins something; what it raises is raised by the function returned."""
    try:
        return call()
    except Exception as error:
        caught = error  # The name `error` ends with this block.

        def raise_again() -> Any:
            raise caught

        return raise_again


def _other_seed(seed: int | None, attempt: int) -> int | None:
    """The same seed once more, then others: it may be one that cannot be played."""
    if seed is None or attempt < 2:
        return seed
    return int(np.random.SeedSequence([seed, attempt]).generate_state(1)[0] >> 1)


def _construct(folder: str, constructor: parallel.Constructor) -> base.Env:
    """In the process: everything temporary and the last words go into one folder."""
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    faults = open(os.path.join(folder, FAULTS), "w")  # noqa: SIM115  to the end
    faulthandler.enable(faults)
    faulthandler.register(signal.SIGUSR1, faults)
    return constructor()


def _resident(pid: int) -> int:
    try:
        pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * resource.getpagesize()


def _size(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
