"""Exports a trained agent: its policy as a SavedModel, and all weights.

dreamerv2 export ~/logdir/quickstart --out exported
dreamerv2 export quickstart --out exported --batch 16 --overwrite
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common import config as config_lib
from dreamerv2 import cli
from dreamerv2.run.sources import datasets

FLAGS = {
    "out": ("", "the folder that is made"),
    "checkpoint": ("newest", "step of the snapshot, or newest"),
    "batch": (1, "observations that the policy takes at a time"),
    "overwrite": (False, "replace an export that lies there"),
}


def run(words: Sequence[str]) -> bool:
    """Does what `dreamerv2 export` or `dreamerv2 minari` says, with errors for people.

    Returns:
      Whether it was one of them; else the words are flags of a training.
    """
    if words[:1] == ["export"]:
        cli.run(lambda: main(words[1:]), interrupted="Nothing was written.")
    elif words[:1] == ["minari"]:
        cli.run(lambda: datasets.main(words[1:]))
    return words[:1] in (["export"], ["minari"])


def main(argv: Sequence[str]) -> None:
    """Exports the run that the first word names; the others are flags.

    Raises:
      ValueError: If a flag, the run or the folder is not valid.
    """
    logdir, flags = parse_flags(argv)

    # After the flags, so that --help and a mistyped flag do not wait for TensorFlow.
    from dreamerv2.trained import export, snapshot

    agent = snapshot.load(logdir, flags.checkpoint)
    options = {"batch": flags.batch, "overwrite": flags.overwrite}
    folder = export.export(agent, flags.out, **options)
    print(f"Step {agent.step} of {agent.path.parents[1]} is exported to {folder}.")


def parse_flags(argv: Sequence[str]) -> tuple[str, config_lib.Config]:
    """Returns the folder of the run, which the first word names, and the flags.

    Raises:
      ValueError: If one is not valid, or the run or `out` is missing.
      SystemExit: After `--help`.
    """
    missing = "Which run, and where to? dreamerv2 export LOGDIR --out DIR."
    return config_lib.parse_named(argv, FLAGS, __doc__, missing)


if __name__ == "__main__":
    cli.run(lambda: main(sys.argv[1:]), interrupted="Nothing was written.")
