"""Fixed random embeddings of episodes, for coverage maximisation.

Kessler et al. 2023, appendix on replay strategies: the final cell state of a random
convolutional LSTM (Shi et al. 2015) that reads the episode's images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from common.nets import layers
from common.replay import episodes

SIZE = 256  # numbers that an embedding is projected to: 1 KB an episode

_ROOM = 128  # images that are read in one go
_TILE = 2  # cells of a row that one product gives; 4 and 8 are no faster
_ALIGNED = 64  # bytes, as TensorFlow asks of memory it shares

_State = tuple[tf.Tensor, tf.Tensor]


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
        self._stride = kernel_size
        height, width = (extent // kernel_size for extent in shape[:2])
        kernel = [kernel_size, kernel_size]
        inputs = layers.glorot(rng, [*kernel, shape[2], 4 * filters])
        state = layers.glorot(rng, [*kernel, filters, 4 * filters])
        size = height * width * filters
        projection = rng.standard_normal((size, SIZE), np.float32) / np.sqrt(SIZE)
        inputs = inputs.reshape(-1, 4 * filters) / 255  # for images in bytes
        self._inputs = tf.constant(inputs)
        self._tiles = tf.constant(_tile(state))
        self._projection = tf.constant(projection, tf.float32)
        self._zero = tf.zeros([height, width, filters])
        self._room, self._shared = _make_room([_ROOM, *shape])
        # A step is a dozen tiny operations: XLA makes one of them, and stays in this
        # thread. Reading all images ahead would wake others, for more CPU in all.
        self._run_graph = tf.function(self._run, autograph=False, jit_compile=True)

    def __call__(self, episode: episodes.Episode) -> np.ndarray:
        """Returns the embedding [SIZE], float32, of an episode."""
        return self._final(episode.parts(self._key))[1].numpy()

    def cell_state(self, images: np.ndarray) -> np.ndarray:
        """Returns the final cell state, flattened [D], of images [T, H, W, C]."""
        return self._final([images])[0].numpy()

    def _final(self, parts: Iterable[np.ndarray]) -> tuple[tf.Tensor, tf.Tensor]:
        """The final cell state of images that come in parts, and its projection."""
        state, held = (self._zero, self._zero), 0
        for part in parts:
            while len(part):
                if held == _ROOM:
                    state, held = self._read(held, state)[0], 0
                taken = min(len(part), _ROOM - held)
                self._room[held : held + taken] = part[:taken]
                held, part = held + taken, part[taken:]
        return self._read(held, state)[1]

    def _read(self, number: int, state: _State) -> tuple[_State, _State]:
        with tf.device("CPU"):
            return self._run_graph(self._shared, tf.constant(number), state)

    def _run(
        self, images: tf.Tensor, length: tf.Tensor, state: _State
    ) -> tuple[_State, _State]:
        """Hidden and cell state after `length` images; the latter flat, projected."""
        height, width = self._zero.shape[:2]
        side, count = self._stride, -(-width // _TILE)
        before, rest = (side - 1) // 2, count * _TILE - width
        margins = [[before, side // 2], [before, side // 2 + rest], [0, 0]]

        def read(image):
            image = image[: height * side, : width * side]
            image = tf.reshape(image, [height, side, width, -1])
            cells = tf.reshape(tf.transpose(image, [0, 2, 1, 3]), [height * width, -1])
            gates = tf.cast(cells, tf.float32) @ self._inputs
            return tf.reshape(gates, [height, width, -1])

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
            gates = read(images[t]) + convolve(hidden)
            write, forget, candidate, output = tf.split(gates, 4, -1)
            forget = _hard_sigmoid(forget + 1.0)  # remembers by default
            cell = forget * cell + _hard_sigmoid(write) * tf.tanh(candidate)
            return t + 1, _hard_sigmoid(output) * tf.tanh(cell), cell

        _, hidden, cell = tf.while_loop(
            lambda t, *_: t < length, step, (tf.constant(0), *state)
        )
        flat = tf.reshape(cell, [-1])
        flat = tf.math.l2_normalize(flat) if self._normalize else flat
        projected = tf.linalg.matvec(self._projection, flat, transpose_a=True)
        return (hidden, cell), (flat, projected)


def _make_room(shape: Sequence[int]) -> tuple[np.ndarray, tf.Tensor]:
    """An array of bytes to write into, and a tensor that shares its memory."""
    size = int(np.prod(shape))
    room = np.zeros(size + _ALIGNED, np.uint8)
    start = -room.ctypes.data % _ALIGNED
    room = room[start : start + size].reshape(shape)
    return room, tf.experimental.dlpack.from_dlpack(room.__dlpack__())


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
