"""Layers on plain `tf.Module`: weights exist from construction on.

Every part knows its input size, draws its initial weights from the NumPy generator it
is given, and computes in the type of its input (mixed precision casts the float32
weights on use). `named_weights()` gives the flat names that checkpoints and reference
numbers use, such as `conv0/kernel`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common import onehots, tfutils

_EPSILON = 1e-3  # of layer norm
_UPDATE_BIAS = -1.0  # of gated recurrent units

ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "none": tf.identity,
    "elu": tf.nn.elu,
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "tanh": tf.nn.tanh,
}


class Module(tf.Module):
    """A part with named sub-parts and weights."""

    def __init__(self):
        """Starts without parts; subclasses `add` theirs."""
        super().__init__()
        self._parts: dict[str, Any] = {}

    def add(self, name: str, part: Any) -> Any:
        """Registers a sub-part or weight under a name and returns it."""
        self._parts[name] = part
        return part

    def merge(self, part: Module) -> Module:
        """Registers all sub-parts of a part under their own names and returns it."""
        self._parts.update(part._parts)
        return part

    def named_weights(self) -> dict[str, tf.Variable]:
        """Returns every weight by its path below this part."""
        weights = {}
        for name, part in self._parts.items():
            if isinstance(part, tf.Variable):
                weights[name] = part
            else:
                below = part.named_weights().items()
                weights.update({f"{name}/{key}": value for key, value in below})
        return weights


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Looks an activation function up by its configured name."""
    if name not in ACTIVATIONS:
        raise ValueError(
            f"Unknown activation {name!r}; choose from {sorted(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]


def glorot(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Draws uniform weights with variance 2 / (fan in + fan out), Glorot 2010."""
    receptive = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (receptive * (shape[-2] + shape[-1])))
    return (rng.random(shape, np.float32) * 2 - 1) * np.float32(limit)


class LayerNorm(Module):
    """Layer normalisation over the last axis (Ba et al. 2016), computed in float32."""

    def __init__(self, shape: int | Sequence[int]):
        """Makes weights of a shape that broadcasts against the input, [..., size]."""
        super().__init__()
        self.gamma = self.add("gamma", tf.Variable(tf.ones(shape)))
        self.beta = self.add("beta", tf.Variable(tf.zeros(shape)))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the normalised tensor in the input's type."""
        y = normalize(tf.cast(x, tf.float32), self.gamma, self.beta)
        return tf.cast(y, x.dtype)


def normalize(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    """Returns x [..., N] of mean zero and variance one, times gamma, plus beta."""
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + _EPSILON) * gamma + beta


def make_norm(name: str, shape: int | Sequence[int]) -> LayerNorm | None:
    """Returns the norm of that name, None for `none`; ValueError if unknown."""
    if name not in ("none", "layer"):
        raise ValueError(f"Unknown norm {name!r}; choose from ['layer', 'none'].")
    return LayerNorm(shape) if name == "layer" else None


class _Layer(Module):
    """What dense and convolutional layers share: kernel, bias, norm, activation."""

    def __init__(
        self,
        rng: np.random.Generator,
        kernel: Sequence[int],
        size: int,
        act: str,
        norm: str,
    ):
        super().__init__()
        self.size = size
        self._kernel = self.add("kernel", tf.Variable(glorot(rng, kernel)))
        self._bias = self.add("bias", tf.Variable(tf.zeros(size)))
        self._norm = make_norm(norm, size)
        if self._norm:
            self.add("norm", self._norm)
        self._act = activation(act)

    def _finish(self, x: tf.Tensor) -> tf.Tensor:
        return self._activate(tf.nn.bias_add(x, tf.cast(self._bias, x.dtype)))

    def _activate(self, x: tf.Tensor) -> tf.Tensor:
        return self._act(self._norm(x) if self._norm else x)


class Dense(_Layer):
    """A matrix product [..., inputs] -> [..., size], bias, norm, activation."""

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        size: int,
        act: str = "none",
        norm: str = "none",
    ):
        """Draws a kernel [inputs, size]."""
        super().__init__(rng, [inputs, size], size, act, norm)

    def __call__(self, x: tf.Tensor | onehots.Sparse) -> tf.Tensor:
        """Applies the layer."""
        # On two axes product, bias and activation are one operation on a CPU.
        y = onehots.matmul(onehots.merge_axes(x), self.rows(x.dtype))
        return tf.reshape(self.finish(y), [*x.shape[:-1], self.size])

    def rows(
        self, dtype: tf.DType, start: int | None = None, stop: int | None = None
    ) -> tf.Tensor:
        """Returns kernel rows, which belong to inputs `start` to `stop`.

        A product over concatenated inputs is the sum of the products over its parts,
        so what does not change over time can be computed once for all steps.
        """
        kernel = self._kernel if start is stop is None else self._kernel[start:stop]
        return tf.cast(kernel, dtype)

    def finish(self, x: tf.Tensor) -> tf.Tensor:
        """Applies bias, norm and activation to a product."""
        return self._finish(x)


class Conv(_Layer):
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
            return self._finish(tf.nn.conv2d(x, kernel, 2, "VALID"))
        # Few deep patches: a matrix product, half the time of a convolution on a CPU.
        y = tf.matmul(_patches(x, size), tf.reshape(kernel, [-1, outputs]))
        return self._finish(tf.reshape(y, [-1, height, width, outputs]))


@tfutils.fused
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


class ConvTranspose(_Layer):
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
            return self._finish(tf.reshape(y, [-1, size, size, outputs]))
        if outputs < 16 and size % 2 == 0:
            return self._activate(_subpixel(x, kernel, tf.cast(self._bias, x.dtype)))
        height, width = (2 * side - 2 + size for side in x.shape[1:3])
        shape = [x.shape[0], height, width, outputs]
        return self._finish(tf.nn.conv2d_transpose(x, kernel, shape, 2, "VALID"))


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


class GRUCell(Module):
    """A gated recurrent unit with layer norm, as in Hafner et al. 2021, Appendix.

    One kernel over concat(input, state) gives reset, candidate and update together;
    a bias of -1 on the update keeps the state by default.
    """

    def __init__(self, rng: np.random.Generator, inputs: int, size: int):
        """Draws a kernel [inputs + size, 3 size]."""
        super().__init__()
        self._kernel = self.add(
            "kernel", tf.Variable(glorot(rng, [inputs + size, 3 * size]))
        )
        self._bias = self.add("bias", tf.Variable(tf.zeros(3 * size)))
        self._norm = self.add("norm", LayerNorm(3 * size))

    def __call__(self, x: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """Returns the next state [B, D] of an input [B, I] and a state [B, D]."""
        parts = tf.matmul(tf.concat([x, state], -1), self.kernel(x.dtype))
        return self.finish(parts, state)

    def kernel(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the matrix [I + D, 3 D] that multiplies concat(input, state)."""
        return tf.cast(self._kernel, dtype)

    def finish(self, parts: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """Returns the next state [B, D], given the product [B, 3 D].

        In mixed precision only the product is of half precision.
        """
        weights = (self._bias, self._norm.gamma, self._norm.beta)
        return _gates(parts, state, *(tf.convert_to_tensor(w) for w in weights))


@tfutils.fused
def _gates(
    parts: tf.Tensor,
    state: tf.Tensor,
    bias: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
) -> tf.Tensor:
    """Returns the next state [B, D] of a gated recurrent unit.

    Args:
      parts: Products [B, 3 D].
      state: State [B, D].
      bias: [3 D], added before the norm.
      gamma: Scales of the norm [3 D].
      beta: Shifts of the norm [3 D].
    """
    parts = normalize(tf.cast(parts, tf.float32) + bias, gamma, beta)
    # Not `tf.split`, whose gradient XLA cannot compile inside of a compiled loop.
    thirds = tf.reshape(parts, [-1, 3, state.shape[1]])
    reset, candidate, update = tf.unstack(thirds, axis=1)
    candidate = tf.tanh(tf.sigmoid(reset) * candidate)
    update = tf.sigmoid(update + _UPDATE_BIAS)
    kept = (1 - update) * tf.cast(state, tf.float32)
    return tf.cast(update * candidate + kept, state.dtype)
