"""TensorFlow set-up and the small graph helpers that every model part needs."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from common import replicas

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h

PRECISIONS = {"32": tf.float32, "16": tf.float16, "bfloat16": tf.bfloat16}


def compute_dtype(precision: str) -> tf.DType:
    """Returns the type in which activations are computed; weights stay float32.

    Raises:
      ValueError: If the precision is not one of 32, 16, bfloat16.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"Unknown precision {precision!r}; choose from {sorted(PRECISIONS)}."
        )
    return PRECISIONS[precision]


def choose_precision(precision: str) -> str:
    """Returns the precision; for `auto` 16 if there is a GPU, else 32, and says so."""
    if precision != "auto":
        return precision
    chosen = "16" if tf.config.list_physical_devices("GPU") else "32"
    reason = "on a GPU" if chosen == "16" else "without a GPU"
    print(f"Precision: {chosen}, the default {reason}; --precision overrides.")
    return chosen


def setup(*, jit: bool = True, deterministic: bool = False, devices: int = 1) -> str:
    """Prepares devices once, before the first tensor is made.

    A GPU is used when TensorFlow sees one, with memory growth, so that several runs
    can share it. On the CPU deterministic kernels cost nothing and are always used.

    Args:
      jit: Whether graph functions are graphs; False runs them eagerly.
      deterministic: Whether to use deterministic kernels on a GPU too.
      devices: How many devices share each update.

    Returns:
      One line that names what is used and why it was chosen.

    Raises:
      ValueError: If there are not that many devices.
    """
    tf.config.run_functions_eagerly(not jit)
    _share_heaps()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):  # TensorFlow is in use already
            tf.config.experimental.set_memory_growth(gpu, True)
    if deterministic or not gpus:
        tf.config.experimental.enable_op_determinism()
    if devices != 1:
        replicas.find_devices(devices)
    return _describe_device(len(gpus), devices)


def _share_heaps() -> None:
    """Lets threads share two heaps, as MALLOC_ARENA_MAX=2 would, unless that is set.

    With a heap for each, what one thread has freed after compiling is lost to others.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


def _describe_device(gpus: int, devices: int) -> str:
    reason = f"because devices is {devices}"
    if gpus > 1:
        chosen = "the first" if devices == 1 else devices
        return f"Device: {chosen} of {gpus} GPUs, {reason}; memory grows on demand."
    if gpus:
        return "Device: GPU, because TensorFlow sees one; memory grows on demand."
    if devices > 1:
        return f"Device: {devices} CPU devices, {reason} and TensorFlow sees no GPU."
    if tf.test.is_built_with_cuda():
        docker = " (docker run needs --gpus all)" if _in_docker() else ""
        return f"Device: CPU, because TensorFlow sees no GPU{docker}."
    return "Device: CPU, because this TensorFlow is built without CUDA."


def _in_docker() -> bool:
    return pathlib.Path("/.dockerenv").exists()


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
