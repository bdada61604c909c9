"""The folder of episode files, read at once and written by one thread of its own."""

import concurrent.futures
import contextlib
import functools
import os
import pathlib
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence

from common.replay import episodes, layouts

QUEUE = 64  # jobs that may wait before the caller has to
EVICTED = "evicted"  # subfolder for episodes that left, if they are to be kept


class Folder:
    """Reads, writes and removes episode files.

    Jobs are done in order by one thread. An episode that cannot be written (disk
    full) stays in memory, with one warning, and is tried again with every later one.
    A file that cannot be removed or renamed stays, with one warning: a run that goes
    on from a state knows which files are its own.
    """

    def __init__(self, directory: pathlib.Path, *, keep_evicted: bool = False) -> None:
        """Creates the folder if need be; OSError if that is impossible."""
        self.corrupt = 0  # files that could not be read
        self.problem = ""  # why the oldest episode cannot be written that waits
        self._directory = directory
        self._keep_evicted = keep_evicted
        directory.mkdir(parents=True, exist_ok=True)
        if keep_evicted:
            (directory / EVICTED).mkdir(exist_ok=True)
        self._bad: list[pathlib.Path] = []
        self._unwritten: dict[str, episodes.Episode] = {}
        self._warned_of_left = False  # of files that cannot be removed
        self._error: BaseException | None = None
        self._free = threading.BoundedSemaphore(QUEUE)
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "replay-writer")

    @property
    def unwritten(self) -> int:
        """Episodes that wait to be written, in the queue or for space on the disk."""
        return len(self._unwritten)

    def load(
        self,
        only: Collection[str] | None = None,
        check: Callable[[str, layouts.Layout], None] = lambda name, found: None,
    ) -> list[episodes.Episode]:
        """Reads episodes in order of their index, and changes nothing.

        One warning tells of what cannot be read; `mend` moves it aside. Files that are
        not named like episodes belong to somebody else.

        Args:
          only: Names of the files to read; None reads all.
          check: Gets the name and the layout of each file before its content is read,
            and may refuse it; it gets another only when the first was read.

        Raises:
          RuntimeError: One cannot be read that may be whole.
          UnfitError: As `check` raises it, or the memory does not hold a file.
        """
        wanted = self.names() if only is None else self.names().intersection(only)
        paths = [self._directory / name for name in sorted(wanted)]
        results = _load_all(paths, check)
        loaded: dict[int, episodes.Episode] = {}
        bad = self._bad
        for path, result in zip(paths, results, strict=True):
            if result is None or result.index in loaded:
                bad.append(path)
            else:
                loaded[result.index] = result
        self.corrupt += len(bad)
        if bad:
            warnings.warn(
                f"{len(bad)} files in {self._directory} are no complete episodes: "
                f"{', '.join(path.name for path in bad[:5])}"
                f"{', ...' if len(bad) > 5 else ''}. The run goes on without them; "
                "they are then named *.corrupt.",
                stacklevel=2,
            )
        return [loaded[index] for index in sorted(loaded)]

    def mend(self) -> None:
        """Names what could not be read `*.corrupt` soon, and deletes what was cut off.

        What is cut off is an episode's file that a killed run was writing.
        """
        self._submit(self._mend)

    def evicted_names(self) -> list[episodes.Name]:
        """What the names of the kept evicted files say."""
        paths = (self._directory / EVICTED).glob("*.npz")
        names = (episodes.parse_name(path.name) for path in paths)
        return sorted(name for name in names if name)

    def write(self, episode: episodes.Episode) -> None:
        """Writes an episode soon; waits only if `QUEUE` jobs are waiting already."""
        self._unwritten[episode.name] = episode
        self._submit(self._write_all)

    def remove(self, name: str) -> None:
        """Deletes the file of that name soon, or moves it to the evicted ones."""
        self._submit(self._remove, name)

    def discard(self, first: int) -> None:
        """Deletes the files from an index on soon, also those kept as evicted."""
        self._submit(self._discard, first)

    def flush(self) -> None:
        """Waits until all jobs are done, and tries once more to write what is left."""
        self._thread.submit(self._run, self._write_all).result()
        self._raise()

    def close(self) -> None:
        """Does what is left to do, and ends the thread."""
        self.flush()
        self._thread.shutdown()

    def names(self) -> set[str]:
        """Names of the episodes' files that are there, once all jobs are done."""
        self.flush()
        paths = (path for path in self._directory.glob("*.npz") if path.is_file())
        return {path.name for path in paths if episodes.parse_name(path.name)}

    def _submit(self, job: Callable[..., None], *args: object) -> None:
        self._raise()
        self._free.acquire()
        future = self._thread.submit(self._run, job, *args)
        future.add_done_callback(lambda _: self._free.release())

    def _run(self, job: Callable[..., None], *args: object) -> None:
        try:
            job(*args)
        except BaseException as error:  # raised in the caller's thread by _raise
            self._error = error

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _mend(self) -> None:
        bad, self._bad = self._bad, []
        for path in self._directory.glob("*.npz*"):
            if not episodes.parse_name(path.name.removesuffix(".tmp")):
                continue
            if path.is_dir():  # in the way of a file
                bad.append(path)
            elif path.suffix == ".tmp":
                self._delete(path)
        for path in bad:
            with self._warning_of_left():
                os.replace(path, _free_name(path.name + ".corrupt", self._directory))

    def _write_all(self) -> None:
        for name, episode in list(self._unwritten.items()):
            try:
                episodes.save(episode, self._directory)
            except OSError as error:
                if not self.problem:
                    self._warn(name, error)
                self.problem = str(error)
                return
            self._unwritten.pop(name, None)
        self.problem = ""

    def _remove(self, name: str) -> None:
        self._unwritten.pop(name, None)
        path = self._directory / name
        if not self._keep_evicted:
            self._delete(path)
        elif path.exists():
            with self._warning_of_left():
                os.replace(path, self._directory / EVICTED / name)

    def _discard(self, first: int) -> None:
        for folder in (self._directory, self._directory / EVICTED):
            for path in folder.glob("*.npz"):
                name = episodes.parse_name(path.name)
                if name and name.index >= first:
                    self._delete(path)

    def _delete(self, path: pathlib.Path) -> None:
        with self._warning_of_left():
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _warning_of_left(self) -> Iterator[None]:
        """What cannot be removed or renamed stays; the first time a warning says so."""
        try:
            yield
        except OSError as error:
            if not self._warned_of_left:
                self._warned_of_left = True
                warnings.warn(
                    f"A file of the replay that is not needed any more stays: {error}. "
                    "The run goes on; it may be deleted when the run has ended.",
                    stacklevel=2,
                )

    def _warn(self, name: str, error: OSError) -> None:
        warnings.warn(
            f"Episode {name} could not be written: {error}. It stays in memory and is "
            f"tried again; the run goes on. Make room in {self._directory}, or make it "
            "writable.",
            stacklevel=2,
        )


class Nowhere:
    """In place of a folder: nothing was there, nothing is written."""

    corrupt = unwritten = 0
    problem = ""

    def names(self) -> set[str]:
        """No names."""
        return set()

    def load(self, *args: object, **kwargs: object) -> list[episodes.Episode]:
        """No episodes."""
        return []

    def mend(self) -> None:
        """Does nothing."""

    def evicted_names(self) -> list[episodes.Name]:
        """No names."""
        return []

    def write(self, episode: episodes.Episode) -> None:
        """Does nothing."""

    def remove(self, name: str) -> None:
        """Does nothing."""

    def discard(self, first: int) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def _free_name(name: str, directory: pathlib.Path) -> pathlib.Path:
    """A path of that name, or with a number behind it, at which nothing is yet."""
    path, number = directory / name, 1
    while path.exists():
        number += 1
        path = directory / f"{name}-{number}"
    return path


def _load_all(
    paths: Sequence[pathlib.Path], check: Callable[[str, layouts.Layout], None]
) -> list[episodes.Episode | None]:
    """Reads files, those behind the first that can be read side by side."""

    def load(path: pathlib.Path) -> episodes.Episode | None:
        try:
            return episodes.load(path, functools.partial(check, path.name))
        except episodes.Unreadable:
            return None
        except OSError as error:
            raise RuntimeError(
                f"The episode {path} cannot be read: {error.strerror or error}. It may "
                "be whole: make it readable, and give the same command again."
            ) from error

    results: list[episodes.Episode | None] = []
    while len(results) < len(paths) and not any(results):
        results.append(load(paths[len(results)]))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [*results, *pool.map(load, paths[len(results) :])]
