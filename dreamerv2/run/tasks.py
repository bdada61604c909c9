"""What a run is trained on: named constructors of environments, and their seeds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from common import config as config_lib
from common import specs
from common.envs import base, registry

_LOG = logging.getLogger(__name__)

STREAMS = {"train": 1, "eval": 2, "prefill": 3, "aside": 5}  # 4: of batches


class Task(NamedTuple):
    """One task of a run; constructors are called when the task is entered."""

    name: str
    make: Callable[[], base.Env]
    make_eval: Callable[[], base.Env] | None  # None: not evaluated


class TaskList(NamedTuple):
    """All tasks of a run, in the order of their numbers."""

    trained: Sequence[Task]
    eval_only: Sequence[Task] = ()


def of_suite(
    suite: str,
    names: Sequence[str],
    config: config_lib.Config,
    eval_only: Sequence[str] = (),
) -> TaskList:
    """Returns tasks by their names; no environment is made yet.

    Args:
      suite: A key of `registry.SUITES`, whose tasks may be named without it; '' if
        there is none.
      names: Of the tasks to train on: NAME of that suite, or SUITE_NAME of any. They
        stay as they are given.
      config: The run's configuration.
      eval_only: Names of further tasks to evaluate on.

    Raises:
      ValueError: An unknown name, or packages that are not installed.
    """

    def task(name: str, trained: bool = True) -> Task:
        full = registry.full_name(name, suite)
        try:
            make_eval = registry.constructor(full, config)
            make = registry.constructor(full, config, training=True)
        except ValueError as error:
            if full == name or "_" not in name:
                raise
            raise ValueError(
                f"{error} A task of another suite is SUITE_NAME, with one of the "
                f"suites {', '.join(registry.SUITES)}."
            ) from error
        return Task(name, make if trained else make_eval, make_eval)

    return TaskList(
        [task(name) for name in names],
        [task(name, trained=False) for name in eval_only],
    )


def seeds(seed: int, stream: str, task: int) -> Callable[[int, int], int]:
    """Returns the function (environment, episode) -> seed of that episode.

    Every episode of every environment has a seed of its own that derives from the
    run's one seed; training, evaluation and what is set aside never share one.
    """

    def seed_of(env: int, episode: int) -> int:
        entropy = [seed, STREAMS[stream], task, env, episode]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)

    return seed_of


def longest(config: config_lib.Config) -> int:
    """Returns the steps after which an episode that is not trained on is cut.

    It is `eval_limit`, or `time_limit` if that is longer; 0 for never.

    Raises:
      ValueError: If `eval_limit` is negative.
    """
    if config.eval_limit < 0:
        raise ValueError(
            f"eval_limit is {config.eval_limit}; it must be 0, for episodes of any "
            "length, or more."
        )
    return config.eval_limit and max(config.eval_limit, config.time_limit)


def warn_of_cut(name: str, steps: int) -> None:
    """Says that an episode of a task had no end of its own in so many steps."""
    _LOG.warning(
        "An episode of %s had not ended after %d steps (eval_limit) and was cut; its "
        "return is that of these steps. Give the task an end (time_limit), or say "
        "how long to wait (eval_limit).",
        *(name, steps),
    )


def random_actions(
    seed: int, step: int, count: int, act_spec: specs.ActionSpec
) -> np.ndarray:
    """Returns uniformly random actions [count, A] that depend on seed and step."""
    rng = np.random.default_rng([seed, STREAMS["prefill"], step])
    return uniform_actions(rng, count, act_spec)


def uniform_actions(
    rng: np.random.Generator, count: int, act_spec: specs.ActionSpec
) -> np.ndarray:
    """Returns uniformly random actions [count, A]."""
    if act_spec.discrete:
        choice = rng.integers(act_spec.size, size=count)
        return np.eye(act_spec.size, dtype=np.float32)[choice]
    return rng.uniform(-1, 1, (count, act_spec.size)).astype(np.float32)
