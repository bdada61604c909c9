"""Learning from a folder of episodes, while no environment is stepped.

A step then is one in which nothing is collected: everything that comes every n steps
comes as in another run.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from common import config as config_lib
from common.config import coerce
from common.envs import base
from dreamerv2.run import rundir
from dreamerv2.run import tasks as tasks_lib


class Idle:
    """In place of the environments of a task: they are closed, and never stepped.

    Attributes:
      task: Its number.
      driver: Steps nothing.
    """

    restarts = 0

    def __init__(
        self,
        tasks: Sequence[tasks_lib.Task],
        task: int,
        envs: Sequence[base.Env],
        config: config_lib.Config,
        listen: Any = None,
    ):
        """Takes what `collector.Environments` takes."""
        self.task, self.driver = task, _Driver()
        self._number = len(envs)
        for env in envs:  # they were made to tell their spaces
            env.close()

    def __len__(self) -> int:
        return self._number

    def kept(self, task: int) -> dict[str, Any]:
        """Nothing is kept over episodes."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """Returns the entries of a snapshot, which are empty."""
        return {"env_restarts": 0, "drivers": {}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """There is nothing to go on with."""

    def close(self) -> None:
        """They are closed."""


class _Driver:
    """Of no environment."""

    policy_state = None
    episodes: Sequence[int] = ()

    def step(self, policy: Any) -> None:
        """Does nothing."""

    def reset(self) -> None:
        """Does nothing."""


def check(config: config_lib.Config, tasks: tasks_lib.TaskList) -> None:
    """Makes sure that a run with `offline` is one that there can be.

    Raises:
      ConfigError: If it has several tasks to train on; or if its episodes are those of
        a run under way, or of this one.
    """
    if not config.offline:
        return
    if len(tasks.trained) > 1:
        names = ", ".join(task.name for task in tasks.trained)
        raise coerce.ConfigError(
            f"offline is {config.offline}, but there are {len(tasks.trained)} tasks, "
            f"{names}: nothing says which episodes are whose. Give one task."
        )
    folder, own = pathlib.Path(config.offline), rundir.path_of(config)
    if folder == own or own in folder.parents:
        raise coerce.ConfigError(
            f"offline is {config.offline}, in the logdir of this run itself, which it "
            "writes to. Choose another --logdir or --tag."
        )
    if rundir.is_locked(folder.parent):
        raise coerce.ConfigError(
            f"offline is {config.offline}, to which a run under way writes. Wait until "
            "it has ended, or give a copy."
        )


def check_state(config: config_lib.Config, state: Mapping[str, Any]) -> None:
    """Makes sure that a run goes on with the kind of episodes that it began with.

    Args:
      config: The run's configuration.
      state: Entries of the snapshot; those of a run that begins are only its step.

    Raises:
      ConfigError: If recorded ones take the place of its own, or the other way round.
    """
    if "replay" not in state or bool(config.offline) == ("recorded" in state["replay"]):
        return
    before, now, way_out = "its own", "recorded", "leave --offline out"
    if not config.offline:
        before, now = now, before
        way_out = "give --offline with the folder of those"
    raise coerce.ConfigError(
        f"The run in {rundir.path_of(config)} has learned from {before} episodes until "
        f"now, and cannot go on with {now}: {way_out}, or begin another run in another "
        "--logdir."
    )
