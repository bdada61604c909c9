"""Trains DreamerV2 on one task, `--task SUITE_NAME`, or on several in sequence.

dreamerv2 --task atari_pong --configs atari --logdir ~/logdir/atari_pong/1
dreamerv2 --task dmc_walker_walk --configs dmc --logdir ~/logdir/dmc_walker_walk/1
dreamerv2 --task gym_CartPole-v1 --logdir ~/logdir/cartpole
dreamerv2 --cl --tasks atari_pong,atari_breakout --configs atari --split_sampling
dreamerv2 export RUN --out DIR, dreamerv2 minari DATASET --out DIR   (and --help)

Suites: atari, catch, crafter, dmc, gym (any Gymnasium id), minigrid, minihack.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

if __name__ == "__main__":
    # Run as a script, Python looks for modules in dreamerv2/ instead of the root.
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from common import config as config_lib
from common.config import coerce
from dreamerv2 import cli, settings
from dreamerv2.run import tasks
from dreamerv2.sweep import comparison
from dreamerv2.trained import command


def main() -> None:
    """Parses the flags, builds the task and trains, or what else `dreamerv2` does."""
    command.run(sys.argv[1:]) or cli.run(_main)


def _main() -> None:
    config = parse_flags()
    made = make_tasks(config)
    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from common.compute import devices

    config = config.update(precision=devices.choose_precision(config.precision))
    comparison.train(made, config, script="dreamerv2.train")


def parse_flags(argv: Sequence[str] | None = None) -> config_lib.Config:
    """Returns the configuration that the flags say; see `settings.parse_flags`.

    A `--task` that is typed counts more than the sequence of a block such as
    `quickstart`. Without `cl` one name in `tasks` is that of `task`: the same run.

    Raises:
      ConfigError: As `settings.parse_flags`; `--task` and `--tasks` are both given.
    """
    config = settings.parse_flags(settings.SCRIPTS["dreamerv2.train"], __doc__, argv)
    typed = {w.partition("=")[0] for w in (sys.argv[1:] if argv is None else argv)}
    if {"--task", "--tasks"} <= typed:
        raise coerce.ConfigError(
            f"--task {config.task} and --tasks {','.join(map(str, config.tasks))} are "
            "both given; leave one of them out."
        )
    if "--task" in typed and "--cl" not in typed:
        config = config.update(cl=False, tasks=[])
    if len(config.tasks) == 1 and not config.cl:
        config = config.update(task=str(config.tasks[0]), tasks=[])
    return config


def make_tasks(config: config_lib.Config) -> tasks.TaskList:
    """Returns the tasks of a run: those of `tasks` with `cl`, else the one of `task`.

    Raises:
      ValueError: An unknown suite or task, or packages that are not installed; several
        tasks without `cl`, or none with it.
    """
    names = [str(name) for name in config.tasks]
    if config.cl and not names:
        raise coerce.ConfigError(
            "cl trains on several tasks in sequence, but tasks is empty; name them, "
            "such as --tasks catch_plain,catch_swap, or leave --cl out."
        )
    if len(names) > 1 and not config.cl:
        raise coerce.ConfigError(
            f"tasks has {len(names)} names, {', '.join(names)}; give --cl to train on "
            "them one after the other, or a single --task."
        )
    return tasks.of_suite("", names or [config.task], config)


if __name__ == "__main__":
    main()
