"""Loops over time, also such as multiply with the same matrices at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

Multiply = Callable[[str, tf.Tensor], tf.Tensor]


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
    step: Callable[[Any, Any, Multiply], Any],
    inputs: Any,
    state: Any,
    kernels: Mapping[str, tf.Tensor],
    *,
    unroll: bool = False,
) -> Any:
    """Runs `scan` and takes the gradients of matrices once, after the loop.

    Differentiating a loop multiplies and adds up a whole matrix at each of its steps:
    with few rows that costs more than all else in the loop. Here the loop only keeps,
    for each product y_t = x_t W, the small x_t and dL/dy_t; one product over all steps
    then gives dL/dW = sum_t x_t^T dL/dy_t.

    Args:
      step: Graph function of a state [B, ...], one slice of the inputs and a function
        `multiply`; returns the next state. `multiply(name, x)` is x [B, I] times the
        matrix of that name, and each matrix is used once a step.
      inputs: Nest of tensors [T, ...] with T known when traced.
      state: Nest of tensors [B, ...], the state before the first step.
      kernels: Matrices [I, O] by name.
      unroll: Whether to write the loop out in Python.

    Returns:
      Nest of all states [T, B, ...], the given one left out.
    """
    length = tf.nest.flatten(inputs)[0].shape[0]
    rows = tf.nest.flatten(state)[0].shape[0]
    seen: dict[str, tf.Tensor] = {}  # x of all steps [T, B, I], filled after the loop
    taps = {
        name: _tap(kernel, [length, rows], lambda name=name: seen[name])
        for name, kernel in kernels.items()
    }
    products = {name: _product(kernel) for name, kernel in kernels.items()}

    def body(carry: tuple, now: tuple) -> tuple:
        now, tapped = now
        used = {}

        def multiply(name: str, x: tf.Tensor) -> tf.Tensor:
            used[name] = x
            return products[name](x, tapped[name])

        return step(carry[0], now, multiply), used

    blank = {k: tf.zeros([rows, w.shape[0]], w.dtype) for k, w in kernels.items()}
    states, used = scan(body, (inputs, taps), (state, blank), unroll=unroll)
    seen.update(used)
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
