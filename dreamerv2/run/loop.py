"""The only training loop: a single task is a continual run of one phase.

Collect, learn, evaluate, save, until the steps of each phase are done. Kessler et al.
2023, section 3.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from common import config as config_lib
from common.compute import devices
from common.config import plugins
from common.records import files, origin, outputs, timing
from common.records import logger as logger_lib
from dreamerv2 import settings
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import (
    build,
    checkpoint,
    learner,
    phases,
    rundir,
    stopping,
    summary,
    training,
)
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.run.evaluation import evaluator, set_aside
from dreamerv2.run.sources import collector, initial, offline


def train(
    tasks: tasks_lib.TaskList,
    config: config_lib.Config,
    *,
    schedule: phases.Schedule | None = None,
    script: str = "",
) -> bool:
    """Trains one agent on a sequence of tasks, or goes on with such a run.

    Args:
      tasks: Tasks to train on, by the numbers that the schedule's phases name, and
        further ones to evaluate on.
      config: The run's configuration; its logdir holds everything that is written.
      schedule: Which task is trained when; by default `phases.of_tasks`.
      script: The module whose `make_tasks(config)` makes these tasks, such as
        `__name__` in a script, so that the run can be watched; empty if there is none.

    Returns:
      Whether the run is finished; False if a stop was asked for.

    Raises:
      ValueError: If the configuration, the logdir or the environments do not fit.
      NonFiniteLossError: If a loss becomes NaN.
      CheckpointError: If a snapshot cannot be read, or the last cannot be written.
      EndError: If the run is finished, but what it has come to cannot be written.
    """
    if config.seed < 0:
        raise ValueError(f"seed is {config.seed}; it must be 0 or more.")
    if schedule is None:
        schedule = phases.of_tasks(len(tasks.trained), config)
    phases.check_learns(schedule, config)
    noted = _note(tasks, schedule, config, script)
    offline.check(config, tasks)
    config = initial.pinned(config)
    build.check_tasks(tasks, config)
    snapshots = checkpoint.Checkpoints(
        rundir.path_of(config) / files.CHECKPOINTS,
        config.checkpoint_keep,
        always=[phase.end for phase in schedule.phases],
    )
    device = devices.setup(
        jit=config.jit, deterministic=config.deterministic, devices=config.devices
    )
    with stopping.StopRequest() as stop, rundir.opened(config) as folder:
        latest = None if config.overwrite else snapshots.latest()
        state = checkpoint.load_state(latest) if latest else {"step": 0}
        reached = state["step"] * config.action_repeat if latest else None
        rundir.check(config, noted, reached)
        offline.check_state(config, state)
        ahead = schedule.remaining(state["step"], state.get("interrupted"))
        phase = next(ahead, None)
        if phase is None:
            print(f"The run in {folder} is finished, at step {state['step']}.")
            _end_again(snapshots, folder, noted.names, schedule, config, reached)
            return True
        build.tell_run(folder, noted.names, schedule, config)
        outputs.tell(device)
        first = None if latest else initial.read(config)
        run = _build(tasks, schedule, phase, config, folder, first)
        with contextlib.closing(run):
            run.set_aside(stop)
            outputs.tell(learner.plan(config))
            if latest:
                run.restore(latest, snapshots, folder)
            rundir.begin(config, noted, is_saved=latest is not None)
            snapshots.move_aside()
            with origin.noted(folder, is_new=latest is None, device=device):
                total = schedule.total * config.action_repeat
                places = build.make_outputs(folder, config, total, noted.names)
                run.begin(folder, places)
                if latest:
                    _tell_where(run, schedule, noted.names)
                finished = _train(run, schedule, noted.names, snapshots, stop)
                if finished:
                    frame = run.step * config.action_repeat
                    summary.conclude(
                        folder, noted.names, schedule, config, frame, run.write
                    )
        if config.del_exp_replay and not stop:
            rundir.delete_replays(folder)
        return finished


def _note(
    tasks: tasks_lib.TaskList,
    schedule: phases.Schedule,
    config: config_lib.Config,
    script: str,
) -> files.Tasks:
    """Returns what the folder notes of a run's tasks."""
    return files.Tasks(
        script=plugins.from_anywhere(script, settings.SCRIPTS),
        names=tuple(task.name for task in (*tasks.trained, *tasks.eval_only)),
        ends=tuple(schedule.logged_ends(config.envs, config.action_repeat)),
    )


def _build(
    tasks: tasks_lib.TaskList,
    schedule: phases.Schedule,
    phase: phases.Phase,
    config: config_lib.Config,
    folder: pathlib.Path,
    first: initial.Initial | None,
) -> training.Training:
    """Makes the parts of a run that begins with a phase, or goes on in it.

    Args:
      tasks: As in `train`.
      schedule: As in `train`.
      phase: The phase.
      config: The run's configuration.
      folder: Where it is written to.
      first: The weights that it begins with, if they are another run's.
    """
    every = [*tasks.trained, *tasks.eval_only]
    timer = timing.Timer(sections=summary.SECTIONS)
    envs = build.make_envs(every[phase.task], config)
    build.tell_spaces(envs[0], config)
    agent = agent_lib.Agent(config, envs[0].obs_specs, envs[0].act_spec)
    build.tell_agent(agent, config)
    if first:
        initial.give(first, agent, config)
    experience = build.make_replay(folder, config, agent)
    logger = logger_lib.Logger()  # until it is certain that the run begins
    return training.Training(
        agent=agent,
        experience=experience,
        learner=learner.Learner(
            agent=agent,
            experience=experience,
            timer=timer,
            folder=folder,
            batch=config.dataset.batch,
            length=config.dataset.length,
            aside=config.collect_during_update,
        ),
        evaluator=evaluator.Evaluator(
            tasks=every,
            trained=len(tasks.trained),
            config=config,
            experience=build.make_eval_replay(config, agent),
        ),
        aside=set_aside.SetAside(tasks=every, agent=agent, config=config),
        online=summary.OnlineMetrics(schedule, config.envs),
        collector=collector.Collector(
            tasks=every,
            phase=phase,
            envs=envs,
            agent=agent,
            experience=experience,
            logger=logger,
            timer=timer,
            config=config,
        ),
        logger=logger,
        timer=timer,
        config=config,
    )


def _tell_where(
    run: training.Training, schedule: phases.Schedule, names: Sequence[str]
) -> None:
    """Prints where a run goes on."""
    phase = next(schedule.remaining(run.step, run.interrupted))
    where = _describe(phase, schedule, names)
    outputs.tell(f"Going on from step {run.step}, {where}.")


def _describe(
    phase: phases.Phase, schedule: phases.Schedule, names: Sequence[str]
) -> str:
    count = len(schedule.phases)
    return f"phase {phase.index + 1} of {count}, task {names[phase.task]}"


def _end_again(
    snapshots: checkpoint.Checkpoints,
    folder: pathlib.Path,
    names: Sequence[str],
    schedule: phases.Schedule,
    config: config_lib.Config,
    frame: int,
) -> None:
    """Does what is missing of the end of a run that failed or was killed there."""

    def write(metrics: Mapping[str, Any]) -> None:
        total = schedule.total * config.action_repeat
        places = build.make_outputs(folder, config, total, names)
        with logger_lib.Logger(places) as logger:
            logger.rewind(frame)  # it was not sent to wandb before
            logger.write(frame, metrics)

    summary.conclude(folder, names, schedule, config, frame, write)
    snapshots.tidy()
    build.tidy_replays(folder, config, snapshots.states())
    if config.del_exp_replay:
        rundir.delete_replays(folder)


def _train(
    run: training.Training,
    schedule: phases.Schedule,
    names: Sequence[str],
    snapshots: checkpoint.Checkpoints,
    stop: stopping.StopRequest,
) -> bool:
    """The loop itself; whether it came to the end of the schedule.

    If a stop is asked for, it takes a snapshot and returns before.
    """
    begun = run.step > 0 or len(schedule.phases) == 1  # what there is to say is said
    for phase in schedule.remaining(run.step, run.interrupted):
        run.enter(phase)
        if not begun:
            outputs.tell_now(_describe(phase, schedule, names))
        begun = False
        while run.step < phase.end or run.interrupted is not None:
            if run.interrupted is None:
                run.collect()
                run.learn()
            run.evaluate(stop)
            if run.interrupted is None:
                run.log()
                run.save(snapshots, needed=run.step >= schedule.total)
            if stop:
                run.write_snapshot(snapshots)
                print(
                    f"{stop.name}: stopped at step {run.step} of {schedule.total}; "
                    "the same command goes on from there."
                )
                return False
    return True
