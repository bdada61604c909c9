"""Fixed random embeddings of episodes, for coverage maximisation.

Kessler et al. 2023, appendix on replay strategies: the final cell state of a random
convolutional LSTM (Shi et al. 2015) that reads the episode's images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from common import episodes, layers

_TILE = 2  # cells of a row that one product gives; 4 and 8 are no faster
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
        self._tiles = tf.constant(_tile(state))
        self._projection = tf.constant(projection, tf.float32)
        self._read_graph = tf.function(
            self._read,
            input_signature=[
                tf.TensorSpec([None, *shape], tf.uint8),
                tf.TensorSpec([], tf.int32),
            ],
            autograph=False,
        )
        # A step is a dozen tiny operations: XLA makes one of them.
        self._run_graph = tf.function(self._run, autograph=False, jit_compile=True)

    def __call__(
        self, episode: episodes.Episode | Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Returns the embedding [SIZE], float32, of an episode or its arrays."""
        return self._both(episode[self._key])[1].numpy()

    def cell_state(self, images: np.ndarray) -> tf.Tensor:
        """Returns the final cell state, flattened [D], of images [T, H, W, C]."""
        return self._both(images)[0]

    def _both(self, images: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        length = len(images)
        padded = 1 << (length - 1).bit_length()  # few lengths, few compilations
        inputs = self._read_graph(images, tf.constant(padded - length))
        return self._run_graph(inputs, tf.constant(length))

    def _read(self, images: tf.Tensor, padding: tf.Tensor) -> tf.Tensor:
        """The images' share of the gates, [T + padding, h, w, 4 * filters]."""
        images = tf.cast(images, tf.float32)
        gates = tf.nn.conv2d(images, self._inputs, self._stride, "VALID")
        return tf.pad(gates, [[0, padding], [0, 0], [0, 0], [0, 0]])

    def _run(self, inputs: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The flattened cell state after `length` steps, and its projection."""
        height, width = inputs.shape[1:3]
        zero = tf.zeros([height, width, self._filters])
        side, count = self._stride, -(-width // _TILE)
        before, rest = (side - 1) // 2, count * _TILE - width
        margins = [[before, side // 2], [before, side // 2 + rest], [0, 0]]

        def convolve(hidden):
            hidden = tf.pad(hidden, margins)
            tiles = []  # of each the neighbourhood [h, side * (side + _TILE - 1) * f]
            for start in range(0, count * _TILE, _TILE):
                near = hidden[:, start : start + side - 1 + _TILE]
                near = tf.reshape(near, [height + side - 1, -1])
                rows = [near[i : i + height] for i in range(side)]
                tiles.append(tf.concat(rows, 1))
            tiles = tf.reshape(tf.stack(tiles, 1), [height * count, -1])
            gates = tf.reshape(tiles @ self._tiles, [height, count * _TILE, -1])
            return gates[:, :width]

        def step(t, hidden, cell):
            gates = inputs[t] + convolve(hidden)
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


def _tile(kernel: np.ndarray) -> np.ndarray:
    """A convolution as one matrix that gives `_TILE` neighbouring cells at once.

    Args:
      kernel: [k, k, filters, outputs].

    Returns:
      [k * (k + _TILE - 1) * filters, _TILE * outputs]: the neighbourhood of a tile, row
      by row, to its cells.
    """
    side, _, filters, outputs = kernel.shape
    matrix = np.zeros((side, side - 1 + _TILE, filters, _TILE, outputs), np.float32)
    for cell in range(_TILE):
        matrix[:, cell : cell + side, :, cell] = kernel
    return matrix.reshape(-1, _TILE * outputs)


def _hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)
