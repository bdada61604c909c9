"""The tasks that an agent was trained on, made again by what made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.config import plugins
from dreamerv2 import settings
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
    known = {str(number): number for number in range(len(tasks))}
    known.update({task.name: number for number, task in enumerate(tasks)})
    numbers = []
    for word in map(str, chosen):
        if word not in known:
            names = ", ".join(f"{k} {task.name}" for k, task in enumerate(tasks))
            raise ValueError(f"There is no task {word!r} in this run; it has {names}.")
        numbers.append(known[word])
    return {k: tasks[k] for k in dict.fromkeys(numbers or range(len(tasks)))}


def of_run(snapshot: snapshot_lib.Snapshot, script: str = "") -> list[tasks_lib.Task]:
    """Returns all tasks of a run, made by the script that trained it.

    Args:
      snapshot: The agent.
      script: The script; the one that the run has noted if empty.

    Raises:
      ValueError: If no script can make them, or it makes others.
    """
    script = script or snapshot.script
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
