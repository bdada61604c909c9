"""What an environment observes and takes, without its library's space objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Native:
    """How the environment itself writes an observation or an action of ours.

    Attributes:
      shape: Of its array; () for one of several choices.
      dtype: Name of its type, such as `float64`.
      start: The number of the first choice; None if it is no choice.
      low, high: Bounds of an action, as nested lists [*shape]; None of anything else.
      counts: Of an action that is several choices at once, how many there are for each
        of them, as nested lists [*shape]; `low` has the first of each. None else.
    """

    shape: tuple[int, ...]
    dtype: str
    start: int | None = None
    low: Any = None
    high: Any = None
    counts: Any = None


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """One observation key: uint8 [H, W, C] for images, float32 [n] for vectors.

    Attributes:
      shape: Of our array.
      dtype: Of our array.
      native: What it is made of; None if nobody told. Two tasks may differ in it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    native: Native | None = dataclasses.field(default=None, compare=False, repr=False)


@dataclasses.dataclass(frozen=True)
class ActionSpec:
    """Actions are float32 [A]: one-hot if discrete, else in [-1, 1]^A.

    Attributes:
      size: A.
      discrete: Whether one of A actions is chosen, or A numbers are.
      native: What is made of it; None if nobody told. Two tasks may differ in it.
    """

    size: int
    discrete: bool
    native: Native | None = dataclasses.field(default=None, compare=False, repr=False)


class Spaces(NamedTuple):
    """What an agent observes and does: the same in every task."""

    obs_specs: Mapping[str, ArraySpec]
    act_spec: ActionSpec

    def to_state(self) -> dict[str, Any]:
        """Returns the same, fit for JSON."""
        obs = {
            key: {**dataclasses.asdict(spec), "dtype": np.dtype(spec.dtype).name}
            for key, spec in self.obs_specs.items()
        }
        return {"obs": obs, "action": dataclasses.asdict(self.act_spec)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Spaces:
        """The inverse of `to_state`."""
        obs = {
            key: ArraySpec(tuple(s["shape"]), np.dtype(s["dtype"]), _native(s))
            for key, s in state["obs"].items()
        }
        action = state["action"]
        return cls(obs, ActionSpec(action["size"], action["discrete"], _native(action)))


def _native(state: Mapping[str, Any]) -> Native | None:
    known = state["native"]
    return known and Native(**{**known, "shape": tuple(known["shape"])})
