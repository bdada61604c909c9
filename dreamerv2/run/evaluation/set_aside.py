"""Episodes set aside before training, on which the world model is judged.

An agent that fails at a task may have lost the policy or the model of it. Random
episodes tell: no policy has a part in the losses on them, and they are the same ones at
every evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common import config as config_lib
from common import driver as driver_lib
from common.envs.workers import parallel
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import build, stopping
from dreamerv2.run import tasks as tasks_lib

Episode = dict[str, np.ndarray]  # [L, ...] by key, the reset included


class SetAside:
    """A few random episodes of each task, held in memory and never in a replay.

    They follow from the run's seed alone. A run that goes on plays them again, and
    nothing of them is in a snapshot. The environments are made as those of the
    evaluation are, but closed again, so that no evaluation episode begins otherwise.
    """

    def __init__(
        self,
        tasks: Sequence[tasks_lib.Task],
        agent: agent_lib.Agent,
        config: config_lib.Config,
    ):
        """Plays nothing yet.

        Args:
          tasks: Tasks by number; those without `make_eval` are left out.
          agent: Has the world model, and the spaces.
          config: The run's configuration: `eval_model_eps` episodes of each task, none
            in a run that does not evaluate.

        Raises:
          ValueError: If `eval_model_eps` is negative.
        """
        if config.eval_model_eps < 0:
            raise ValueError(
                f"eval_model_eps is {config.eval_model_eps}; it must be 0, for no "
                "episodes set aside, or more."
            )
        wanted = config.eval_model_eps > 0 and config.eval_every > 0
        self._tasks = {
            k: task for k, task in enumerate(tasks) if wanted and task.make_eval
        }
        self._agent, self._config = agent, config
        self._windows: dict[int, list[Episode]] = {}
        self._noise: dict[int, int] = {}  # seeds of the latents

    def play(self, stop: stopping.StopRequest | None = None) -> None:
        """Plays the episodes of every task.

        Args:
          stop: Looked at before each step, if given.

        Raises:
          ValueError: If a task has other spaces than the agent.
          KeyboardInterrupt: At a stop; there is nothing yet to be saved.
        """
        try:
            stop = stopping.StopRequest() if stop is None else stop
            episodes = {k: self._play(k, stop) for k in self._tasks}
        except stopping.Interrupted:
            raise KeyboardInterrupt from None
        lengths = [len(each["reward"]) for found in episodes.values() for each in found]
        length = min(self._config.dataset.length, max(lengths, default=1))
        self._windows = {k: cut(found, length) for k, found in episodes.items()}

    def __call__(self) -> dict[str, float]:
        """Returns the world model's losses on the episodes of every task k.

        Returns:
          `eval_model_{key}_{k}` in nats: -ln p of each observation key, `reward` and
          `discount`, and `kl`, the divergence of the posterior from the prior without
          scale; means over all steps. Empty without episodes.
        """
        return {
            f"eval_model_{key}_{k}": value
            for k, windows in self._windows.items()
            for key, value in self._agent.assess(windows, self._noise[k]).items()
        }

    def _play(self, k: int, stop: stopping.StopRequest) -> list[Episode]:
        """Plays the episodes of one task in an environment of its own."""
        task, config = self._tasks[k], self._config
        rng = np.random.default_rng([config.seed, tasks_lib.STREAMS["aside"], k])
        self._noise[k] = int(rng.integers(2**31))
        act_spec = self._agent.act_spec
        episodes: list[list[Mapping[str, np.ndarray]]] = []

        def act(obs: Mapping[str, np.ndarray], state: Any) -> tuple[np.ndarray, Any]:
            return tasks_lib.uniform_actions(rng, len(obs["is_first"]), act_spec), state

        def keep(transition: Mapping[str, np.ndarray], row: int) -> None:
            if transition["is_first"]:
                episodes.append([])
            episodes[-1].append(transition)

        env = parallel.make_parallel(task.make_eval, config.envs_parallel)
        try:
            build.check_specs(task.name, env, self._agent)
            longest = tasks_lib.longest(config)
            seed_of = tasks_lib.seeds(config.seed, "aside", k)
            driver = driver_lib.Driver([env], seed_of, longest)
            driver.on_step(keep)
            driver.play(stop.heeded_by(act), [config.eval_model_eps])
            if any(driver.cut):
                tasks_lib.warn_of_cut(task.name, longest)
        finally:
            env.close()
        return [
            {key: np.stack([step[key] for step in steps]) for key in steps[0]}
            for steps in episodes
        ]


def cut(episodes: Sequence[Episode], length: int) -> list[Episode]:
    """Cuts episodes into windows, a row for each episode.

    A row goes on in the next window where it ends in this one, as those of a batch
    stream do, so that every step is seen with all steps of its episode before it.
    Whatever follows an episode's last step is 0, and not `valid`; other episodes there
    would need rows of equal length as well.

    Args:
      episodes: B episodes.
      length: T.

    Returns:
      As many batches [B, T, ...] as the longest episode needs, with `valid` [B, T].
    """
    count = max(-(-len(episode["reward"]) // length) for episode in episodes)
    lead = (len(episodes), count * length)
    rows = {
        key: np.zeros((*lead, *first.shape[1:]), first.dtype)
        for key, first in episodes[0].items()
    }
    rows["valid"] = np.zeros(lead, bool)
    for row, episode in enumerate(episodes):
        steps = len(episode["reward"])
        rows["valid"][row, :steps] = True
        for key, values in episode.items():
            rows[key][row, :steps] = values
    starts = range(0, lead[1], length)
    return [{k: v[:, at : at + length] for k, v in rows.items()} for at in starts]
