"""Continual reinforcement learning on MiniGrid, or one of its tasks.

python train_minigrid.py --cl --num_tasks=3 --tag=run --steps=750000 --seed=1
"""

from __future__ import annotations

import functools

from common import config as config_lib
from dreamerv2 import cli, tasks


def main() -> None:
    """Parses the flags, builds the tasks and trains."""
    config = cli.parse_flags("minigrid", __doc__)

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from dreamerv2 import api, loop

    trained, eval_only = make_tasks(config)
    loop.train(
        trained,
        api.schedule(len(trained), config),
        config,
        eval_only=eval_only,
        script="train_minigrid",
    )


def make_tasks(config: config_lib.Config) -> tasks.TaskList:
    """Returns the tasks of a run, and those that it is only evaluated on."""
    from common.envs import minigrid

    def task(name: str, trained: bool = True) -> tasks.Task:
        make = functools.partial(
            minigrid.make,
            name,
            action_repeat=config.action_repeat,
            time_limit=config.time_limit,
            size=config.render_size,
            doorkey_size=config.doorkey_size,
        )
        train = functools.partial(make, state_bonus=config.state_bonus)
        return tasks.Task(name, train if trained else make, make)

    names = cli.choose_tasks(config, minigrid.MINIGRID_3)
    for name in names:
        minigrid.check_id(name)
    skills = minigrid.MULTISKILL if config.eval_skills else ()
    return tasks.TaskList(
        [task(name) for name in names],
        [task(name, trained=False) for name in skills],
    )


if __name__ == "__main__":
    cli.run(main)
