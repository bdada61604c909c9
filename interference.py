"""Interference: one task's learning undoes another's. FourRooms with the goal moved.

python interference.py --num_tasks=2 --tag=run --steps=1000000 --seed=0
python interference.py --proc --num_tasks=1 --tag=run --steps=1000000 --seed=0
python interference.py --configs forgetting --compare fifo,split
"""

from __future__ import annotations

from collections.abc import Sequence

from common import config as config_lib
from dreamerv2 import cli, settings, success
from dreamerv2.run import rundir, tasks
from dreamerv2.sweep import comparison


def main() -> None:
    """Parses the flags, builds the tasks, trains and draws success over time."""
    config = parse_flags()
    made = make_tasks(config)
    finished = comparison.train(made, config, script="interference")
    if finished and not config.compare:  # else they are in one picture already
        names = [task.name for task in (*made.trained, *made.eval_only)]
        print(success.draw_run(rundir.path_of(config), names))


def parse_flags(argv: Sequence[str] | None = None) -> config_lib.Config:
    """Returns the configuration that the flags say; see `settings.parse_flags`."""
    return settings.parse_flags(settings.SCRIPTS["interference"], __doc__, argv)


def make_tasks(config: config_lib.Config) -> tasks.TaskList:
    """Returns the tasks of a run, and those that it is only evaluated on.

    Raises:
      ValueError: If `proc` and several tasks are asked for.
    """
    from common.envs.suites import minigrid

    if config.proc and config.num_tasks > 1:
        raise ValueError(
            f"num_tasks is {config.num_tasks}, but --proc trains on one task, freely "
            "generated FourRooms. Leave out either."
        )
    trained = cli.choose_tasks(config, minigrid.FOURROOMS_PAIR)
    if config.proc:
        trained = [minigrid.FOURROOMS_PROC]
    tested = [str(name) for name in config.tasks or minigrid.FOURROOMS_PAIR]
    others = [name for name in tested if name not in trained]
    return tasks.of_suite("minigrid", trained, config, eval_only=others)


if __name__ == "__main__":
    cli.run(main)
