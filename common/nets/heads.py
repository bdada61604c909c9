"""Networks with a distribution on top: a layer, an MLP, an ensemble of MLPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common.compute import graphs, onehots
from common.nets import dists
from common.nets import layers as nn


def check_dist(key: str, dist: str, known: Sequence[str]) -> None:
    """Raises ValueError if a configured distribution does not suit its head.

    Args:
      key: The configuration key, for the message.
      dist: Its value.
      known: Distributions that suit it.
    """
    if dist not in known:
        raise ValueError(
            f"{key} is {dist!r}, which does not suit this head; choose from "
            f"{sorted(known)}."
        )


class DistLayer(nn.Module):
    """The last layer of a head: features to a distribution over `shape`."""

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        shape: Sequence[int],
        dist: str,
        min_std: float = 0.1,
    ):
        """Draws the output layer of the distribution named `dist`.

        Args:
          rng: Source of the initial weights.
          inputs: Size of the features.
          shape: Event shape, () for a scalar.
          dist: mse (normal of variance one), binary, onehot or trunc_normal.
          min_std: Least standard deviation of a truncated normal.

        Raises:
          ValueError: If the distribution is unknown.
        """
        super().__init__()
        if dist not in ("mse", "binary", "onehot", "trunc_normal"):
            raise ValueError(
                f"Unknown distribution {dist!r}; choose from "
                "['binary', 'mse', 'onehot', 'trunc_normal']."
            )
        self._shape = list(shape)
        self._kind = dist
        self._min_std = min_std
        size = int(np.prod(self._shape))
        self._out = self.add("out", nn.Dense(rng, inputs, size))
        if dist == "trunc_normal":
            self._std = self.add("std", nn.Dense(rng, inputs, size))

    def __call__(self, x: tf.Tensor) -> Any:
        """Returns the distribution given features [..., inputs]."""
        out = tf.cast(self._out(x), tf.float32)
        out = tf.reshape(out, [*x.shape[:-1], *self._shape])
        if self._kind == "mse":
            return dists.Normal(out, 1.0, len(self._shape))
        if self._kind == "binary":
            return dists.Bernoulli(out)
        if self._kind == "onehot":
            return dists.OneHot(out)
        std = tf.reshape(tf.cast(self._std(x), tf.float32), out.shape)
        std = 2 * tf.sigmoid(std / 2) + self._min_std
        return dists.TruncatedNormal(tf.tanh(out), std)


class MLP(nn.Module):
    """Dense layers and a distribution on top."""

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        shape: Sequence[int],
        *,
        layers: int,
        units: int,
        act: str,
        norm: str,
        dist: str,
        min_std: float = 0.1,
    ):
        """Builds `layers` layers of `units` units and an output over `shape`."""
        super().__init__()
        self._layers = []
        for i in range(layers):
            layer = nn.Dense(rng, inputs, units, act, norm)
            self._layers.append(self.add(f"dense{i}", layer))
            inputs = units
        self._out = self.add("out", DistLayer(rng, inputs, shape, dist, min_std))

    def __call__(self, x: tf.Tensor | onehots.Latents) -> Any:
        """Returns the distribution given features [..., inputs]."""
        for layer in self._layers:
            x = layer(x)
        return self._out(x)


class Head(MLP):
    """An MLP that predicts a scalar of the data, with its part of a model's loss.

    Attributes:
      constant: The least that `loss` can be, in nats: that of a perfect prediction.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        key: str,
        *,
        scale: float = 1.0,
        **sizes: Any,
    ):
        """Builds the network.

        Args:
          rng: Source of the initial weights.
          inputs: Size of the features.
          key: What it predicts, a key of the data.
          scale: Weight of its loss.
          **sizes: See `MLP`.
        """
        super().__init__(rng, inputs, (), **sizes)
        self._key, self._scale = key, scale
        self.constant = scale * dists.unit_constant(1) * (sizes["dist"] == "mse")

    def loss(
        self, feat: onehots.Latents, data: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the scaled mean [] of -ln p(data | feat), and ln p [...] by key."""
        log_prob = self(feat).log_prob(data[self._key])
        return -self._scale * tf.reduce_mean(log_prob), {self._key: log_prob}


class EnsembleMLP(nn.Module):
    """Networks of one shape but different weights."""

    def __init__(
        self,
        rng: np.random.Generator,
        count: int,
        inputs: int,
        size: int,
        *,
        layers: int,
        units: int,
        act: str,
        norm: str,
        dist: str,
    ):
        """Builds `count` networks [inputs] -> [size] with unit-variance outputs.

        Raises:
          ValueError: If the distribution is not mse or the norm is unknown.
        """
        super().__init__()
        self._count = count
        if dist != "mse":
            raise ValueError(
                f"Unknown distribution {dist!r} for an ensemble head (expl_head); only "
                "mse is defined for it."
            )
        self._layers = []
        for i in range(layers):
            layer = _EnsembleDense(rng, count, inputs, units, act, norm)
            self._layers.append(self.add(f"dense{i}", layer))
            inputs = units
        self._out = self.add("out/out", _EnsembleDense(rng, count, inputs, size))

    def __call__(self, x: tf.Tensor | onehots.Latents) -> tf.Tensor:
        """Returns means [N, ..., size] in float32, one for each of the N networks."""
        return tf.stack(self.members(x))

    def disagreement(self, x: onehots.Latents) -> tf.Tensor:
        """Returns the standard deviation over members, averaged (Sekar et al. 2020).

        Slice by slice of the first axis: all predictions at once are half a gigabyte.

        Args:
          x: [T, ..., inputs].

        Returns:
          [T, ...] in float32.
        """
        return tf.map_fn(
            lambda parts: _deviation(*self.members(x.of(parts))),
            x.parts,
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )

    def members(self, x: tf.Tensor | onehots.Latents) -> list[tf.Tensor]:
        """Returns the mean [..., size] in float32 of each network."""
        batch = x.shape[:-1]
        xs = [onehots.merge_axes(x)] * self._count
        for layer in (*self._layers, self._out):
            xs = layer(xs)
        return [tf.reshape(tf.cast(x, tf.float32), [*batch, x.shape[-1]]) for x in xs]


@graphs.fused
def _deviation(*predictions: tf.Tensor) -> tf.Tensor:
    """Returns the mean standard deviation [...] of predictions [..., size]."""
    return tf.reduce_mean(tf.math.reduce_std(tf.stack(predictions), 0), -1)


class _EnsembleDense(nn.Module):
    """N layers [B, inputs] -> [B, size], whose weights are stacked in one array.

    One product after the other, since each is one operation with its bias and
    activation: a batched product of all takes 12 % longer on a CPU.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        count: int,
        inputs: int,
        size: int,
        act: str = "none",
        norm: str = "none",
    ):
        super().__init__()
        kernels = np.stack([nn.glorot(rng, [inputs, size]) for _ in range(count)])
        self._kernel = self.add("kernel", tf.Variable(kernels))
        self._bias = self.add("bias", tf.Variable(tf.zeros([count, size])))
        self._act = nn.activation(act)
        # The norm's weights [N, 1, size] go with the networks, not with the batch.
        self._norm = nn.make_norm(norm, [count, 1, size])
        if self._norm:
            self.add("norm", self._norm)

    def __call__(self, xs: Sequence[tf.Tensor | onehots.Latents]) -> list[tf.Tensor]:
        dtype = xs[0].dtype
        kernels = tf.unstack(tf.cast(self._kernel, dtype))
        biases = tf.unstack(tf.cast(self._bias, dtype))
        ys = [
            tf.nn.bias_add(onehots.matmul(x, kernel), bias)
            for x, kernel, bias in zip(xs, kernels, biases, strict=True)
        ]
        if self._norm:
            ys = tf.unstack(self._norm(tf.stack(ys)))
        return [self._act(y) for y in ys]
