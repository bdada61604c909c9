"""How transitions lie in memory: keys, shapes and dtypes, and a compressed chunk.

A transition is a dict of arrays: observations, `action` (the one that led to it),
`reward`, `is_first`, `is_last`, `is_terminal`.

A chunk is one Zstandard frame that holds all keys of some transitions. Zstandard at
level 3 was chosen by measurement on 64x64x3 MiniGrid episodes in chunks of 16: 56 bytes
a frame (LZ4: 163, Blosc2: 65), 0.3 ms to encode and 0.5 ms to decode 100 frames (LZ4:
0.2 and 0.6).
"""

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import zstandard

LEVEL = 3  # of Zstandard
LOG = "log_"  # keys with this prefix are never stored
EXTRA = "extra."  # in a file: arrays about the episode, not of its transitions
STANDARD = {
    "reward": np.dtype(np.float32),
    "is_first": np.dtype(bool),
    "is_last": np.dtype(bool),
    "is_terminal": np.dtype(bool),
}  # keys that every transition has; `action` is the fifth, its size varies


class _Codec(threading.local):
    """Zstandard contexts, which may not be shared between threads."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_CODEC = _Codec()


class Field(NamedTuple):
    """Shape and dtype of one key in one transition."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Number of elements in one transition."""
        return int(np.prod(self.shape, dtype=np.int64))


def describe(fields: Mapping[str, Field]) -> str:
    """For example `action float32[7], image uint8[64, 64, 3]`."""
    return ", ".join(
        f"{key} {field.dtype}{list(field.shape)}"
        for key, field in sorted(fields.items())
    )


class UnfitError(ValueError):
    """It has other keys, shapes or dtypes than this replay, or too much for it."""


class Layout:
    """Keys, shapes and dtypes of a transition, and their place in a chunk.

    Within a chunk the keys follow each other, larger items first so that each is
    aligned, every key with all transitions of the chunk.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        """Builds a layout; ValueError if a standard key is missing."""
        reserved = [key for key in fields if key.startswith(EXTRA)]
        if reserved:
            raise ValueError(f"Keys may not begin with {EXTRA!r}: rename {reserved}.")
        missing = sorted({*STANDARD, "action"} - set(fields))
        if missing:
            raise ValueError(
                f"A transition lacks {missing}; it needs action, "
                f"{', '.join(STANDARD)} and the observation."
            )
        order = sorted(fields, key=lambda key: (-fields[key].dtype.itemsize, key))
        self.fields = {key: fields[key] for key in order}
        self._offsets, self.step_bytes = {}, 0  # bytes of one transition
        for key, field in self.fields.items():
            self._offsets[key] = self.step_bytes
            self.step_bytes += field.size * field.dtype.itemsize

    @classmethod
    def of(cls, transition: Mapping[str, Any], *, batched: bool = False) -> "Layout":
        """Layout of a transition, or with `batched` of arrays [T, ...] of many."""
        fields = {}
        for key, value in transition.items():
            if key.startswith(LOG):
                continue
            value = np.asarray(value)
            if value.dtype.kind not in "biuf":
                raise ValueError(
                    f"{key!r} holds {value.dtype}; only numbers and booleans can be "
                    f"stored. Convert it, or rename it to {LOG + key!r}."
                )
            shape = value.shape[1:] if batched else value.shape
            fields[key] = Field(shape, STANDARD.get(key, value.dtype))
        return cls(fields)

    def __eq__(self, other: object) -> bool:
        """Whether the other layout has the same keys, shapes and dtypes."""
        return isinstance(other, Layout) and self.fields == other.fields

    def __str__(self) -> str:
        """Keys, dtypes and shapes, for messages."""
        return describe(self.fields)

    @property
    def observation(self) -> dict[str, Field]:
        """The fields that are neither action, reward nor flag."""
        others = {*STANDARD, "action"}
        return {k: self.fields[k] for k in sorted(self.fields) if k not in others}

    def empty(self, *lead: int) -> dict[str, np.ndarray]:
        """Fresh arrays of every key with the given leading dimensions."""
        return {k: np.empty((*lead, *f.shape), f.dtype) for k, f in self.fields.items()}

    def pack(self, arrays: Mapping[str, np.ndarray]) -> bytes:
        """Compresses arrays [n, ...] of every key to one chunk."""
        parts = (
            np.ascontiguousarray(arrays[key], field.dtype).tobytes()
            for key, field in self.fields.items()
        )
        # Copied, for the library shortens its output without giving back the memory.
        return bytes(memoryview(_CODEC.compress(b"".join(parts))))

    def unpack(self, chunk: bytes) -> dict[str, np.ndarray]:
        """Decodes one chunk to read-only arrays [n, ...] of every key."""
        data = _CODEC.decompress(chunk)
        return {key: self._cut(data, key) for key in self.fields}

    def unpack_key(self, chunk: bytes, key: str) -> np.ndarray:
        """Decodes one key of a chunk to a read-only array [n, ...]."""
        return self._cut(_CODEC.decompress(chunk), key)

    def _cut(self, data: bytes, key: str) -> np.ndarray:
        total, field = len(data) // self.step_bytes, self.fields[key]
        array = np.frombuffer(
            data, field.dtype, total * field.size, total * self._offsets[key]
        )
        return array.reshape((total, *field.shape))


def expect(found: Layout, specs: Mapping[str, Any] | None, source: str) -> Layout:
    """Returns a layout if its observation is as expected.

    Args:
      found: The layout.
      specs: Expected observation, a `shape` and a `dtype` for each key; None takes any.
      source: Where it was found, for the message.

    Raises:
      UnfitError: It is another observation.
    """
    if specs is not None:
        expected = {
            key: Field(tuple(spec.shape), np.dtype(spec.dtype))
            for key, spec in sorted(specs.items())
        }
        _compare(found.observation, expected, source)
    return found


def share(found: Layout, common: Layout, source: str) -> Layout:
    """Returns the common layout; UnfitError if the found one is not equal."""
    _compare(found.fields, common.fields, source)
    return common


def _compare(
    found: Mapping[str, Field], expected: Mapping[str, Field], source: str
) -> None:
    if found != expected:
        raise UnfitError(
            f"{source} has [{describe(found)}], but this replay expects "
            f"[{describe(expected)}]. Choose another logdir, or the same observation "
            "and action sizes."
        )
