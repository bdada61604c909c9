"""Builds the parts of a run from its configuration."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from common import config as config_lib
from common import replay, specs
from common.config import plugins
from common.envs import base
from common.envs.meaning import readings
from common.envs.workers import parallel
from common.nets import embeddings
from common.records import dashboards, files, logger, origin, outputs
from common.replay import archive, footprint, recorded, strategies
from common.replay.strategies import retention, sampling
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import checkpoint, phases
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


def check_specs(
    name: str,
    env: base.Env | specs.Spaces,
    other: base.Env | specs.Spaces | agent_lib.Agent,
    whose: str = "the first task",
    way_out: str = "One agent needs the same in every task: train them in runs of "
    "their own, or leave one out of --tasks.",
) -> None:
    """Compares the spaces of a task's environment with those that an agent has.

    Args:
      name: Of the task.
      env: Its environment, or what is known of it.
      other: Has the spaces that it must have.
      whose: Whose they are, for the message.
      way_out: The end of the message.

    Raises:
      ValueError: If they differ; the message says in what.
    """
    here, there = ({**e.obs_specs, "action": e.act_spec} for e in (env, other))
    if here != there:
        differences = [
            f"  {key}: {here.get(key, 'none')} here, {there.get(key, 'none')} there"
            for key in sorted({*here, *there})
            if here.get(key) != there.get(key)
        ]
        raise ValueError(
            f"The task {name} has other spaces than {whose}:\n"
            + "\n".join([*differences, way_out])
        )


def known_spaces(
    path: pathlib.Path, state: Mapping[str, Any], here: specs.Spaces
) -> specs.Spaces:
    """Returns the spaces that a run goes on with: those of its snapshot.

    Args:
      path: The snapshot.
      state: Its entries; one of an older version does not know.
      here: The spaces of the environments that are to go on.

    Raises:
      ValueError: If they differ, told before a network is compared.
    """
    if "spaces" not in state:
        return here
    with checkpoint.fitting(path):
        known = specs.Spaces.from_state(state["spaces"])
    check_specs("to go on with", here, known, "this run had")
    return known


def check_tasks(tasks: tasks_lib.TaskList, config: config_lib.Config) -> None:
    """Makes an environment of each task of a run, to compare their spaces.

    The one task of a run has nothing to be compared with, and is not made; tasks that
    are only evaluated on count if there are evaluations.

    Raises:
      ValueError: If a task has other spaces than the first: told before anything is
        written, not after hours of training, when the task's turn comes.
    """
    makers = [(task.name, task.make) for task in tasks.trained]
    if config.eval_every:
        makers += [(t.name, t.make_eval) for t in tasks.eval_only if t.make_eval]
    (first, make), *others = makers
    if not others:
        return
    there = spaces_of(make, config)
    for name, make in others:
        check_specs(name, spaces_of(make, config), there, f"the task {first}")


def spaces_of(make: Callable[[], base.Env], config: config_lib.Config) -> specs.Spaces:
    """Makes an environment and closes it again; returns what is seen and done there."""
    made = parallel.make_parallel(make, config.envs_parallel)
    with contextlib.closing(made) as env:
        return specs.Spaces(env.obs_specs, env.act_spec)


def tell_spaces(env: base.Env, config: config_lib.Config) -> None:
    """Prints what the observations and actions of an environment are taken for."""
    readings.tell(readings.of_env(env), config.encoder, config.decoder)


def tell_run(
    folder: pathlib.Path,
    names: Sequence[str],
    schedule: phases.Schedule,
    config: config_lib.Config,
) -> None:
    """Prints which run begins or goes on: folder, seed, code, tasks and their steps.

    Args:
      folder: The run's folder.
      names: Names by task number; those that the schedule leaves out are evaluated on.
      schedule: When they are trained.
      config: The run's configuration.
    """
    code = origin.code()
    outputs.tell(f"Run: {folder}, seed {config.seed}{', ' * bool(code)}{code}.")
    short, repeats = outputs.short_number, schedule.repeats
    once = schedule.phases[: len(schedule.phases) // repeats]
    tasks = [
        f"{outputs.short_name(names[task])} {short(end - start)}"
        for _, task, start, end in once
    ]
    total = f"; {short(schedule.total)} in all" * (len(schedule.phases) > 1)
    frames = config.action_repeat
    outputs.tell(
        f"Task{'s' * (len(tasks) > 1)}: {', '.join(tasks)} steps"
        + f", {repeats} times" * (repeats > 1)
        + total
        + f"; {frames} frames a step" * (frames > 1)
        + "."
    )


def tell_agent(agent: agent_lib.Agent, config: config_lib.Config) -> None:
    """Prints how large the agent is, and in which precision it computes."""
    short = outputs.short_number
    sizes = [f"{name} {short(count)}" for name, count in agent.parameters().items()]
    outputs.tell(
        f"Parameters: {', '.join(sizes)}; precision {config.precision}, "
        f"envs {config.envs}."
    )


def make_replay(
    folder: pathlib.Path, config: config_lib.Config, agent: agent_lib.Agent
) -> replay.Replay:
    """Makes the run's replay with the configured strategies; it is not opened yet.

    That of `offline` has read its episodes already.

    Args:
      folder: The run's folder, on the disk that will hold the episodes.
      config: The run's configuration.
      agent: Knows the observations, and what strategies ask for.

    Raises:
      ValueError: If a number or name in `config.replay` is not valid, or a full replay
        would not fit into memory or on the disk (unless `config.force`); if `offline`
        is no folder of episodes of this agent.
    """
    settings, view = config.replay, _StrategyAgent(agent)
    strategy = {
        "retention": strategies.make_retention(config, view),
        "sampling": strategies.make_sampling(config, view),
    }
    if config.offline:
        recording = recorded.Folder(
            config.offline,
            specs.Spaces(agent.obs_specs, agent.act_spec),
            minlen=settings.minlen,
            capacity=settings.capacity,
        )
        print(recording)
        only = {"kind": recorded.Replay, "capacity": settings.capacity}
        return _make_replay(config, agent, recording, **only, **strategy)
    size = footprint.predict(agent.obs_specs, agent.act_spec.size, settings.capacity)
    steps = outputs.short_number(settings.capacity)
    kinds = f"retention {settings.retention}, sampling {settings.sampling}"
    outputs.tell(f"Replay: {steps} steps, {kinds}; when full, {size}.")
    if not config.force:
        footprint.check(size, folder / files.REPLAY)
    return _make_replay(
        config,
        agent,
        capacity=settings.capacity,
        ongoing=settings.ongoing,
        keep_evicted=settings.keep_evicted,
        **strategy,
    )


def make_eval_replay(
    config: config_lib.Config, agent: agent_lib.Agent
) -> replay.Replay | None:
    """Makes the replay of evaluation episodes: the newest `config.eval_replay` steps.

    Args:
      config: The run's configuration.
      agent: Knows the observations.

    Returns:
      None if `eval_replay` is 0.

    Raises:
      ValueError: If it could not hold an episode.
    """
    if not config.eval_replay:
        return None
    return _make_replay(
        config,
        agent,
        capacity=config.eval_replay,
        retention=retention.Fifo(config.seed),
        sampling=sampling.Uniform(config.seed),
    )


def _make_replay(
    config: config_lib.Config,
    agent: agent_lib.Agent,
    place: archive.Place | None = None,
    kind: type[replay.Replay] = replay.Replay,
    **options: Any,
) -> replay.Replay:
    """Makes a replay with what all of a run have in common."""
    settings = config.replay
    return kind(
        place,
        minlen=settings.minlen,
        maxlen=settings.maxlen,
        prioritize_ends=settings.prioritize_ends,
        cache_bytes=settings.cache,
        seed=config.seed,
        specs=agent.obs_specs,
        **options,
    )


def tidy_replays(
    folder: pathlib.Path,
    config: config_lib.Config,
    states: Iterable[Mapping[str, Any]],
) -> None:
    """Removes the episodes that a finished run has not come to remove.

    Args:
      folder: The run's folder.
      config: The run's configuration.
      states: Of all snapshots of the run; what they need stays.
    """
    needed: dict[str, set[str]] = {files.REPLAY: set(), files.EVAL_REPLAY: set()}
    for state in states:
        evaluated = state.get("evaluator", {}).get("replay")
        for name, part in (
            (files.REPLAY, state["replay"]),
            (files.EVAL_REPLAY, evaluated),
        ):
            needed[name].update(*((part["held"], part["in_use"]) if part else ()))
    for name, names in needed.items():
        keep_evicted = name == files.REPLAY and config.replay.keep_evicted
        archive.tidy(folder / name, names, keep_evicted=keep_evicted)


class _StrategyAgent:
    """The agent as replay strategies see it: a `strategies.Agent`."""

    def __init__(self, agent: agent_lib.Agent):
        self.obs_specs = agent.obs_specs
        self._agent = agent

    def disagreement(self, episodes: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        return self._agent.disagreement(episodes)

    def embedding(self, key: str, **options: Any) -> strategies.base.Embedding:
        return embeddings.ConvLSTM(key, self.obs_specs[key].shape, **options)


def make_outputs(
    folder: pathlib.Path,
    config: config_lib.Config,
    total: int,
    task_names: Sequence[str],
) -> list[logger.Output]:
    """Opens the places that metrics go to, those of `config.outputs` last.

    Args:
      folder: The run's folder.
      config: The run's configuration.
      total: Frames of the whole run.
      task_names: Names by task number.

    Raises:
      ConfigError: If `config.outputs` names a class that is not there.
    """
    own = [plugins.choose("outputs", name, {}) for name in config.outputs]
    began = origin.started(folder) or time.time()
    lines = outputs.JSONLOutput(folder / files.METRICS, began)
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
        *logger.make_own(own, folder, config),
    ]
