"""Continual reinforcement learning on MiniGrid, or one of its tasks.

python train_minigrid.py --cl --num_tasks=3 --tag=run --steps=750000 --seed=1
"""

from __future__ import annotations

from collections.abc import Sequence

from common import config as config_lib
from dreamerv2 import cli, settings
from dreamerv2.run import tasks
from dreamerv2.sweep import comparison


def main() -> None:
    """Parses the flags, builds the tasks and trains."""
    config = parse_flags()
    comparison.train(make_tasks(config), config, script="train_minigrid")


def parse_flags(argv: Sequence[str] | None = None) -> config_lib.Config:
    """Returns the configuration that the flags say; see `settings.parse_flags`."""
    return settings.parse_flags(settings.SCRIPTS["train_minigrid"], __doc__, argv)


def make_tasks(config: config_lib.Config) -> tasks.TaskList:
    """Returns the tasks of a run, and those that it is only evaluated on."""
    from common.envs.suites import minigrid

    names = cli.choose_tasks(config, minigrid.MINIGRID_3)
    skills = minigrid.MULTISKILL if config.eval_skills else ()
    return tasks.of_suite("minigrid", names, config, eval_only=skills)


if __name__ == "__main__":
    cli.run(main)
