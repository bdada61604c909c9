"""From the spaces of Gymnasium or classic gym to our arrays and actions.

Spaces are told apart by the names of their classes, so that neither library needs to
be imported, or installed.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from common import specs
from common.envs import base, native

MOST_CHOICES = 1024  # actions that several choices at once may come to


@dataclasses.dataclass(frozen=True)
class ObservationPart:
    """One numeric key of an observation and how it becomes an array of ours.

    Attributes:
      spec: The array that `convert` returns.
      raw_shape: The shape that the environment must deliver.
      convert: Raw array of raw_shape -> array of spec, always a new one.
    """

    spec: specs.ArraySpec
    raw_shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]


def observation_parts(
    space: Any, size: tuple[int, int] | None
) -> dict[str, ObservationPart]:
    """The numeric parts of an observation space by key.

    What is not numeric or has no numbers is left out; `meaning.readings` tells of it.
    A space that is no Dict becomes the key `image` if it is an image, else `vector`.
    uint8 arrays [h, w] and [h, w, c] are images; all else becomes a float32 vector:
    a Discrete one-hot, arrays flattened.

    Args:
      space: An observation space.
      size: Height and width that images are resized to; None leaves them.

    Raises:
      ValueError: Nothing numeric, a nested Dict or Tuple, or a reserved key.
    """
    parts = {}
    for key, subspace in subspaces(space).items():
        if kind(subspace) in ("Dict", "Tuple"):
            raise ValueError(
                f"Observation {key!r} is nested: {subspace}. Flatten it with "
                "gymnasium.wrappers.FlattenObservation or a wrapper of your own."
            )
        if key in base.RESERVED:
            raise ValueError(
                f"Observation key {key!r} is reserved: a transition or a loss is "
                f"called so. Rename it; reserved are {', '.join(base.RESERVED)}."
            )
        if kind(subspace) in PARTS and 0 not in subspace.shape:
            parts[key] = PARTS[kind(subspace)](subspace, size)
    if not parts:
        raise ValueError(
            f"Nothing in the observation space {space} is numeric; it needs a Box, "
            "Discrete, MultiDiscrete or MultiBinary, alone or in a Dict."
        )
    return parts


def subspaces(space: Any) -> dict[str, Any]:
    """The spaces in a Dict by key; one that is no Dict is `image` or `vector`."""
    if kind(space) == "Dict":
        return dict(space.spaces)
    return {"image" if is_image(space) else "vector": space}


def action_part(space: Any) -> tuple[specs.ActionSpec, Callable[[np.ndarray], Any]]:
    """The action spec of a space, and what turns our float32 [A] into its actions.

    Several choices at once, MultiDiscrete or MultiBinary, become one: each combination
    is an action.

    Raises:
      ValueError: Neither choices nor a bounded Box of floating-point numbers, or more
        than MOST_CHOICES combinations.
    """
    if kind(space) == "Discrete":
        start = int(getattr(space, "start", 0))
        spec = specs.ActionSpec(int(space.n), True, specs.Native((), "int64", start))
        return spec, native.actor(spec)
    if kind(space) in ("MultiDiscrete", "MultiBinary"):
        spec = _several(space)
        return spec, native.actor(spec)
    if kind(space) != "Box" or not np.issubdtype(space.dtype, np.floating):
        raise ValueError(
            f"Action space {space} is not supported: it must be one Discrete, "
            "MultiDiscrete, MultiBinary or bounded Box of floats. Flatten a mixed or "
            "nested one in a wrapper."
        )
    low, high = np.asarray(space.low), np.asarray(space.high)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(
            f"Action space {space} is unbounded: low and high must be finite. Say "
            "which actions make sense, such as from -1 to 1: gymnasium.wrappers."
            "TransformAction(env, lambda action: action, gymnasium.spaces.Box(-1, 1, "
            f"{tuple(low.shape)}))."
        )
    written = specs.Native(
        shape=tuple(low.shape),
        dtype=np.dtype(space.dtype).name,
        low=low.tolist(),
        high=high.tolist(),
    )
    spec = specs.ActionSpec(int(low.size), False, written)
    return spec, native.actor(spec)


def kind(space: Any) -> str:
    """The name of the library's class that a space is of, or '' if it is of none."""
    for cls in type(space).__mro__:
        if cls.__module__.partition(".")[0] in ("gym", "gymnasium"):
            return cls.__name__
    return ""


def _several(space: Any) -> specs.ActionSpec:
    """The one choice among all combinations of a MultiDiscrete or MultiBinary."""
    binary = kind(space) == "MultiBinary"
    counts = np.full(space.shape, 2) if binary else np.asarray(space.nvec)
    total = int(np.prod(counts.astype(object)))
    if total > MOST_CHOICES:
        raise ValueError(
            f"Action space {space} has {total} combinations, and each would be an "
            f"action; at most {MOST_CHOICES} are supported. Leave choices out in a "
            "wrapper, or make amounts a Box of floats."
        )
    first = np.broadcast_to(getattr(space, "start", 0), counts.shape)
    written = specs.Native(
        shape=tuple(counts.shape),
        dtype=np.dtype(space.dtype).name,
        start=0,
        low=first.tolist(),
        counts=counts.tolist(),
    )
    return specs.ActionSpec(total, True, written)


def _one_hot(space: Any, size: tuple[int, int] | None) -> ObservationPart:
    start = int(getattr(space, "start", 0))
    written = specs.Native((), "int64", start)
    return _part(specs.ArraySpec((int(space.n),), np.dtype(np.float32), written))


def _array(space: Any, size: tuple[int, int] | None) -> ObservationPart:
    shape = tuple(space.shape)
    written = specs.Native(shape, np.dtype(space.dtype).name)
    if not is_image(space):
        length = (int(np.prod(shape)),)
        return _part(specs.ArraySpec(length, np.dtype(np.float32), written))
    height, width, channels = (*shape, 1)[:3]
    resized = (*(size or (height, width)), channels)
    return _part(specs.ArraySpec(resized, np.dtype(np.uint8), written))


def _part(spec: specs.ArraySpec) -> ObservationPart:
    return ObservationPart(spec, spec.native.shape, native.observer(spec))


def is_image(space: Any) -> bool:
    """Whether a space is taken for an image: bytes [h, w] or [h, w, c]."""
    is_box = kind(space) == "Box"
    return is_box and space.dtype == np.uint8 and len(space.shape) in (2, 3)


PARTS: dict[str, Callable[[Any, tuple[int, int] | None], ObservationPart]] = {
    "Box": _array,
    "Discrete": _one_hot,
    "MultiDiscrete": _array,
    "MultiBinary": _array,
}
