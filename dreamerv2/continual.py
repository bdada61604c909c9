"""What the scripts of the continual benchmarks share: ids become tasks that are run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from common import config as config_lib
from common.envs import base
from dreamerv2 import api, loop
from dreamerv2 import tasks as tasks_lib


class Suite(Protocol):
    """A module of common.envs."""

    def make(self, task_id: str, **options: Any) -> base.Env:
        """Makes a task; takes action_repeat, time_limit, size and its own options."""

    def check_id(self, task_id: str) -> None:
        """Raises ValueError for an id that is not registered."""


def train(
    suite: Suite,
    names: Sequence[str],
    config: config_lib.Config,
    *,
    options: Mapping[str, Any] | None = None,
    train_options: Mapping[str, Any] | None = None,
    eval_only: Sequence[str] = (),
) -> None:
    """Trains on tasks of a suite, one after the other.

    Args:
      suite: Makes the tasks.
      names: Ids of the tasks.
      config: The run's configuration.
      options: For `suite.make`, besides those that every suite takes.
      train_options: The same, for training environments alone.
      eval_only: Ids of further tasks to evaluate on.

    Raises:
      ValueError: An unknown id, before anything is made; else as `loop.train`.
    """
    for name in (*names, *eval_only):
        suite.check_id(name)

    def task(name: str, trained: bool = True) -> tasks_lib.Task:
        make = functools.partial(
            suite.make,
            name,
            action_repeat=config.action_repeat,
            time_limit=config.time_limit,
            size=config.render_size,
            **(options or {}),
        )
        train_make = functools.partial(make, **(train_options or {}))
        return tasks_lib.Task(name, train_make if trained else make, make)

    loop.train(
        [task(name) for name in names],
        api.schedule(len(names), config),
        config,
        eval_only=[task(name, trained=False) for name in eval_only],
    )
