"""Periodic evaluation on every task, in environments of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common import config as config_lib
from common import driver as driver_lib
from dreamerv2 import assembly
from dreamerv2 import tasks as tasks_lib


class Evaluator:
    """Plays a fixed number of episodes of each task; its steps count for nothing."""

    def __init__(
        self,
        tasks: Sequence[tasks_lib.Task],
        trained: int,
        config: config_lib.Config,
    ):
        """Makes no environment before the first evaluation.

        Args:
          tasks: Tasks to evaluate on; those without `make_eval` are left out.
          trained: The first so many tasks are trained on and enter the means.
          config: The run's configuration.
        """
        self._tasks = {k: t for k, t in enumerate(tasks) if t.make_eval is not None}
        self._trained = trained
        self._config = config
        self._drivers: dict[int, driver_lib.Driver] = {}
        self._envs: list[Any] = []
        self._states: dict[str, Any] = {}
        self._episodes: list[dict[str, Any]] = []
        self._frames: dict[str, list[np.ndarray]] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __call__(
        self, policy: driver_lib.Policy, videos: bool = False
    ) -> dict[str, Any]:
        """Evaluates a policy.

        Args:
          policy: Function of observations [N, ...] and a state to actions and state.
          videos: Whether to record the first episode of each task.

        Returns:
          `eval_return_{k}`, `eval_length_{k}`, `eval_success_{k}` (for tasks that tell
          success) as means over episodes, the means of these over the trained tasks
          without a number, and videos `eval_{key}_{k}` [T, H, W, C].
        """
        metrics: dict[str, Any] = {}
        for k in self._tasks:
            self._episodes, self._frames = [], {}
            self._play(self._driver(k), policy)
            for name, values in self._summaries().items():
                metrics[f"eval_{name}_{k}"] = float(np.mean(values))
            if videos:
                for key, frames in self._frames.items():
                    metrics[f"eval_{key}_{k}"] = np.stack(frames)
        for name in ("return", "length", "success"):
            keys = [f"eval_{name}_{k}" for k in range(self._trained)]
            if all(key in metrics for key in keys):
                metrics[f"eval_{name}"] = float(np.mean([metrics[k] for k in keys]))
        return metrics

    def get_state(self) -> dict[str, Any]:
        """Returns the episode counts of every task, fit for JSON."""
        now = {str(k): driver.get_state() for k, driver in self._drivers.items()}
        return {**self._states, **now}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues the episode counts, and with them the episodes' seeds."""
        self._states = dict(state)

    @property
    def restarts(self) -> int:
        """Environments that failed and were started anew."""
        return assembly.count_restarts(self._envs)

    def close(self) -> None:
        """Closes the environments."""
        for env in self._envs:
            env.close()
        self._envs, self._drivers = [], {}

    def _driver(self, k: int) -> driver_lib.Driver:
        if k not in self._drivers:
            env = self._tasks[k].make_eval()
            self._envs.append(env)
            driver = driver_lib.Driver(
                [env], tasks_lib.seeds(self._config.seed, "eval", k)
            )
            driver.on_episode(lambda episode, _: self._episodes.append(episode))
            driver.on_step(self._record)
            if str(k) in self._states:
                driver.set_state(self._states[str(k)])
            self._drivers[k] = driver
        return self._drivers[k]

    def _play(self, driver: driver_lib.Driver, policy: driver_lib.Policy) -> None:
        if self._config.eval_steps:
            share = math.ceil(self._config.eval_steps / len(self._tasks))
            driver.run(policy, steps=share)
        if not self._episodes:
            driver.run(policy, episodes=max(1, self._config.eval_eps))
        driver.reset()  # an evaluation leaves no episode under way

    def _record(self, transition: Mapping[str, np.ndarray], worker: int) -> None:
        if not self._episodes:
            for key in self._config.log_keys_video:
                if transition.get(key, np.zeros(0)).ndim == 3:
                    self._frames.setdefault(key, []).append(transition[key])

    def _summaries(self) -> dict[str, list[float]]:
        result = {
            name: [episode[name] for episode in self._episodes]
            for name in ("return", "length")
        }
        success = [e["log"].get("log_success") for e in self._episodes]
        if success[0] is not None:
            result["success"] = [float(np.max(values)) for values in success]
        return result
