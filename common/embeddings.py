"""Fixed random embeddings of episodes, for coverage maximisation.

Kessler et al. 2023, appendix on replay strategies: the final cell state of a random
convolutional LSTM (Shi et al. 2015) that reads the episode's images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from common import layers

SIZE = 512  # numbers that an embedding is projected to: 2 KB an episode


class ConvLSTM:
    """Maps the images of an episode to a vector; nothing is learned.

    The flattened cell state has tens of thousands of numbers. A random projection to
    `SIZE` of them keeps distances up to a few percent (Johnson & Lindenstrauss 1984).
    """

    def __init__(
        self,
        key: str,
        shape: Sequence[int],
        *,
        filters: int,
        kernel_size: int,
        normalize_lstm_state: bool,
        seed: int,
    ):
        """Draws the weights.

        Args:
          key: Image key of the episodes.
          shape: Height, width and channels of an image.
          filters: Channels of the cell.
          kernel_size: Side of the cell's kernels in pixels.
          normalize_lstm_state: Whether embeddings have length one before projection.
          seed: Of the weights.

        Raises:
          ValueError: If a size is below 1 or the kernel larger than the image.
        """
        if filters < 1 or not 1 <= kernel_size <= min(shape[:2]):
            raise ValueError(
                f"The coverage embedding has {filters} filters of kernel_size "
                f"{kernel_size}; both must be at least 1, and the kernel no larger "
                f"than the image, {shape[0]}x{shape[1]}."
            )
        rng = np.random.default_rng([seed, 5])
        self._key, self._normalize = key, normalize_lstm_state
        side = [extent - kernel_size + 1 for extent in shape[:2]]
        self._cell_shape = [1, *side, filters]
        kernel = [kernel_size, kernel_size]
        inputs = layers.glorot(rng, [*kernel, shape[2], 4 * filters])
        state = layers.glorot(rng, [*kernel, filters, 4 * filters])
        size = int(np.prod(self._cell_shape))
        projection = rng.standard_normal((size, SIZE), np.float32) / np.sqrt(SIZE)
        self._inputs, self._state = tf.constant(inputs), tf.constant(state)
        self._projection = tf.constant(projection, tf.float32)
        signature = tf.TensorSpec([None, *shape], tf.uint8)
        self._graph = tf.function(
            self._embed, input_signature=[signature], autograph=False
        )

    def __call__(self, episode: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the embedding [SIZE], float32, of arrays [T, ...]."""
        return self._graph(episode[self._key]).numpy()

    def cell_state(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the final cell state, flattened [D], of images [T, H, W, C]."""
        zero = tf.zeros(self._cell_shape)

        def step(t, hidden, cell):
            image = tf.cast(images[t], tf.float32)[None] / 255.0
            gates = tf.nn.conv2d(image, self._inputs, 1, "VALID")
            gates += tf.nn.conv2d(hidden, self._state, 1, "SAME")
            write, forget, candidate, read = tf.split(gates, 4, -1)
            forget = tf.sigmoid(forget + 1.0)  # remembers by default
            cell = forget * cell + tf.sigmoid(write) * tf.tanh(candidate)
            return t + 1, tf.sigmoid(read) * tf.tanh(cell), cell

        length = tf.shape(images)[0]
        _, _, cell = tf.while_loop(
            lambda t, *_: t < length, step, (tf.constant(0), zero, zero)
        )
        cell = tf.reshape(cell, [-1])
        return tf.math.l2_normalize(cell) if self._normalize else cell

    def _embed(self, images: tf.Tensor) -> tf.Tensor:
        return tf.linalg.matvec(
            self._projection, self.cell_state(images), transpose_a=True
        )
