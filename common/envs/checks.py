"""What is wrong with an environment, said before anything is built for it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common import specs
from common.envs import base, gym_adapter, gym_spaces, wrappers
from common.envs.meaning import readings


def is_constructor(env: Any) -> bool:
    """Whether something makes environments: a class or function, and none itself."""
    return isinstance(env, type) or (callable(env) and not hasattr(env, "step"))


def adapt(
    env: Any,
    size: Sequence[int] = (64, 64),
    *,
    action_repeat: int = 1,
    time_limit: int = 0,
) -> base.Env:
    """Returns an environment of one's own as the driver steps it.

    Args:
      env: A Gymnasium or classic gym environment.
      size: Height and width that images are resized to.
      action_repeat: Frames for which an action is held.
      time_limit: Steps after which an episode is cut, 0 for the environment's own end.

    Raises:
      ValueError: If it is none, or its methods or spaces are not supported.
    """
    check_interface(env)
    adapter = gym_adapter.GymAdapter(env, size)
    limited = wrappers.limit(
        adapter, action_repeat=action_repeat, time_limit=time_limit
    )
    return wrappers.SuccessAtEnd(limited)


def check_interface(env: Any) -> None:
    """Looks at methods and spaces of an environment, without calling it.

    Args:
      env: A Gymnasium or classic gym environment.

    Raises:
      ValueError: A method or space is missing or is not supported.
    """
    for names in (("reset", "step"), ("observation_space", "action_space")):
        if not all(hasattr(env, name) for name in names):
            raise ValueError(
                f"{env!r} is not an environment: it has no {' and '.join(names)}. Give "
                "a Gymnasium or gym environment, or a function that makes one."
            )
    _refuse_vector(env)
    _refuse_broken_checker(env)
    for name, arguments in (("reset", ()), ("step", (None,))):
        try:
            inspect.signature(getattr(env, name)).bind(*arguments)
        except TypeError as error:
            call = f"{name}({'action' if arguments else ''})"
            raise ValueError(f"{env!r} cannot be called as {call}: {error}.") from None
    for name in ("observation_space", "action_space"):
        space = getattr(env, name)
        if not gym_spaces.kind(space):
            raise ValueError(
                f"The {name} of {env!r} is {space!r}, but must be a space of "
                "gymnasium.spaces or gym.spaces."
            )
    gym_spaces.observation_parts(env.observation_space, None)
    gym_spaces.action_part(env.action_space)


def check_env(
    env: Any,
    steps: int = 100,
    seed: int = 0,
    networks: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> specs.Spaces:
    """Plays random actions; says what an environment is taken for, and what is wrong.

    What it accepts can be trained on, as both go through `adapt`. What makes training
    impossible is an error, what is only suspicious a warning: an environment that does
    not repeat itself for the same seed, observations outside of the bounds that their
    space gives, or that look as if something else was meant.

    Args:
      env: A Gymnasium or classic gym environment, which is reset and stepped; or a
        function without arguments that makes one, which is closed again.
      steps: Actions to take.
      seed: Of the actions and of the environment.
      networks: Settings of encoder and decoder, which may leave observations out.
      **options: Of `adapt`.

    Returns:
      What the agent would see and do.

    Raises:
      ValueError: What is wrong, and at which step.
    """
    ours = is_constructor(env)
    made = env() if ours else env
    try:
        adapted = adapt(made, **options)
        readings.tell(readings.of_env(adapted), *networks)
        first = _play(adapted, made, steps, seed)
        _check_bounds(adapted, made, first)
        _tell_ends(made, first, options.get("time_limit", 0))
        if not _same(first, _play(adapted, made, steps, seed)):
            warnings.warn(
                f"{made!r} gave other transitions for the same seed and actions; runs "
                "with it are not reproducible, and a resumed run does not go on "
                "exactly. Draw from self.np_random, seeded in reset(seed=...).",
                stacklevel=2,
            )
        return specs.Spaces(adapted.obs_specs, adapted.act_spec)
    finally:
        if ours and hasattr(made, "close"):
            made.close()


def _refuse_vector(env: Any) -> None:
    names = {cls.__name__ for cls in type(env).__mro__}
    if hasattr(env, "single_action_space") or names & {"VectorEnv", "VecEnv"}:
        count = getattr(env, "num_envs", "several")
        raise ValueError(
            f"{env!r} is a vector environment, {count} in one. Give a function that "
            "makes a single one, and their number as a setting: "
            f"dv2.train(lambda: gym.make(...), config.update(envs={count}))."
        )


def _refuse_broken_checker(env: Any) -> None:
    """Classic gym 0.26 looks at each step with a name that NumPy 2 has not."""
    for layer in gym_adapter.layers(env):
        broken = type(layer).__module__.startswith("gym.wrappers.env_checker")
        if broken and not hasattr(np, "bool8"):
            raise ValueError(
                f"{env!r} checks itself with PassiveEnvChecker of gym, which fails at "
                "each step under NumPy 2. Make it without: gym.make(..., "
                "disable_env_checker=True); or with Gymnasium, gymnasium.make(...)."
            )


def _tell_ends(
    env: Any, transitions: Sequence[base.Transition], time_limit: int
) -> None:
    """Prints how long episodes may be, and whether they tell success."""
    own = getattr(getattr(env, "spec", None), "max_episode_steps", None)
    own = own or getattr(getattr(env, "unwrapped", env), "max_steps", None)  # MiniGrid
    limits = [f"{own} steps, the environment's"] if own else []
    limits += [f"{time_limit} steps, the setting time_limit"] if time_limit else []
    ends = [tran for tran in transitions if tran["is_last"]]
    told = sum("log_success" in tran for tran in ends)
    words = f"told at the end of {told} of {len(ends)} episodes"
    if not told:
        words = "not told; info['success'] or info['is_success'] at the end would"
    print(f"  time limit  {' and '.join(limits) or 'none that is known'}")
    print(f"  success     {words}")
    if not ends and not limits:
        warnings.warn(
            f"No episode of {env!r} has ended in {len(transitions) - 1} steps. Only "
            "whole episodes are learned from and evaluated: if it has no end of its "
            "own, set time_limit.",
            stacklevel=3,
        )
    if 0 < told < len(ends):
        warnings.warn(
            f"{env!r} tells success at the end of {told} of {len(ends)} episodes; one "
            "that does not tell counts as failed if others do. Tell it at each end.",
            stacklevel=3,
        )


def _play(adapter: base.Env, env: Any, steps: int, seed: int) -> list[base.Transition]:
    """Takes random actions; episode i is seeded with seed + i."""
    rng = np.random.default_rng(seed)
    transitions: list[base.Transition] = []
    for step in range(steps + 1):
        try:
            if not transitions or transitions[-1]["is_last"]:
                transitions.append(adapter.reset(seed))
                seed += 1
            else:
                transitions.append(adapter.step(_action(adapter, rng)))
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            raise ValueError(f"{env!r}, call {step}: {kind}{error}") from error
    return transitions


def _action(adapter: base.Env, rng: np.random.Generator) -> np.ndarray:
    size = adapter.act_spec.size
    if adapter.act_spec.discrete:
        return np.eye(size, dtype=np.float32)[rng.integers(size)]
    return rng.uniform(-1, 1, size).astype(np.float32)


def _check_bounds(
    adapter: base.Env, env: Any, transitions: list[base.Transition]
) -> None:
    """Warns of vectors outside of their Box; float32 rounding is allowed for."""
    spaces = gym_spaces.subspaces(env.observation_space)
    for key, spec in adapter.obs_specs.items():
        if gym_spaces.kind(spaces[key]) != "Box" or spec.dtype == np.uint8:
            continue
        low, high = (
            np.asarray(bound, np.float32).reshape(-1)
            for bound in (spaces[key].low, spaces[key].high)
        )
        values = np.stack([tran[key] for tran in transitions])  # [N, size]
        slack = 1e-5 * np.maximum(1, np.abs(values))
        outside = ((values < low - slack) | (values > high + slack)).any(1)
        if outside.any():
            warnings.warn(
                f"Observation {key!r} leaves its space {spaces[key]}: got "
                f"{values[outside.argmax()]}.",
                stacklevel=3,
            )


def _same(one: list[base.Transition], two: list[base.Transition]) -> bool:
    return all(
        np.array_equal(a[key], b[key])
        for a, b in zip(one, two, strict=True)
        for key in a
    )
