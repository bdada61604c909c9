"""Networks: heads with a distribution on top, encoder, decoder, ensemble."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common import dists
from common import layers as nn


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

    def __call__(self, x: tf.Tensor) -> Any:
        """Returns the distribution given features [..., inputs]."""
        for layer in self._layers:
            x = layer(x)
        return self._out(x)


def select_keys(
    shapes: Mapping[str, Sequence[int]], cnn_keys: str, mlp_keys: str
) -> tuple[list[str], list[str]]:
    """Splits observation keys into images and vectors by rank and expression.

    Args:
      shapes: Shape of each observation.
      cnn_keys: Expression that matches the start of image keys in use.
      mlp_keys: The same for vectors and scalars.

    Returns:
      Names of images [H, W, C] and of vectors, sorted.

    Raises:
      ValueError: If the expressions leave nothing over.
    """
    keys = sorted(shapes)
    images = [k for k in keys if len(shapes[k]) == 3 and re.match(cnn_keys, k)]
    vectors = [k for k in keys if len(shapes[k]) <= 1 and re.match(mlp_keys, k)]
    if not images and not vectors:
        raise ValueError(
            f"No observation is used: cnn_keys {cnn_keys!r} and mlp_keys {mlp_keys!r} "
            f"match none of { {k: tuple(v) for k, v in shapes.items()} }. Give "
            "expressions that match an image [H, W, C] or a vector [N]."
        )
    return images, vectors


class Encoder(nn.Module):
    """Images through convolutions, vectors through dense layers, side by side."""

    def __init__(
        self,
        rng: np.random.Generator,
        shapes: Mapping[str, Sequence[int]],
        *,
        cnn_keys: str,
        mlp_keys: str,
        act: str,
        norm: str,
        cnn_depth: int,
        cnn_kernels: Sequence[int],
        mlp_layers: Sequence[int],
    ):
        """Builds the layers for the observations that the expressions match.

        Raises:
          ValueError: If images differ in size or are too small for the kernels.
        """
        super().__init__()
        self.cnn_keys, self.mlp_keys = select_keys(shapes, cnn_keys, mlp_keys)
        self._convs, self._denses, self.size = [], [], 0
        if self.cnn_keys:
            side, channels = _image_size(shapes, self.cnn_keys)
            for i, kernel in enumerate(cnn_kernels):
                depth = 2**i * cnn_depth
                layer = nn.Conv(rng, channels, depth, kernel, act, norm)
                self._convs.append(self.add(f"conv{i}", layer))
                side, channels = (side - kernel) // 2 + 1, depth
            if (side < 1).any():
                raise ValueError(
                    f"Images {shapes[self.cnn_keys[0]]} are too small for "
                    f"cnn_kernels {list(cnn_kernels)}; set render_size 64,64."
                )
            self.size += int(side.prod()) * channels
        if self.mlp_keys:
            self._scalars = [k for k in self.mlp_keys if not len(shapes[k])]
            inputs = sum(int(np.prod(shapes[k])) for k in self.mlp_keys)
            for i, units in enumerate(mlp_layers):
                layer = nn.Dense(rng, inputs, units, act, norm)
                self._denses.append(self.add(f"dense{i}", layer))
                inputs = units
            self.size += inputs

    def __call__(self, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns embeddings [..., E] of observations [..., *shape]."""
        outputs = []
        if self.cnn_keys:
            x = tf.concat([data[k] for k in self.cnn_keys], -1)
            batch = x.shape[:-3]
            x = tf.reshape(x, [-1, *x.shape[-3:]])
            for layer in self._convs:
                x = layer(x)
            outputs.append(tf.reshape(x, [*batch, int(np.prod(x.shape[1:]))]))
        if self.mlp_keys:
            dtype = outputs[0].dtype if outputs else data[self.mlp_keys[0]].dtype
            x = [
                data[k][..., None] if k in self._scalars else data[k]
                for k in self.mlp_keys
            ]
            x = tf.cast(tf.concat(x, -1), dtype)
            for layer in self._denses:
                x = layer(x)
            outputs.append(x)
        return tf.concat(outputs, -1)


class Decoder(nn.Module):
    """Features to a distribution for each observation."""

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        shapes: Mapping[str, Sequence[int]],
        *,
        cnn_keys: str,
        mlp_keys: str,
        act: str,
        norm: str,
        cnn_depth: int,
        cnn_kernels: Sequence[int],
        mlp_layers: Sequence[int],
    ):
        """Builds the layers for the observations that the expressions match.

        Raises:
          ValueError: If the kernels do not end at the images' size.
        """
        super().__init__()
        self.cnn_keys, self.mlp_keys = select_keys(shapes, cnn_keys, mlp_keys)
        self._convs, self._denses, self._outs = [], [], {}
        if self.cnn_keys:
            self._channels = [shapes[k][-1] for k in self.cnn_keys]
            self._build_cnn(rng, inputs, shapes, act, norm, cnn_depth, cnn_kernels)
        if self.mlp_keys:
            for i, units in enumerate(mlp_layers):
                layer = nn.Dense(rng, inputs, units, act, norm)
                self._denses.append(self.add(f"dense{i}", layer))
                inputs = units
            for key in self.mlp_keys:
                layer = DistLayer(rng, inputs, shapes[key], "mse")
                self._outs[key] = self.add(f"dense_{key}", layer)

    def __call__(self, feat: tf.Tensor) -> dict[str, Any]:
        """Returns a distribution [..., *shape] by key, given features [..., F]."""
        outputs = {}
        if self.cnn_keys:
            x = self._convin(feat)
            x = tf.reshape(x, [-1, 1, 1, self._convin.size])
            for layer in self._convs:
                x = layer(x)
            x = tf.reshape(x, [*feat.shape[:-1], *x.shape[1:]])
            means = tf.split(x, self._channels, -1)
            for key, mean in zip(self.cnn_keys, means, strict=True):
                outputs[key] = dists.UnitNormalImage(mean)
        if self.mlp_keys:
            x = feat
            for layer in self._denses:
                x = layer(x)
            outputs.update({key: layer(x) for key, layer in self._outs.items()})
        return outputs

    def _build_cnn(self, rng, inputs, shapes, act, norm, cnn_depth, cnn_kernels):
        size, _ = _image_size(shapes, self.cnn_keys)
        self._convin = self.add("convin", nn.Dense(rng, inputs, 32 * cnn_depth))
        channels, side = 32 * cnn_depth, 1
        last = len(cnn_kernels) - 1
        for i, kernel in enumerate(cnn_kernels):
            depth = (
                sum(self._channels) if i == last else 2 ** (last - 1 - i) * cnn_depth
            )
            style = ("none", "none") if i == last else (act, norm)
            layer = nn.ConvTranspose(rng, channels, depth, kernel, *style)
            self._convs.append(self.add(f"conv{i}", layer))
            side, channels = 2 * side - 2 + kernel, depth
        if (size != side).any():
            raise ValueError(
                f"The decoder's cnn_kernels {list(cnn_kernels)} draw images of "
                f"{side}x{side} pixels, but observations {list(self.cnn_keys)} have "
                f"{size[0]}x{size[1]}; set render_size {side},{side} or other kernels."
            )


class EnsembleMLP(nn.Module):
    """Networks of one shape but different weights, computed as batched products."""

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
        if dist != "mse":
            raise ValueError(
                f"Unknown distribution {dist!r} for an ensemble head (expl_head); only "
                "mse is defined for it."
            )
        self._act, self._layers = nn.activation(act), []
        for i in range(layers):
            layer = _EnsembleDense(rng, count, inputs, units, norm)
            self._layers.append(self.add(f"dense{i}", layer))
            inputs = units
        self._out = self.add("out/out", _EnsembleDense(rng, count, inputs, size))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Returns means [N, ..., size] in float32, one for each of the N networks."""
        batch = x.shape[:-1]
        x = tf.reshape(x, [1, -1, x.shape[-1]])
        for layer in self._layers:
            x = self._act(layer(x))
        x = tf.cast(self._out(x), tf.float32)
        return tf.reshape(x, [x.shape[0], *batch, x.shape[-1]])


class _EnsembleDense(nn.Module):
    """N matrix products [N or 1, B, inputs] -> [N, B, size], biases and norms."""

    def __init__(
        self,
        rng: np.random.Generator,
        count: int,
        inputs: int,
        size: int,
        norm: str = "none",
    ):
        super().__init__()
        kernels = np.stack([nn.glorot(rng, [inputs, size]) for _ in range(count)])
        self._kernel = self.add("kernel", tf.Variable(kernels))
        self._bias = self.add("bias", tf.Variable(tf.zeros([count, size])))
        # The norm's weights [N, 1, size] go with the networks, not with the batch.
        self._norm = nn.make_norm(norm, [count, 1, size])
        if self._norm:
            self.add("norm", self._norm)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.matmul(x, tf.cast(self._kernel, x.dtype))
        x += tf.cast(self._bias, x.dtype)[:, None]
        return self._norm(x) if self._norm else x


def _image_size(
    shapes: Mapping[str, Sequence[int]], keys: Sequence[str]
) -> tuple[np.ndarray, int]:
    """Returns (height, width) and the sum of channels of images of one size."""
    sizes = {tuple(shapes[k][:2]) for k in keys}
    if len(sizes) > 1:
        found = {k: tuple(shapes[k]) for k in keys}
        raise ValueError(
            f"Images differ in size: {found}; resize them or choose with cnn_keys."
        )
    return np.array(sizes.pop()), sum(shapes[k][-1] for k in keys)
