"""From what an environment itself writes to arrays of ours, and back.

The specs know it (`specs.Native`), so that this needs neither the environment nor its
library. A spec without it stands for itself, a choice for the number of a one-hot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from common import specs

Observe = Callable[[np.ndarray], np.ndarray]
Act = Callable[[np.ndarray], Any]


def of_array(spec: specs.ArraySpec) -> specs.Native:
    """Returns how an observation is written where nobody told: as our array is."""
    return spec.native or specs.Native(spec.shape, np.dtype(spec.dtype).name)


def of_action(spec: specs.ActionSpec) -> specs.Native:
    """Returns how an action is written where nobody told: a number, or in [-1, 1]^A."""
    if spec.native or spec.discrete:
        return spec.native or specs.Native((), "int64", 0)
    bound = [1.0] * spec.size
    return specs.Native((spec.size,), "float32", None, [-x for x in bound], bound)


def observer(spec: specs.ArraySpec) -> Observe:
    """Returns the function that makes our array, always a new one, of a raw one.

    uint8 arrays become images of the spec's size by the nearest pixel, numbers of
    choices one-hot, all else a flat vector.
    """
    native = of_array(spec)
    if native.start is not None:
        eye, start = np.eye(spec.shape[0], dtype=spec.dtype), native.start
        return lambda raw: eye[int(raw) - start].copy()
    if spec.dtype != np.uint8:
        return lambda raw: np.array(raw, spec.dtype).reshape(spec.shape)
    rows, columns = pixels(spec)
    return lambda raw: raw.take(rows, axis=0).take(columns, axis=1).reshape(spec.shape)


def pixels(spec: specs.ArraySpec) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows [H] and columns [W] of a raw image are those of ours."""
    source = of_array(spec).shape[:2]
    rows, columns = map(nearest_indices, source, spec.shape[:2])
    return rows, columns


def nearest_indices(source: int, target: int) -> np.ndarray:
    """Nearest-neighbour resize of an axis, pixel centres aligned: int [target]."""
    return ((np.arange(target) + 0.5) * source / target).astype(np.intp)


def actor(spec: specs.ActionSpec) -> Act:
    """Returns the function that makes an action of the environment of our [A]."""
    native = of_action(spec)
    if native.counts is not None:
        table = choices(native)
        return lambda action: table[action.argmax()].copy()
    if native.start is not None:
        return lambda action: native.start + int(action.argmax())
    low, high = bounds(native)

    def rescale(action: np.ndarray) -> np.ndarray:
        unit = (action.reshape(low.shape) + 1) / 2  # [A] -> the Box, 0 to 1 inside
        return np.clip(low + unit * (high - low), low, high).astype(low.dtype)

    return rescale


def recorder(spec: specs.ActionSpec) -> Observe:
    """Returns the inverse of `actor`: our float32 [A] of an environment's action."""
    native = of_action(spec)
    if native.counts is not None:
        table = choices(native)
        same = tuple(range(1, table.ndim))
        return lambda action: (table == action).all(same).astype(np.float32)
    if native.start is not None:
        eye, start = np.eye(spec.size, dtype=np.float32), native.start
        return lambda action: eye[int(action) - start].copy()
    low, high = bounds(native)
    width = np.where(high > low, high - low, 1)
    return lambda action: ((action - low) / width * 2 - 1).astype("float32").reshape(-1)


def choices(native: specs.Native) -> np.ndarray:
    """Returns every action [A, *shape] of one that is several choices at once.

    The last choice changes first, as digits do.
    """
    counts, first = (np.array(x, int) for x in (native.counts, native.low))
    entries = np.indices(counts.reshape(-1)).reshape(counts.size, -1).T
    return (entries.reshape(-1, *native.shape) + first).astype(native.dtype)


def bounds(native: specs.Native) -> tuple[np.ndarray, np.ndarray]:
    """Returns lowest and highest action in the environment's type and shape."""
    low, high = (np.array(x, native.dtype) for x in (native.low, native.high))
    return low.reshape(native.shape), high.reshape(native.shape)
