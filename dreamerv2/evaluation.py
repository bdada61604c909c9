"""Periodic evaluation on every task, in environments of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from common import config as config_lib
from common import driver as driver_lib
from common import replay
from common.envs import base, parallel
from dreamerv2 import assembly, world_model
from dreamerv2 import tasks as tasks_lib


class Evaluator:
    """Plays a fixed number of episodes of each task; its steps count for nothing.

    The episodes of a task are numbered over the whole run, the number alone gives the
    seed, and with N environments every N-th goes to the same one: which episodes an
    evaluation plays depends neither on N nor on how long they are. `eval_steps`, which
    cuts episodes off, uses one environment.
    """

    def __init__(
        self,
        tasks: Sequence[tasks_lib.Task],
        trained: int,
        config: config_lib.Config,
        experience: replay.Replay | None = None,
    ):
        """Makes no environment before the first evaluation.

        Args:
          tasks: Tasks to evaluate on; those without `make_eval` are left out.
          trained: The first so many tasks are trained on and enter the means.
          config: The run's configuration.
          experience: Takes in the episodes; it is closed with the evaluator.
        """
        self._tasks = {k: t for k, t in enumerate(tasks) if t.make_eval is not None}
        self._trained = trained
        self._config = config
        self._experience = experience
        if experience is not None:
            length = config.dataset.length
            self._shown = experience.stream(world_model.VIDEOS, length)
        self._envs: dict[int, list[base.Env]] = {}
        self._played = dict.fromkeys(self._tasks, 0)  # in earlier evaluations
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
            self._play(k, policy)
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

    def sample(self) -> dict[str, np.ndarray] | None:
        """Returns a batch [VIDEOS, T, ...] of evaluation episodes; None without any."""
        if self._experience is None or not self._experience.stats()["loaded_episodes"]:
            return None
        return self._shown.next()

    def get_state(self) -> dict[str, Any]:
        """Returns the episode counts of every task, fit for JSON."""
        state: dict[str, Any] = {
            "played": {str(k): count for k, count in self._played.items()}
        }
        if self._experience is not None:
            state["replay"] = self._experience.get_state()
            state["shown"] = self._shown.get_state()
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues the episode counts, and with them the episodes' seeds."""
        for k, count in state.get("played", {}).items():
            self._played[int(k)] = count
        if self._experience is not None:
            self._experience.set_state(state["replay"])
            self._shown.set_state(state["shown"])

    @property
    def restarts(self) -> int:
        """Environments that failed and were started anew."""
        return sum(map(assembly.count_restarts, self._envs.values()))

    def close(self) -> None:
        """Closes the environments."""
        for env in (env for envs in self._envs.values() for env in envs):
            env.close()
        self._envs = {}
        if self._experience is not None:
            self._experience.close()

    def _play(self, k: int, policy: driver_lib.Policy) -> None:
        config = self._config
        envs = self._open(k)
        driver = driver_lib.Driver(envs, self._seed_of(k, len(envs)))
        driver.on_episode(lambda episode, _: self._episodes.append(episode))
        driver.on_step(self._record)
        if self._experience is not None:
            driver.on_step(
                lambda transition, worker: self._experience.add_step(
                    transition, worker, k
                )
            )
        if config.eval_steps:
            driver.run(policy, math.ceil(config.eval_steps / len(self._tasks)))
        if not self._episodes:
            episodes = range(max(1, config.eval_eps))
            driver.play(
                policy, [len(episodes[i :: len(envs)]) for i in range(len(envs))]
            )
        self._played[k] += sum(driver.episodes)
        if self._experience is not None:
            self._experience.drop_ongoing()  # what `eval_steps` has cut off

    def _open(self, k: int) -> list[base.Env]:
        """Returns the environments of a task; makes them the first time."""
        if k not in self._envs:
            config, self._envs[k] = self._config, []
            most = 1 if config.eval_steps else max(1, config.eval_eps)
            for _ in range(min(config.envs, most)):
                self._envs[k].append(
                    parallel.make_parallel(
                        self._tasks[k].make_eval, config.envs_parallel
                    )
                )
        return self._envs[k]

    def _seed_of(self, k: int, count: int) -> Callable[[int, int], int]:
        """Numbers the episodes of one evaluation in turn over `count` environments."""
        seed_of = tasks_lib.seeds(self._config.seed, "eval", k)
        played = self._played[k]
        return lambda env, episode: seed_of(0, played + episode * count + env)

    def _record(self, transition: Mapping[str, np.ndarray], worker: int) -> None:
        first_over = any(episode["worker"] == 0 for episode in self._episodes)
        if worker == 0 and not first_over:
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
