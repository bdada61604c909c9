"""Which images the convolutions of encoder and decoder take and draw.

All strides are 2 and nothing is padded: a convolution makes (side - kernel) // 2 + 1
pixels of a side, a transposed one 2 side - 2 + kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_KERNEL = 4  # of the encoder, where another is not needed
_LEAST, _MOST = 2, 8  # pixels that the decoder's first kernel draws


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


def check(
    shapes: Mapping[str, Sequence[int]],
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
) -> None:
    """Raises ValueError if the networks could not be built for these observations.

    Args:
      shapes: Shape of each observation.
      encoder: Its settings `cnn_keys`, `mlp_keys` and `cnn_kernels`.
      decoder: The same of the decoder.
    """
    for settings, side in ((encoder, encoded), (decoder, decoded)):
        images, _ = select_keys(shapes, settings["cnn_keys"], settings["mlp_keys"])
        if images:
            side(image_size(shapes, images), settings["cnn_kernels"])


def image_size(
    shapes: Mapping[str, Sequence[int]], keys: Sequence[str]
) -> tuple[int, int]:
    """Returns (height, width) of images, which must be the same.

    Raises:
      ValueError: If they differ.
    """
    found = {tuple(shapes[k][:2]) for k in keys}
    if len(found) > 1:
        raise ValueError(
            f"Images differ in size: { {k: tuple(shapes[k]) for k in keys} }; resize "
            "them or choose with cnn_keys."
        )
    height, width = found.pop()
    return height, width


def encoded(size: tuple[int, int], kernels: Sequence[int]) -> tuple[int, int]:
    """Returns height and width after the encoder's convolutions.

    Raises:
      ValueError: If the images are too small; the message names kernels that fit.
    """
    height, width = size
    for kernel in kernels:
        height, width = ((side - kernel) // 2 + 1 for side in (height, width))
        if min(height, width) < 1:
            raise ValueError(
                f"Images of {size[0]}x{size[1]} pixels are too small for the encoder's "
                f"cnn_kernels {list(kernels)}; {_way_out(size)}"
            )
    return height, width


def decoded(size: tuple[int, int], kernels: Sequence[int]) -> None:
    """Checks that the decoder's convolutions draw images of a size.

    Raises:
      ValueError: If they draw others; the message names kernels that fit.
    """
    side = 1
    for kernel in kernels:
        side = 2 * side - 2 + kernel
    if size != (side, side):
        raise ValueError(
            f"The decoder's cnn_kernels {list(kernels)} draw images of {side}x{side} "
            f"pixels, but those observed have {size[0]}x{size[1]}; {_way_out(size)}"
        )


def fitting(side: int) -> tuple[list[int], list[int]]:
    """Returns kernels of an encoder and a decoder for square images of a side."""
    encoder, left = [], side
    while left >= _KERNEL and (left > 3 or not encoder):
        encoder.append(_KERNEL)
        left = (left - _KERNEL) // 2 + 1
    decoder, left = [], side
    while left > _MOST:
        decoder.insert(0, 6 - left % 2)
        left = (left + 2 - decoder[0]) // 2
    return encoder or [side], [left, *decoder]


def _way_out(size: tuple[int, int]) -> str:
    """Settings under which images can be learned from."""
    height, width = size
    usual = "set --render_size 64,64, which fits the kernels that are the default"
    if height != width:
        return f"only squares can be drawn: {usual}."
    encoder, decoder = (",".join(map(str, kernels)) for kernels in fitting(height))
    return (
        f"{usual}, or kernels for {height}x{width}: --encoder.cnn_kernels {encoder} "
        f"--decoder.cnn_kernels {decoder}."
    )
