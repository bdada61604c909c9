"""Builds the parts of a run from its configuration."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from common import config as config_lib
from common import (
    dashboards,
    logger,
    outputs,
    replay,
    retention,
    sampling,
    specs,
)
from common.envs import base, parallel
from dreamerv2 import rundir
from dreamerv2 import tasks as tasks_lib


def make_envs(task: tasks_lib.Task, config: config_lib.Config) -> list[base.Env]:
    """Makes the training environments of a task, `config.envs` of them.

    Raises:
      ValueError: If the number or the way to run them is not valid.
    """
    if config.envs < 1:
        raise ValueError(f"envs is {config.envs}; at least 1 is needed.")
    return [
        parallel.make_parallel(task.make, config.envs_parallel)
        for _ in range(config.envs)
    ]


def check_specs(
    name: str,
    env: base.Env,
    obs_specs: Mapping[str, specs.ArraySpec],
    act_spec: specs.ActionSpec,
) -> None:
    """Raises ValueError unless an environment has the given spaces."""
    if (env.obs_specs, env.act_spec) != (obs_specs, act_spec):
        raise ValueError(
            f"Task {name!r} has observations {env.obs_specs} and {env.act_spec}, but "
            f"the first task has {obs_specs} and {act_spec}; one agent needs the same "
            "spaces in every task."
        )


def make_replay(
    folder: pathlib.Path,
    config: config_lib.Config,
    obs_specs: Mapping[str, specs.ArraySpec],
) -> replay.Replay:
    """Opens the run's replay with the configured strategies.

    Raises:
      ValueError: If a number or name in `config.replay` is not valid.
    """
    settings = config.replay
    options = {"recent_prob": settings.recent_prob}
    chosen = options if settings.sampling == "recent" else {}
    return replay.Replay(
        folder / rundir.REPLAY,
        capacity=settings.capacity,
        minlen=settings.minlen,
        maxlen=settings.maxlen,
        prioritize_ends=settings.prioritize_ends,
        ongoing=settings.ongoing,
        keep_evicted=settings.keep_evicted,
        cache_bytes=settings.cache,
        retention=retention.make(settings.retention, config.seed),
        sampling=sampling.make(settings.sampling, config.seed, **chosen),
        seed=config.seed,
        specs=obs_specs,
    )


def make_outputs(
    folder: pathlib.Path,
    config: config_lib.Config,
    total: int,
    task_names: Sequence[str],
) -> tuple[outputs.JSONLOutput, list[logger.Output]]:
    """Opens the places that metrics go to.

    Args:
      folder: The run's folder.
      config: The run's configuration.
      total: Frames of the whole run.
      task_names: Names by task number.

    Returns:
      The file of JSON lines, and all outputs, it among them.
    """
    lines = outputs.JSONLOutput(folder / rundir.METRICS)
    wandb = config.wandb
    everything = [
        outputs.TerminalOutput(total, task_names),
        lines,
        dashboards.TensorBoardOutput(folder / rundir.TENSORBOARD),
        dashboards.WandbOutput(
            wandb.project,
            id_path=folder / rundir.WANDB_ID,
            group=wandb.group,
            name=config.tag or folder.name,
            directory=wandb.dir,
            mode=wandb.mode,
            entity=wandb.entity,
            config=config.flat,
        ),
    ]
    return lines, everything
