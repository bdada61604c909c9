"""Shows a trained agent beside what its model predicts, or evaluates it.

python -m dreamerv2.watch --logdir ~/logdir/quickstart --episodes 3 --out video.mp4
python -m dreamerv2.watch --logdir ~/logdir/quickstart --eval 20
"""

import json

from common import config as config_lib
from dreamerv2 import cli, settings

FLAGS = {
    "logdir": ("", "folder of the run (logdir/tag)"),
    "out": ("video.mp4", "the video: a name that ends in .mp4 or .gif"),
    "episodes": (3, "episodes of each task in the video"),
    "eval": (0, "evaluate so many episodes of each task instead, without a video"),
    "json": (False, "print JSON instead of a table"),
    "task": ((), "numbers or names of tasks, empty: all"),
    "checkpoint": ("newest", "step of the snapshot, or newest"),
    "policy": ("run", "run (as the run evaluates), mode, sample, explore"),
    "seed": (-1, "decides episodes and noise, -1: the run's seed"),
    "fps": (10.0, "frames a second"),
    "scale": (4, "pixels of the video for one of an image"),
    "context": (5, "images that the model sees before it predicts"),
    "horizon": (50, "steps after which it sees as many again"),
    "script": (
        "",
        f"for a run that does not say what made it: {', '.join(settings.SCRIPTS)}",
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Plays and prints the results; `argv` as in sys.argv[1:]."""
    flags = config_lib.Config({key: value for key, (value, _) in FLAGS.items()})
    helps = {key: text for key, (_, text) in FLAGS.items()}
    flags = flags.parse_flags(argv, help_texts=helps, usage=__doc__)
    if not flags.logdir:
        raise ValueError("Which run? Give its folder: --logdir RUN.")

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from dreamerv2.trained import evaluation, player, tasks
    from dreamerv2.trained import snapshot as snapshot_lib
    from dreamerv2.watch import show

    snapshot = snapshot_lib.load(flags.logdir, flags.checkpoint)
    chosen = tasks.choose(tasks.of_run(snapshot, flags.script), flags.task)
    seed = None if flags.seed == -1 else flags.seed
    actor = player.Player(snapshot, flags.policy, seed)
    if flags.eval:
        results = evaluation.evaluate(actor, chosen, flags.eval)
    else:
        shown = {key: flags[key] for key in ("fps", "scale", "context", "horizon")}
        results = show.record(actor, chosen, flags.episodes, flags.out, **shown)
    if flags.json:
        print(json.dumps(evaluation.summary(actor, results), indent=2))
        return
    print(f"Snapshot {snapshot.path}, step {snapshot.step}.")
    print(evaluation.table(results))
    if not flags.eval:
        print(f"The video is {flags.out}.")


if __name__ == "__main__":
    cli.run(main, interrupted="Nothing was written.")
