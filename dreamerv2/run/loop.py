"""The only training loop: a single task is a continual run of one phase.

Collect, learn, evaluate, save, until the steps of each phase are done. Kessler et al.
2023, section 3.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence

from common import config as config_lib
from common.compute import devices
from dreamerv2.run import checkpoint, phases, rundir, stopping, training
from dreamerv2.run import tasks as tasks_lib


def train(
    tasks: Sequence[tasks_lib.Task],
    schedule: phases.Schedule,
    config: config_lib.Config,
    *,
    eval_only: Sequence[tasks_lib.Task] = (),
    script: str = "",
) -> None:
    """Trains one agent on a sequence of tasks, or goes on with such a run.

    Args:
      tasks: Tasks, by the numbers that the schedule's phases name.
      schedule: Which task is trained when.
      config: The run's configuration; its logdir holds everything that is written.
      eval_only: Further tasks to evaluate on.
      script: The module whose `make_tasks(config)` makes these tasks, so that the run
        can be watched later; empty if there is none.

    Raises:
      ValueError: If the configuration, the logdir or the environments do not fit.
      NonFiniteLossError: If a loss becomes NaN.
      CheckpointError: If a snapshot cannot be read, or the last cannot be written.
    """
    if config.seed < 0:
        raise ValueError(f"seed is {config.seed}; it must be 0 or more.")
    folder = rundir.path_of(config)
    with rundir.locked(folder), stopping.StopRequest() as stop:
        rundir.prepare(config)
        names = [task.name for task in (*tasks, *eval_only)]
        logged = schedule.logged_ends(config.envs, config.action_repeat)
        rundir.save_tasks(folder, script, names, logged)
        device = devices.setup(
            jit=config.jit, deterministic=config.deterministic, devices=config.devices
        )
        print(device)
        ends = [phase.end for phase in schedule.phases]
        snapshots = checkpoint.Checkpoints(
            folder / rundir.CHECKPOINTS, config.checkpoint_keep, always=ends
        )
        latest = snapshots.latest()
        state = checkpoint.load_state(latest) if latest else {"step": 0}
        if state["step"] >= schedule.total:
            print(f"The run in {folder} is finished, at step {state['step']}.")
            return
        if latest is None:
            rundir.forget_unsaved(folder)
        phase = next(schedule.remaining(state["step"]))
        run = training.Run(
            [*tasks, *eval_only], len(tasks), schedule, phase, config, folder
        )
        with contextlib.closing(run):
            run.check_tasks()
            if latest:
                run.restore(state, checkpoint.load_tensors(latest))
            _train(run, schedule, snapshots, stop)
        if config.del_exp_replay and not stop:
            for name in (rundir.REPLAY, rundir.EVAL_REPLAY):
                shutil.rmtree(folder / name, ignore_errors=True)


def _train(
    run: training.Run,
    schedule: phases.Schedule,
    snapshots: checkpoint.Checkpoints,
    stop: stopping.StopRequest,
) -> None:
    """The loop itself: to the end of the schedule, or until a stop is asked for."""
    for phase in schedule.remaining(run.step):
        run.enter(phase)
        while run.step < phase.end:
            run.collect()
            run.learn()
            run.evaluate()
            run.log()
            run.save(snapshots)
            if stop:
                run.stop(snapshots, stop.name)
                return
    run.finish()
