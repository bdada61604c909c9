"""Features that may be one-hot vectors, and products that only add up rows of a matrix.

A latent of S categoricals of K classes is S K numbers of which S are one. Its product
with a matrix [S K, O] is the sum of S rows, and the matrix's gradient sends each row of
the upstream gradient to S places: a K-th of the work of a matrix product. Where no
gradient has to reach the latents they are therefore kept as the places of their ones.
`Latents` is the one type of features, whichever way they are kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from common.compute import graphs


class Latents:
    """Features concat(stoch, rest) [..., S K + R].

    It is sliced, joined and cut off from gradients like the tensor that it stands for,
    and TensorFlow turns it into that tensor wherever an operation needs one; `matmul`
    (and so every dense layer) does without.
    """

    def __init__(
        self, numbers: tf.Tensor, ones: tf.Tensor | None = None, size: int = 0
    ):
        """Takes all numbers, or those after the one-hot vectors; use `join`.

        Args:
          numbers: [..., S K + R], or [..., R] if there are places.
          ones: Places of the ones among the S K numbers, int32 [..., S].
          size: S K, if there are places.
        """
        self._numbers, self._ones, self._size = numbers, ones, size

    @property
    def dtype(self) -> tf.DType:
        """Type of the numbers."""
        return self._numbers.dtype

    @property
    def shape(self) -> tf.TensorShape:
        """Shape [..., S K + R]."""
        *lead, last = self._numbers.shape
        return tf.TensorShape([*lead, self._size + last])

    @property
    def parts(self) -> tuple[tf.Tensor, ...]:
        """The tensors [..., *] that it is kept as, for loops over their first axis."""
        return (self._numbers,) if self._ones is None else (self._numbers, self._ones)

    def of(self, parts: tuple[tf.Tensor, ...]) -> Latents:
        """Returns features that are kept as other `parts` of the same kind."""
        return Latents(*parts, size=self._size)

    def map(self, function: Any) -> Latents:
        """Applies a function to each part that leaves its last axis alone."""
        return self.of(tuple(function(part) for part in self.parts))

    def __len__(self) -> int:
        return len(self._numbers)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.to_tensor(), dtype)

    def __getitem__(self, key: Any) -> Latents | tf.Tensor:
        """Slices like a tensor; a slice of the last axis is a tensor."""
        keys = key if isinstance(key, tuple) else (key,)
        plain = all(isinstance(k, int | slice | tf.Tensor) for k in keys)
        if not plain or len(keys) >= len(self.shape):
            return tf.convert_to_tensor(self)[key]
        return self.map(lambda part: part[key])

    def concat(self, other: tf.Tensor) -> Latents:
        """Appends numbers [..., N] of the same type."""
        numbers = tf.concat([self._numbers, other], -1)
        return self.of((numbers, *self.parts[1:]))

    def stop_gradient(self) -> Latents:
        """Returns the same features, which take no gradient."""
        return self.map(tf.stop_gradient)

    def merge_axes(self) -> Latents:
        """Merges all axes but the last: [..., I] -> [N, I]."""
        return self.map(merge_axes)

    def matmul(self, kernel: tf.Tensor) -> tf.Tensor:
        """Returns the product [N, O] of these [N, I] and a matrix [I, O]."""
        if self._ones is None:
            return tf.matmul(self._numbers, kernel)
        return _product(self._ones, self._numbers, kernel)

    def to_tensor(self) -> tf.Tensor:
        """Returns the features as one tensor [..., S K + R]."""
        if self._ones is None:
            return self._numbers
        vectors = tf.one_hot(self._ones, self._size, dtype=self.dtype)
        return tf.concat([tf.reduce_sum(vectors, -2), self._numbers], -1)


def _convert(value: Latents, dtype=None, name=None, as_ref=False):
    del name, as_ref
    if dtype is not None and not dtype.is_compatible_with(value.dtype):
        raise ValueError(
            f"Features of {value.dtype.name} do not become {dtype.name} by themselves; "
            "tf.cast them."
        )
    return value.to_tensor()


tf.register_tensor_conversion_function(Latents, _convert)


def join(stoch: tf.Tensor, rest: tf.Tensor, size: int) -> Latents:
    """Returns concat(stoch, rest) [..., S K + R].

    Args:
      stoch: Latents [..., S] or [..., S, K], or the places of their ones (`places`).
      rest: [..., R].
      size: Numbers in `stoch` together, S or S K.
    """
    if stoch.dtype.is_integer:
        return Latents(rest, stoch, size)
    flat = tf.reshape(stoch, [*rest.shape[:-1], size])
    return Latents(tf.concat([flat, rest], -1))


def compact(stoch: tf.Tensor) -> tf.Tensor:
    """Returns latents that need no gradient in the form that is quickest to multiply.

    That is the places of their ones in single precision on a CPU; one-hot vectors
    [..., S, K] elsewhere (in bfloat16, on a CPU with AMX, matrix products are faster).
    """
    return places(stoch) if graphs.fuses() and stoch.dtype == tf.float32 else stoch


def sample_like(other: tf.Tensor, dist: Any, noise: tf.Tensor | None) -> tf.Tensor:
    """Returns a sample of a distribution in the type and the form of other latents."""
    if not other.dtype.is_integer:
        return tf.cast(dist.sample(noise), other.dtype)
    return flatten(dist.choose(noise), dist.logits.shape[-1])


def places(onehot: tf.Tensor) -> tf.Tensor:
    """Returns where the ones are [..., S] in one-hot vectors [..., S, K] laid flat."""
    return flatten(tf.argmax(onehot, -1, tf.int32), onehot.shape[-1])


def flatten(index: tf.Tensor, classes: int) -> tf.Tensor:
    """Returns places of ones among S K numbers, given the class [..., S] of each."""
    return index + classes * tf.range(index.shape[-1])


def merge_axes(x: tf.Tensor | Latents) -> tf.Tensor | Latents:
    """Merges all axes but the last: [..., I] -> [N, I]."""
    if isinstance(x, Latents):
        return x.merge_axes()
    return tf.reshape(x, [-1, x.shape[-1]])


def matmul(x: tf.Tensor | Latents, kernel: tf.Tensor) -> tf.Tensor:
    """Returns the product [N, O] of tensors or features [N, I] and a matrix [I, O]."""
    return x.matmul(kernel) if isinstance(x, Latents) else tf.matmul(x, kernel)


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
