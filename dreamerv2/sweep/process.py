"""One attempt at a trial: its process, where the trial runs."""

from __future__ import annotations

import datetime
import math
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple

from dreamerv2.sweep import launcher as launcher_lib
from dreamerv2.sweep import progress

LOG = "trial.log"
_PAUSE = 0.05  # seconds between two looks at the process


class Job(NamedTuple):
    """What to run; plain values, which can be sent to another machine."""

    tag: str
    command: tuple[str, ...]  # the words behind `python`
    folder: str
    total: int  # environment steps
    root: str  # where dreamerv2 is imported from
    cpus: float
    gpus: float


class Outcome(NamedTuple):
    """How an attempt has ended."""

    code: int  # exit status, negative for a signal
    saved: int  # step of the newest snapshot
    finished: bool  # the snapshot of the last step is whole


class Process:
    """A trial that runs in a process of its own; a Ray actor is made of it.

    The process dies with the thread that has called `start`.
    """

    def __init__(self, job: Job):
        """Starts nothing yet."""
        self._job = job
        self._folder = pathlib.Path(job.folder)
        self._process: subprocess.Popen | None = None

    def start(self) -> str:
        """Starts the process; what it prints is added to `trial.log` of its folder.

        Returns:
          The name of this machine.

        Raises:
          OSError: If the folder or its log cannot be written.
        """
        host = socket.gethostname()
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, *self._job.command]
        launcher = [sys.executable, str(launcher_lib.__file__), str(os.getpid())]
        with open(self._folder / LOG, "a") as log:
            now = datetime.datetime.now().isoformat(" ", "seconds")
            log.write(f"=== {now} on {host}: {shlex.join(command)}\n")
            log.flush()
            self._process = subprocess.Popen(
                [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(self._job),
                start_new_session=True,
            )
        return host

    def wait(self, seconds: float) -> Outcome | None:
        """Returns how it has ended, None if it runs on after so many seconds."""
        end = time.monotonic() + seconds
        while (code := self._process.poll()) is None:
            if time.monotonic() >= end:
                return None
            time.sleep(_PAUSE)
        finished = progress.is_finished(self._folder, self._job.total)
        return Outcome(code, progress.saved_step(self._folder), finished)

    def stop(self) -> None:
        """Asks the run to save and to end; that takes until its next step."""
        self._process.send_signal(signal.SIGTERM)


def environment(job: Job) -> dict[str, str]:
    """Returns the variables of a trial's process.

    TensorFlow, OpenMP and what NumPy uses get as many threads as the trial has CPUs.
    Which GPUs are its own Ray has said already; a trial without any sees none.
    """
    paths = [job.root, os.environ.get("PYTHONPATH", "")]
    result = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        **threads(max(1, math.ceil(job.cpus))),
    }
    if not job.gpus:
        result["CUDA_VISIBLE_DEVICES"] = "-1"
    return result


def threads(count: int) -> dict[str, str]:
    """Returns the variables that give a process so many threads to compute with."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    names += ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(count))
