"""Brings every trial of a sweep to its end: again after a failure, never twice at once.

It knows no Ray: a pool has `launch(job)`, which returns an attempt with `host`,
`poll()`, `stop()` and `close()`, as `sweep.cluster` has them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from common.records import timing
from dreamerv2.run import rundir, stopping
from dreamerv2.sweep import plan as plan_lib
from dreamerv2.sweep import process
from dreamerv2.sweep import progress as progress_lib

WAITING, RUNNING, FINISHED, FAILED = "waiting", "running", "finished", "failed"
STOPPED = "stopped"
_LONGEST_DELAY = 60.0  # seconds between two attempts
_LOCK_PAUSE = 5.0  # seconds between two looks at a lock
_LONGEST_LOCK = 300.0  # seconds until the lock of a machine that is gone has ended
_WINDOW = 600.0  # seconds over which the speed is taken


class Attempt(Protocol):
    """One attempt at a trial."""

    host: str

    def poll(self) -> process.Outcome | None:
        """How it has ended, None if it has not."""

    def stop(self) -> None:
        """Asks it to save and to end."""

    def close(self) -> None:
        """Ends it at once."""


class Pool(Protocol):
    """Where attempts are made."""

    def launch(self, job: process.Job) -> Attempt:
        """Begins one, now or when there is room."""


@dataclasses.dataclass
class Status:
    """How a trial is getting on."""

    trial: plan_lib.Trial
    state: str = WAITING
    step: int = 0  # environment steps that are done
    saved: int = 0  # of these in a snapshot
    failures: int = 0  # in a row, without a new snapshot
    problem: str = ""  # how the last attempt has ended, if not well
    host: str = ""
    attempt: Attempt | None = None
    not_before: float = 0.0  # time of the next attempt
    locked_since: float | None = None
    progress: timing.Progress | None = None  # of the present attempt

    @property
    def left(self) -> float | None:
        """Seconds until it is finished, None if that is not known."""
        running = self.state == RUNNING and self.progress
        return self.progress.left if running else None


class Loop:
    """All trials of a sweep, from what is there to the end."""

    def __init__(
        self,
        plan: plan_lib.Plan,
        statuses: Sequence[Status],
        pool: Pool,
        show: Callable[[Sequence[Status]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """Starts nothing yet.

        Args:
          plan: The trials.
          statuses: How they are, as `examine` says; kept up to date.
          pool: Runs them.
          show: Is told how they are every second.
          clock: Returns seconds.
          sleep: Waits for so many of them.
        """
        self._plan, self._pool, self._show = plan, pool, show
        self._clock, self._sleep = clock, sleep
        self._stopping = False
        self._statuses = statuses

    def run(self, stop: stopping.StopRequest) -> None:
        """Returns when all trials have ended, or after a stop when all have saved.

        Raises:
          KeyboardInterrupt: At a second signal; what still ran is killed.
        """
        try:
            while any(s.state in (WAITING, RUNNING) for s in self._statuses):
                if stop and not self._stopping:
                    self._stop_all()
                for status in self._statuses:
                    if status.attempt:
                        self._look_after(status)
                    elif status.state == WAITING and self._may_start(status):
                        status.attempt = self._pool.launch(self._job(status.trial))
                self._show(self._statuses)
                self._sleep(1.0)
        finally:
            for status in self._statuses:
                if status.attempt:
                    status.attempt.close()

    def _job(self, trial: plan_lib.Trial) -> process.Job:
        return process.Job(
            tag=trial.tag,
            command=tuple(self._plan.command(trial)),
            folder=str(trial.folder),
            total=trial.total,
            root=str(plan_lib.ROOT),
            cpus=self._plan.resources.cpus,
            gpus=self._plan.resources.gpus,
        )

    def _may_start(self, status: Status) -> bool:
        """Not right after a failure, nor while another process has the run's folder."""
        now = self._clock()
        if now < status.not_before:
            return False
        if not rundir.is_locked(status.trial.folder):
            status.locked_since = None
            return True
        if status.locked_since is None:
            status.locked_since = now
            status.problem = "another process has its folder"
        status.not_before = now + _LOCK_PAUSE
        return now - status.locked_since > _LONGEST_LOCK  # the run will say who it is

    def _look_after(self, status: Status) -> None:
        try:
            outcome = status.attempt.poll()
        except (OSError, RuntimeError) as error:
            self._fail(status, str(error), progress_lib.saved_step(status.trial.folder))
            return
        if outcome is None:
            self._follow(status)
        elif outcome.finished:
            status.attempt, status.state = None, FINISHED
            status.step = status.saved = outcome.saved
            status.problem = ""
        else:
            self._fail(status, _describe(outcome), outcome.saved)

    def _follow(self, status: Status) -> None:
        """Notes where an attempt runs and how far it is."""
        if not status.attempt.host:
            return
        trial = status.trial
        step = progress_lib.seen_step(trial.folder, trial.config.action_repeat)
        if status.state != RUNNING or step < status.step:  # begins at its snapshot
            status.progress = timing.Progress(trial.total, _WINDOW, self._clock)
        status.state, status.host = RUNNING, status.attempt.host
        status.step = step
        status.progress.update(step)

    def _fail(self, status: Status, problem: str, saved: int) -> None:
        """Tries again later, unless that has been in vain too often."""
        status.attempt, status.progress = None, None
        status.failures = 1 if saved > status.saved else status.failures + 1
        status.step = status.saved = saved
        if self._stopping:
            status.state = STOPPED
            return
        status.problem = problem
        delay = min(2.0**status.failures, _LONGEST_DELAY)
        status.not_before = self._clock() + delay
        over = status.failures > self._plan.retries
        status.state = FAILED if over else WAITING

    def _stop_all(self) -> None:
        self._stopping = True
        for status in self._statuses:
            if status.attempt:
                self._look_after(status)  # it may have begun since the last look
            if status.attempt and status.attempt.host:
                status.attempt.stop()
            elif status.state == WAITING:
                if status.attempt:
                    status.attempt.close()
                status.attempt, status.state = None, STOPPED


def examine(trial: plan_lib.Trial) -> Status:
    """Returns how far a trial is by what it has saved."""
    saved = progress_lib.saved_step(trial.folder)
    done = saved >= trial.total and progress_lib.is_finished(trial.folder, trial.total)
    return Status(trial, FINISHED if done else WAITING, step=saved, saved=saved)


def _describe(outcome: process.Outcome) -> str:
    if outcome.code < 0:
        return f"killed by signal {-outcome.code}"
    return f"exit status {outcome.code} at step {outcome.saved}"
