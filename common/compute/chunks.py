"""Means over rows whose gradient is taken piece by piece, to save memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

Rows = dict[str, tf.Tensor]  # [n] by name
Function = Callable[[Any, Any], Rows]


def mean(
    function: Function,
    x: Any,
    data: Any,
    weights: Sequence[tf.Variable],
    *,
    scales: Mapping[str, float],
    most: int,
    loss_scale: tf.Tensor | float = 1.0,
) -> tuple[tf.Tensor, Rows]:
    """Returns the mean over rows of what a network says of each.

    A tape keeps what every layer computed for all rows until the way back. Rows do not
    depend on each other, so here a piece of them goes forward and back before the next
    one, and only what has the size of inputs or weights stays of it.

    Args:
      function: Maps rows of x [n, ...] and of the data to values [n] in float32 by
        name; reads no variables but the weights.
      x: Nest of tensors [N, ...].
      data: Nest of tensors [N, ...]; they take no gradient.
      weights: Variables that take a gradient.
      scales: What the values are multiplied with, by name.
      most: Rows in a piece, at most, unless only tiny pieces divide N evenly.
      loss_scale: What the mean will be multiplied with before it is differentiated:
        without it, gradients within a piece would underflow in float16.

    Returns:
      The mean over rows [] of the scaled sum of the values, and the values [N], which
      take no gradient.
    """
    total = tf.nest.flatten(x)[0].shape[0]
    rows = _choose(total, most)
    if rows == total:
        values = function(x, data)
        return _weigh(values, scales), tf.nest.map_structure(tf.stop_gradient, values)

    @tf.custom_gradient
    def run(*leaves: tf.Tensor) -> tuple:
        values, above, slopes = _run(
            function,
            tf.nest.pack_sequence_as(x, leaves),
            data,
            list(weights),
            scales,
            rows,
            loss_scale,
        )
        by_weight = {w.ref(): g for w, g in zip(weights, slopes, strict=True)}

        def gradient(upstream: tf.Tensor, *_: tf.Tensor, variables: Sequence = ()):
            factor = upstream / loss_scale
            below = [factor * by_weight[weight.ref()] for weight in variables]
            return [tf.cast(factor, slope.dtype) * slope for slope in above], below

        return (_weigh(values, scales), values), gradient

    return run(*tf.nest.flatten(x))


def _choose(total: int, most: int) -> int:
    """Returns the rows of a piece, which divide all evenly."""
    most = min(most, total)
    sizes = [n for n in range(1, total + 1) if total % n == 0]
    fitting = max(n for n in sizes if n <= most)
    return fitting if 4 * fitting > most else min(n for n in sizes if 4 * n > most)


def _weigh(values: Rows, scales: Mapping[str, float]) -> tf.Tensor:
    return sum(scale * tf.reduce_mean(values[name]) for name, scale in scales.items())


def _run(
    function: Function,
    x: Any,
    data: Any,
    weights: list[tf.Variable],
    scales: Mapping[str, float],
    rows: int,
    loss_scale: tf.Tensor | float,
) -> tuple[Rows, list[tf.Tensor], list[tf.Tensor]]:
    """Returns the values [N], and the scaled gradients for x and the weights."""
    leaves = tf.nest.flatten(x)
    count = leaves[0].shape[0] // rows
    pieces = tf.nest.map_structure(
        lambda y: tf.reshape(y, [count, rows, *y.shape[1:]]), (x, data)
    )

    def step(i, values, above, slopes):
        now, given = tf.nest.map_structure(lambda y: y[i], pieces)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([now, weights])
            found = function(now, given)
            scaled = _weigh(found, scales) * loss_scale / count
        here, more = tape.gradient(
            scaled, [tf.nest.flatten(now), weights], unconnected_gradients="zero"
        )
        values = values.write(i, tf.stack([found[name] for name in scales]))
        above = [a.write(i, b) for a, b in zip(above, here, strict=True)]
        slopes = [a + b for a, b in zip(slopes, more, strict=True)]
        return i + 1, values, above, slopes

    start = (
        tf.constant(0),
        tf.TensorArray(tf.float32, count, element_shape=[len(scales), rows]),
        [
            tf.TensorArray(y.dtype, count, element_shape=[rows, *y.shape[1:]])
            for y in leaves
        ],
        [tf.zeros_like(weight) for weight in weights],
    )
    _, values, above, slopes = tf.while_loop(
        lambda i, *_: i < count, step, start, parallel_iterations=1
    )
    values = tf.reshape(tf.transpose(values.stack(), [1, 0, 2]), [len(scales), -1])
    values = dict(zip(scales, tf.unstack(values), strict=True))
    above = [tf.reshape(a.stack(), y.shape) for a, y in zip(above, leaves, strict=True)]
    return values, above, slopes
