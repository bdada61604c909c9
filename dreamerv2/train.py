"""Trains DreamerV2 on one task: `--task SUITE_NAME`.

dreamerv2 --task minigrid_MiniGrid-DoorKey-5x5-v0 --configs minigrid
dreamerv2 --task gym_CartPole-v1 --logdir ~/logdir/cartpole
"""

from __future__ import annotations

import functools
import pathlib
import sys

if __name__ == "__main__":
    # Run as a script, Python looks for modules in dreamerv2/ instead of the root.
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from common import config as config_lib
from dreamerv2 import cli, tasks

SUITES = ("gym", "minigrid")


def main() -> None:
    """Parses the flags, builds the task and trains; the command `dreamerv2`."""
    cli.run(_main)


def _main() -> None:
    config = cli.parse_flags("", __doc__)
    trained, _ = make_tasks(config)

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from dreamerv2 import loop, phases

    loop.train(
        trained, phases.Schedule([config.steps]), config, script="dreamerv2.train"
    )


def make_tasks(config: config_lib.Config) -> tasks.TaskList:
    """Returns the one task of a run.

    Raises:
      ValueError: If `config.task` names no suite or no task.
    """
    suite, _, name = config.task.partition("_")
    if suite not in SUITES or not name:
        raise ValueError(
            f"Unknown task {config.task!r}; a task is SUITE_NAME, such as "
            f"gym_CartPole-v1, with a suite of {', '.join(SUITES)}."
        )
    from common.envs import generic, minigrid

    make = functools.partial(
        minigrid.make if suite == "minigrid" else generic.make,
        name,
        action_repeat=config.action_repeat,
        time_limit=config.time_limit,
        size=config.render_size,
    )
    return tasks.TaskList([tasks.Task(name, make, make)])


if __name__ == "__main__":
    main()
