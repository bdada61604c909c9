"""Counts the floating-point operations of matrix products and convolutions.

An update runs once in eager mode, where every operation passes by with its shapes,
loops step by step and gradients too. A product of [m, k] and [k, n] counts 2 m k n; a
convolution likewise, with the positions of its output as rows. All else is cheap and is
not counted, nor is what our agent does instead of a product: rows of a matrix that are
added up because the input is one-hot.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_callbacks


@dataclasses.dataclass
class Count:
    """Floating-point operations so far."""

    total: int = 0


def of(kind: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Returns the operations of one product or convolution, else 0.

    Args:
      kind: TensorFlow's name of it.
      inputs: Its input tensors.
      outputs: Its output tensors.
    """
    if kind.startswith(("MatMul", "BatchMatMul")):
        # Whichever side is turned, [m, k] and [k, n] have m k * k n numbers.
        left, right, out = (math.prod(x.shape[-2:]) for x in (*inputs[:2], outputs[0]))
        return 2 * math.prod(outputs[0].shape) * math.isqrt(left * right // max(out, 1))
    if kind == "Conv2D":
        return 2 * math.prod(outputs[0].shape) * math.prod(inputs[1].shape[:3])
    if kind == "Conv2DBackpropInput":
        return 2 * math.prod(inputs[2].shape) * math.prod(inputs[1].shape[:3])
    if kind == "Conv2DBackpropFilter":
        return 2 * math.prod(inputs[2].shape) * math.prod(outputs[0].shape[:3])
    return 0


@contextlib.contextmanager
def counted() -> Iterator[Count]:
    """Runs the block in eager mode and counts; graphs traced before are not used."""
    count = Count()

    def callback(op_type, inputs, attrs, outputs, op_name=None, graph=None):
        kind = op_type.decode() if isinstance(op_type, bytes) else op_type
        count.total += of(kind, inputs, outputs)

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    op_callbacks.add_op_callback(callback)
    try:
        yield count
    finally:
        op_callbacks.remove_op_callback(callback)
        tf.config.run_functions_eagerly(before)
