"""Continual reinforcement learning on MiniHack, or one of its levels.

python train_minihack.py --cl --cl_small --num_tasks=4 --tag=run --steps=1000000
python train_minihack.py --cl --unbalanced_steps 4e5 2.4e6 --replay_capacity=4e5
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
    comparison.train(make_tasks(config), config, script="train_minihack")


def parse_flags(argv: Sequence[str] | None = None) -> config_lib.Config:
    """Returns the configuration that the flags say; see `settings.parse_flags`."""
    return settings.parse_flags(settings.SCRIPTS["train_minihack"], __doc__, argv)


def make_tasks(config: config_lib.Config) -> tasks.TaskList:
    """Returns the tasks of a run."""
    names = cli.choose_tasks(config, benchmark(config))
    return tasks.of_suite("minihack", names, config)


def benchmark(config: config_lib.Config) -> Sequence[str]:
    """Returns the levels that the flags choose from.

    Without `cl` all eleven, by the number `env`. With it the eight of the paper, the
    four of `cl_small`, or the two of the imbalance benchmark: those are meant when
    `unbalanced_steps` has two entries and no number of other tasks is given.
    """
    from common.envs.suites import minihack

    if not config.cl:
        return minihack.ALL
    if config.cl_small:
        return minihack.MINIHACK_4
    if len(config.unbalanced_steps) == 2 and config.num_tasks in (0, 2):
        return minihack.IMBALANCE
    return minihack.MINIHACK_8


if __name__ == "__main__":
    cli.run(main)
