"""Loops over time, also such whose layers get their gradients after the loop."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from common.compute import onehots

Product = Callable[[Any], tf.Tensor]

# How the products of some layers are computed while the body of a loop is traced.
_swapped: contextvars.ContextVar[Mapping[Layer, Product]] = contextvars.ContextVar(
    "swapped", default=types.MappingProxyType({})
)


class Layer(Protocol):
    """A layer that multiplies its input with one matrix, by calling `product`."""

    def matrix(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the matrix [I, O]."""


def product(layer: Layer, x: tf.Tensor | onehots.Latents) -> tf.Tensor:
    """Returns the product [B, O] of x [B, I] and the matrix of a layer."""
    swapped = _swapped.get().get(layer)
    return swapped(x) if swapped else onehots.matmul(x, layer.matrix(x.dtype))


def scan(
    step: Callable[[Any, Any], Any],
    inputs: Any,
    state: Any,
    *,
    unroll: bool = False,
    reverse: bool = False,
) -> Any:
    """Runs `state = step(state, input)` over the leading axis and stacks the states.

    A `tf.while_loop` (inside `tf.scan`) takes as long a step as an unrolled graph and
    traces in a fraction of the time; `unroll` is for compilers that want one block.

    Args:
      step: Graph function of a state and one slice of the inputs; returns the next
        state with the same structure, shapes and types.
      inputs: Nest of tensors [T, ...] with T known when traced.
      state: Nest of tensors, the state before the first step.
      unroll: Whether to write the loop out in Python.
      reverse: Whether to start at the last input; outputs keep the inputs' order.

    Returns:
      Nest of all states [T, ...], the given one left out.
    """
    if not unroll:
        return tf.scan(step, inputs, state, reverse=reverse)
    length = tf.nest.flatten(inputs)[0].shape[0]
    states = [state] * length
    for t in reversed(range(length)) if reverse else range(length):
        state = step(state, tf.nest.map_structure(lambda x, t=t: x[t], inputs))
        states[t] = state
    return tf.nest.map_structure(lambda *xs: tf.stack(xs), *states)


def lifted(
    step: Callable[[Any, Any], Any],
    inputs: Any,
    state: Any,
    layers: Sequence[Layer],
    *,
    dtype: tf.DType,
    unroll: bool = False,
) -> Any:
    """Runs `scan` and takes the gradients of the layers' matrices after the loop.

    Differentiating a loop multiplies and adds up a whole matrix at each of its steps:
    with few rows that costs more than all else in the loop. Here the loop only keeps,
    for each product y_t = x_t W, the small x_t and dL/dy_t; one product over all steps
    then gives dL/dW = sum_t x_t^T dL/dy_t.

    Args:
      step: As in `scan`, for states [B, ...]; calls each of the layers once.
      inputs: Nest of tensors [T, ...] with T known when traced.
      state: Nest of tensors [B, ...], the state before the first step.
      layers: Those whose products are taken out of the way back.
      dtype: Type that they compute in.
      unroll: Whether to write the loop out in Python.

    Returns:
      Nest of all states [T, B, ...], the given one left out.
    """
    length = tf.nest.flatten(inputs)[0].shape[0]
    rows = tf.nest.flatten(state)[0].shape[0]
    kernels = [layer.matrix(dtype) for layer in layers]
    seen: list[tf.Tensor] = []  # x of all steps [T, B, I], filled after the loop
    taps = [
        _tap(kernel, [length, rows], lambda i=i: seen[i])
        for i, kernel in enumerate(kernels)
    ]
    products = [_product(kernel) for kernel in kernels]

    def body(carry: tuple, now: tuple) -> tuple:
        now, tapped = now
        used: list[tf.Tensor | None] = [None] * len(layers)

        def multiply(i: int, x: tf.Tensor | onehots.Latents) -> tf.Tensor:
            if used[i] is not None:
                raise ValueError(f"{layers[i]} is called twice in a step of a loop.")
            used[i] = tf.convert_to_tensor(x)
            return products[i](used[i], tapped[i])

        swaps = {layer: lambda x, i=i: multiply(i, x) for i, layer in enumerate(layers)}
        token = _swapped.set(swaps)
        try:
            return step(carry[0], now), used
        finally:
            _swapped.reset(token)

    blank = [tf.zeros([rows, kernel.shape[0]], kernel.dtype) for kernel in kernels]
    states, used = scan(body, (inputs, taps), (state, blank), unroll=unroll)
    seen.extend(used)
    return states


def _tap(
    kernel: tf.Tensor, lead: list[int], inputs: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Returns zeros [T, B, O] whose gradients become that of a matrix [I, O]."""

    @tf.custom_gradient
    def tap(kernel: tf.Tensor) -> tuple:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            x, y = (tf.reshape(z, [-1, z.shape[-1]]) for z in (inputs(), upstream))
            return tf.matmul(x, y, transpose_a=True)

        return tf.zeros([*lead, kernel.shape[1]], kernel.dtype), gradient

    return tap(kernel)


def _product(kernel: tf.Tensor) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns a function of x [B, I] and a slice of its tap [B, O] to x W [B, O]."""
    kernel = tf.stop_gradient(kernel)
    transposed = tf.transpose(kernel)  # once, and not in each step of the way back

    @tf.custom_gradient
    def product(x: tf.Tensor, tapped: tf.Tensor) -> tuple:
        del tapped

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.matmul(upstream, transposed), upstream

        return tf.matmul(x, kernel), gradient

    return product
