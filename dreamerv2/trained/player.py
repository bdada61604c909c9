"""Plays episodes with a trained agent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from common import config as config_lib
from common import driver as driver_lib
from common import schedules, specs
from common.envs import base
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import build
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.run.evaluation import pictures
from dreamerv2.trained import snapshot as snapshot_lib
from dreamerv2.trained import weights

# What the agent does: as the run evaluates it; the most probable action of the task
# behaviour; a sample of that; or what the exploration behaviour does.
POLICIES = ("run", "mode", "sample", "explore")


class Episode(NamedTuple):
    """One episode of an agent."""

    score: float  # the sum of rewards
    length: int  # steps, the reset not counted
    success: bool | None  # None if the task does not tell
    transitions: dict[str, np.ndarray]  # [length + 1, ...]; empty if not kept


class Player:
    """Steps environments with the agent of a snapshot."""

    def __init__(
        self,
        snapshot: snapshot_lib.Snapshot,
        policy: str = "run",
        seed: int | None = None,
    ):
        """Builds nothing before the first episode.

        Args:
          snapshot: The agent.
          policy: One of `POLICIES`.
          seed: Decides the episodes and all else that is random; the run's if None.

        Raises:
          ValueError: If the policy is unknown, or the agent has no such behaviour.
        """
        config = snapshot.config
        check_policy(policy, config)
        self.agent: agent_lib.Agent | None = None
        self.snapshot, self.policy = snapshot, policy
        self.config = weights.config_of(snapshot, seed)
        self._options = policy_options(policy, config, snapshot.step)

    def play(
        self, task: tasks_lib.Task, number: int, episodes: int, keep: bool = False
    ) -> Iterator[Episode]:
        """Plays one episode after the other.

        The n-th episode of a task begins as the n-th that a run of this seed is
        evaluated on, whichever other tasks are played.

        Args:
          task: What to play; its evaluation environment if it has one.
          number: Its number in the run.
          episodes: How many.
          keep: Whether the transitions are handed over.

        Raises:
          ValueError: If the environment has other spaces than the run, or the task
            before.
          CheckpointError: If the weights do not fit.
        """
        with contextlib.closing((task.make_eval or task.make)()) as env:
            agent = self._agent_for(task.name, env)
            if number in self.snapshot.wrappers:
                env.set_state(self.snapshot.wrappers[number])
            agent.set_state({"policy": 0})
            seed_of = tasks_lib.seeds(self.config.seed, "eval", number)
            longest = tasks_lib.longest(self.config)
            driver = driver_lib.Driver([env], seed_of, longest)
            transitions: list[driver_lib.Transition] = []
            summaries: list[dict[str, Any]] = []
            if keep:
                driver.on_step(
                    lambda tran, _: transitions.append(_with_picture(tran, env))
                )
            driver.on_episode(lambda summary, _: summaries.append(summary))
            told = False
            for _ in range(episodes):
                driver.play(self._act, [1])
                if any(driver.cut) and not told:
                    told = True
                    tasks_lib.warn_of_cut(task.name, longest)
                yield _episode(summaries.pop(), transitions)
                transitions.clear()

    def _act(self, obs: dict[str, np.ndarray], state: Any) -> tuple[np.ndarray, Any]:
        return self.agent.policy(obs, state, step=self.snapshot.step, **self._options)

    def _agent_for(self, name: str, env: base.Env) -> agent_lib.Agent:
        """The agent, built for the spaces of the first environment."""
        if self.agent is None:
            spaces = specs.Spaces(env.obs_specs, env.act_spec)
            known = self.snapshot.spaces
            if known is not None:
                build.check_specs(name, spaces, known, "the run")
            self.agent = weights.build(self.snapshot, self.config, spaces)
        build.check_specs(name, env, self.agent)
        return self.agent


def check_policy(policy: str, config: config_lib.Config) -> None:
    """Raises ValueError if a policy is unknown, or a run has no such behaviour."""
    if policy not in POLICIES:
        raise ValueError(
            f"Unknown policy {policy!r}; choose from {', '.join(POLICIES)}."
        )
    if policy == "explore" and config.expl_behavior == "greedy":
        raise ValueError(
            "policy explore needs a run with an exploration behaviour, but its "
            "expl_behavior is greedy; choose mode or sample."
        )


def policy_options(
    policy: str, config: config_lib.Config, step: int, rows: int = 1
) -> dict[str, Any]:
    """Returns what `Agent.policy` is called with, besides observations and state."""
    evaluate, exploring = policy == "mode", policy == "explore"
    if policy == "run":
        evaluate = config.sep_exp_eval_policies
        exploring = schedules.Until(config.expl_until)(step)
    return {"evaluate": evaluate, "exploring": np.full(rows, exploring)}


def _with_picture(
    transition: driver_lib.Transition, env: base.Env
) -> driver_lib.Transition:
    """Adds what there is to look at, besides what the agent sees."""
    picture = pictures.of(env)
    return transition if picture is None else {**transition, pictures.KEY: picture}


def _episode(
    summary: dict[str, Any], transitions: list[driver_lib.Transition]
) -> Episode:
    success = summary["log"].get("log_success")
    keys = set.intersection(*map(set, transitions)) if transitions else ()
    return Episode(
        float(summary["return"]),
        int(summary["length"]),
        None if success is None else bool(np.max(success) > 0),
        {key: np.stack([tran[key] for tran in transitions]) for key in keys},
    )
