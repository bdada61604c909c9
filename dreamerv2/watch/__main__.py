"""Shows a trained agent beside what its model predicts, or evaluates it.

python -m dreamerv2.watch --logdir ~/logdir/quickstart --episodes 3 --out video.mp4
python -m dreamerv2.watch --logdir ~/logdir/quickstart --eval 20
"""

import json
import pathlib

from common import config as config_lib
from common.config import plugins
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
    from dreamerv2.watch import player, show
    from dreamerv2.watch import snapshot as snapshot_lib

    snapshot = snapshot_lib.load(flags.logdir, flags.checkpoint)
    tasks = show.choose(_all_tasks(snapshot, flags.script), flags.task)
    seed = None if flags.seed == -1 else flags.seed
    actor = player.Player(snapshot, flags.policy, seed)
    if flags.eval:
        results = show.evaluate(actor, tasks, flags.eval)
    else:
        shown = {key: flags[key] for key in ("fps", "scale", "context", "horizon")}
        results = show.record(actor, tasks, flags.episodes, flags.out, **shown)
    if flags.json:
        print(json.dumps(show.summary(actor, results), indent=2))
        return
    print(f"Snapshot {snapshot.path}, step {snapshot.step}.\n{show.table(results)}")
    if not flags.eval:
        print(f"The video is {flags.out}.")


def _all_tasks(snapshot, script: str) -> list:
    """All tasks of a run, made by the script that trained it."""
    script = script or snapshot.script
    if script.endswith(".py") and not pathlib.Path(script).expanduser().is_file():
        script = pathlib.Path(script).stem  # the run was trained in another place
    if not script and snapshot.task_names:
        raise ValueError(
            "This run was given its environments by a Python program, and only that "
            "can make them: import dreamerv2.api as dv2; dv2.watch(env, logdir)."
        )
    if not script:
        raise ValueError(
            "This run was made by an unknown script; say with --script which of "
            f"{', '.join(settings.SCRIPTS)} makes its tasks, or give your own."
        )
    made = plugins.choose("script", f"{script}:make_tasks", {})(snapshot.config)
    tasks = [*made.trained, *made.eval_only]
    names = [task.name for task in tasks]
    if snapshot.task_names and list(snapshot.task_names) != names:
        raise ValueError(
            f"The run has the tasks {', '.join(snapshot.task_names)}, but {script} "
            f"makes {', '.join(names)}; give another --script."
        )
    return tasks


if __name__ == "__main__":
    cli.run(main, interrupted="Nothing was written.")
