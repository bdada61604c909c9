"""Tasks by name, SUITE_NAME: which module makes the tasks of a suite."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from common import config as config_lib
from common.config import coerce
from common.envs import base


class Suite(NamedTuple):
    """Where the tasks of a suite come from.

    Attributes:
      module: The module whose `make` makes a task from its name.
      example: A task of the suite.
      extra: The extra of setup.py that installs its packages, '' if all have them.
    """

    module: str
    example: str
    extra: str = ""


SUITES = {
    "atari": Suite("common.envs.suites.atari", "atari_pong", "atari"),
    "crafter": Suite("common.envs.suites.crafter", "crafter_reward", "crafter"),
    "dmc": Suite("common.envs.suites.dmc", "dmc_walker_walk", "dmc"),
    "gym": Suite("common.envs.suites.generic", "gym_CartPole-v1"),
    "minigrid": Suite("common.envs.suites.minigrid", "minigrid_MiniGrid-Empty-5x5-v0"),
    "minihack": Suite(
        "common.envs.suites.minihack", "minihack_MiniHack-Room-5x5-v0", "minihack"
    ),
}


def constructor(
    task: str, config: config_lib.Config, *, training: bool = False
) -> Callable[[], base.Env]:
    """Returns the function that makes a task's environment.

    Args:
      task: SUITE_NAME, such as `atari_pong`.
      config: The run's configuration.
      training: Whether rewards for exploration (`state_bonus`) are added.

    Raises:
      ValueError: An unknown suite or task, naming the nearest known; packages that are
        not installed, with the command that installs them.
    """
    suite_name, _, name = task.partition("_")
    if suite_name not in SUITES or not name:
        raise ValueError(_unknown(task, suite_name, name))
    if config.state_bonus and suite_name != "minigrid":
        raise ValueError(
            f"state_bonus counts visits of MiniGrid cells; {task!r} has none."
        )
    suite = SUITES[suite_name]
    with _installed(suite_name, suite):
        module = importlib.import_module(suite.module)
        if hasattr(module, "check_id"):
            module.check_id(name)
    return functools.partial(
        module.make,
        name,
        action_repeat=config.action_repeat,
        time_limit=config.time_limit,
        size=config.render_size,
        **_options(suite_name, config, training),
    )


def _unknown(task: str, suite_name: str, name: str) -> str:
    near = coerce.nearest(suite_name, SUITES)
    meant = f" Did you mean {near[0]}_{name or 'NAME'}?" if near else ""
    examples = ", ".join(suite.example for suite in SUITES.values())
    return f"Unknown task {task!r}; a task is SUITE_NAME, such as {examples}.{meant}"


def _options(
    suite_name: str, config: config_lib.Config, training: bool
) -> dict[str, Any]:
    """What only some suites know."""
    if suite_name == "minigrid":
        return {
            "doorkey_size": config.doorkey_size,
            "rooms_size": config.rooms_size,
            "env_seed": config.env_seed,
            "state_bonus": config.state_bonus and training,
        }
    if suite_name == "dmc":
        keys = config.encoder.cnn_keys, config.decoder.cnn_keys
        return {"render": any(re.match(key, "image") for key in keys)}
    return {}


@contextlib.contextmanager
def _installed(name: str, suite: Suite) -> Iterator[None]:
    """Turns the lack of a suite's packages into the command that installs them."""
    try:
        yield
    except ImportError as error:
        if not suite.extra:
            raise
        raise ValueError(
            f"The suite {name} needs packages that are not installed ({error}); run: "
            f"pip install -e '.[{suite.extra}]' -c constraints.txt"
        ) from error
