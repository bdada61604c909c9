"""A small run that kills itself at a chosen moment, for tests/run/tf/test_killed.py.

    python tests/killable.py FOLDER MOMENT RETENTION SAMPLING

Moments are counted at the beginning and the end of everything that a power cut should
not hurt: collecting, updating, writing an episode, saving, evaluating, switching tasks.
At moment number MOMENT the process kills itself with SIGKILL; with 0 it lives, and
prints how many there were.
"""

import os
import pathlib
import signal
import sys

import dummies

from common import driver
from common.envs.suites import catch
from common.replay import episodes
from dreamerv2.run import checkpoint, learner, training
from dreamerv2.run.evaluation import evaluator

PLACES = (
    (driver.Driver, "step"),
    (learner.Learner, "update"),
    (episodes, "save"),
    (checkpoint, "_write_tensors"),
    (checkpoint, "_flush"),
    (os, "replace"),
    (evaluator.Evaluator, "__call__"),
    (training.Training, "enter"),
    (training.Training, "restore"),
)
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
    """Counts moments, and dies at one of them."""

    def __init__(self, last: int):
        self.count = 0
        self._last = last

    def tick(self) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner: object, name: str) -> None:
        """Counts the beginnings and ends of a function's calls."""
        function = getattr(owner, name)

        def watched(*args, **kwargs):
            self.tick()
            result = function(*args, **kwargs)
            self.tick()
            return result

        setattr(owner, name, watched)


class Board(catch.Board):
    """Catch in vectors, plain and swap."""

    def __init__(self, task: int = 0, tape: list | None = None):
        super().__init__(task, rows=6, columns=5, size=None)


WORLDS = {"coverage": dummies.Gallery, "split": Board}  # by retention, else Walk


def main(folder: str, moment: str, retention: str, sampling: str) -> None:
    moments = Moments(int(moment))
    for owner, name in PLACES:
        moments.watch(owner, name)
    dummies.run(
        pathlib.Path(folder),
        dummies.Tapes(2, WORLDS.get(retention, dummies.Walk)),
        **SETTINGS,
        replay__retention=retention,
        replay__sampling=sampling,
    )
    print("moments", moments.count)


if __name__ == "__main__":
    main(*sys.argv[1:])
