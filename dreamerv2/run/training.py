"""The parts of a run, and what each of them does at a step."""

from __future__ import annotations

import logging
import pathlib
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common import config as config_lib
from common import driver as driver_lib
from common import schedules
from common.records import logger as logger_lib
from common.records import timing
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import (
    build,
    checkpoint,
    evaluation,
    learner,
    online,
    phases,
    summary,
)
from dreamerv2.run import tasks as tasks_lib

_LOG = logging.getLogger(__name__)


class Run:
    """Replay, agent, environments and outputs, and the calls of the loop."""

    def __init__(
        self,
        tasks: Sequence[tasks_lib.Task],
        trained: int,
        schedule: phases.Schedule,
        phase: phases.Phase,
        config: config_lib.Config,
        folder: pathlib.Path,
    ):
        """Builds everything; arguments as in `train`, the tasks to evaluate on last.

        Args:
          tasks: The `trained` tasks to train on, then those to evaluate only.
          trained: How many tasks are trained on.
          schedule: Which task is trained when.
          phase: The phase to begin with.
          config: The run's configuration.
          folder: The run's folder.
        """
        self.step = 0  # actions taken in all training environments
        self._tasks = list(tasks)
        self._schedule, self._phase = schedule, phase
        self._config, self._folder = config, folder
        self._timer, self._progress = timing.Timer(), timing.Progress()
        self._envs = build.make_envs(self._tasks[phase.task], config)
        self._agent = agent_lib.Agent(
            config, self._envs[0].obs_specs, self._envs[0].act_spec
        )
        self._replay = build.make_replay(folder, config, self._agent)
        self._learner = learner.Learner(
            *(self._agent, self._replay, self._timer, folder),
            **config.dataset,
            aside=config.collect_during_update,
        )
        self._evaluator = evaluation.Evaluator(
            *(self._tasks, trained, config),
            build.make_eval_replay(folder, config, self._agent),
        )
        self._online = online.OnlineMetrics(schedule)
        self._driver_states: dict[str, Any] = {}  # by task, of those not under way
        self._past_restarts = 0  # of environments that are closed
        self._driver = self._make_driver(phase)
        names = [task.name for task in self._tasks]
        total = schedule.total * config.action_repeat
        sinks = build.make_outputs(folder, config, total, names)
        self._logger = logger_lib.Logger(sinks)
        self._due = {
            "train": schedules.Every(config.train_every),
            "eval": schedules.Every(config.eval_every),
            "log": schedules.Every(config.log_every),
            "video": schedules.Every(config.log_every_video),
            "save": schedules.Every(config.checkpoint_every),
        }
        self._due["save"](0)  # counts from the start of the run
        self._explores = schedules.Until(config.expl_until)
        self._saved_at = time.monotonic()

    def check_tasks(self) -> None:
        """Raises ValueError unless all trained tasks have the agent's spaces."""
        trained = {phase.task for phase in self._schedule.phases}
        others = [self._tasks[k] for k in sorted(trained - {self._phase.task})]
        build.check_tasks(others, self._agent, self._config)

    def enter(self, phase: phases.Phase) -> None:
        """Puts the environments of a phase's task in place of the last one's."""
        self._progress.update(self.step)
        if phase.task == self._phase.task:
            self._phase = phase
            return
        self._driver_states[str(self._phase.task)] = self._driver.get_state()
        self._past_restarts += build.count_restarts(self._envs)
        for env in self._envs:
            env.close()
        self._phase = phase
        task = self._tasks[phase.task]
        self._envs = build.make_envs(task, self._config)
        for env in self._envs:
            build.check_specs(task.name, env, self._agent)
        self._driver = self._make_driver(phase)
        self._change_task()

    def collect(self) -> None:
        """Takes one step in every environment of the current task."""
        with self._timer.section("collect"):
            self._driver.step(self._collect_policy)
        self.step += len(self._envs)
        if self.step >= self._phase.end:
            # An episode belongs to one phase; what is under way ends with it.
            self._driver.reset()
            self._replay.drop_ongoing()

    def learn(self) -> None:
        """Updates the agent when that is due and there is something to learn from."""
        if self.step < self._config.prefill:
            return
        if not self._learner.updates:
            if not self._has_experience():
                return
            for _ in range(self._config.pretrain):
                self._learner.update(self.step)
        first = self.step - len(self._envs) + 1
        due = sum(self._due["train"](step) for step in range(first, self.step + 1))
        for _ in range(due * self._config.train_steps):
            self._learner.update(self.step)

    def evaluate(self) -> None:
        """Evaluates on every task when that is due, and when a phase ends."""
        if not self._learner.updates or not self._config.eval_every:
            return
        due = self._due["eval"](self.step)
        if not self._evaluator or not (due or self.step >= self._phase.end):
            return
        video = self._due["video"](self.step)
        self._learner.wait()
        with self._timer.section("evaluation"):
            metrics = self._evaluator(self._evaluation_policy, video)
            metrics.update(self._online(self._phase, self.step, metrics))
            if video:
                metrics.update(self._learner.videos(self._evaluator.sample()))
        self._write(metrics)

    def log(self) -> None:
        """Writes losses, counters, speed and timers when that is due."""
        if not self._learner.updates:
            return
        ended = self.step >= self._phase.end
        if not self._due["log"](self.step) and not ended:
            return
        self._progress.update(self.step)
        self._write(
            {
                "task": self._phase.task,
                "updates": self._learner.updates,
                "env_restarts": self._restarts,
                "fps": self._progress.fps * self._config.action_repeat,
                **summary.clocks(self._timer.take()),
                **self._replay.stats(),
                **self._replay.shares(arrival=ended),
                **self._learner.take_metrics(),
            }
        )

    def save(self, snapshots: checkpoint.Checkpoints) -> None:
        """Writes a snapshot when that is due, and when a phase ends.

        Raises:
          CheckpointError: If the run's last snapshot cannot be written; that of an
            earlier one is only reported, and tried again when the next is due.
        """
        minutes = (time.monotonic() - self._saved_at) / 60
        late = 0 < self._config.checkpoint_minutes <= minutes
        due = self._due["save"](self.step) or late
        ended = self.step >= self._phase.end
        if not ended and not (due and self._learner.updates):
            return
        try:
            self._write_snapshot(snapshots)
        except checkpoint.CheckpointError as error:
            if self.step >= self._schedule.total:
                raise
            _LOG.warning("%s", error)

    def stop(self, snapshots: checkpoint.Checkpoints, reason: str) -> None:
        """Writes a snapshot before the run's time; the same command goes on from it."""
        if self.step:
            self._write_snapshot(snapshots)
        print(
            f"{reason}: stopped at step {self.step} of {self._schedule.total}; the "
            "same command goes on from there."
        )

    def _write_snapshot(self, snapshots: checkpoint.Checkpoints) -> None:
        tensors = {
            **self._agent.named_state(),
            **self._learner.tensors(),
            **checkpoint.name_policy_state(self._driver.policy_state),
        }
        state = {
            "step": self.step,
            "task": self._phase.task,
            "agent": self._agent.get_state(),
            "learner": self._learner.get_state(),
            "replay": self._replay.get_state(),
            "evaluator": self._evaluator.get_state(),
            "online": self._online.get_state(),
            "env_restarts": self._restarts,
            "due": {name: every.get_state() for name, every in self._due.items()},
            "drivers": {
                **self._driver_states,
                str(self._phase.task): self._driver.get_state(),
            },
        }
        self._saved_at = time.monotonic()
        with self._timer.section("save"):
            snapshots.save(self.step, tensors, state)

    def restore(
        self, state: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
    ) -> None:
        """Goes on from a snapshot."""
        self.step = state["step"]
        carry = {k: v for k, v in tensors.items() if k.startswith("carry/")}
        policy = {k: v for k, v in tensors.items() if k.startswith("policy/")}
        weights = {k: v for k, v in tensors.items() if k not in {*carry, *policy}}
        checkpoint.assign(self._agent.named_state(), weights)
        self._agent.set_state(state["agent"])
        self._replay.set_state(state["replay"])
        self._learner.set_state(state["learner"], carry)
        self._evaluator.set_state(state["evaluator"])
        self._online.set_state(state.get("online", {}))
        self._past_restarts = state.get("env_restarts", 0)
        for name, every in self._due.items():
            every.set_state(state["due"][name])
        self._driver_states = dict(state["drivers"])
        self._driver = self._make_driver(self._phase)
        self._driver.policy_state = checkpoint.policy_state(policy)
        self._logger.rewind(self.step * self._config.action_repeat)
        if state["task"] != self._phase.task:  # saved at the end of the phase before
            self._change_task()
        print(
            f"Going on from step {self.step}, phase {self._phase.index + 1} of "
            f"{len(self._schedule.phases)}, task {self._tasks[self._phase.task].name}."
        )

    def finish(self) -> None:
        """Writes and prints what the run has come to."""
        names = [task.name for task in self._tasks]
        result = summary.summarize(self._folder, names, self._schedule, self._config)
        self._write(result.metrics)
        print(result.text)

    def close(self) -> None:
        """Ends environments, threads and outputs."""
        self._learner.close()
        for env in self._envs:
            env.close()
        self._evaluator.close()
        self._replay.close()
        self._logger.close()

    @property
    def _restarts(self) -> int:
        """Environments that failed and were started anew, since the run began."""
        now = build.count_restarts(self._envs) + self._evaluator.restarts
        return self._past_restarts + now

    def _has_experience(self) -> bool:
        """Whether the replay holds an episode; warns once if all are too short."""
        stats = self._replay.stats()
        if not stats["loaded_episodes"] and stats["skipped_episodes"]:
            warnings.warn(
                f"All {stats['skipped_episodes']} episodes so far are shorter than "
                f"replay.minlen, {self._config.replay.minlen} steps, and were not "
                "stored: nothing is learned. Lower --minlen.",
                stacklevel=2,
            )
        return bool(stats["loaded_episodes"])

    def _change_task(self) -> None:
        """Does to the agent what the configuration asks for between two tasks."""
        for optimizer in self._agent.optimizers().values():
            if self._config.reset_optimizer_on_task_change:
                optimizer.reset()
            optimizer.anchor()

    def _make_driver(self, phase: phases.Phase) -> driver_lib.Driver:
        seed_of = tasks_lib.seeds(self._config.seed, "train", phase.task)
        driver = driver_lib.Driver(self._envs, seed_of)
        driver.on_step(self._store)
        driver.on_episode(self._log_episode)
        if str(phase.task) in self._driver_states:
            driver.set_state(self._driver_states.pop(str(phase.task)))
        return driver

    def _collect_policy(
        self, obs: Mapping[str, np.ndarray], state: Any
    ) -> tuple[np.ndarray, Any]:
        """Random actions at first, then the agent's."""
        with self._timer.section("policy"):
            if self.step < self._config.prefill:
                action = tasks_lib.random_actions(
                    self._config.seed, self.step, len(self._envs), self._agent.act_spec
                )
                return action, None
            exploring = self._exploring(self._driver.episodes)
            return self._agent.policy(obs, state, step=self.step, exploring=exploring)

    def _evaluation_policy(
        self, obs: Mapping[str, np.ndarray], state: Any
    ) -> tuple[np.ndarray, Any]:
        """The task policy's mode, or the policy that collects the data."""
        exploring = self._exploring([0] * len(obs["is_first"]))
        return self._agent.policy(
            obs,
            state,
            step=self.step,
            exploring=exploring,
            evaluate=self._config.sep_exp_eval_policies,
        )

    def _exploring(self, episodes: Sequence[int]) -> np.ndarray:
        """Returns which environments [N] follow the exploration behaviour now."""
        every = self._config.expl_every or 1
        now = self._explores(self.step)
        return np.array([now and episode % every == 0 for episode in episodes])

    def _store(self, transition: Mapping[str, np.ndarray], worker: int) -> None:
        with self._timer.section("add"):
            self._replay.add_step(transition, worker, self._phase.task)

    def _log_episode(self, episode: Mapping[str, Any], worker: int) -> None:
        metrics = {
            "return": episode["return"],
            "length": episode["length"],
            "task": self._phase.task,
            **summary.episode_metrics(episode["log"], self._config),
            **self._replay.stats(),
        }
        self._write(metrics, self.step + worker + 1)

    def _write(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        step = self.step if step is None else step
        self._logger.write(step * self._config.action_repeat, metrics)
