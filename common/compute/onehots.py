"""Products with one-hot vectors, which only add up rows of the matrix.

A latent of S categoricals of K classes is S K numbers of which S are one. Its product
with a matrix [S K, O] is the sum of S rows, and the matrix's gradient sends each row of
the upstream gradient to S places: a K-th of the work of a matrix product.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from common.compute import graphs


class Sparse(NamedTuple):
    """Stands for concat(S one-hot vectors, dense) [..., S K + R], without gradient."""

    ones: tf.Tensor  # [..., S] int32, where the ones are among the S K
    dense: tf.Tensor  # [..., R]

    @property
    def dtype(self) -> tf.DType:
        """Type of the numbers that it stands for."""
        return self.dense.dtype

    @property
    def shape(self) -> tf.TensorShape:
        """Shape [..., None]: only a matrix that it is multiplied with tells S K."""
        return tf.TensorShape([*self.dense.shape[:-1], None])


def places(onehot: tf.Tensor) -> tf.Tensor:
    """Returns where the ones are [..., S] in one-hot vectors [..., S, K] laid flat."""
    return flatten(tf.argmax(onehot, -1, tf.int32), onehot.shape[-1])


def flatten(index: tf.Tensor, classes: int) -> tf.Tensor:
    """Returns places of ones among S K numbers, given the class [..., S] of each."""
    return index + classes * tf.range(index.shape[-1])


def expand(x: tf.Tensor | Sparse, size: int) -> tf.Tensor:
    """Returns what x stands for [..., S K + R], given S K."""
    if not isinstance(x, Sparse):
        return x
    ones = tf.reduce_sum(tf.one_hot(x.ones, size, dtype=x.dtype), -2)
    return tf.concat([ones, x.dense], -1)


def merge_axes(x: tf.Tensor | Sparse) -> tf.Tensor | Sparse:
    """Merges all axes but the last: [..., I] -> [N, I]."""
    return tf.nest.map_structure(lambda y: tf.reshape(y, [-1, y.shape[-1]]), x)


def matmul(x: tf.Tensor | Sparse, kernel: tf.Tensor) -> tf.Tensor:
    """Returns the product [N, O] of x [N, I], which may be sparse, and a matrix."""
    return _product(*x, kernel) if isinstance(x, Sparse) else tf.matmul(x, kernel)


@tf.custom_gradient
def _product(ones: tf.Tensor, dense: tf.Tensor, kernel: tf.Tensor) -> tuple:
    split = kernel.shape[0] - dense.shape[1]

    def gradient(upstream: tf.Tensor) -> tuple[None, tf.Tensor, tf.Tensor]:
        above = tf.cast(_scatter(ones, upstream, split), kernel.dtype)
        below = tf.matmul(dense, upstream, transpose_a=True)
        slope = tf.matmul(upstream, kernel[split:], transpose_b=True)
        return None, slope, tf.concat([above, below], 0)

    return _gather(kernel, ones, tf.matmul(dense, kernel[split:])), gradient


@graphs.fused
def _gather(kernel: tf.Tensor, ones: tf.Tensor, rest: tf.Tensor) -> tf.Tensor:
    """Returns rest [N, O] plus the sum of the rows [N, S] of a kernel."""
    rows = tf.cast(tf.gather(kernel, ones), tf.float32)  # fused: never in memory
    return rest + tf.cast(tf.reduce_sum(rows, 1), rest.dtype)


def _scatter(ones: tf.Tensor, upstream: tf.Tensor, size: int) -> tf.Tensor:
    """Returns sums [size, O] of the upstream rows [N, O] that have a one there."""
    count = ones.shape[1]
    classes = size // count
    index = tf.unstack(ones - classes * tf.range(count), axis=1)
    sums = tf.zeros([classes, upstream.shape[1]])
    # One vector at a time: its few rows stay in the cache, and two threads share all.
    return tf.concat([_add_rows(sums, i, upstream) for i in index], 0)


@graphs.fused
def _add_rows(sums: tf.Tensor, index: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_add(sums, index[:, None], tf.cast(upstream, sums.dtype))
