"""From observations to embeddings, and from features back to observations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common.compute import chunks, graphs, onehots
from common.nets import convolutions, dists, heads, optim, sizes
from common.nets import layers as nn

_PIECE = 100  # images that are decoded at a time


def to_numbers(observation: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns what networks read of an observation: bytes scaled to [-0.5, 0.5]."""
    if observation.dtype == tf.uint8:
        return convolutions.scale(observation, dtype)
    return tf.cast(observation, dtype)


def to_bytes(image: tf.Tensor) -> tf.Tensor:
    """Returns an image around [0, 1] as uint8."""
    return tf.cast(tf.round(tf.clip_by_value(image, 0.0, 1.0) * 255), tf.uint8)


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
        dtype: tf.DType = tf.float32,
    ):
        """Builds the layers for the observations that the expressions match.

        Args:
          rng: Source of the initial weights.
          shapes: Shape of each observation.
          cnn_keys: See `sizes.select_keys`.
          mlp_keys: See `sizes.select_keys`.
          act: Activation of all layers.
          norm: none or layer.
          cnn_depth: Channels of the first convolution, doubled by each later one.
          cnn_kernels: Side of each convolution's kernel.
          mlp_layers: Units of each dense layer.
          dtype: Type in which images of bytes are computed with.

        Raises:
          ValueError: If images differ in size or are too small for the kernels.
        """
        super().__init__()
        self._dtype = dtype
        self.cnn_keys, self.mlp_keys = sizes.select_keys(shapes, cnn_keys, mlp_keys)
        self._convs, self._denses, self.size = [], [], 0
        if self.cnn_keys:
            size = sizes.image_size(shapes, self.cnn_keys)
            height, width = sizes.encoded(size, cnn_kernels)
            channels = sum(shapes[k][-1] for k in self.cnn_keys)
            for i, kernel in enumerate(cnn_kernels):
                depth = 2**i * cnn_depth
                layer = convolutions.Conv(rng, channels, depth, kernel, act, norm)
                self._convs.append(self.add(f"conv{i}", layer))
                channels = depth
            self.size += height * width * channels
        if self.mlp_keys:
            self._scalars = [k for k in self.mlp_keys if not len(shapes[k])]
            inputs = sum(int(np.prod(shapes[k])) for k in self.mlp_keys)
            for i, units in enumerate(mlp_layers):
                layer = nn.Dense(rng, inputs, units, act, norm)
                self._denses.append(self.add(f"dense{i}", layer))
                inputs = units
            self.size += inputs

    def __call__(self, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns embeddings [..., E] of observations [..., *shape].

        Images are uint8, or numbers that are taken as they are.
        """
        outputs = []
        if self.cnn_keys:
            images = [data[k] for k in self.cnn_keys]
            if len({image.dtype for image in images}) > 1:
                images = [to_numbers(image, self._dtype) for image in images]
            x = tf.concat(images, -1)
            batch = x.shape[:-3]
            x = tf.reshape(x, [-1, *x.shape[-3:]])
            for layer in self._convs:
                bytes_ = x.dtype == tf.uint8
                x = layer.of_bytes(x, self._dtype) if bytes_ else layer(x)
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
    """Features to a distribution for each observation.

    Attributes:
      constant: The least that `loss` can be, in nats: that of a perfect prediction.
    """

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
        scales: Mapping[str, float] | None = None,
        loss_scale: optim.LossScale | None = None,
    ):
        """Builds the layers for the observations that the expressions match.

        Args:
          rng: Source of the initial weights.
          inputs: F, size of the features.
          shapes: Shape of each observation.
          cnn_keys: See `sizes.select_keys`.
          mlp_keys: See `sizes.select_keys`.
          act: Activation of all layers but the last.
          norm: none or layer.
          cnn_depth: Channels of the last convolution but one, doubled by each before.
          cnn_kernels: Side of each convolution's kernel.
          mlp_layers: Units of each dense layer.
          scales: Weights of observations in the loss, where not 1.
          loss_scale: What the loss will be multiplied with before it is differentiated;
            None for 1.

        Raises:
          ValueError: If the kernels do not end at the images' size.
        """
        super().__init__()
        self._scales = scales or {}
        self._loss_scale = loss_scale or optim.LossScale(tf.float32)
        self.cnn_keys, self.mlp_keys = sizes.select_keys(shapes, cnn_keys, mlp_keys)
        self.constant = sum(
            self._scales.get(key, 1.0) * dists.unit_constant(math.prod(shapes[key]))
            for key in (*self.cnn_keys, *self.mlp_keys)
        )
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
                layer = heads.DistLayer(rng, inputs, shapes[key], "mse")
                self._outs[key] = self.add(f"dense_{key}", layer)

    def __call__(self, feat: tf.Tensor | onehots.Latents) -> dict[str, Any]:
        """Returns a distribution [..., *shape] by key, given features [..., F]."""
        feat = tf.convert_to_tensor(feat)
        return self._draw(feat, self._start(feat))

    def loss(
        self, feat: onehots.Latents, data: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Judges what is decoded, a few images at a time to save memory.

        Args:
          feat: Features [B, T, F].
          data: Observations [B, T, ...] by key, images as the encoder takes them.

        Returns:
          The scaled mean [] of -ln p(data | feat), and ln p [B, T] by key, which take
          no gradient.
        """
        keys = [*self.cnn_keys, *self.mlp_keys]
        lead = feat.shape[:-1]
        feat = tf.convert_to_tensor(feat.merge_axes())  # [B, T, F] -> [N, F]
        data = graphs.flatten_time({key: data[key] for key in keys})

        def judge(inputs: Any, data: Mapping[str, tf.Tensor]) -> chunks.Rows:
            dists = self._draw(*inputs)
            return {
                key: dist.log_prob(to_numbers(data[key], tf.float32))
                for key, dist in dists.items()
            }

        # What draws starts multiplies large matrices, best by all features at once.
        layers = [self._convin, self._convs[0]] if self.cnn_keys else []
        early = {w.ref() for layer in layers for w in layer.named_weights().values()}
        weights = self.named_weights().values()
        loss, log_probs = chunks.mean(
            judge,
            (feat, self._start(feat)),
            data,
            [weight for weight in weights if weight.ref() not in early],
            scales={key: -self._scales.get(key, 1.0) for key in keys},
            most=_PIECE,
            loss_scale=self._loss_scale.value,
        )
        return loss, {key: tf.reshape(v, lead) for key, v in log_probs.items()}

    def _start(self, feat: tf.Tensor) -> list[tf.Tensor]:
        """Returns what images grow from, [N, h, w, C], if there are any."""
        if not self.cnn_keys:
            return []
        x = tf.reshape(self._convin(feat), [-1, 1, 1, self._convin.size])
        return [self._convs[0](x)]

    def _draw(self, feat: tf.Tensor, start: list[tf.Tensor]) -> dict[str, Any]:
        """Returns the distributions, given features and what images grow from."""
        outputs = {}
        if self.cnn_keys:
            (x,) = start
            for layer in self._convs[1:]:
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
        sizes.decoded(sizes.image_size(shapes, self.cnn_keys), cnn_kernels)
        self._convin = self.add("convin", nn.Dense(rng, inputs, 32 * cnn_depth))
        channels = 32 * cnn_depth
        last = len(cnn_kernels) - 1
        for i, kernel in enumerate(cnn_kernels):
            depth = (
                sum(self._channels) if i == last else 2 ** (last - 1 - i) * cnn_depth
            )
            style = ("none", "none") if i == last else (act, norm)
            layer = convolutions.ConvTranspose(rng, channels, depth, kernel, *style)
            self._convs.append(self.add(f"conv{i}", layer))
            channels = depth
