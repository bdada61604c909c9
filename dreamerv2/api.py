"""What users import.

import dreamerv2.api as dv2

config = dv2.defaults.update({"logdir": "~/logdir/run"}).parse_flags()
dv2.train(env, config)
action, state = dv2.load("~/logdir/run").act(obs)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from common import config as config_lib
from common.config import coerce
from common.envs import base, checks
from common.nets import sizes
from dreamerv2 import settings
from dreamerv2.run import loop, phases
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.trained import evaluation, loaded, player, tasks
from dreamerv2.trained import snapshot as snapshot_lib
from dreamerv2.watch import show

Config = config_lib.Config
ConfigError = coerce.ConfigError
Agent = loaded.Agent
configs = settings.configs
defaults = settings.defaults


@settings.in_python()
def train(env: Any, config: Config) -> None:
    """Trains DreamerV2 on one environment.

    Args:
      env: A Gymnasium or classic gym environment, or a function without arguments
        that makes one. A function allows `envs` above 1 and evaluation in an
        environment of its own; a single environment is never evaluated on.
      config: `dv2.defaults` with your updates; `steps` long, written to `logdir`.
        What one setting implies for others is applied, see `settings.resolve`.

    Raises:
      ValueError: If the environment's spaces or the configuration are not supported.
    """
    config = settings.resolve(config)
    task = _as_task("task", env, None, config)
    made = tasks_lib.TaskList([task])
    loop.train(made, config, schedule=phases.Schedule([config.steps]))


@settings.in_python()
def cl_train_loop(
    envs: Sequence[Any] | Mapping[str, Any],
    config: Config,
    eval_envs: Sequence[Any] | Mapping[str, Any] | None = None,
) -> None:
    """Trains one agent on several environments, one after the other.

    Args:
      envs: Environments, or functions that make them, in the order of training. Each
        gets `steps` steps (or its entry of `unbalanced_steps`), and the sequence is
        gone through `num_task_repeats` times. A mapping gives the tasks their names,
        such as `{"slow": make_slow, "fast": make_fast}`.
      config: As in `train`.
      eval_envs: Environments to evaluate on, one for each, by the same names if those
        are given; by default functions are called once more, and single environments
        are not evaluated on. All of them play at the same time; of a single environment
        there is only one, whatever `config.eval_envs` says.

    Raises:
      ValueError: If the counts or names do not agree, one environment is to be
        evaluated on as two tasks, or as in `train`.
    """
    named = _by_name(envs)
    envs = list(named.values())
    evals = [None] * len(envs) if eval_envs is None else _in_order(eval_envs, named)
    if len(evals) != len(envs):
        raise ValueError(
            f"There are {len(envs)} envs but {len(evals)} eval_envs; give one for each."
        )
    single = [e for e in evals if e is not None and not checks.is_constructor(e)]
    if len({id(env) for env in single}) < len(single):
        raise ValueError(
            "eval_envs holds one environment twice, but all tasks are evaluated at the "
            "same time; give another one for each task, or functions that make them."
        )
    config = settings.resolve(config.update(eval_envs=1) if single else config)
    made = [
        _as_task(name, env, other, config)
        for (name, env), other in zip(named.items(), evals, strict=True)
    ]
    loop.train(tasks_lib.TaskList(made), config)


@settings.in_python()
def watch(
    env: Any,
    logdir: str,
    *,
    out: str = "video.mp4",
    episodes: int = 3,
    checkpoint: int | str = "newest",
    policy: str = "run",
    seed: int | None = None,
    **options: Any,
) -> list[evaluation.Result]:
    """Plays a trained agent, in a video or without one.

    Args:
      env: The environment that `train` was given, or the list or mapping that
        `cl_train_loop` was given; instances or functions.
      logdir: The folder of the run.
      out: The video, `.mp4` or `.gif`; none is made if empty.
      episodes: How many of each task.
      checkpoint: Step of the snapshot, or `newest`.
      policy: `run` (as the run evaluates), `mode`, `sample` or `explore`.
      seed: Decides episodes and noise; the run's seed if None.
      **options: Of the video: `fps`, `scale`, `context`, `horizon`.

    Returns:
      Returns, lengths and, where a task tells it, success of the episodes of each task.

    Raises:
      ValueError: If there is no such run or snapshot, or the environments do not fit.
      RuntimeError: If the snapshot or the video fails.
    """
    snapshot = snapshot_lib.load(logdir, checkpoint)
    given = _given_tasks(snapshot, env, logdir)
    actor = player.Player(snapshot, policy, seed)
    if not out:
        return evaluation.evaluate(actor, given, episodes)
    return show.record(actor, given, episodes, out, **options)


@settings.in_python()
def load(
    logdir: str,
    checkpoint: int | str = "newest",
    env: Any = None,
    seed: int | None = None,
) -> Agent:
    """Returns a trained agent: to act with, and to ask its model; see `Agent`.

    Args:
      logdir: The folder of a run, or `quickstart`, an agent that comes with this
        package (`train_minigrid.py --configs quickstart`).
      checkpoint: Step of the snapshot, or `newest`.
      env: Only for snapshots of older versions, which do not know their spaces, of
        runs that a program has made: its environment, or a function that makes it.
      seed: Decides all that is drawn at random; the run's seed if None.

    Raises:
      ValueError: If there is no such run or snapshot, or the environment does not fit.
      RuntimeError: If the snapshot is damaged, or of another agent.
    """
    snapshot = snapshot_lib.load(logdir, checkpoint)
    given = None if env is None else _as_constructor(env, snapshot.config)
    return loaded.Agent(snapshot, tasks.find_spaces(snapshot, given), seed)


@settings.in_python()
def evaluate(
    logdir: str,
    env_or_tasks: Any = None,
    episodes: int = 20,
    *,
    checkpoint: int | str = "newest",
    policy: str = "run",
    seed: int | None = None,
) -> list[evaluation.Result]:
    """Plays whole episodes: what `python -m dreamerv2.watch --eval` prints.

    Args:
      logdir: As in `load`.
      env_or_tasks: Names or numbers of the run's tasks, one or a list; None for all of
        them. For a run that a program has made, what `watch` takes.
      episodes: How many of each task.
      checkpoint: Step of the snapshot, or `newest`.
      policy: `run` (as the run evaluates), `mode`, `sample` or `explore`.
      seed: Decides episodes and noise; the run's seed if None.

    Returns:
      One for each task: `returns`, `lengths` and `success` (empty if the task does not
      tell) of its episodes, and their `means` by name.

    Raises:
      ValueError: As in `watch`.
      RuntimeError: If the snapshot fails.
    """
    snapshot = snapshot_lib.load(logdir, checkpoint)
    given = env_or_tasks
    words = list(given) if isinstance(given, list | tuple) else [given]
    if given is None or all(isinstance(word, str | int) for word in words):
        every = tasks.of_run(snapshot)
        chosen = tasks.choose(every, [] if given is None else words)
    else:
        chosen = _given_tasks(snapshot, given, logdir)
    actor = player.Player(snapshot, policy, seed)
    return evaluation.evaluate(actor, chosen, episodes)


def wrap(env: Any, config: Config) -> base.Env:
    """Returns a Gymnasium or gym environment as the driver steps it.

    Raises:
      ValueError: If it is none, or its methods or spaces are not supported.
    """
    return checks.adapt(env, **_options(config))


@settings.in_python()
def check_env(
    env: Any, steps: int = 100, seed: int = 0, config: Config | None = None
) -> None:
    """Says what an environment is taken for, and what is wrong with it.

    Random actions are played. What is accepted here `train` accepts, and the other way
    round. What makes training impossible is an error, what is only suspicious a
    warning.

    Args:
      env: A Gymnasium or classic gym environment, which is reset and stepped; or a
        function without arguments that makes one, which is closed again.
      steps: Actions to take.
      seed: Of the actions and of the environment.
      config: What `train` will be given; `dv2.defaults` if None.

    Raises:
      ValueError: What is wrong, and at which step.
    """
    config = settings.resolve(defaults if config is None else config)
    networks = config.encoder, config.decoder
    found = checks.check_env(env, steps, seed, networks, **_options(config))
    sizes.check({k: spec.shape for k, spec in found.obs_specs.items()}, *networks)


def _options(config: Config) -> dict[str, Any]:
    """What an environment of one's own is adapted with."""
    return {
        "size": config.render_size,
        "action_repeat": config.action_repeat,
        "time_limit": config.time_limit,
    }


def _by_name(envs: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Environments by the names of their tasks, which are numbered without any."""
    if not isinstance(envs, Mapping):
        return {f"task{k}": env for k, env in enumerate(envs)}
    wrong = [name for name in envs if not (isinstance(name, str) and name)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no name of a task; give a word.")
    return dict(envs)


def _in_order(envs: Sequence[Any] | Mapping[str, Any], names: Iterable[str]) -> list:
    """Environments in the order of the tasks' names."""
    if not isinstance(envs, Mapping):
        return list(envs)
    if set(envs) != set(names):
        raise ValueError(
            f"The tasks are {', '.join(names)}, but environments are given for "
            f"{', '.join(map(str, envs))}; give one for each by the same name."
        )
    return [envs[name] for name in names]


def _given_tasks(snapshot: snapshot_lib.Snapshot, env: Any, logdir: str) -> tasks.Tasks:
    """The tasks of a run, whose environments the program gives."""
    several = isinstance(env, list | tuple | Mapping)
    names = snapshot.task_names or list(_by_name(env if several else [env]))
    envs = _in_order(env, names) if several else [env]
    if len(names) != len(envs):
        raise ValueError(
            f"The run in {logdir} has the {len(names)} tasks {', '.join(names)}, but "
            f"{len(envs)} environments were given; give one for each, in a list."
        )
    config = snapshot.config.update(envs=1)
    pairs = zip(names, envs, strict=True)
    return dict(enumerate(_as_task(name, e, None, config) for name, e in pairs))


def _as_task(name: str, env: Any, evaluation: Any, config: Config) -> tasks_lib.Task:
    make = _as_constructor(env, config)
    single = any(
        each is not None and not checks.is_constructor(each)
        for each in (env, evaluation)
    )
    if single and config.envs > 1:
        raise ValueError(
            f"envs is {config.envs}, but only one environment was given; give a "
            "function that makes it, such as `lambda: gym.make(...)`."
        )
    if evaluation is None:
        evaluation = env if checks.is_constructor(env) else None
    make_eval = None if evaluation is None else _as_constructor(evaluation, config)
    return tasks_lib.Task(name, make, make_eval)


def _as_constructor(env: Any, config: Config) -> Callable[[], base.Env]:
    if checks.is_constructor(env):
        return lambda: wrap(env(), config)
    return functools.partial(_Borrowed, wrap(env, config))


class _Borrowed:
    """An environment that belongs to the user: it is not closed after a task."""

    def __init__(self, env: base.Env):
        self._env = env

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def close(self) -> None:
        """Leaves the environment open."""
