"""One episode: compressed chunks in memory, one `.npz` file on disk.

An episode of n steps has n + 1 transitions, its reset being the first. `steps` counts
steps, `total` transitions. In memory the transitions lie in chunks of `CHUNK`, so that
reading a part decodes only the chunks it touches.
"""

import contextlib
import dataclasses
import errno
import io
import math
import os
import pathlib
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from common.replay import footprint, layouts

CHUNK = 16  # transitions that are compressed together
MOST_EXTRAS = 2**26  # bytes of what lies beside the transitions in an episode's file

_NAME = re.compile(r"(\d{6,9})-task(\d{1,6})-len(\d{4,9})\.npz")
_LARGE = 2**28  # bytes of an episode that are compared with what is left of memory
_HEAD = 2**14  # bytes, more than the header of an array has
_HEADER_LOCK = threading.Lock()
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """A sealed episode.

    Attributes:
      index: Rank of arrival in its replay, from 0; -1 for an unfinished episode.
      task: Number of the task it was collected in.
      total: Number of transitions.
      reward: Sum of its rewards.
      layout: Keys, shapes and dtypes.
      chunks: Compressed chunks of `CHUNK` transitions, the last one may be shorter.
      extras: Small arrays about the episode that go to its file too, for example
        the embedding that coverage retention computes when it arrives.
    """

    index: int
    task: int
    total: int
    reward: float
    layout: layouts.Layout
    chunks: tuple[bytes, ...]
    extras: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Number of environment steps: the reset is not one."""
        return self.total - 1

    @property
    def name(self) -> str:
        """File name, for example `000012-task1-len0087.npz`."""
        return Name(self.index, self.task, self.steps).file

    @property
    def nbytes(self) -> int:
        """Compressed size in memory, in bytes."""
        extras = sum(array.nbytes for array in self.extras.values())
        return sum(map(len, self.chunks)) + extras

    def chunk(self, number: int) -> dict[str, np.ndarray]:
        """Transitions `number * CHUNK` and following, decoded (read-only arrays)."""
        return self.layout.unpack(self.chunks[number])

    def parts(self, key: str) -> Iterator[np.ndarray]:
        """One key of chunk after chunk, decoded to arrays of up to `CHUNK` rows."""
        return (self.layout.unpack_key(chunk, key) for chunk in self.chunks)

    def arrays(self) -> dict[str, np.ndarray]:
        """All transitions, decoded to arrays [total, ...]."""
        chunks = [self.layout.unpack(chunk) for chunk in self.chunks]
        return {
            key: np.concatenate([chunk[key] for chunk in chunks])
            for key in self.layout.fields
        }


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    layout: layouts.Layout,
    *,
    index: int,
    task: int,
    extras: Mapping[str, np.ndarray] | None = None,
) -> Episode:
    """Compresses arrays [total, ...] of every key of the layout to an episode."""
    total = len(arrays["reward"])
    chunks = tuple(
        layout.pack({k: arrays[k][start : start + CHUNK] for k in layout.fields})
        for start in range(0, total, CHUNK)
    )
    reward = sum(arrays["reward"].tolist())  # in the order in which Builder adds
    return Episode(index, task, total, reward, layout, chunks, dict(extras or {}))


class Builder:
    """Collects the transitions of one episode, compressing each chunk once full."""

    def __init__(self, layout: layouts.Layout, task: int) -> None:
        """Starts an empty episode of the given task."""
        self.task = task
        self.total = 0  # transitions so far
        self._layout = layout
        self._keys = set(layout.fields)
        self._buffer = layout.empty(CHUNK)
        self._chunks: list[bytes] = []
        self._reward = 0.0

    def append(self, transition: Mapping[str, Any]) -> None:
        """Adds a copy of one transition; ValueError if it does not fit the layout."""
        position = self.total % CHUNK
        if {k for k in transition if not k.startswith(layouts.LOG)} != self._keys:
            self._refuse(transition)
        for key, (shape, dtype) in self._layout.fields.items():
            value = np.asarray(transition[key])
            fits = value.dtype == dtype or np.can_cast(value.dtype, dtype, "same_kind")
            if value.shape != shape or not fits:
                self._refuse(transition)
            self._buffer[key][position] = value
        self._reward += float(self._buffer["reward"][position])
        self.total += 1
        if position == CHUNK - 1:
            self._chunks.append(self._layout.pack(self._buffer))

    def _refuse(self, transition: Mapping[str, Any]) -> None:
        found = layouts.Layout.of(transition)
        raise ValueError(
            f"A transition has [{found}] where this replay holds [{self._layout}]. "
            "All tasks of a run need the same observation and action shapes: resize "
            "or pad them with a wrapper."
        )

    def build(self, index: int = -1) -> Episode:
        """The episode so far; the builder can go on afterwards."""
        chunks, rest = list(self._chunks), self.total % CHUNK
        if rest:
            chunks.append(
                self._layout.pack({k: v[:rest] for k, v in self._buffer.items()})
            )
        return Episode(
            index, self.task, self.total, self._reward, self._layout, tuple(chunks)
        )


class Name(NamedTuple):
    """What a file name says."""

    index: int
    task: int
    steps: int

    @property
    def file(self) -> str:
        """The only file name that says this."""
        return f"{self.index:06d}-task{self.task}-len{self.steps:04d}.npz"


def parse_name(name: str) -> Name | None:
    """Reads index, task and steps from a file name, None if it is no episode's.

    No run comes to a number of ten digits.
    """
    match = _NAME.fullmatch(name)
    found = Name(*map(int, match.groups())) if match else None
    return found if found and found.file == name else None


def save(episode: Episode, directory: pathlib.Path) -> None:
    """Writes the episode's file: complete under its name, or not at all.

    Any NumPy opens it with `np.load(path)`. The bytes depend on the content only.

    Raises:
      OSError: It cannot be written.
      ValueError: Its extras are too large to be read again.
    """
    extras = {layouts.EXTRA + key: value for key, value in episode.extras.items()}
    _check_extras(sum(value.nbytes for value in extras.values()))
    temporary = directory / (episode.name + ".tmp")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for key, value in {**episode.arrays(), **extras}.items():
                member = zipfile.ZipInfo(key + ".npy")
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, value, allow_pickle=False)
        os.replace(temporary, directory / episode.name)
    except OSError:
        with contextlib.suppress(OSError):  # the first error says more
            temporary.unlink(missing_ok=True)
        raise


class Unreadable(Exception):
    """A file that holds no complete episode."""


def load(
    path: pathlib.Path, check: Callable[[layouts.Layout], None] | None = None
) -> Episode:
    """Reads an episode's file.

    What it says it holds is compared with its name before anything is decompressed.

    Args:
      path: The file.
      check: Gets the layout before the content is read, and may refuse it.

    Raises:
      Unreadable: The file is truncated, foreign, or disagrees with its name.
      OSError: It cannot be read, which says nothing about the content.
      UnfitError: As `check` raises it, or it holds more than the memory does.
    """
    name = parse_name(path.name)
    if name is None:
        raise Unreadable(f"{path.name} is not named like an episode.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _read_headers(archive)
            layout = _check_members(members, name.steps + 1)
            if check:
                check(layout)
            content = {key: member.read() for key, member in members.items()}
    except layouts.UnfitError:  # it is whole
        raise
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # EINVAL: a damaged file sends the reader to a place before its start
        raise Unreadable(f"{path.name}: {error}") from error
    extras = {
        key.removeprefix(layouts.EXTRA): content.pop(key)
        for key in list(content)
        if key.startswith(layouts.EXTRA)
    }
    return from_arrays(content, layout, index=name.index, task=name.task, extras=extras)


class _Member(NamedTuple):
    """An array of a file, of which only the beginning has been read."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    head: bytes
    start: int  # of the numbers
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        is_whole = len(self.head) == self.info.file_size < _HEAD
        content = self.head if is_whole else self.archive.read(self.info)
        array = np.frombuffer(content, self.dtype, math.prod(self.shape), self.start)
        return array.reshape(self.shape, order="F" if self.fortran_order else "C")


def _read_headers(archive: zipfile.ZipFile) -> dict[str, _Member]:
    """The arrays of an archive by key; each is as large as its header promises.

    It is what `np.load` would give, in half the time, and safe between threads: NumPy
    parses headers with `ast`, and in Python 3.11 two threads in it at the same time end
    in a SystemError; hence the lock.
    """
    members: dict[str, _Member] = {}
    for info in archive.infolist():
        with archive.open(info) as file:
            head = file.read(_HEAD)  # beyond the end, where its checksum is compared
        numbers = io.BytesIO(head)
        with _HEADER_LOCK:
            reader = _HEADER_READERS[np.lib.format.read_magic(numbers)]
            shape, fortran_order, dtype = reader(numbers)
        start = numbers.tell()
        member = _Member(archive, info, head, start, shape, fortran_order, dtype)
        key = info.filename.removesuffix(".npy")
        if info.file_size != start + member.nbytes or key in members:
            raise ValueError(f"{key!r} is not what its header promises.")
        members[key] = member
    return members


def _check_members(members: Mapping[str, _Member], total: int) -> layouts.Layout:
    """The layout of an episode of `total` transitions; ValueError if it is none."""
    extras = {key for key in members if key.startswith(layouts.EXTRA)}
    _check_extras(sum(members[key].nbytes for key in extras))
    arrays = {  # take no memory
        key: np.broadcast_to(np.empty((), member.dtype), member.shape)
        for key, member in members.items()
        if key not in extras
    }
    if any(array.shape[:1] != (total,) for array in arrays.values()):
        raise ValueError(f"Not every array has {total} transitions.")
    _check_memory(sum(member.nbytes for member in members.values()))
    return layouts.Layout.of(arrays, batched=True)


def _check_memory(nbytes: int) -> None:
    if nbytes > _LARGE and nbytes > (free := footprint.available_memory()):
        raise layouts.UnfitError(
            f"An episode's file holds {nbytes / 1e9:.1f} GB, where {free / 1e9:.1f} GB "
            "of memory are left. Move it out of the folder, or make room."
        )


def _check_extras(nbytes: int) -> None:
    if nbytes > MOST_EXTRAS:
        raise ValueError(
            f"What lies beside the transitions has {nbytes} bytes; an episode may have "
            f"{MOST_EXTRAS}. Let the strategy that leaves it there leave less."
        )
