"""One task of this project, in a process of its own, for another implementation.

    PYTHON -m benchmarks.adapters.environment JSON

It takes an object with `task`, `time_limit` in steps and the run's `seed`.

It is started by an adapter whose interpreter cannot import our suites, because the
implementation has packages of the same names. Requests arrive on stdin, one JSON value
a line: `"reset"`, or the number of a discrete action. Replies leave on stdout: `image`
in hexadecimal digits, `reward`, `is_last` and `is_terminal`. The first line, before any
request, has the `shape` of the image and the number of `actions`. Episodes begin with
the seeds of our own training runs. It ends when the other end closes.
"""

import json
import os
import sys
from typing import Any, TextIO

import numpy as np

from common.envs import base, registry
from dreamerv2 import settings
from dreamerv2.run import tasks


def make(case: dict[str, Any]) -> base.Env:
    """Makes the task of a case as a training run does."""
    config = settings.defaults.update(time_limit=case["time_limit"])
    return registry.constructor(case["task"], config, training=True)()


def describe(env: base.Env) -> dict[str, Any]:
    """Returns the shape of the image and the number of actions.

    Raises:
      ValueError: If the task has other observations than one image, or continuous
        actions.
    """
    if list(env.obs_specs) != ["image"] or not env.act_spec.discrete:
        kind = "discrete" if env.act_spec.discrete else "continuous"
        raise ValueError(
            f"The task has observations {list(env.obs_specs)} and {kind} actions; "
            "give one with an image alone and discrete actions."
        )
    return {
        "shape": list(env.obs_specs["image"].shape),
        "actions": env.act_spec.size,
    }


def serve(env: base.Env, seed: int, requests: TextIO, replies: TextIO) -> None:
    """Answers requests until there are no more."""
    seed_of, episode = tasks.seeds(seed, "train", 0), 0
    eye = np.eye(env.act_spec.size, dtype=np.float32)
    print(json.dumps(describe(env)), file=replies, flush=True)
    for line in requests:
        request = json.loads(line)
        if request == "reset":
            transition = env.reset(seed_of(0, episode))
            episode += 1
        else:
            transition = env.step(eye[request])
        reply = {
            "image": transition["image"].tobytes().hex(),
            "reward": float(transition["reward"]),
            "is_last": bool(transition["is_last"]),
            "is_terminal": bool(transition["is_terminal"]),
        }
        print(json.dumps(reply), file=replies, flush=True)


def main() -> None:
    """Serves the task of the one argument; what suites print goes to stderr."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    case = json.loads(sys.argv[1])
    serve(make(case), case["seed"], sys.stdin, replies)


if __name__ == "__main__":
    main()
