"""Trains DreamerV2 on one task: `--task SUITE_NAME`.

dreamerv2 --task minigrid_MiniGrid-DoorKey-5x5-v0 --configs minigrid
dreamerv2 --task gym_CartPole-v1 --logdir ~/logdir/cartpole
"""

import functools
import pathlib
import sys

if __name__ == "__main__":
    # Run as a script, Python looks for modules in dreamerv2/ instead of the root.
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from dreamerv2 import cli

SUITES = ("gym", "minigrid")


def main() -> None:
    """Parses the flags, builds the task and trains; the command `dreamerv2`."""
    cli.run(_main)


def _main() -> None:
    config = cli.parse_flags("", __doc__)
    suite, _, name = config.task.partition("_")
    if suite not in SUITES or not name:
        raise ValueError(
            f"Unknown task {config.task!r}; a task is SUITE_NAME, such as "
            f"gym_CartPole-v1, with a suite of {', '.join(SUITES)}."
        )

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from common.envs import generic, minigrid
    from dreamerv2 import loop, phases, tasks

    make = functools.partial(
        minigrid.make if suite == "minigrid" else generic.make,
        name,
        action_repeat=config.action_repeat,
        time_limit=config.time_limit,
        size=config.render_size,
    )
    task = tasks.Task(name, make, make)
    loop.train([task], phases.Schedule([config.steps]), config)


if __name__ == "__main__":
    main()
