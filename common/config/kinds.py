"""What the keys of a configuration decide: what is computed, or only where and how.

A key that stands in none of the kinds decides what is learned. Patterns are those of
`fnmatch`.
"""

from __future__ import annotations

import fnmatch

START = ("overwrite", "resume", "force")  # said once, when a run is started
PLACE = (  # where it runs, where it saves and shows: may change while a run goes on
    *("logdir", "del_exp_replay", "envs_parallel", "devices", "plugins"),
    "outputs",
    *("checkpoint_*", "wandb.*"),
    "eval_model_eps",  # alone of the evaluation it touches nothing of the run
)
NAME = ("tag", "seed")  # which of a method's runs it is
SOURCE = ("init_from", "offline")  # what it begins with: a folder for each seed
SPEED = (  # how it is computed; the numbers are the same but for rounding
    *("unroll", "jit", "jit_compile", "deterministic"),
    *("replay.cache", "replay.keep_evicted"),
)
LOGGED = ("log_*", "eval_*")  # what is measured and written
TASKS = ("task", "tasks", "num_tasks", "env", "cl", "cl_small", "steps")
SCHEDULE = ("unbalanced_steps", "num_task_repeats")  # when which task is trained
FIXED = (  # what a run was begun with, for good: not even `resume` changes it
    *("seed", "action_repeat", "released_reservoir", "init_from", "init_from_parts"),
    *("replay.retention", "replay.retention_args", "replay.coverage.*"),
    *("replay.sampling", "replay.sampling_args"),
)


def is_one_of(key: str, *kinds: tuple[str, ...]) -> bool:
    """Whether a dotted key belongs to one of these kinds."""
    patterns = (pattern for kind in kinds for pattern in kind)
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


def makes_another_run(key: str) -> bool:
    """Whether a run with another value of this key is no longer the same run."""
    return not is_one_of(key, START, PLACE)


def may_change(key: str) -> bool:
    """Whether a run may go on with another value of this key.

    Sizes may not either, but their weights tell; tasks and steps may as far as what has
    been trained stays as it is.
    """
    return not is_one_of(key, FIXED)


def makes_another_method(key: str) -> bool:
    """Whether runs with different values of this key are of different methods."""
    return not is_one_of(key, START, PLACE, NAME, SOURCE, SPEED, LOGGED, TASKS)
