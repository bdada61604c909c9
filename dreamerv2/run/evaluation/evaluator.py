"""Periodic evaluation on every task, in environments of its own."""

from __future__ import annotations

import collections
import contextlib
import logging
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common import config as config_lib
from common import driver as driver_lib
from common import replay
from common.envs import base, statistics
from common.envs.workers import parallel
from dreamerv2.algorithm import world_model
from dreamerv2.run import build
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.run.evaluation import pictures

_LOG = logging.getLogger(__name__)

# A task to the state of an environment that it is trained in, empty if there is none.
Kept = Callable[[int], Mapping[str, Any]]


class Place(NamedTuple):
    """Which environment a row of the batch is."""

    task: int
    index: int  # among those of the task


class Evaluator:
    """Plays a fixed number of episodes of each task; its steps count for nothing.

    All tasks are played at the same time, one call of the policy a step for N
    environments of each, `eval_envs`. The episodes of a task are numbered over the
    whole run, the number alone gives the seed, and every N-th goes to the same
    environment: which episodes an evaluation plays depends neither on N nor on how long
    they are. An environment that has played its own stands still. `eval_steps`, which
    cuts episodes off, uses one environment of each task. An episode that does not end
    is cut after `eval_limit` steps. What wrappers keep over episodes, such as means for
    a normalisation, is at the beginning of an evaluation that of the training.

    What the policy draws at random is drawn for the whole batch: samples of the latent
    (none with `eval_state_mean`), actions and exploration without
    `sep_exp_eval_policies`, `eval_noise`. A row's draws depend on N, so that the same
    episode may go another way from the same start; with the same N it does not.
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

        Raises:
          ValueError: If `eval_envs` or `eval_limit` is negative.
        """
        if config.eval_envs < 0:
            raise ValueError(
                f"eval_envs is {config.eval_envs}; it must be 0, for as many as envs, "
                "or more."
            )
        self._tasks = {k: t for k, t in enumerate(tasks) if t.make_eval is not None}
        self._trained = trained
        self._config, self._longest = config, tasks_lib.longest(config)
        self._cut: set[int] = set()  # tasks whose endless episodes were told of
        self._experience = experience
        if experience is not None:
            length = config.dataset.length
            self._shown = experience.stream(world_model.VIDEOS, length)
        self._envs: dict[int, list[base.Env]] = {}
        self._fresh: dict[int, dict[str, Any]] = {}  # what wrappers keep at first
        self._played = dict.fromkeys(self._tasks, 0)  # in earlier evaluations

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __call__(
        self,
        policy: driver_lib.Policy,
        videos: bool = False,
        kept: Kept = lambda task: {},
    ) -> dict[str, Any]:
        """Evaluates a policy.

        Args:
          policy: Function of observations [N, ...] and a state to actions and state.
          videos: Whether to record the first episode of each task.
          kept: What wrappers keep is taken from it.

        Returns:
          `eval_return_{k}`, `eval_length_{k}`, `eval_success_{k}` (for tasks that tell
          success) as means over episodes, the means of these over the trained tasks
          without a number, and videos `eval_{key}_{k}` [T, H, W, C]: of the images in
          `log_keys_video`, and `log_image`, if an environment has that or renders.

        Raises:
          ValueError: If the tasks have different spaces.
          Exception: What the policy raises; then it was as if nothing had been played.
        """
        metrics: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            if self._experience is not None:
                stack.enter_context(self._experience.all_or_none())
            self._take_over(kept)
            record = self._play(policy, self._config.log_keys_video if videos else ())
        for k in self._tasks:
            for name, values in _summaries(record.episodes[k]).items():
                metrics[f"eval_{name}_{k}"] = float(np.mean(values))
            for key, frames in record.frames[k].items():
                if len({frame.shape for frame in frames}) > 1:
                    _LOG.warning("No video of %s: its frames differ in shape.", key)
                else:
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

    def open(
        self, folder: pathlib.Path, state: Mapping[str, Any] | None = None
    ) -> None:
        """Opens the replay's folder, if there is a replay.

        Args:
          folder: Where its episodes are.
          state: What `set_state` will be given, None for a run that begins.

        Raises:
          ValueError: If the episodes there do not fit.
        """
        if self._experience is not None:
            self._experience.open(folder, state and state.get("replay"))

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
        if self._experience is not None and "replay" in state:
            self._experience.set_state(state["replay"])
            self._shown.set_state(state["shown"])

    def keep(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Lets go of what none of these states of the evaluator needs."""
        if self._experience is not None:
            self._experience.keep(
                [each["replay"] for each in states if "replay" in each]
            )

    @property
    def restarts(self) -> int:
        """Environments that failed and were started anew."""
        return sum(map(build.count_restarts, self._envs.values()))

    def close(self) -> None:
        """Closes the environments."""
        for env in (env for envs in self._envs.values() for env in envs):
            env.close()
        self._envs = {}
        if self._experience is not None:
            self._experience.close()

    def _play(self, policy: driver_lib.Policy, shown: Sequence[str]) -> _Record:
        """Plays the episodes of one evaluation; `shown` are the keys of the videos."""
        config, envs = self._config, self._open()
        places = [Place(k, i) for k in envs for i in range(len(envs[k]))]
        rows = [envs[k][i] for k, i in places]
        driver = driver_lib.Driver(rows, self._seed_of(places), self._longest)
        record = _Record(places, shown, rows)
        driver.on_episode(record.add_episode)
        driver.on_step(record.add_step)
        if self._experience is not None:
            driver.on_step(
                lambda transition, row: self._experience.add_step(
                    transition, row, places[row].task
                )
            )
        if config.eval_steps:
            steps = math.ceil(config.eval_steps / len(envs))
            driver.run(policy, steps * len(places))
        numbers = range(max(1, config.eval_eps))
        left = [
            0 if record.episodes[k] else len(numbers[i :: len(envs[k])])
            for k, i in places
        ]
        if any(left):
            driver.play(policy, left)
        for place, count in zip(places, driver.episodes, strict=True):
            self._played[place.task] += count
        for place, count in zip(places, driver.cut, strict=True):
            if count and place.task not in self._cut:
                self._cut.add(place.task)
                tasks_lib.warn_of_cut(self._tasks[place.task].name, self._longest)
        if self._experience is not None:
            self._experience.drop_ongoing()  # what `eval_steps` has cut off
        return record

    def _take_over(self, kept: Kept) -> None:
        """Puts wrappers where those of the training are, or where they began."""
        for k, envs in self._open().items():
            fresh = self._fresh[k]
            trained = statistics.only(kept(k)) if fresh else {}
            state = trained if statistics.fits(trained, fresh) else fresh
            for env in envs if state else ():
                env.set_state(state)

    def _open(self) -> dict[int, list[base.Env]]:
        """Returns the environments of every task; makes them the first time."""
        config = self._config
        most = 1 if config.eval_steps else max(1, config.eval_eps)
        for k, task in self._tasks.items():
            envs = self._envs.setdefault(k, [])
            while len(envs) < min(config.eval_envs or config.envs, most):
                envs.append(
                    parallel.make_parallel(task.make_eval, config.envs_parallel)
                )
                (first, *_), *_ = self._envs.values()
                build.check_specs(task.name, envs[-1], first)
                state = getattr(envs[-1], "get_state", dict)()
                self._fresh.setdefault(k, statistics.only(state))
        return self._envs

    def _seed_of(self, places: Sequence[Place]) -> Callable[[int, int], int]:
        """Numbers the episodes of each task in turn over its environments."""
        played = dict(self._played)
        counts = collections.Counter(place.task for place in places)
        seeds = {k: tasks_lib.seeds(self._config.seed, "eval", k) for k in self._tasks}

        def seed_of(row: int, episode: int) -> int:
            k, index = places[row]
            return seeds[k](0, played[k] + episode * counts[k] + index)

        return seed_of


class _Record:
    """What happens in one evaluation, by task."""

    def __init__(
        self, places: Sequence[Place], shown: Sequence[str], envs: Sequence[base.Env]
    ):
        self.episodes: dict[int, list[dict[str, Any]]] = {k: [] for k, _ in places}
        self.frames: dict[int, dict[str, list]] = {k: {} for k, _ in places}
        self._places, self._shown, self._envs = places, shown, envs
        self._over: set[int] = set()  # rows that have finished an episode

    def add_episode(self, episode: dict[str, Any], row: int) -> None:
        self._over.add(row)
        self.episodes[self._places[row].task].append(episode)

    def add_step(self, transition: Mapping[str, np.ndarray], row: int) -> None:
        """Keeps the images of the first episode of each task, and its pictures."""
        k, index = self._places[row]
        if index or row in self._over:
            return
        for key in self._shown:
            if transition.get(key, np.zeros(0)).ndim == 3:
                self.frames[k].setdefault(key, []).append(transition[key])
        picture = pictures.of(self._envs[row]) if self._shown else None
        if picture is not None:
            frames = self.frames[k].setdefault(pictures.KEY, [])
            if not frames or picture.shape == frames[0].shape:
                frames.append(picture)


def _summaries(episodes: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return, length and, if the task tells it, success of each episode."""
    result = {
        name: [episode[name] for episode in episodes] for name in ("return", "length")
    }
    success = [episode["log"].get("log_success") for episode in episodes]
    if any(values is not None for values in success):  # who does not tell has failed
        result["success"] = [0.0 if v is None else float(np.max(v)) for v in success]
    return result
