"""Fixed random embeddings of episodes, for coverage maximisation.

Kessler et al. 2023, appendix on replay strategies: the final cell state of a random
convolutional LSTM (Shi et al. 2015) that reads the episode's images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from common import layers

SIZE = 256  # numbers that an embedding is projected to: 1 KB an episode


class ConvLSTM:
    """Maps the images of an episode to a vector; nothing is learned.

    The kernel strides over the image by its own size, so that each pixel is read once:
    at stride 1 an episode takes ten times as long. The gates are hard sigmoids,
    clip(0.2 x + 0.5, 0, 1), as in Keras' ConvLSTM2D. A random projection of the
    flattened cell state to `SIZE` numbers keeps distances up to a few percent (Johnson
    & Lindenstrauss 1984).
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
        self._stride, self._filters = kernel_size, filters
        height, width = (extent // kernel_size for extent in shape[:2])
        kernel = [kernel_size, kernel_size]
        inputs = layers.glorot(rng, [*kernel, shape[2], 4 * filters])
        state = layers.glorot(rng, [*kernel, filters, 4 * filters])
        size = height * width * filters
        projection = rng.standard_normal((size, SIZE), np.float32) / np.sqrt(SIZE)
        self._inputs = tf.constant(inputs / 255)  # for images in bytes
        self._bands = tf.constant(_bands(state, width))
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
        return self._both(episode[self._key])[1].numpy()

    def cell_state(self, images: np.ndarray) -> tf.Tensor:
        """Returns the final cell state, flattened [D], of images [T, H, W, C]."""
        return self._both(images)[0]

    def _both(self, images: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        return self._run_graph(self._read_graph(images), tf.constant(len(images)))

    def _read(self, images: tf.Tensor) -> tf.Tensor:
        """The images' share of the gates, [T or more, h, w, 4 * filters]."""
        images = tf.cast(images, tf.float32)
        gates = tf.nn.conv2d(images, self._inputs, self._stride, "VALID")
        length = tf.shape(images)[0]
        powers = 2 ** tf.range(31)  # few lengths, few compilations
        padded = tf.reduce_min(tf.boolean_mask(powers, powers >= length))
        return tf.pad(gates, [[0, padded - length], [0, 0], [0, 0], [0, 0]])

    def _run(self, inputs: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The flattened cell state after `length` steps, and its projection."""
        height, width = inputs.shape[1:3]
        zero = tf.zeros([height, width, self._filters])
        before, after = (self._stride - 1) // 2, self._stride // 2

        def step(t, hidden, cell):
            flat = tf.reshape(hidden, [height, -1])  # [h, w * filters]
            flat = tf.pad(flat, [[before, after], [0, 0]])
            near = [flat[i : i + height] for i in range(self._stride)]
            gates = tf.concat(near, 1) @ self._bands
            gates = inputs[t] + tf.reshape(gates, inputs.shape[1:])
            write, forget, candidate, read = tf.split(gates, 4, -1)
            forget = _hard_sigmoid(forget + 1.0)  # remembers by default
            cell = forget * cell + _hard_sigmoid(write) * tf.tanh(candidate)
            return t + 1, _hard_sigmoid(read) * tf.tanh(cell), cell

        _, _, cell = tf.while_loop(
            lambda t, *_: t < length, step, (tf.constant(0), zero, zero)
        )
        cell = tf.reshape(cell, [-1])
        cell = tf.math.l2_normalize(cell) if self._normalize else cell
        return cell, tf.linalg.matvec(self._projection, cell, transpose_a=True)


def _bands(kernel: np.ndarray, width: int) -> np.ndarray:
    """A convolution along rows of `width` cells as one matrix.

    With it the recursion over 100 steps takes 2.7 ms, with the convolution 3.3.

    Args:
      kernel: [k, k, filters, outputs].
      width: Cells of a row, and of the result (padding SAME).

    Returns:
      [k * width * filters, width * outputs]: k neighbouring rows to one row.
    """
    side, _, filters, outputs = kernel.shape
    bands = np.zeros((side, width, filters, width, outputs), np.float32)
    for target in range(width):
        for offset in range(side):
            source = target + offset - (side - 1) // 2
            if 0 <= source < width:
                bands[:, source, :, target] = kernel[:, offset]
    return bands.reshape(side * width * filters, width * outputs)


def _hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)
