"""What is done after each step, when it is due: learn, evaluate, log, save.

A run's state is that of its parts. A snapshot writes `state.json` with a key for each
part and the collector's own keys beside them, and is restored in this order:

1. the agent's weights and optimisers, and what the learner carries from batch to batch;
2. the parts, as `Training` lists them: the streams of learner and evaluator choose from
   episodes, so that they come after the replays;
3. the collector, which plays the episodes under way again, into the replay.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from common import config as config_lib
from common import replay, schedules, specs
from common.records import logger as logger_lib
from common.records import timing
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import checkpoint, phases, summary
from dreamerv2.run import collector as collector_lib
from dreamerv2.run import learner as learner_lib
from dreamerv2.run.evaluation import evaluator as evaluator_lib
from dreamerv2.run.evaluation import set_aside as set_aside_lib

_LOG = logging.getLogger(__name__)


class Part(Protocol):
    """A part of a run that has a state of its own.

    A part may also have `on_task_change(finished: int, next: int)`. It is called with
    the numbers of two different tasks, after the last step of the one and its snapshot,
    when the environments of the other are made and before their first step; a run that
    goes on from the snapshot between them calls it once as well.
    """

    def get_state(self) -> Mapping[str, Any]:
        """Returns what a snapshot needs, fit for JSON."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from such a state; an empty one is of a version without the part."""


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


class Training:
    """A run: its parts, and the calls of the loop."""

    def __init__(
        self,
        *,
        agent: agent_lib.Agent,
        experience: replay.Replay,
        learner: learner_lib.Learner,
        evaluator: evaluator_lib.Evaluator,
        aside: set_aside_lib.SetAside,
        online: summary.OnlineMetrics,
        collector: collector_lib.Collector,
        logger: logger_lib.Logger,
        timer: timing.Timer,
        config: config_lib.Config,
    ):
        """Takes the parts, complete.

        Args:
          agent: What is trained.
          experience: What it learns from.
          learner: Trains it.
          evaluator: Plays all tasks with it.
          aside: Tells the world model's losses on episodes of all tasks.
          online: Performance and forgetting until now.
          collector: Fills the replay.
          logger: Takes in what is measured.
          timer: Measures the sections `evaluation` and `save`; shared with the parts.
          config: The run's configuration.
        """
        self._experience, self._learner = experience, learner
        self._evaluator, self._aside, self._online = evaluator, aside, online
        self._collector, self._due = collector, Due(config)
        self._logger, self._timer, self._config = logger, timer, config
        self._progress = timing.Progress()
        self._agent = agent
        self._spaces = specs.Spaces(agent.obs_specs, agent.act_spec)
        self._parts: dict[str, Part] = {
            "agent": agent,
            "replay": experience,
            "learner": learner,
            "evaluator": evaluator,
            "online": online,
            "due": self._due,
        }

    @property
    def step(self) -> int:
        """Actions taken in all training environments."""
        return self._collector.step

    def enter(self, phase: phases.Phase) -> None:
        """Begins a phase, and tells the parts if the task is another one."""
        self._progress.update(self.step)
        finished = self._collector.enter(phase)
        if finished == phase.task:
            return
        for part in self._parts.values():
            if hasattr(part, "on_task_change"):
                part.on_task_change(finished, phase.task)

    def collect(self) -> None:
        """Takes one step in every environment of the present task."""
        self._collector.collect()

    def learn(self) -> None:
        """Updates the agent when that is due and there is something to learn from."""
        if self.step < self._config.prefill:
            return
        if not self._learner.updates:
            if not self._has_experience():
                return
            for _ in range(self._config.pretrain):
                self._learner.update(self.step)
        due = sum(self._due("train", step) for step in self._collector.last_steps)
        for _ in range(due * self._config.train_steps):
            self._learner.update(self.step)

    def evaluate(self) -> None:
        """Evaluates on every task when that is due, and when a phase ends."""
        if not self._learner.updates or not self._config.eval_every:
            return
        due = self._due("eval", self.step)
        if not self._evaluator or not (due or self._collector.ended):
            return
        video = self._due("video", self.step)
        self._learner.wait()
        with self._timer.section("evaluation"):
            metrics = self._evaluator(self._collector.evaluation_policy, video)
            metrics |= self._online(self._collector.phase, self.step, metrics)
            metrics |= self._aside()
            if video:
                metrics |= self._learner.videos(self._evaluator.sample())
        self.write(metrics)

    def log(self) -> None:
        """Writes losses, counters, speed and timers when that is due."""
        if not self._learner.updates:
            return
        ended = self._collector.ended
        if not self._due("log", self.step) and not ended:
            return
        self._progress.update(self.step)
        self.write(
            {
                "task": self._collector.phase.task,
                "updates": self._learner.updates,
                "replay_ratio": self._learner.transitions / self.step,
                "env_restarts": self._restarts,
                "fps": self._progress.fps * self._config.action_repeat,
                **summary.clocks(self._timer.take()),
                **self._experience.stats(),
                **self._experience.shares(arrival=ended),
                **self._learner.take_metrics(),
            }
        )

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Logs metrics at the present step."""
        self._logger.write(self.step * self._config.action_repeat, metrics)

    def save(self, snapshots: checkpoint.Checkpoints, needed: bool) -> None:
        """Writes a snapshot when that is due, and when a phase ends.

        Args:
          snapshots: Where it is written.
          needed: Whether it is an error if it cannot be written; else that is only
            reported, and tried again when the next is due.

        Raises:
          CheckpointError: If it cannot be written.
        """
        due = self._due.save(self.step)
        if not self._collector.ended and not (due and self._learner.updates):
            return
        try:
            self.write_snapshot(snapshots)
        except checkpoint.CheckpointError as error:
            if needed:
                raise
            _LOG.warning("%s", error)

    def write_snapshot(self, snapshots: checkpoint.Checkpoints) -> None:
        """Writes a snapshot of the present step.

        Raises:
          CheckpointError: If it cannot be written.
        """
        tensors = {
            **self._agent.named_state(),
            **self._learner.tensors(),
            **self._collector.tensors(),
        }
        state = {
            **self._collector.get_state(),
            "env_restarts": self._restarts,
            "spaces": self._spaces.to_state(),
            **{name: part.get_state() for name, part in self._parts.items()},
        }
        self._due.saved()
        with self._timer.section("save"):
            snapshots.save(self.step, tensors, state)

    def restore(
        self, state: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
    ) -> None:
        """Goes on from a snapshot, in the order that this module's head tells."""
        state = {"online": {}, "env_restarts": 0, **state}  # older ones have neither
        groups = checkpoint.split_tensors(tensors)
        checkpoint.assign(self._agent.named_state(), groups.agent)
        self._learner.set_tensors(groups.carry)
        for name, part in self._parts.items():
            part.set_state(state[name])
        self._collector.set_state(state, groups.policy)
        if "spaces" in state:  # of the first task, whichever is under way
            self._spaces = specs.Spaces.from_state(state["spaces"])
        self._logger.rewind(self.step * self._config.action_repeat)

    def set_aside(self) -> None:
        """Plays the episodes that the world model is judged on.

        Raises:
          ValueError: If a task has other spaces than the agent.
        """
        self._aside.play()

    def close(self) -> None:
        """Ends environments, threads and outputs."""
        self._learner.close()
        self._collector.close()
        self._evaluator.close()
        self._experience.close()
        self._logger.close()

    @property
    def _restarts(self) -> int:
        """Environments that failed and were started anew, since the run began."""
        return self._collector.restarts + self._evaluator.restarts

    def _has_experience(self) -> bool:
        """Whether the replay holds an episode; warns once if all are too short."""
        stats = self._experience.stats()
        if not stats["loaded_episodes"] and stats["skipped_episodes"]:
            warnings.warn(
                f"All {stats['skipped_episodes']} episodes so far are shorter than "
                f"replay.minlen, {self._config.replay.minlen} steps, and were not "
                "stored: nothing is learned. Lower --minlen.",
                stacklevel=2,
            )
        return bool(stats["loaded_episodes"])
