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

    The kernel strides over the image by its own size, so that each pixel is read once:
    at stride 1 an episode takes ten times as long. A random projection of the flattened
    cell state to `SIZE` numbers keeps distances up to a few percent (Johnson &
    Lindenstrauss 1984).
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
        self._stride = kernel_size
        side = [extent // kernel_size for extent in shape[:2]]
        self._cell_shape = [1, *side, filters]
        kernel = [kernel_size, kernel_size]
        inputs = layers.glorot(rng, [*kernel, shape[2], 4 * filters])
        state = layers.glorot(rng, [*kernel, filters, 4 * filters])
        size = int(np.prod(self._cell_shape))
        projection = rng.standard_normal((size, SIZE), np.float32) / np.sqrt(SIZE)
        self._inputs = tf.constant(inputs / 255)  # for images in bytes
        self._state = tf.constant(state)
        self._projection = tf.constant(projection, tf.float32)
        self._read_graph = tf.function(
            self._read,
            input_signature=[tf.TensorSpec([None, *shape], tf.uint8)],
            autograph=False,
        )
        # A step is a dozen tiny operations: XLA makes one of them.
        self._run_graph = tf.function(self._run, autograph=False, jit_compile=True)

    def __call__(self, episode: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the embedding [SIZE], float32, of arrays [T, ...]."""
        cell = self.cell_state(episode[self._key])
        return tf.linalg.matvec(self._projection, cell, transpose_a=True).numpy()

    def cell_state(self, images: np.ndarray) -> tf.Tensor:
        """Returns the final cell state, flattened [D], of images [T, H, W, C]."""
        length = len(images)
        padded = 1 << (length - 1).bit_length()  # few sizes, few compilations
        gates = tf.pad(
            self._read_graph(images), [[0, padded - length], [0, 0], [0, 0], [0, 0]]
        )
        cell = tf.reshape(self._run_graph(gates, tf.constant(length)), [-1])
        return tf.math.l2_normalize(cell) if self._normalize else cell

    def _read(self, images: tf.Tensor) -> tf.Tensor:
        """The images' share of the gates, for all steps at once."""
        images = tf.cast(images, tf.float32)
        return tf.nn.conv2d(images, self._inputs, self._stride, "VALID")

    def _run(self, inputs: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        zero = tf.zeros(self._cell_shape)

        def step(t, hidden, cell):
            gates = inputs[t] + tf.nn.conv2d(hidden, self._state, 1, "SAME")
            write, forget, candidate, read = tf.split(gates, 4, -1)
            forget = tf.sigmoid(forget + 1.0)  # remembers by default
            cell = forget * cell + tf.sigmoid(write) * tf.tanh(candidate)
            return t + 1, tf.sigmoid(read) * tf.tanh(cell), cell

        _, _, cell = tf.while_loop(
            lambda t, *_: t < length, step, (tf.constant(0), zero, zero)
        )
        return cell
