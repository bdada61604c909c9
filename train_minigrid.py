"""Continual reinforcement learning on MiniGrid, or one of its tasks.

python train_minigrid.py --cl --num_tasks=3 --tag=run --steps=750000 --seed=1
"""

import functools

from dreamerv2 import cli


def main() -> None:
    """Parses the flags, builds the tasks and trains."""
    config = cli.parse_flags("minigrid", __doc__)

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from common.envs import minigrid
    from dreamerv2 import api, loop, tasks

    def task(name: str, trained: bool = True) -> tasks.Task:
        make = functools.partial(
            minigrid.make,
            name,
            action_repeat=config.action_repeat,
            time_limit=config.time_limit,
            size=config.render_size,
            doorkey_size=config.doorkey_size,
            rooms_size=config.rooms_size,
            env_seed=config.env_seed,
        )
        train = functools.partial(make, state_bonus=config.state_bonus)
        return tasks.Task(name, train if trained else make, make)

    names = cli.choose_tasks(config, minigrid.MINIGRID_3)
    for name in names:
        minigrid.check_id(name)
    loop.train(
        [task(name) for name in names],
        api.schedule(len(names), config),
        config,
        eval_only=[
            task(name, trained=False)
            for name in minigrid.MULTISKILL
            if config.eval_skills
        ],
    )


if __name__ == "__main__":
    cli.run(main)
