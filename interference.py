"""Interference: one task's learning undoes another's. FourRooms with the goal moved.

python interference.py --num_tasks=2 --tag=run --steps=1000000 --seed=0
python interference.py --proc --num_tasks=1 --tag=run --steps=1000000 --seed=0
"""

import functools

from dreamerv2 import cli


def main() -> None:
    """Parses the flags, builds the tasks and trains."""
    config = cli.parse_flags("interference", __doc__)

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from common.envs import minigrid
    from dreamerv2 import api, loop, rundir, success, tasks

    def task(name: str) -> tasks.Task:
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
        return tasks.Task(name, train, make)

    if config.proc and config.num_tasks > 1:
        raise ValueError(
            f"num_tasks is {config.num_tasks}, but --proc trains on one task, freely "
            "generated FourRooms. Leave out either."
        )
    trained = cli.choose_tasks(config, minigrid.FOURROOMS_PAIR)
    tested = config.tasks or minigrid.FOURROOMS_PAIR
    if config.proc:
        trained = [minigrid.FOURROOMS_PROC]
    others = [str(name) for name in tested if name not in trained]
    names = [*trained, *others]
    for name in names:
        minigrid.check_id(name)
    loop.train(
        [task(name) for name in trained],
        api.schedule(len(trained), config),
        config,
        eval_only=[task(name) for name in others],
    )
    print(success.draw_run(rundir.path_of(config), names))


if __name__ == "__main__":
    cli.run(main)
