"""A small run in which something fails at a chosen moment, for tests of that.

    python tests/killable.py FOLDER MOMENT RETENTION SAMPLING FAULT AGENT

Moments are counted at the beginning and the end of everything that a power cut should
not hurt: starting, collecting, updating, reading and writing, saving, evaluating,
switching tasks. What happens at moment number MOMENT tells FAULT:

    kill       the process kills itself with SIGKILL
    full       the disk is full from there on: every write fails
    error      the call fails, once: a disk that does not answer, an environment
    interrupt  Ctrl-C, and once more at the next moment

With 0 nothing happens. AGENT is `dreamer`, or `recorder` for a small one in its place,
with which a run takes a tenth of the time. At the end it prints how many moments there
were.
"""

import errno
import os
import pathlib
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Any

import dummies

from common import driver
from common.config import files as config_files
from common.envs.suites import catch
from common.records import appending
from common.replay import episodes
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import build, checkpoint, learner, rundir, training
from dreamerv2.run.evaluation import evaluator

STEPS = (
    (driver.Driver, "step"),
    (learner.Learner, "update"),
    (evaluator.Evaluator, "__call__"),
    (training.Training, "enter"),
    (training.Training, "restore"),
    (build, "make_envs"),
    (build, "check_tasks"),
    (rundir, "begin"),
)
READS = (
    (episodes, "load"),
    (checkpoint, "_checksum"),
    (checkpoint, "load_state"),
    (checkpoint, "load_tensors"),
    (os, "replace"),
    (pathlib.Path, "unlink"),
    (shutil, "rmtree"),
)
WRITES = (
    (episodes, "save"),
    (checkpoint, "_write_tensors"),
    (checkpoint, "_flush"),
    (config_files, "dump"),
    (appending.Appender, "flush"),
    (pathlib.Path, "write_text"),
    (pathlib.Path, "write_bytes"),
    (pathlib.Path, "mkdir"),
)
FAULTS = ("kill", "full", "error", "interrupt")
SETTINGS = {
    "checkpoint_every": 9,
    "eval_every": 15,
    "eval_model_eps": 2,
    "train_every": 5,
    "replay__capacity": 45,
    "expl_behavior": "Plan2Explore",
    "l2_scale": 0.01,
    "replay__uncertainty_recalculation": 4,
    "replay__coverage__number_of_comparisons": 3,
}


class Moments:
    """Counts moments, and lets something fail at one of them."""

    def __init__(self, chosen: int, fault: str):
        self.count = 0
        self._chosen, self._fault = chosen, fault

    def tick(self, kind: str) -> None:
        self.count += 1
        late = self.count - self._chosen if self._chosen else -1
        if late == 0 and self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if late >= 0 and self._fault == "full" and kind == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if late == 0 and self._fault == "error":
            if kind == "step":
                raise RuntimeError("the power has failed")
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if late in (0, 1) and self._fault == "interrupt":
            raise KeyboardInterrupt

    def watch_all(self, put: Callable[[object, str, Any], None] = setattr) -> None:
        """Counts the beginnings and ends of all calls, of functions that `put` puts."""
        for places, kind in ((STEPS, "step"), (READS, "read"), (WRITES, "write")):
            for owner, name in places:
                put(owner, name, self._watched(getattr(owner, name), kind))

    def _watched(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def watched(*args, **kwargs):
            self.tick(kind)
            result = function(*args, **kwargs)
            self.tick(kind)
            return result

        return watched


class Board(catch.Board):
    """Catch in vectors, plain and swap."""

    def __init__(self, task: int = 0, tape: list | None = None):
        super().__init__(task, rows=6, columns=5, size=None)


WORLDS = {"coverage": dummies.Gallery, "split": Board}  # by retention, else Walk


def main(folder, moment, retention, sampling, fault, agent="dreamer") -> None:
    moments = Moments(int(moment), fault)
    moments.watch_all()
    behaviour = SETTINGS["expl_behavior"]
    if agent == "recorder":
        agent_lib.Agent, behaviour = dummies.Recorder, "greedy"
    dummies.run(
        pathlib.Path(folder),
        dummies.Tapes(2, WORLDS.get(retention, dummies.Walk)),
        **{**SETTINGS, "expl_behavior": behaviour},
        replay__retention=retention,
        replay__sampling=sampling,
    )
    print("moments", moments.count)


if __name__ == "__main__":
    main(*sys.argv[1:])
