"""Tasks by name, SUITE_NAME: which module makes the tasks of a suite.

The module of a suite has

    make(name, *, action_repeat, time_limit, size, **options)   returns a `base.Env`
    check_id(name)               optional: raises ValueError for an unknown name
    options(config, training)    optional: the further options of `make`, a dict

A module of the user's, which the setting `plugins` names, adds a suite with `register`:

    registry.register("maze", registry.Suite(__name__, example="maze_small"))

after which `--task maze_small` trains on what its `make("small", ...)` returns.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from common import config as config_lib
from common.config import coerce, plugins
from common.envs import base
from common.envs.workers import parallel


class Suite(NamedTuple):
    """Where the tasks of a suite come from.

    Attributes:
      module: The module of the suite: a dotted name, or the path of a `.py` file.
      example: A task of the suite, SUITE_NAME.
      extra: The extra of setup.py that installs its packages, '' if all have them.
      own_process: Whether `make` puts each environment into a process of its own, so
        that `envs_parallel` adds none.
    """

    module: str
    example: str
    extra: str = ""
    own_process: bool = False


SUITES = {
    "atari": Suite("common.envs.suites.atari", "atari_pong", "atari"),
    "catch": Suite("common.envs.suites.catch", "catch_plain"),
    "crafter": Suite("common.envs.suites.crafter", "crafter_reward", "crafter"),
    "dmc": Suite("common.envs.suites.dmc", "dmc_walker_walk", "dmc", own_process=True),
    "gym": Suite("common.envs.suites.generic", "gym_CartPole-v1"),
    "minigrid": Suite("common.envs.suites.minigrid", "minigrid_MiniGrid-Empty-5x5-v0"),
    "minihack": Suite(
        "common.envs.suites.minihack",
        "minihack_MiniHack-Room-5x5-v0",
        "minihack",
        own_process=True,
    ),
}


def register(name: str, suite: Suite) -> None:
    """Adds a suite; the same one may be added again.

    Raises:
      ConfigError: The name has an underscore, which ends it in a task's name, or is
        that of another suite; or the example is no task of the suite.
    """
    if not name or "_" in name or SUITES.get(name, suite) != suite:
        raise coerce.ConfigError(
            f"A suite cannot be called {name!r}: give a name without an underscore, "
            f"other than {', '.join(SUITES)}."
        )
    if not suite.example.startswith(f"{name}_") or suite.example == f"{name}_":
        raise coerce.ConfigError(
            f"The example {suite.example!r} of the suite {name} is none of its tasks; "
            f"give one, {name}_NAME."
        )
    SUITES[name] = suite


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
    suite = SUITES[suite_name]
    with _installed(suite_name, suite):
        module = plugins.find_module(suite.module)
        options = _options(module, task, config, training)
        if hasattr(module, "check_id"):
            module.check_id(name)
    return functools.partial(
        _make_in_own_process if suite.own_process else _make,
        plugins.reference(suite.module),
        name,
        action_repeat=config.action_repeat,
        time_limit=config.time_limit,
        size=base.check_size(config.render_size),
        **options,
    )


def full_name(name: str, suite: str = "") -> str:
    """Returns SUITE_NAME for a task that a script was given.

    What the script's own suite knows is its own, though it begins like another suite's
    task; of a suite without `check_id` that is never known, and it must be given as
    SUITE_NAME.

    Args:
      name: NAME of the script's own suite, or SUITE_NAME of any.
      suite: The script's own; '' if it has none.
    """
    other, _, rest = name.partition("_")
    if not suite or (other in SUITES and rest and not _knows(suite, name)):
        return name
    return f"{suite}_{name}"


def _knows(suite: str, name: str) -> bool:
    """Whether a suite is there and says that it has a task."""
    if suite not in SUITES:
        return False
    try:
        module = plugins.find_module(SUITES[suite].module)
        if hasattr(module, "check_id"):
            module.check_id(name)
            return True
    except (ImportError, RuntimeError, ValueError):  # not installed, or no such task
        pass
    return False


def _make(module: str, name: str, **options: Any) -> base.Env:
    """Makes an environment; the module is known by name, in any process."""
    return plugins.find_module(module).make(name, **options)


@parallel.has_own_process
def _make_in_own_process(module: str, name: str, **options: Any) -> base.Env:
    return _make(module, name, **options)


def _unknown(task: str, suite_name: str, name: str) -> str:
    near = coerce.nearest(suite_name, SUITES)
    meant = f" Did you mean {near[0]}_{name or 'NAME'}?" if near else ""
    examples = ", ".join(suite.example for suite in SUITES.values())
    return (
        f"Unknown task {task!r}; a task is SUITE_NAME, such as {examples}.{meant} A "
        "suite of your own is registered by a module that --plugins names."
    )


def _options(
    module: types.ModuleType, task: str, config: config_lib.Config, training: bool
) -> dict[str, Any]:
    """What only this suite takes."""
    options = module.options(config, training) if hasattr(module, "options") else {}
    if config.state_bonus and "state_bonus" not in options:
        raise ValueError(
            f"state_bonus counts visits of MiniGrid cells; {task!r} has none. Leave "
            "it out."
        )
    return options


@contextlib.contextmanager
def _installed(name: str, suite: Suite) -> Iterator[None]:
    """Turns the lack of a suite's packages into the command that installs them."""
    try:
        yield
    except ImportError as error:
        command = f"pip install -e '.[{suite.extra}]' -c constraints.txt"
        if suite.extra == "dmc" and sys.version_info >= (3, 13):
            command += " && pip install --no-deps dm_control -c constraints.txt"
        raise ValueError(
            f"The suite {name} needs packages that are not installed ({error}); "
            + (f"run: {command}" if suite.extra else "install them with pip.")
        ) from error
