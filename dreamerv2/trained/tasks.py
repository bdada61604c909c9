"""The tasks that an agent was trained on, made again by what made them."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from common import specs
from common.config import plugins
from common.envs import base
from dreamerv2 import settings
from dreamerv2.run import build
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.trained import snapshot as snapshot_lib

Tasks = Mapping[int, tasks_lib.Task]  # by their numbers in the run


def choose(tasks: Sequence[tasks_lib.Task], chosen: Iterable[Any]) -> Tasks:
    """Returns tasks by number.

    Args:
      tasks: All tasks of the run.
      chosen: Numbers or names; all tasks if empty.

    Raises:
      ValueError: If there is no such task.
    """
    found = numbers([task.name for task in tasks], chosen)
    return {k: tasks[k] for k in found or range(len(tasks))}


def numbers(names: Sequence[str], chosen: Iterable[Any]) -> list[int]:
    """Returns the numbers of tasks, each once.

    Args:
      names: Of all tasks of the run.
      chosen: Numbers or names.

    Raises:
      ValueError: If there is no such task.
    """
    known = {str(number): number for number in range(len(names))}
    known.update({name: number for number, name in enumerate(names)})
    for word in map(str, chosen):
        if word not in known:
            listed = ", ".join(f"{k} {name}" for k, name in enumerate(names))
            raise ValueError(f"There is no task {word!r} in this run; it has {listed}.")
    return list(dict.fromkeys(known[str(word)] for word in chosen))


def of_run(snapshot: snapshot_lib.Snapshot, script: str = "") -> list[tasks_lib.Task]:
    """Returns all tasks of a run, made by the script that trained it.

    Args:
      snapshot: The agent.
      script: The script; the one that the run has noted if empty.

    Raises:
      ValueError: If no script can make them, or it makes others.
    """
    script = script or snapshot.script
    if script.endswith(".py") and not pathlib.Path(script).expanduser().is_file():
        script = pathlib.Path(script).stem  # the run was trained in another place
    if not script and snapshot.task_names:
        raise ValueError(
            "This run was given its environments by a Python program, and only that "
            "can make them: import dreamerv2.api as dv2; dv2.watch(env, logdir), or "
            "dv2.evaluate(logdir, env)."
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


def find_spaces(
    snapshot: snapshot_lib.Snapshot, given: Callable[[], base.Env] | None = None
) -> specs.Spaces:
    """Returns what an agent observes and does.

    Args:
      snapshot: The agent, of any version.
      given: Makes an environment of it, whose form of writing counts; if None the
        snapshot knows, or the script of the run makes one.

    Raises:
      ValueError: If the environment does not fit, or none can be made.
    """
    if snapshot.spaces is not None and given is None:
        return snapshot.spaces
    if given is None and not snapshot.script:
        raise ValueError(
            f"The snapshot {snapshot.path} is of a version that did not note its "
            "spaces, and no script makes its tasks: give its environment, "
            "dv2.load(logdir, env=env)."
        )
    with contextlib.closing((given or _first(snapshot))()) as env:
        if snapshot.spaces is not None:
            build.check_specs("given", env, snapshot.spaces, "the run")
        return specs.Spaces(env.obs_specs, env.act_spec)


def _first(snapshot: snapshot_lib.Snapshot) -> Callable[[], base.Env]:
    task, *_ = of_run(snapshot)
    return task.make_eval or task.make
