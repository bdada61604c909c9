"""Small helpers of graphs: compiled parts, axes of time, seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


def fuses() -> bool:
    """Tells whether to compile parts of a graph: on a CPU.

    TensorFlow walks through memory once for each operation, XLA once for all that it
    fuses; convolutions and large products it does worse. Eager code compiles nothing.
    """
    return not (tf.executing_eagerly() or tf.config.list_physical_devices("GPU"))


def fused(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Decorates a function that XLA shall compile where `fuses` says so.

    Its arguments are tensors, or numbers that it is compiled for.
    """
    compiled = tf.function(function, autograph=False, jit_compile=True)

    @functools.wraps(function)
    def call(*args: Any) -> tf.Tensor:
        return (compiled if fuses() else function)(*args)

    return call


def flatten_time(tree: Any) -> Any:
    """Merges the two leading axes of every tensor: [B, T, ...] -> [B * T, ...]."""
    return tf.nest.map_structure(
        lambda x: tf.reshape(x, [x.shape[0] * x.shape[1], *x.shape[2:]]), tree
    )


def swap_time(tree: Any) -> Any:
    """Exchanges the two leading axes of every tensor: [B, T, ...] <-> [T, B, ...]."""
    return tf.nest.map_structure(
        lambda x: tf.transpose(x, [1, 0, *range(2, len(x.shape))]), tree
    )


def split_seed(seed: tf.Tensor | None, count: int) -> list[tf.Tensor | None]:
    """Derives independent stateless seeds [2]; None (take the mode) stays None."""
    if seed is None:
        return [None] * count
    return tf.unstack(tf.random.split(seed, count))


def after(tensor: tf.Tensor, value: tf.Tensor | None) -> tf.Tensor | None:
    """Returns a value, such as a seed, once the tensor is computed; None stays None.

    A graph draws noise as soon as it has the seed: that of its last part would lie in
    memory while all others are computed.
    """
    if value is None:
        return None
    with tf.control_dependencies([tensor]):
        return tf.identity(value)


def prefix(metrics: Mapping[str, tf.Tensor], name: str) -> dict[str, tf.Tensor]:
    """Puts `name_` before every key."""
    return {f"{name}_{key}": value for key, value in metrics.items()}
