"""What is wrong with an environment, said before anything is built for it."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np

from common.envs import base, gym_adapter, gym_spaces


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
    for name, arguments in (("reset", ()), ("step", (None,))):
        try:
            inspect.signature(getattr(env, name)).bind(*arguments)
        except TypeError as error:
            call = f"{name}({'action' if arguments else ''})"
            raise ValueError(f"{env!r} cannot be called as {call}: {error}.") from None
    gym_adapter.GymAdapter(env)


def check_env(env: Any, steps: int = 100, seed: int = 0) -> None:
    """Plays random actions and says what is wrong with an environment.

    What makes training impossible is an error, what is only suspicious a warning: an
    environment that does not repeat itself for the same seed, observations outside of
    the bounds that their space gives.

    Args:
      env: A Gymnasium or classic gym environment, which is reset and stepped; or a
        function without arguments that makes one, which is closed again.
      steps: Actions to take.
      seed: Of the actions and of the environment.

    Raises:
      ValueError: What is wrong, and at which step.
    """
    made = env() if callable(env) and not hasattr(env, "step") else env
    try:
        check_interface(made)
        adapter = gym_adapter.GymAdapter(made)
        first = _play(adapter, made, steps, seed)
        _check_bounds(adapter, made, first)
        if not _same(first, _play(adapter, made, steps, seed)):
            warnings.warn(
                f"{made!r} gave other transitions for the same seed and actions; runs "
                "with it are not reproducible, and a resumed run does not go on "
                "exactly. Draw from self.np_random, seeded in reset(seed=...).",
                stacklevel=2,
            )
    finally:
        if made is not env:
            made.close()


def _play(
    adapter: gym_adapter.GymAdapter, env: Any, steps: int, seed: int
) -> list[base.Transition]:
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


def _action(adapter: gym_adapter.GymAdapter, rng: np.random.Generator) -> np.ndarray:
    size = adapter.act_spec.size
    if adapter.act_spec.discrete:
        return np.eye(size, dtype=np.float32)[rng.integers(size)]
    return rng.uniform(-1, 1, size).astype(np.float32)


def _check_bounds(
    adapter: gym_adapter.GymAdapter, env: Any, transitions: list[base.Transition]
) -> None:
    """Warns of vectors outside of their Box; float32 rounding is allowed for."""
    spaces = {next(iter(adapter.obs_specs)): env.observation_space}
    if gym_spaces.kind(env.observation_space) == "Dict":
        spaces = dict(env.observation_space.spaces)
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
