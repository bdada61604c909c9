"""What wrappers of an environment keep over episodes, such as a mean to normalise with.

A run saves it, and evaluations begin with that of the training. A wrapper tells it by
`get_state()`, fit for JSON, and `set_state(state)`; Gymnasium's wrappers
NormalizeObservation and NormalizeReward, which have neither, are known.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

_LOG = logging.getLogger(__name__)

KEY = "wrappers"  # of the state of an environment
_RMS = ("obs_rms", "return_rms")  # with these attributes:
_MOMENTS = ("mean", "var", "count")
_RETURNS = ("discounted_reward", "returns")  # what return_rms is about
_SUSPECT = re.compile(r"_?(\w*_)?(rms|running_(mean|std|var))")

_told: set[str] = set()  # classes that were warned of


class Wrappers:
    """The wrappers of one environment that keep something, from the outside in."""

    def __init__(self, layers: Sequence[Any]):
        """Looks for them, and warns of those that keep what they do not tell.

        Args:
          layers: The environment and what it wraps; the last is no wrapper.
        """
        self._telling = [layer for layer in layers[:-1] if _tells(layer)]
        for layer in layers:
            if layer not in self._telling:
                _warn_of(layer)

    def __bool__(self) -> bool:
        return bool(self._telling)

    def get_state(self) -> list[dict[str, Any]]:
        """Returns what each of them keeps, fit for JSON."""
        return [
            {"name": type(layer).__name__, "state": _get(layer)}
            for layer in self._telling
        ]

    def set_state(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Takes back what get_state returned.

        Raises:
          ValueError: It is of other wrappers.
        """
        state = list(state)
        here = [type(layer).__name__ for layer in self._telling]
        there = [each["name"] for each in state]
        if here != there:
            raise ValueError(
                f"The state is of an environment with the wrappers {there}, but this "
                f"one has {here}; give it the same."
            )
        for layer, each in zip(self._telling, state, strict=True):
            _set(layer, each["state"])


def only(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns of an environment's state what belongs to its wrappers."""
    return {KEY: state[KEY]} if KEY in state else {}


def fits(state: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two states of environments are of the same wrappers."""
    one, two = ([each["name"] for each in s.get(KEY, ())] for s in (state, other))
    return one == two


def _tells(layer: Any) -> bool:
    return _has_own(layer) or any(_is_rms(vars(layer).get(name)) for name in _RMS)


def _has_own(layer: Any) -> bool:
    """Whether it has the two methods itself; old wrappers pass on those inside."""
    kind = type(layer)
    return all(
        callable(getattr(kind, f"{word}_state", None)) for word in ("get", "set")
    )


def _is_rms(value: Any) -> bool:
    return all(hasattr(value, name) for name in _MOMENTS)


def _get(layer: Any) -> Any:
    if _has_own(layer):
        return layer.get_state()
    kept = vars(layer)
    found = {name: _pack(kept[name]) for name in _RETURNS if name in kept}
    for name in filter(lambda name: _is_rms(kept.get(name)), _RMS):
        found[name] = {part: _pack(getattr(kept[name], part)) for part in _MOMENTS}
    return found


def _set(layer: Any, state: Any) -> None:
    if _has_own(layer):
        layer.set_state(state)
        return
    for name, value in state.items():
        if name in _RETURNS:
            setattr(layer, name, _unpack(value))
            continue
        for part, packed in value.items():
            setattr(getattr(layer, name), part, _unpack(packed))


def _pack(value: Any) -> Any:
    """A Python number as it is, an array with its type."""
    if isinstance(value, int | float) and not isinstance(value, np.generic):
        return value
    array = np.asarray(value)
    return [array.dtype.str, array.tolist()]


def _unpack(packed: Any) -> Any:
    return np.array(packed[1], packed[0]) if isinstance(packed, list) else packed


def _warn_of(layer: Any) -> None:
    """Warns once of a class that seems to keep statistics and does not tell them."""
    name = type(layer).__name__
    kept = [key for key in getattr(layer, "__dict__", {}) if _SUSPECT.fullmatch(key)]
    if kept and name not in _told:
        _told.add(name)
        _LOG.warning(
            "%s keeps %s over episodes, which no snapshot holds: it begins anew when "
            "the run goes on, in evaluations and in dreamerv2.watch. Let it have "
            "get_state(), fit for JSON, and set_state(state).",
            *(name, ", ".join(kept)),
        )
