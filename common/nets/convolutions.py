"""Convolutions of stride 2, and the forms in which a CPU computes them fastest."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from common.compute import graphs
from common.nets import layers

_MANY = 10**6  # bytes of images that are worth a compiled part


class Conv(layers.Layer):
    """A convolution of stride 2 without padding, NHWC."""

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        size: int,
        kernel: int,
        act: str = "none",
        norm: str = "none",
    ):
        """Draws a kernel [kernel, kernel, inputs, size]."""
        super().__init__(rng, [kernel, kernel, inputs, size], size, act, norm)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Maps [N, h, w, inputs] to [N, (h - kernel) // 2 + 1, ..., size]."""
        kernel = tf.cast(self._kernel, x.dtype)
        size, _, inputs, outputs = kernel.shape
        height, width = ((side - size) // 2 + 1 for side in x.shape[1:3])
        if height * width > 4 or inputs < 128:
            return self.finish(tf.nn.conv2d(x, kernel, 2, "VALID"))
        # Few deep patches: a matrix product, half the time of a convolution on a CPU.
        y = tf.matmul(_patches(x, size), tf.reshape(kernel, [-1, outputs]))
        return self.finish(tf.reshape(y, [-1, height, width, outputs]))

    def of_bytes(self, images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Maps uint8 images [N, h, w, inputs] as a call maps what `scale` returns.

        On the way back the images are scaled again: as numbers they would take four
        times the memory of the bytes while all other layers are at work.
        """
        return self.finish(_conv_of_bytes(images, tf.cast(self._kernel, dtype)))


@tf.custom_gradient
def _conv_of_bytes(images: tf.Tensor, kernel: tf.Tensor) -> tuple:
    """Returns the convolution of stride 2 of images [N, h, w, I], scaled."""

    def gradient(upstream: tf.Tensor) -> tuple[None, tf.Tensor]:
        # Not before it is needed, and not the tensor of the way there.
        again = scale(graphs.not_before(upstream, images), kernel.dtype)
        slope = tf.raw_ops.Conv2DBackpropFilter(
            input=again,
            filter_sizes=kernel.shape,
            out_backprop=upstream,
            strides=[1, 2, 2, 1],
            padding="VALID",
        )
        return None, slope

    return tf.nn.conv2d(scale(images, kernel.dtype), kernel, 2, "VALID"), gradient


def scale(images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns bytes, uint8 from 0 to 255, as numbers in [-0.5, 0.5]."""
    # To call what is compiled takes longer than a few images of a policy do.
    many = images.shape.num_elements() > _MANY
    return (_scale_fused if many else _scale)(images, dtype)


def _scale(images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(images, dtype) / 255.0 - 0.5


_scale_fused = graphs.fused(_scale)


@graphs.fused
def _patches(x: tf.Tensor, size: int) -> tf.Tensor:
    """Returns what a convolution of stride 2 sees of x [N, h, w, I].

    Rows [N h' w', size size I]: height and width of its output go with the images.
    """
    _, height, width, inputs = x.shape
    corners = [
        (i, j)
        for i in range(0, height - size + 1, 2)
        for j in range(0, width - size + 1, 2)
    ]
    patches = [x[:, i : i + size, j : j + size] for i, j in corners]
    return tf.reshape(tf.stack(patches, 1), [-1, size * size * inputs])


class ConvTranspose(layers.Layer):
    """A transposed convolution of stride 2 without padding, NHWC."""

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        size: int,
        kernel: int,
        act: str = "none",
        norm: str = "none",
    ):
        """Draws a kernel [kernel, kernel, size, inputs]."""
        super().__init__(rng, [kernel, kernel, size, inputs], size, act, norm)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Maps [N, h, w, inputs] to [N, 2 h - 2 + kernel, ..., size]."""
        kernel = tf.cast(self._kernel, x.dtype)
        size, _, outputs, inputs = kernel.shape
        if x.shape[1:3] == (1, 1):
            # One pixel has one patch: a matrix product, ten times as fast on a CPU.
            matrix = tf.reshape(kernel, [size * size * outputs, inputs])
            y = tf.matmul(tf.reshape(x, [-1, inputs]), matrix, transpose_b=True)
            return self.finish(tf.reshape(y, [-1, size, size, outputs]))
        if outputs < 16 and size % 2 == 0:
            return self.activate(_subpixel(x, kernel, tf.cast(self._bias, x.dtype)))
        height, width = (2 * side - 2 + size for side in x.shape[1:3])
        shape = [x.shape[0], height, width, outputs]
        return self.finish(tf.nn.conv2d_transpose(x, kernel, shape, 2, "VALID"))


@tf.custom_gradient
def _subpixel(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple:
    """Returns a transposed convolution of x [N, h, w, I], with its bias [O].

    Of the kernel [k, k, O, I], pixels in even rows and columns only meet the even ones:
    a plain convolution draws the four kinds of pixels side by side (Shi et al. 2016).
    Its 4 O outputs fill vector units that a few O would leave idle; on the way back
    there are I, and the transposed form is faster.
    """
    size, _, outputs, inputs = kernel.shape
    half = size // 2

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        slope = tf.nn.conv2d(upstream, kernel, 2, "VALID")
        below = tf.raw_ops.Conv2DBackpropFilter(
            input=upstream,
            filter_sizes=kernel.shape,
            out_backprop=x,
            strides=[1, 2, 2, 1],
            padding="VALID",
        )
        rows = tf.reshape(upstream, [-1, upstream.shape[2] * outputs])
        sums = tf.raw_ops.BiasAddGrad(out_backprop=rows)  # slow on few channels
        return slope, below, tf.reduce_sum(tf.reshape(sums, [-1, outputs]), 0)

    kinds = tf.reshape(kernel, [half, 2, half, 2, outputs, inputs])[::-1, :, ::-1]
    kinds = tf.transpose(kinds, [0, 2, 5, 1, 3, 4])  # [half, half, I, 2, 2, O]
    kinds = tf.reshape(kinds, [half, half, inputs, 4 * outputs])
    edge = [half - 1, half - 1]
    y = tf.nn.conv2d(tf.pad(x, [[0, 0], edge, edge, [0, 0]]), kinds, 1, "VALID")
    y = tf.nn.bias_add(y, tf.tile(bias, [4]))
    rows, height, width, _ = y.shape
    y = tf.reshape(y, [rows, height, width, 2, 2 * outputs])
    y = tf.transpose(y, [0, 1, 3, 2, 4])  # `tf.nn.depth_to_space` takes twice as long
    return tf.reshape(y, [rows, 2 * height, 2 * width, outputs]), gradient
