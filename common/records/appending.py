"""A file that pieces are appended to, each as a whole, also on a disk that is full."""

import collections
import contextlib
import errno
import io
import os
import pathlib

from common.records import files

MOST_BYTES = 2**26  # of the pieces that wait


class Appender:
    """Appends pieces to a file at once; what cannot be written waits.

    It is tried again with the next piece. The file ends with a whole piece whatever
    happens. If it was removed or replaced, the file of that name is taken; if its
    folder was removed or renamed, the pieces wait for it to come back.

    Attributes:
      lost: Pieces that were let go, the oldest first, as too many waited.
    """

    def __init__(self, path: pathlib.Path, most: int, head: bytes = b"") -> None:
        """Takes a file, which is opened or begun when something is written.

        Args:
          path: The file.
          most: Pieces that may wait.
          head: What a file begins with.
        """
        self.lost = 0
        self._path = path
        self._most = most
        self._head = head
        self._waiting: collections.deque[bytes] = collections.deque()
        self._file: io.FileIO | None = None
        self._size = 0  # bytes of whole pieces
        self._is_cut = False  # whether a part of a piece may follow them
        self._identities: tuple[files.Identity | None, ...] = ()  # of file and folder

    @property
    def waiting(self) -> int:
        """Pieces that are not in the file yet."""
        return len(self._waiting)

    def append(self, piece: bytes) -> None:
        """Appends a piece, after those that wait.

        Raises:
          OSError: It cannot be written; it waits.
        """
        self._waiting.append(piece)
        size = sum(map(len, self._waiting))
        while len(self._waiting) > self._most or size > MOST_BYTES:
            size -= len(self._waiting.popleft())
            self.lost += 1
        self.flush()

    def flush(self) -> None:
        """Writes what waits.

        Raises:
          OSError: Some of it cannot be written.
        """
        if not self._waiting:
            return
        self._find()
        while self._waiting:
            rest = self._waiting[0]
            try:
                if self._is_cut:
                    os.truncate(self._path, self._size)
                    self._is_cut = False
                while rest:  # a full disk takes a part before it refuses
                    rest = rest[self._file.write(rest) :]
            except OSError as error:
                self._is_cut = True
                with contextlib.suppress(OSError):
                    os.truncate(self._path, self._size)
                raise OSError(error.errno, error.strerror, str(self._path)) from error
            self._size += len(self._waiting.popleft())

    def open(self) -> None:
        """Goes on behind what the file holds; makes it and its folder if need be.

        Raises:
          OSError: It cannot be opened.
        """
        if self._file:
            self._file.close()
        self._path.parent.mkdir(exist_ok=True)
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115
        self._size = os.fstat(self._file.fileno()).st_size
        self._identities = files.identity(self._path), files.identity(self._path.parent)
        if self._head and not self._size:
            self._waiting.appendleft(self._head)

    def close(self) -> None:
        """Writes what waits, and closes the file.

        Raises:
          OSError: What waits could not be written; it is lost.
        """
        try:
            self.flush()
        except OSError as error:
            text = f"{len(self._waiting)} records of {self._path} are lost: {error}"
            raise OSError(text) from error
        finally:
            if self._file:
                self._file.close()

    def _find(self) -> None:
        """Makes sure that what is written lands in the file of that name."""
        if not self._file:
            self.open()
            return
        file, folder = self._identities
        if files.identity(self._path.parent) != folder:
            where = str(self._path.parent)
            raise FileNotFoundError(errno.ENOENT, "Removed or renamed", where)
        if files.identity(self._path) != file:
            self.open()
