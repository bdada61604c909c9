"""Continual reinforcement learning on MiniGrid, or one of its tasks.

python train_minigrid.py --cl --num_tasks=3 --tag=run --steps=750000 --seed=1
"""

from dreamerv2 import cli


def main() -> None:
    """Parses the flags, builds the tasks and trains."""
    config = cli.parse_flags("minigrid", __doc__)

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from common.envs import minigrid
    from dreamerv2 import continual

    continual.train(
        minigrid,
        cli.choose_tasks(config, minigrid.MINIGRID_3),
        config,
        options={"doorkey_size": config.doorkey_size},
        train_options={"state_bonus": config.state_bonus},
        eval_only=minigrid.MULTISKILL if config.eval_skills else (),
    )


if __name__ == "__main__":
    cli.run(main)
