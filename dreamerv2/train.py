"""Trains DreamerV2 on one task: `--task SUITE_NAME`.

dreamerv2 --task atari_pong --configs atari --logdir ~/logdir/atari_pong/1
dreamerv2 --task dmc_walker_walk --configs dmc --logdir ~/logdir/dmc_walker_walk/1
dreamerv2 --task gym_CartPole-v1 --logdir ~/logdir/cartpole

Suites: atari, catch, crafter, dmc, gym (any registered Gymnasium id), minigrid,
minihack.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

if __name__ == "__main__":
    # Run as a script, Python looks for modules in dreamerv2/ instead of the root.
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from common import config as config_lib
from dreamerv2 import cli, settings
from dreamerv2.run import tasks


def main() -> None:
    """Parses the flags, builds the task and trains; the command `dreamerv2`."""
    cli.run(_main)


def _main() -> None:
    config = parse_flags()
    made = make_tasks(config)

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from common.compute import devices
    from dreamerv2.run import loop, phases

    config = config.update(precision=devices.choose_precision(config.precision))
    schedule = phases.Schedule([config.steps])
    loop.train(made, config, schedule=schedule, script="dreamerv2.train")


def parse_flags(argv: Sequence[str] | None = None) -> config_lib.Config:
    """Returns the configuration that the flags say; see `settings.parse_flags`."""
    return settings.parse_flags(settings.SCRIPTS["dreamerv2.train"], __doc__, argv)


def make_tasks(config: config_lib.Config) -> tasks.TaskList:
    """Returns the one task of a run.

    Raises:
      ValueError: An unknown suite or task, or packages that are not installed.
    """
    from common.envs import registry

    make = registry.constructor(config.task, config, training=True)
    make_eval = registry.constructor(config.task, config)
    return tasks.TaskList([tasks.Task(config.task, make, make_eval)])


if __name__ == "__main__":
    main()
