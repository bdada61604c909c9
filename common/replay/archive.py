"""Which episode files are needed, from the folder's opening to its end."""

import dataclasses
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from common.replay import episodes, layouts, store

Place = pathlib.Path | str | store.Nowhere  # the last stands in place of a folder


class UnwrittenError(RuntimeError):
    """A state names episodes that are not on the disk."""


def tidy(
    directory: pathlib.Path, needed: Collection[str], *, keep_evicted: bool
) -> None:
    """Removes the files of episodes that nothing needs, if there is such a folder.

    Args:
      directory: The folder of the episode files.
      needed: Names that saved states need.
      keep_evicted: Whether they are kept aside instead.
    """
    if not directory.is_dir():
        return
    folder = store.Folder(directory, keep_evicted=keep_evicted)
    for name in sorted(folder.names().difference(needed)):
        folder.remove(name)
    folder.mend()
    folder.close()


class Archive:
    """The files of the held episodes, and of those that something still needs.

    A file is removed when its episode was retired and nothing needs it any more: no
    batch row under way, and no saved state that is still there. Opening a folder
    removes and renames nothing; that waits until the run goes on, with its first
    episode, when it is certain from which state. So a run goes on exactly from any
    snapshot that is there, whatever failed before.

    Attributes:
      opened: Episodes found when the folder was opened, by index, until the run goes
        on: a state that is restored may hold any of them.
    """

    def __init__(self, directory: Place | None, *, keep_evicted: bool) -> None:
        """Creates the folder if need be; None keeps nothing.

        Raises:
          OSError: If the folder cannot be created.
        """
        self.opened: dict[int, episodes.Episode] = {}
        self._keep_evicted = keep_evicted
        self._folder = store.Nowhere() if directory is None else directory
        if isinstance(directory, str | pathlib.Path):
            path = pathlib.Path(directory).expanduser()
            self._folder = store.Folder(path, keep_evicted=keep_evicted)
        self._found: set[str] = set()  # names of the files found on opening
        self._retired: set[str] = set()  # names that left, file still there
        self._pinned: set[str] = set()  # names that saved states need
        self._begun = False  # whether files may be removed
        self._discarded: int | None = None  # index from which a state knows no episode

    def open(
        self,
        minlen: int,
        specs: Mapping[str, Any] | None,
        only: Collection[str] | None = None,
    ) -> layouts.Layout | None:
        """Reads the folder's episodes; returns what they consist of, None if none.

        Args:
          minlen: Steps that each must have.
          specs: Expected observation.
          only: Names of the files to read; None reads all.

        Raises:
          ValueError: They differ, are not as the specs say or shorter than `minlen`;
            or they do not fit into memory.
        """
        self._found = self._folder.names()
        layout = None

        def check(name: str, found: layouts.Layout) -> None:
            """Keeps what does not fit from being decompressed."""
            nonlocal layout
            if layout is None:
                layout = layouts.expect(found, specs, f"The file {name}")
            layouts.share(found, layout, f"The file {name}")

        for episode in self._folder.load(only, check):
            if episode.steps < minlen:
                raise ValueError(
                    f"The file {episode.name} has fewer steps than replay.minlen, "
                    f"{minlen}; lower it or choose another folder."
                )
            shared = dataclasses.replace(episode, layout=layout)
            self.opened[episode.index] = shared
        return layout

    def evicted_names(self) -> list[episodes.Name]:
        """What the names of the kept evicted files say."""
        return self._folder.evicted_names()

    def stats(self) -> dict[str, int]:
        """Episodes not written yet, and files that could not be read."""
        return {
            "unwritten_episodes": self._folder.unwritten,
            "corrupt_files": self._folder.corrupt,
        }

    def arrive(
        self,
        episode: episodes.Episode,
        left: Iterable[episodes.Episode],
        held: Collection[int],
        in_use: Collection[str],
    ) -> None:
        """Writes a newcomer, and lets the files go of those who left for it.

        Args:
          episode: The newcomer, which may be refused and be among those who left.
          left: Who left.
          held: Indices of the episodes held now.
          in_use: Names of those that batches under way need.
        """
        self._begin(held)
        self._retired.update(gone.name for gone in left if gone is not episode)
        self._tidy(in_use)  # before writing: it may make room
        if episode.index in held or self._keep_evicted:
            self._folder.write(episode)
        if episode.index not in held and self._keep_evicted:
            self._folder.remove(episode.name)

    def save(self, held: Collection[str], in_use: Collection[str]) -> None:
        """Keeps what a state needs that is being saved.

        Raises:
          UnwrittenError: If a part of it is not on the disk.
        """
        self._folder.flush()
        if self._folder.unwritten:
            raise UnwrittenError(
                f"{self._folder.unwritten} episodes of the replay could not be written "
                f"yet ({self._folder.problem}), and a snapshot without them would not "
                "go on."
            )
        self._pinned |= {*held, *in_use}

    def restore(self, needed: Collection[str], next_index: int) -> None:
        """Keeps what a restored state needs, and forgets what arrived after it.

        The files of those go when the run goes on.
        """
        self._discarded = next_index
        self._pinned |= self._found.intersection(needed)

    def keep(self, needed: Collection[str], in_use: Collection[str]) -> None:
        """Lets the files go that only states needed which are there no more.

        Args:
          needed: Names that the saved states need which are there.
          in_use: Names of those that batches under way need.
        """
        self._pinned = {*needed} if self._begun else self._found.intersection(needed)
        self._tidy(in_use)

    def flush(self) -> None:
        """Waits until all files are written."""
        self._folder.flush()

    def close(self) -> None:
        """Removes what neither the held episodes nor a saved state needs, and ends."""
        self._tidy(())
        self._folder.close()

    def check_valid(self, held: Collection[str], in_use: Collection[str]) -> None:
        """Raises AssertionError unless just the needed files are on the disk.

        Args:
          held: Names of the episodes held.
          in_use: Names of those that batches under way need.
        """
        assert not self._retired & {*held}, (
            f"held but retired: {self._retired & {*held}}"
        )
        if isinstance(self._folder, store.Nowhere):
            return
        there, unwritten = self._folder.names(), self._folder.unwritten
        needed = {*held, *in_use, *self._pinned}
        missing = needed - there
        assert len(missing) <= unwritten, f"needed but not on the disk: {missing}"
        spare = there - needed - self._retired if self._begun else ()
        assert not spare, f"on the disk without need: {sorted(spare)}"

    def _begin(self, held: Collection[int]) -> None:
        """Lets the files go that were found on opening but are not held.

        Not before the run goes on, for a state that is restored may hold them.
        """
        if self._begun:
            return
        self._begun = True
        self._folder.mend()
        if self._discarded is not None:
            self._folder.discard(self._discarded)
        for name in self._found:
            index = episodes.parse_name(name).index
            later = self._discarded is not None and index >= self._discarded
            if not later and index not in held:
                self._retired.add(name)
        self._found.clear()
        self.opened.clear()

    def _tidy(self, in_use: Collection[str]) -> None:
        """Removes the retired files that are neither in use nor pinned."""
        free = self._retired.difference(in_use, self._pinned)
        self._retired -= free
        for name in sorted(free):
            self._folder.remove(name)
