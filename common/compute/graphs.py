"""Small helpers of graphs: compiled parts, axes of time, seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping
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


class Traced:
    """A graph function that finds its concrete graphs by keys.

    At every call `tf.function` looks at all arguments to find a graph, which takes
    0.2 ms; a caller who knows what they depend on says so more quickly.
    """

    def __init__(self, function: Callable[..., Any]):
        """Takes what is to be traced."""
        self._function = tf.function(function, autograph=False)
        self._graphs: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, *inputs: Any, **constants: Any) -> Any:
        """Calls the function; runs it eagerly if all functions are to be.

        Args:
          key: Equal for calls whose inputs have equal structure, shapes and types and
            whose constants are equal, and for no others.
          *inputs: Nests of tensors.
          **constants: Arguments that a graph is traced for.
        """
        if tf.config.functions_run_eagerly():
            return self._function(*inputs, **constants)
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._function.get_concrete_function(*inputs, **constants)
            self._graphs[key] = graph
        return graph(*inputs, **constants)

    def experimental_get_tracing_count(self) -> int:
        """How many graphs there are, under the name that `tf.function` has for it."""
        return self._function.experimental_get_tracing_count()


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


def not_before(tensor: tf.Tensor, value: tf.Tensor | None) -> tf.Tensor | None:
    """Returns a value, such as a seed, once the tensor is computed; None stays None.

    A graph draws noise as soon as it has the seed: that of its last part would lie in
    memory while all others are computed.
    """
    if value is None:
        return None
    with tf.control_dependencies([tensor]):
        return tf.identity(value)


def check_shape(name: str, x: Any, **sizes: int) -> None:
    """Makes sure, while a graph is traced, that a tensor has the shape it is to have.

    Args:
      name: What the message calls it.
      x: Anything with a `shape`.
      **sizes: Its axes in order, each under its letter of the alphabet of shapes.

    Raises:
      ValueError: If the shape is another one; the message prints both.
    """
    found, expected = tuple(x.shape), tuple(sizes.values())
    if found != expected:
        letters = ", ".join(sizes)
        raise ValueError(
            f"{name} has shape {list(found)}, but it must be [{letters}] = "
            f"{list(expected)}."
        )


def prefix(metrics: Mapping[str, tf.Tensor], name: str) -> dict[str, tf.Tensor]:
    """Puts `name_` before every key."""
    return {f"{name}_{key}": value for key, value in metrics.items()}
