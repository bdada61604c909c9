"""What an environment observes and takes, without its library's space objects."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """One observation key: uint8 [H, W, C] for images, float32 [n] for vectors."""

    shape: tuple[int, ...]
    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class ActionSpec:
    """Actions are float32 [A]: one-hot if discrete, else in [-1, 1]^A.

    Attributes:
      size: A.
      discrete: Whether one of A actions is chosen, or A numbers are.
    """

    size: int
    discrete: bool
