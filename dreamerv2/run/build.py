"""Builds the parts of a run from its configuration."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from common import config as config_lib
from common import replay
from common.envs import base
from common.envs.workers import parallel
from common.nets import embeddings
from common.records import dashboards, files, logger, outputs
from common.replay import footprint, retention, sampling
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import tasks as tasks_lib


def make_envs(task: tasks_lib.Task, config: config_lib.Config) -> list[base.Env]:
    """Makes the training environments of a task, `config.envs` of them.

    Raises:
      ValueError: If the way to run them is not valid.
    """
    return [
        parallel.make_parallel(task.make, config.envs_parallel)
        for _ in range(config.envs)
    ]


def count_restarts(envs: Sequence[base.Env]) -> int:
    """Returns how often supervised environments among these were started anew."""
    return sum(getattr(env, "restarts", 0) for env in envs)


def check_specs(name: str, env: base.Env, first: base.Env | agent_lib.Agent) -> None:
    """Raises ValueError unless a task's environment has the first one's spaces."""
    if (env.obs_specs, env.act_spec) != (first.obs_specs, first.act_spec):
        raise ValueError(
            f"Task {name!r} has observations {env.obs_specs} and {env.act_spec}, but "
            f"the first task has {first.obs_specs} and {first.act_spec}; one agent "
            "needs the same spaces in every task."
        )


def check_tasks(
    tasks: Sequence[tasks_lib.Task], agent: agent_lib.Agent, config: config_lib.Config
) -> None:
    """Makes an environment of each of some tasks, to look at its spaces.

    Raises:
      ValueError: If they are not those of the agent: told before hours of training, not
        when the task's turn comes.
    """
    for task in tasks:
        (env,) = make_envs(task, config.update(envs=1))
        try:
            check_specs(task.name, env, agent)
        finally:
            env.close()


def make_replay(
    folder: pathlib.Path, config: config_lib.Config, agent: agent_lib.Agent
) -> replay.Replay:
    """Opens the run's replay with the configured strategies.

    Args:
      folder: The run's folder.
      config: The run's configuration.
      agent: Scores episodes for `uncertainty` sampling.

    Raises:
      ValueError: If a number or name in `config.replay` is not valid, or a full replay
        would not fit into memory or on the disk (unless `config.force`).
    """
    settings = config.replay
    size = footprint.predict(agent.obs_specs, agent.act_spec.size, settings.capacity)
    print(size)
    if not config.force:
        footprint.check(size, folder / files.REPLAY)
    return _open_replay(
        folder / files.REPLAY,
        config,
        agent,
        capacity=settings.capacity,
        ongoing=settings.ongoing,
        keep_evicted=settings.keep_evicted,
        retention=_make_retention(config, agent),
        sampling=_make_sampling(config, agent),
    )


def make_eval_replay(
    folder: pathlib.Path, config: config_lib.Config, agent: agent_lib.Agent
) -> replay.Replay | None:
    """Opens the replay of evaluation episodes: the newest `config.eval_replay` steps.

    Args:
      folder: The run's folder.
      config: The run's configuration.
      agent: Knows the observations.

    Returns:
      None if `eval_replay` is 0.

    Raises:
      ValueError: If it could not hold an episode.
    """
    if not config.eval_replay:
        return None
    return _open_replay(
        folder / files.EVAL_REPLAY,
        config,
        agent,
        capacity=config.eval_replay,
        retention=retention.make("fifo", config.seed),
        sampling=sampling.make("uniform", config.seed),
    )


def _open_replay(
    folder: pathlib.Path,
    config: config_lib.Config,
    agent: agent_lib.Agent,
    **options: Any,
) -> replay.Replay:
    """Opens a replay with what all of a run have in common."""
    settings = config.replay
    return replay.Replay(
        folder,
        minlen=settings.minlen,
        maxlen=settings.maxlen,
        prioritize_ends=settings.prioritize_ends,
        cache_bytes=settings.cache,
        seed=config.seed,
        specs=agent.obs_specs,
        **options,
    )


def _make_retention(
    config: config_lib.Config, agent: agent_lib.Agent
) -> retention.Retention:
    settings, options = config.replay, {}
    if settings.retention == "coverage":
        images = [k for k, s in agent.obs_specs.items() if s.dtype == np.uint8]
        if not images:
            raise ValueError(
                "replay.retention coverage compares images, but the observations are "
                f"{sorted(agent.obs_specs)}; choose another retention."
            )
        coverage = settings.coverage
        options = {
            "embed": embeddings.ConvLSTM(
                images[0],
                agent.obs_specs[images[0]].shape,
                filters=coverage.filters,
                kernel_size=coverage.kernel_size,
                normalize_lstm_state=coverage.normalize_lstm_state,
                seed=config.seed,
            ),
            "number_of_comparisons": coverage.number_of_comparisons,
            "distance": coverage.distance,
        }
    return retention.make(settings.retention, config.seed, **options)


def _make_sampling(
    config: config_lib.Config, agent: agent_lib.Agent
) -> sampling.Sampling:
    settings, options = config.replay, {}
    if settings.sampling == "recent":
        options = {"recent_prob": settings.recent_prob}
    elif settings.sampling == "uncertainty":
        if config.expl_behavior != "Plan2Explore":
            raise ValueError(
                "replay.sampling uncertainty needs the ensemble of Plan2Explore, but "
                f"expl_behavior is {config.expl_behavior!r}; add --plan2explore."
            )
        if config.collect_during_update:
            raise ValueError(
                "replay.sampling uncertainty asks the ensemble at any time, also while "
                "it learns with collect_during_update; leave one of them out."
            )
        options = {
            "score": agent.disagreement,
            "recalculation": settings.uncertainty_recalculation,
        }
    return sampling.make(settings.sampling, config.seed, **options)


def make_outputs(
    folder: pathlib.Path,
    config: config_lib.Config,
    total: int,
    task_names: Sequence[str],
) -> list[logger.Output]:
    """Opens the places that metrics go to.

    Args:
      folder: The run's folder.
      config: The run's configuration.
      total: Frames of the whole run.
      task_names: Names by task number.
    """
    lines = outputs.JSONLOutput(folder / files.METRICS)
    wandb = config.wandb
    return [
        outputs.TerminalOutput(total, task_names),
        lines,
        dashboards.TensorBoardOutput(folder / files.TENSORBOARD),
        dashboards.WandbOutput(
            wandb.project,
            id_path=folder / files.WANDB_ID,
            group=wandb.group,
            name=config.tag or folder.name,
            directory=wandb.dir,
            mode=wandb.mode,
            entity=wandb.entity,
            config=config.flat,
            reached=lines.last_step(),
        ),
    ]
