"""NumPy arrays of a program, in the environment's form or ours, and back.

`lead` are the axes before those of one observation, action or state: () for one, [N]
for a batch of them, [T] or [B, T] for sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common import specs
from common.envs import native

Lead = tuple[int, ...]


class Forms:
    """Knows how the environment of an agent writes observations and actions."""

    def __init__(self, spaces: specs.Spaces, keys: Sequence[str]):
        """Takes the spaces, and the observations that the agent reads."""
        self._specs = {key: spaces.obs_specs[key] for key in keys}
        self._observers = {k: native.observer(s) for k, s in self._specs.items()}
        self._act_spec = spaces.act_spec
        self._actor = native.actor(spaces.act_spec)
        self._recorder = native.recorder(spaces.act_spec)

    def observations(
        self, obs: Any, axes: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], Lead]:
        """Returns observations [*lead, *shape] as the agent reads them, and `lead`.

        Args:
          obs: Arrays by key, or the only one; each in the environment's form or ours.
            What fits fewer leading axes is taken so. Other keys are left out.
          axes: How many leading axes there may be.

        Raises:
          ValueError: If a key is missing, or a shape or type does not fit.
        """
        if not isinstance(obs, Mapping):
            obs = self._only(obs)
        missing = [key for key in self._specs if key not in obs]
        if missing:
            raise ValueError(
                f"The observation lacks {', '.join(missing)}, which this agent reads; "
                f"it has {', '.join(obs) or 'nothing'}."
            )
        arrays = {key: np.asarray(obs[key]) for key in self._specs}
        leads = [_leads(arrays[key], spec) for key, spec in self._specs.items()]
        fitting = [
            lead
            for lead in sorted(set.intersection(*map(set, leads)), key=len)
            if len(lead) in axes
        ]
        if not fitting:
            raise ValueError(self._misfit(arrays, axes))
        return {k: self._convert(k, v, fitting[0]) for k, v in arrays.items()}, fitting[
            0
        ]

    def to_actions(self, ours: np.ndarray) -> Any:
        """Returns actions [*lead, *] of the environment, given ours [*lead, A]."""
        lead = ours.shape[:-1]
        rows = [self._actor(row) for row in ours.reshape(-1, ours.shape[-1])]
        if not lead:
            return rows[0]
        written = native.of_action(self._act_spec)
        return np.array(rows, written.dtype).reshape(*lead, *written.shape)

    def from_actions(self, actions: Any, lead: Lead) -> np.ndarray:
        """Returns our actions, float32 [*lead, A].

        Args:
          actions: The environment's [*lead, *]; of a discrete one also one-hot vectors.
          lead: The leading axes.

        Raises:
          ValueError: If they have another shape.
        """
        written, size = native.of_action(self._act_spec), self._act_spec.size
        array = np.asarray(actions)
        if self._act_spec.discrete and array.dtype.kind == "f":
            if array.shape == (*lead, size):
                return array.astype(np.float32)
        elif array.shape == (*lead, *written.shape):
            rows = [self._recorder(a) for a in array.reshape(-1, *written.shape)]
            return np.array(rows, np.float32).reshape(*lead, size)
        raise ValueError(
            f"The actions are {array.dtype} {list(array.shape)}, but the environment's "
            f"are {written.dtype} {list(written.shape)} each, after the axes "
            f"{list(lead)} of the observations."
        )

    def _only(self, array: Any) -> dict[str, Any]:
        if len(self._specs) > 1:
            raise ValueError(
                f"The observation is one array, but this agent reads the keys "
                f"{', '.join(self._specs)}; give them in a dict."
            )
        return dict.fromkeys(self._specs, array)

    def _convert(self, key: str, array: np.ndarray, lead: Lead) -> np.ndarray:
        spec = self._specs[key]
        if array.shape == (*lead, *spec.shape) and array.dtype == spec.dtype:
            return array
        shape = native.of_array(spec).shape
        rows = [self._observers[key](row) for row in array.reshape(-1, *shape)]
        return np.array(rows, spec.dtype).reshape(*lead, *spec.shape)

    def _misfit(self, arrays: Mapping[str, np.ndarray], axes: Sequence[int]) -> str:
        lines = []
        for key, array in arrays.items():
            written = native.of_array(self._specs[key])
            lines.append(
                f"  {key}: {array.dtype} {list(array.shape)}, but one is "
                f"{written.dtype} {list(written.shape)}"
            )
        return (
            f"The observations do not fit, with {' or '.join(map(str, axes))} axes "
            "before those of one:\n" + "\n".join(lines)
        )


def rows_of(
    state: Mapping[str, Any], shapes: Mapping[str, Lead]
) -> tuple[dict[str, np.ndarray], Lead]:
    """Returns the entries of a state with one leading axis [N, *shape], and `lead`.

    Args:
      state: Arrays [*lead, *shape] by key; other keys are left out.
      shapes: Of one state by key.

    Raises:
      ValueError: If one is missing, or the shapes do not fit.
    """
    arrays = {key: np.asarray(state[key]) for key in shapes if key in state}
    leads = {
        array.shape[: array.ndim - len(shapes[key])]
        for key, array in arrays.items()
        if array.ndim >= len(shapes[key])
        and array.shape[array.ndim - len(shapes[key]) :] == shapes[key]
    }
    if len(arrays) < len(shapes) or len(leads) != 1:
        found = {key: list(array.shape) for key, array in arrays.items()}
        wanted = {key: ["...", *shape] for key, shape in shapes.items()}
        raise ValueError(
            f"The state is {found}, but must be {wanted}; give one that act, observe "
            "or imagine of this agent returned."
        )
    (lead,) = leads
    return {k: v.reshape(-1, *shapes[k]) for k, v in arrays.items()}, lead


def begins(obs: Any, given: Any, default: np.ndarray) -> np.ndarray:
    """Returns where episodes begin: as is given, as `obs` says, or the default.

    Raises:
      ValueError: If that has another shape.
    """
    if given is None and isinstance(obs, Mapping):
        given = obs.get("is_first")
    if given is None:
        return default
    found = np.asarray(given, bool)
    if found.shape != default.shape:
        raise ValueError(
            f"is_first has the shape {list(found.shape)}, but the observations have "
            f"the axes {list(default.shape)} before those of one."
        )
    return found


def check_axes(name: str, lead: Lead, axes: Sequence[int]) -> None:
    """Raises ValueError unless there are so many leading axes."""
    if len(lead) not in axes:
        raise ValueError(
            f"{name} takes states with {' or '.join(map(str, axes))} axes before those "
            f"of one, but there are {list(lead)}."
        )


def _leads(array: np.ndarray, spec: specs.ArraySpec) -> list[Lead]:
    """What may be the leading axes of an observation: in the one form or the other."""
    written, found = native.of_array(spec), []
    kinds = (
        "iu" if written.start is not None else "u" if spec.dtype == np.uint8 else "fiub"
    )
    for shape, allowed in ((written.shape, kinds), (spec.shape, spec.dtype.kind)):
        axes = array.ndim - len(shape)
        if axes >= 0 and array.shape[axes:] == shape and array.dtype.kind in allowed:
            found.append(array.shape[:axes])
    return found
