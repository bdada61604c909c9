"""What reset and step have returned, in one form.

Whatever has one meaning is taken: numbers as Python's or NumPy's, as arrays or lists of
one. What has none is refused by name. `check_env` and a run both read it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.envs import gym_spaces

_PLAIN = (float, int, np.floating, np.integer)  # numbers as most environments give them
_FIVE = "observation, reward, terminated, truncated and info (Gymnasium)"
_FOUR = "observation, reward, done and info (classic gym)"


class Step(NamedTuple):
    """What a step has come to."""

    observation: Any
    reward: np.float32
    last: bool  # whether the episode ends
    terminal: bool  # whether it ends for real, not by a limit
    info: Mapping[str, Any]


def of_reset(result: Any) -> Any:
    """Returns the observation: reset gives it alone, or with info.

    Raises:
      ValueError: Nothing was returned.
    """
    if result is None:
        raise ValueError(
            "reset returned None, but must return the observation, or observation and "
            "info."
        )
    if isinstance(result, tuple | list) and len(result) == 2:
        observation, info = result
        if info is None or isinstance(info, Mapping):
            return observation
    return result


def of_step(result: Any) -> Step:
    """Sorts the five values of Gymnasium, or the four of classic gym.

    Raises:
      ValueError: Another number of values, or one whose meaning is not clear.
    """
    if not isinstance(result, tuple | list) or len(result) not in (4, 5):
        what = f"{len(result)} values" if isinstance(result, tuple | list) else result
        raise ValueError(
            f"step returned {what}, but must return 5, {_FIVE}; or {_FOUR}."
        )
    observation, reward, *ends, info = result
    info = {} if info is None else info
    if not isinstance(info, Mapping):
        raise ValueError(
            f"step returned {len(result)} values, of which the last, info, is "
            f"{info!r}, but must be a dict: return {_FIVE}."
        )
    if len(ends) == 2:
        terminal, late = map(_flag, ("terminated", "truncated"), ends)
        return Step(observation, _reward(reward), terminal or late, terminal, info)
    last = _flag("done", ends[0])
    late = _flag("info['TimeLimit.truncated']", info.get("TimeLimit.truncated", False))
    return Step(observation, _reward(reward), last, last and not late, info)


def of_key(key: str, part: gym_spaces.ObservationPart, raw: Any) -> np.ndarray:
    """Returns an observation as the array of ours that its space says.

    Axes of length 1 may be more or fewer than in the space.

    Raises:
      ValueError: It is not numeric, has another shape or type, is no choice of its
        space, or is not finite.
    """
    array = _array(f"Observation {key!r}", raw)
    if array.shape != part.raw_shape:
        if _without_ones(array.shape) != _without_ones(part.raw_shape):
            raise ValueError(
                f"Observation {key!r} has shape {array.shape}, expected "
                f"{part.raw_shape} as its space says; shapes must not change."
            )
        array = array.reshape(part.raw_shape)
    if part.spec.native.start is not None:
        _check_choice(key, part, array)
    elif part.spec.dtype == np.uint8:
        array = _bytes(key, array)
    elif array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(
            f"Observation {key!r} holds NaN or infinity: {np.array2string(array)}."
        )
    return part.convert(array)


def number(name: str, value: Any) -> Any:
    """Returns a number that may be alone, or the one in an array or list.

    Raises:
      ValueError: It is no number, or there are none or several.
    """
    array = _array(name, value)
    if array.size != 1:
        raise ValueError(f"{name} is {value!r}, but must be one number.")
    return array.reshape(())[()]


def _reward(value: Any) -> np.float32:
    plain = isinstance(value, _PLAIN)
    reward = np.float32(value if plain else number("The reward", value))
    if not np.isfinite(reward):
        raise ValueError(f"The reward is {reward}, but must be finite.")
    return reward


def _flag(name: str, value: Any) -> bool:
    if value is True or value is False:
        return value
    found = number(name, value)
    if found not in (0, 1):
        raise ValueError(f"{name} is {value!r}, but must be True or False.")
    return bool(found)


def _array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} is {_short(value)} of type {type(value).__name__}, but must be "
            "numeric."
        )
    return array


def _check_choice(
    key: str, part: gym_spaces.ObservationPart, array: np.ndarray
) -> None:
    (count,), first = part.spec.shape, part.spec.native.start
    if array != int(array) or not first <= array < first + count:
        raise ValueError(
            f"Observation {key!r} is {array}, but its space has the whole numbers "
            f"from {first} to {first + count - 1}."
        )


def _bytes(key: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    whole = array.dtype.kind in "iu"
    if not whole or array.min() < 0 or array.max() > 255:
        raise ValueError(
            f"Observation {key!r} is {array.dtype}, expected uint8, as its space says"
            + (f"; it has {array.min()} to {array.max()}." if whole else ".")
        )
    return array.astype(np.uint8)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
