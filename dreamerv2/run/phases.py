"""When: which task is trained at which step of a run, and what is due after one."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from common import config as config_lib
from common import schedules
from common.config import coerce


class Phase(NamedTuple):
    """A stretch of one task; steps count from the start of the whole run."""

    index: int
    task: int
    start: int  # environment steps
    end: int


class Schedule:
    """Tasks one after the other, the sequence gone through several times."""

    def __init__(self, steps: Sequence[int], repeats: int = 1):
        """Takes the steps of each task in one pass of the sequence.

        Raises:
          ValueError: If a task has no steps, or there is nothing to do.
        """
        if not steps or min(steps) < 1 or repeats < 1:
            raise ValueError(
                f"Steps {list(steps)} for each task, {repeats} times: every task needs "
                "at least one step, and num_task_repeats must be at least 1."
            )
        self.phases: list[Phase] = []
        self.repeats = repeats
        for task, count in list(enumerate(steps)) * repeats:
            start = self.total
            self.phases.append(Phase(len(self.phases), task, start, start + count))

    @property
    def total(self) -> int:
        """Environment steps of the whole run."""
        return self.phases[-1].end if self.phases else 0

    def logged_ends(self, envs: int, action_repeat: int) -> list[tuple[int, int]]:
        """Returns (task, frame of its last evaluation) of each phase.

        Args:
          envs: Environments that step together: the last step may go beyond the end.
          action_repeat: Frames of a step.

        Raises:
          ValueError: If there is no environment.
        """
        if envs < 1:
            raise ValueError(f"envs is {envs}; at least 1 is needed.")
        frames = envs * action_repeat
        return [(p.task, math.ceil(p.end / envs) * frames) for p in self.phases]

    def remaining(self, step: int, interrupted: int | None = None) -> Iterator[Phase]:
        """Yields the phases that are not over at `step`, the current one first.

        Args:
          step: Of the run.
          interrupted: The number of a phase that is not over although its steps are
            done, as its last evaluation was interrupted.
        """
        return (p for p in self.phases if step < p.end or p.index == interrupted)


def check_learns(schedule: Schedule, config: config_lib.Config) -> None:
    """Makes sure that a run of this schedule could learn something.

    Raises:
      ValueError: If it is over before the prefill is, which counts over the whole run,
        or no episode can be long enough to be stored.
    """
    if schedule.total <= config.prefill:
        raise ValueError(
            f"The run has {schedule.total:,} steps in all, but nothing is learned in "
            f"the first {config.prefill:,}, of random actions (prefill). Raise --steps "
            "or lower --prefill."
        )
    if 0 < config.time_limit < config.replay.minlen:
        raise ValueError(
            f"Episodes are cut after {config.time_limit} steps (time_limit), but only "
            f"those of at least {config.replay.minlen} (replay.minlen) are stored: "
            "nothing would be learned. Lower --minlen or raise --time_limit."
        )


def of_tasks(count: int, config: config_lib.Config) -> Schedule:
    """Returns the schedule of `count` tasks, as the configuration says.

    Raises:
      ValueError: If `unbalanced_steps` is given but not for every task, or not in
        whole numbers.
    """
    steps = list(config.unbalanced_steps) or [config.steps] * count
    if len(steps) != count:
        raise ValueError(
            f"unbalanced_steps has {len(steps)} entries, {steps}, for {count} tasks; "
            "give the steps of each task."
        )
    steps = [coerce.convert("unbalanced_steps", 0, entry) for entry in steps]
    return Schedule(steps, config.num_task_repeats)


class Due:
    """When something is done next: at intervals of steps, for snapshots of time too."""

    def __init__(self, config: config_lib.Config):
        """Counts from now on, snapshots from step 0."""
        self._every = {
            "train": schedules.Every(config.train_every),
            "eval": schedules.Every(config.eval_every),
            "log": schedules.Every(config.log_every),
            "video": schedules.Every(config.log_every_video),
            "save": schedules.Every(config.checkpoint_every),
        }
        self._every["save"](0)
        self._minutes = config.checkpoint_minutes
        self._saved_at = time.monotonic()

    def __call__(self, name: str, step: int) -> bool:
        """Whether `name` is due at a step, which must not go back."""
        return self._every[name](step)

    def save(self, step: int) -> bool:
        """Whether a snapshot is due, by steps or by minutes."""
        minutes = (time.monotonic() - self._saved_at) / 60
        late = 0 < self._minutes <= minutes
        return self("save", step) or late

    def saved(self) -> None:
        """Counts the minutes from now on."""
        self._saved_at = time.monotonic()

    def get_state(self) -> dict[str, Any]:
        """Returns what a snapshot needs, fit for JSON."""
        return {name: every.get_state() for name, every in self._every.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on in the intervals of a snapshot; minutes count from now."""
        for name, every in self._every.items():
            every.set_state(state[name])
