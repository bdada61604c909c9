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

from common.compute import graphs, onehots, scans

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


class Layer(Module):
    """What dense and convolutional layers share: kernel, bias, norm, activation."""

    def __init__(
        self,
        rng: np.random.Generator,
        kernel: Sequence[int],
        size: int,
        act: str,
        norm: str,
    ):
        """Draws a kernel of a shape [..., inputs, outputs]; `size` biases are zero."""
        super().__init__()
        self.size = size
        self._kernel = self.add("kernel", tf.Variable(glorot(rng, kernel)))
        self._bias = self.add("bias", tf.Variable(tf.zeros(size)))
        self._norm = make_norm(norm, size)
        if self._norm:
            self.add("norm", self._norm)
        self._act = activation(act)

    def finish(self, x: tf.Tensor) -> tf.Tensor:
        """Applies bias, norm and activation to a product."""
        return self.activate(tf.nn.bias_add(x, tf.cast(self._bias, x.dtype)))

    def activate(self, x: tf.Tensor) -> tf.Tensor:
        """Applies norm and activation."""
        return self._act(self._norm(x) if self._norm else x)


class Dense(Layer):
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

    def __call__(self, x: tf.Tensor | onehots.Latents) -> tf.Tensor:
        """Applies the layer."""
        return _on_two_axes(lambda y: self.finish(scans.product(self, y)), x)

    def matrix(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the kernel [inputs, size]."""
        return tf.cast(self._kernel, dtype)


class SplitDense(Layer):
    """A dense layer over concat(x, other), whose share of `other` is computed ahead.

    A product over concatenated inputs is the sum of the products over its parts: what
    is known beforehand can be multiplied once for all steps of a loop.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        other: int,
        size: int,
        act: str = "none",
        norm: str = "none",
    ):
        """Draws a kernel [inputs + other, size]."""
        super().__init__(rng, [inputs + other, size], size, act, norm)
        self._inputs = inputs

    def ahead(self, other: tf.Tensor) -> tf.Tensor:
        """Returns the share [..., size] of `other` [..., O], for `__call__`."""
        rows = tf.cast(self._kernel[self._inputs :], other.dtype)
        return _on_two_axes(lambda y: tf.matmul(y, rows), other)

    def __call__(self, x: tf.Tensor, ahead: tf.Tensor) -> tf.Tensor:
        """Applies the layer to x [B, I] and what `ahead` has returned [B, size]."""
        return self.finish(scans.product(self, x) + ahead)

    def matrix(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the rows of the kernel [I, size] that x is multiplied with."""
        return tf.cast(self._kernel[: self._inputs], dtype)


def _on_two_axes(
    function: Callable[[Any], tf.Tensor], x: tf.Tensor | onehots.Latents
) -> tf.Tensor:
    """Applies a function of [N, I] to x [..., I]: [..., O].

    On two axes product, bias and activation are one operation on a CPU.
    """
    if len(x.shape) == 2:
        return function(x)
    y = function(onehots.merge_axes(x))
    return tf.reshape(y, [*x.shape[:-1], y.shape[-1]])


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
        parts = scans.product(self, tf.concat([x, state], -1))  # [B, 3 D]
        # In mixed precision only the product is of half precision.
        weights = (self._bias, self._norm.gamma, self._norm.beta)
        return _gates(parts, state, *(tf.convert_to_tensor(w) for w in weights))

    def matrix(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the matrix [I + D, 3 D] that multiplies concat(input, state)."""
        return tf.cast(self._kernel, dtype)


@graphs.fused
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
