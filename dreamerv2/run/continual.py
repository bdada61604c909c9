"""What the scripts of the continual benchmarks share."""

from __future__ import annotations

from common import config as config_lib
from dreamerv2.run import loop, phases, tasks


def train(made: tasks.TaskList, config: config_lib.Config, script: str) -> None:
    """Trains on the tasks of a script, one after the other.

    Args:
      made: The tasks.
      config: The run's configuration.
      script: The script's module.

    Raises:
      ValueError: If `unbalanced_steps` does not fit the tasks; else as `loop.train`.
    """
    loop.train(
        made.trained,
        phases.of_tasks(len(made.trained), config),
        config,
        eval_only=made.eval_only,
        script=script,
    )
