"""Experience: the environments of a task, what acts in them, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import driver as driver_lib
from common import replay, schedules
from common.envs import base
from common.records import logger as logger_lib
from common.records import timing
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import build, checkpoint, phases, summary
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.run.sources import offline

# Adds what is common to all drivers: the listeners.
Listen = Callable[[driver_lib.Driver], None]


class Environments:
    """The environments of the task under way, and the driver that steps them.

    The drivers of the other tasks are kept as states: what outlives an episode, such as
    the episodes' numbers, goes on when a task comes again.

    Attributes:
      task: The one under way.
      driver: Steps its environments.
    """

    def __init__(
        self,
        tasks: Sequence[tasks_lib.Task],
        task: int,
        envs: Sequence[base.Env],
        config: config_lib.Config,
        listen: Listen,
    ):
        """Takes over the environments of the first task.

        Args:
          tasks: All tasks by number.
          task: The one to begin with.
          envs: Its environments.
          config: The run's configuration.
          listen: Is called with each driver that is made.
        """
        self._tasks, self.task, self._envs = tasks, task, list(envs)
        self._config, self._listen = config, listen
        self._waiting: dict[str, Any] = {}  # states of the other tasks' drivers
        self._past_restarts = 0  # of environments that are closed
        self.driver = self._make_driver()

    def __len__(self) -> int:
        return len(self._envs)

    @property
    def restarts(self) -> int:
        """Environments that failed and were started anew, since the run began."""
        return self._past_restarts + build.count_restarts(self._envs)

    def change(self, task: int, spaces: agent_lib.Agent) -> None:
        """Puts the environments of another task in place of the present ones.

        Args:
          task: Its number.
          spaces: Has the spaces that they must have.

        Raises:
          ValueError: If they have others.
        """
        self._waiting[str(self.task)] = self.driver.get_state()
        self._past_restarts += build.count_restarts(self._envs)
        self.close()
        self.task = task
        self._envs = build.make_envs(self._tasks[task], self._config)
        for env in self._envs:
            build.check_specs(self._tasks[task].name, env, spaces)
        self.driver = self._make_driver()

    def kept(self, task: int) -> dict[str, Any]:
        """Returns what the first environment of a task keeps; empty if never trained.

        Of the task under way it is as of now, of others as when they were left.
        """
        if task == self.task:
            return getattr(self._envs[0], "get_state", dict)()
        waiting = self._waiting.get(str(task))
        return waiting["envs"][0]["env"] if waiting else {}

    def get_state(self) -> dict[str, Any]:
        """Returns what a snapshot needs besides tensors, fit for JSON."""
        now = {str(self.task): self.driver.get_state()}
        return {"env_restarts": self.restarts, "drivers": {**self._waiting, **now}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a snapshot; episodes under way are played again."""
        self._past_restarts = state["env_restarts"]
        self._waiting = dict(state["drivers"])
        self.driver = self._make_driver()

    def close(self) -> None:
        """Closes the environments."""
        for env in self._envs:
            env.close()

    def _make_driver(self) -> driver_lib.Driver:
        seed_of = tasks_lib.seeds(self._config.seed, "train", self.task)
        driver = driver_lib.Driver(self._envs, seed_of)
        self._listen(driver)
        if str(self.task) in self._waiting:
            driver.set_state(self._waiting.pop(str(self.task)))
        return driver


class Collector:
    """Collects experience: acts, stores transitions and logs episodes.

    Attributes:
      step: Actions taken in all training environments.
      phase: The phase under way.
      task: The task that was collected from last.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[tasks_lib.Task],
        phase: phases.Phase,
        envs: Sequence[base.Env],
        agent: agent_lib.Agent,
        experience: replay.Replay,
        logger: logger_lib.Logger,
        timer: timing.Timer,
        config: config_lib.Config,
    ):
        """Takes no step yet.

        Args:
          tasks: All tasks by number.
          phase: The phase to begin with.
          envs: Environments of its task.
          agent: Acts, after the prefill.
          experience: Takes in the transitions.
          logger: Takes in what an episode has come to.
          timer: Measures the sections `collect`, `policy` and `add`.
          config: The run's configuration.
        """
        self.step, self.phase, self.task = 0, phase, phase.task
        self._agent, self._experience = agent, experience
        self._logged: tuple[int, dict[str, Any]] = (0, {})
        self._logger, self._timer, self._config = logger, timer, config
        self._explores = schedules.Until(config.expl_until)
        kind = offline.Idle if config.offline else Environments
        self._environments = kind(tasks, phase.task, envs, config, self._listen_to)

    @property
    def restarts(self) -> int:
        """Environments that failed and were started anew, since the run began."""
        return self._environments.restarts

    @property
    def ended(self) -> bool:
        """Whether the steps of the phase are done."""
        return self.step >= self.phase.end

    @property
    def last_episode(self) -> dict[str, Any]:
        """What was logged of an episode that ended with this very step, or nothing."""
        step, metrics = self._logged
        return metrics if step == self.step else {}

    @property
    def last_steps(self) -> range:
        """The numbers of the steps that the last call of `collect` has taken."""
        return range(self.step - len(self._environments) + 1, self.step + 1)

    def enter(self, phase: phases.Phase) -> int:
        """Begins a phase, in other environments if it has another task.

        Returns:
          The task that was collected from before.

        Raises:
          ValueError: If its environments have other spaces than the agent.
        """
        if phase.task != self.phase.task:
            self._environments.change(phase.task, self._agent)
        before, self.task, self.phase = self.task, phase.task, phase
        return before

    def collect(self) -> None:
        """Takes one step in every environment of the present task."""
        with self._timer.section("collect"):
            self._environments.driver.step(self._policy)
        self.step += len(self._environments)
        if self.ended:
            # An episode belongs to one phase; what is under way ends with it.
            self._environments.driver.reset()
            self._experience.drop_ongoing()

    def kept(self, task: int) -> dict[str, Any]:
        """Returns what training environments of a task keep over episodes."""
        return self._environments.kept(task)

    def evaluation_policy(
        self, obs: Mapping[str, np.ndarray], state: Any
    ) -> tuple[np.ndarray, Any]:
        """The task policy's mode, or the policy that collects the data."""
        return self._agent.policy(
            obs,
            state,
            step=self.step,
            exploring=self._exploring([0] * len(obs["is_first"])),
            evaluate=self._config.sep_exp_eval_policies,
        )

    def tensors(self) -> dict[str, tf.Tensor]:
        """Returns the state of the policy by name, for a snapshot."""
        return checkpoint.name_policy_state(self._environments.driver.policy_state)

    def get_state(self) -> dict[str, Any]:
        """Returns what a snapshot needs besides tensors, fit for JSON."""
        below = self._environments.get_state()
        return {"step": self.step, "task": self.task, **below}

    def set_state(
        self, state: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
    ) -> None:
        """Goes on from a snapshot; the replay must have been restored before.

        It hears again of the episodes under way, which no snapshot of it holds. If
        another number of environments goes on, they begin new ones.

        Raises:
          ValueError: If so many environments never come to the snapshot's step.
        """
        self.step, self.task = state["step"], state["task"]
        self._logged = self.step, state.get("episode", {})
        number = len(self._environments)
        if self.step % number:
            raise ValueError(
                f"The snapshot is of step {self.step}, but {number} environments "
                f"together come to multiples of {number} only, and phases would end "
                "elsewhere than planned; resume with another number of envs."
            )
        self._environments.set_state(state)
        before = state["drivers"].get(str(self._environments.task))
        if before and len(before["episodes"]) == number:
            policy_state = checkpoint.policy_state(tensors)
            self._environments.driver.policy_state = policy_state

    def close(self) -> None:
        """Closes the environments."""
        self._environments.close()

    def _listen_to(self, driver: driver_lib.Driver) -> None:
        driver.on_step(self._store)
        driver.on_episode(self._log_episode)

    def _policy(
        self, obs: Mapping[str, np.ndarray], state: Any
    ) -> tuple[np.ndarray, Any]:
        """Random actions at first, then the agent's."""
        with self._timer.section("policy"):
            if self.step < self._config.prefill:
                rows, act_spec = len(self._environments), self._agent.act_spec
                seed = self._config.seed
                return tasks_lib.random_actions(seed, self.step, rows, act_spec), None
            exploring = self._exploring(self._environments.driver.episodes)
            return self._agent.policy(obs, state, step=self.step, exploring=exploring)

    def _exploring(self, episodes: Sequence[int]) -> np.ndarray:
        """Returns which environments [N] follow the exploration behaviour now."""
        every = self._config.expl_every or 1
        now = self._explores(self.step)
        return np.array([now and episode % every == 0 for episode in episodes])

    def _store(self, transition: Mapping[str, np.ndarray], worker: int) -> None:
        with self._timer.section("add"):
            self._experience.add_step(transition, worker, self.phase.task)

    def _log_episode(self, episode: Mapping[str, Any], worker: int) -> None:
        metrics = {
            "return": episode["return"],
            "length": episode["length"],
            "task": self.phase.task,
            **summary.episode_metrics(episode["log"], self._config),
            **self._experience.stats(),
        }
        step = self.step + worker + 1
        self._logged = step, metrics
        self._logger.write(step * self._config.action_repeat, metrics)
