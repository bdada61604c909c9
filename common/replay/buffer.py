"""The replay: whole episodes in memory and on disk, and batches drawn from them.

Two separate choices make it up: which episodes stay (`retention`) and which are drawn
(`sampling`). Capacity counts environment steps; it is never exceeded by more than the
newest episode. Windows and batches count transitions, the reset being one: a window
has `min(total, maxlen) - randint(minlen)` of an episode's `total` transitions, at
least `minlen`. Each idea has its own module: `episodes` (one episode), `contents` (what
is held), `store` (the folder), `streams` (batches); here they come together.
"""

import dataclasses
import functools
import pathlib
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.replay import (
    contents,
    episodes,
    layouts,
    retention,
    sampling,
    store,
    streams,
)


class Replay:
    """Stores finished episodes and draws batches of windows from them.

    Not to be called from several threads at once; writing files and decoding batches
    happen in threads of its own.
    """

    def __init__(
        self,
        directory: pathlib.Path | str | None,
        *,
        capacity: int,
        minlen: int,
        maxlen: int,
        prioritize_ends: bool,
        retention: retention.Retention,
        sampling: sampling.Sampling,
        seed: int,
        keep_evicted: bool = False,
        ongoing: bool = False,
        cache_bytes: int = 64_000_000,
        specs: Mapping[str, Any] | None = None,
    ) -> None:
        """Opens a folder, with the episodes it holds, or creates it.

        Args:
          directory: Folder of the episode files; None keeps them in memory only.
          capacity: Environment steps of the episodes held together.
          minlen: Steps an episode must have to be stored; fewest transitions of a
            window.
          maxlen: Most transitions of a window.
          prioritize_ends: Draw the end of an episode more often.
          retention: Decides which episodes leave; new, not used before.
          sampling: Decides which episodes are drawn; new, not used before.
          seed: Of the choice of windows.
          keep_evicted: Move the files of evicted episodes to the folder `evicted`
            instead of deleting them.
          ongoing: Draw also from episodes that are not finished.
          cache_bytes: Most bytes of decoded transitions that are kept.
          specs: Expected observation, a `shape` and a `dtype` for each key; None
            takes that of the first episode.

        Raises:
          ValueError: A number breaks a rule, or the folder holds episodes of other
            shapes than expected, or shorter than `minlen`.
        """
        self._cut = streams.Cut(int(minlen), int(maxlen), bool(prioritize_ends))
        if capacity < minlen:
            raise ValueError(
                f"replay.capacity is {capacity} steps, less than replay.minlen, "
                f"{minlen}; no episode would fit. Raise the capacity or lower minlen."
            )
        self._capacity = int(capacity)
        self._seed = int(seed)
        self._keep_evicted = bool(keep_evicted)
        self._ongoing = bool(ongoing)
        self._specs = specs
        self._contents = contents.Contents(self._capacity, retention, sampling)
        self._skipped = 0
        self._layout: layouts.Layout | None = None
        self._builders: dict[int, episodes.Builder] = {}  # by worker
        self._snapshots: dict[int, episodes.Episode] = {}  # of unfinished, by worker
        self._cache = streams.Cache(int(cache_bytes))
        self._streams: weakref.WeakSet[streams.Stream] = weakref.WeakSet()
        self._streams_made = 0
        self._opened: dict[
            int, episodes.Episode
        ] = {}  # found there, till the run goes on
        self._folder: store.Folder | None = None
        if directory is not None:
            path = pathlib.Path(directory).expanduser()
            self._folder = store.Folder(path, keep_evicted=self._keep_evicted)
            self._open_folder(self._folder)

    def add_step(
        self, transition: Mapping[str, Any], worker: int = 0, task: int = 0
    ) -> int | None:
        """Takes in one transition of the episode that a worker is at.

        An unfinished episode of the worker is forgotten when a new one begins: parts
        of two episodes are never joined.

        Args:
          transition: A value for each key; keys that begin with `log_` are left out.
          worker: Number of the environment.
          task: Number of the task, the same during an episode.

        Returns:
          The episode's index if this finished an episode that is now held, else None.

        Raises:
          ValueError: The transition has other keys, shapes or types than the others,
            or it neither begins an episode nor goes on with one of the same task.
        """
        if transition["is_first"]:
            if self._layout is None:
                self._set_layout(layouts.Layout.of(transition), "The environment")
            self._builders[worker] = episodes.Builder(self._layout, task)
        builder = self._builders.get(worker)
        if builder is None or builder.task != task:
            under_way = "none" if builder is None else f"one of task {builder.task}"
            raise ValueError(
                f"Worker {worker} goes on with an episode of task {task}, but "
                f"{under_way} is under way. Reset the environment first; the reset's "
                "transition has is_first."
            )
        builder.append(transition)
        self._snapshots.pop(worker, None)
        if not transition["is_last"]:
            return None
        del self._builders[worker]
        return self._finish(builder)

    def drop_ongoing(self) -> None:
        """Forgets the unfinished episodes (after a task switch or a restart)."""
        self._builders.clear()
        self._snapshots.clear()

    def stream(
        self, batch: int, length: int, *, prefetch: bool = False, counted: bool = True
    ) -> streams.Stream:
        """Endless batches of `batch` rows and `length` transitions.

        Args:
          batch: Rows of a batch, each a stream of its own.
          length: Transitions of each row.
          prefetch: Choose the next batch when one is handed out, and decode it
            meanwhile: `next` need not wait, but lags one batch behind the replay.
          counted: Count what it draws in `shares`.

        Raises:
          ValueError: Either number is below 1, or the capacity below the length.
        """
        if batch < 1 or length < 1:
            raise ValueError(
                f"A batch of {batch} x {length} is empty; dataset.batch and "
                "dataset.length must be at least 1."
            )
        if self._capacity < length:
            raise ValueError(
                f"replay.capacity is {self._capacity} steps, less than "
                f"dataset.length, {length}; raise the capacity or shorten the batch."
            )
        rng = np.random.default_rng([self._seed, 4, self._streams_made])
        self._streams_made += 1
        draw = functools.partial(self._draw, counted=counted)
        stream = streams.Stream(
            draw, self._find, self._cache, batch, length, rng, prefetch
        )
        self._streams.add(stream)
        return stream

    def stats(self) -> dict[str, int]:
        """Counters.

        `total_*`: all episodes that ever arrived with at least `minlen` steps, and
        their steps; after opening a folder without a state, those on the disk.
        `loaded_*`: held now. `er_task_{k}`: episodes of task k held.
        `skipped_episodes`: finished, but too short. `unwritten_episodes`: held but not
        yet on the disk. `corrupt_files`: renamed when the folder was opened.
        """
        return self._contents.stats() | {
            "skipped_episodes": self._skipped,
            "unwritten_episodes": self._folder.unwritten if self._folder else 0,
            "corrupt_files": self._folder.corrupt if self._folder else 0,
        }

    def shares(self, arrival: bool = False) -> dict[str, int]:
        """`er_steps_{k}`: steps of task k held; `drawn_task_{k}`: windows drawn of it.

        Args:
          arrival: Adds the windows drawn by the number of their episode, from the first
            that arrived to the newest; see `counts.Counts.by_arrival`.
        """
        return self._contents.shares(arrival)

    @property
    def nbytes(self) -> int:
        """Bytes of the held episodes in memory, without the cache."""
        return sum(episode.nbytes for episode in self._contents.episodes.values())

    def get_state(self) -> dict[str, Any]:
        """JSON-able state: what is held and all counters and generators.

        Waits until all files are written. Unfinished episodes are no part of it.
        Streams have a state of their own, to be taken at the same time.
        """
        state = self._contents.get_state()
        in_use = sorted(self._in_use())
        if self._folder:
            self._folder.flush()
            self._folder.pin({*state["held"], *in_use})
            self._folder.tidy(in_use)
        return state | {"in_use": in_use, "skipped_episodes": self._skipped}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state, right after the folder was opened.

        Files of episodes that arrived later than the state are deleted: the resumed
        run collects its own. An episode whose file is missing is left out, with a
        warning.

        Raises:
          ValueError: The state belongs to other strategies, or none of its episodes
            is there.
        """
        self.drop_ongoing()
        self._cache.clear()
        self._contents.set_state(state, self._opened.values())
        self._skipped = state["skipped_episodes"]
        if not self._folder:
            return
        self._folder.pin({*state["held"], *state["in_use"]})
        for index in [i for i in self._opened if i >= self._contents.next_index]:
            self._folder.remove(self._opened.pop(index).name)
        self._folder.flush()

    def flush(self) -> None:
        """Waits until all files are written."""
        if self._folder:
            self._folder.flush()

    def close(self) -> None:
        """Writes what is left to write and ends all threads.

        Of the evicted episodes' files only those stay that the newest state needs.
        """
        for stream in self._streams:
            stream.close()
        if self._folder:
            self._settle(self._folder)
            self._folder.close()

    def _finish(self, builder: episodes.Builder) -> int | None:
        if builder.total - 1 < self._cut.minlen:
            self._skipped += 1
            return None
        episode = builder.build(self._contents.next_index)
        left = self._contents.arrive(episode)
        held = episode.index in self._contents.episodes
        if self._folder:
            self._settle(self._folder)
            for gone in left:
                if gone is not episode:
                    self._folder.retire(gone.name)
            self._folder.tidy(self._in_use())  # before writing: it may make room
            if held or self._keep_evicted:
                self._folder.write(episode)
            if self._keep_evicted and not held:
                self._folder.remove(episode.name)
        return episode.index if held else None

    def _settle(self, folder: store.Folder) -> None:
        """Lets the files go that were found on opening but are not held.

        Not before the run goes on, for a state that is restored may hold them.
        """
        for index, episode in self._opened.items():
            if index not in self._contents.episodes:
                folder.retire(episode.name)
        self._opened.clear()

    def _in_use(self) -> set[str]:
        """File names of the episodes that batches under way need."""
        return {e.name for stream in self._streams for e in stream.uses()}

    def _find(self, index: int) -> episodes.Episode | None:
        return self._contents.episodes.get(index) or self._opened.get(index)

    def _draw(self, rng: np.random.Generator, counted: bool = True) -> streams.Window:
        """Draws an episode, and a window of it."""
        unfinished = self._unfinished() if self._ongoing else []
        if not self._contents.episodes and not unfinished:
            raise LookupError(
                f"The replay holds no episode of at least {self._cut.minlen} steps "
                f"(replay.minlen) yet; {self._skipped} were shorter. Collect more "
                "before the first update (prefill), or lower replay.minlen."
            )
        return self._cut(self._contents.draw(unfinished, counted), rng)

    def _unfinished(self) -> list[episodes.Episode]:
        for worker, builder in self._builders.items():
            if worker not in self._snapshots and builder.total > self._cut.minlen:
                self._snapshots[worker] = builder.build()
        return [self._snapshots[worker] for worker in sorted(self._snapshots)]

    def _set_layout(self, layout: layouts.Layout, source: str) -> None:
        """Fixes keys and shapes; ValueError if they are not the expected ones."""
        if self._specs is not None:
            expected = {
                key: layouts.Field(tuple(spec.shape), np.dtype(spec.dtype))
                for key, spec in sorted(self._specs.items())
            }
            if layout.observation != expected:
                _refuse(source, layout.observation, expected)
        self._layout = layout

    def _open_folder(self, folder: store.Folder) -> None:
        """Takes in the folder as if its episodes had just arrived, in their order."""
        for episode in folder.load():
            source = f"The file {episode.name}"
            if self._layout is None:
                self._set_layout(episode.layout, source)
            if episode.layout != self._layout:
                _refuse(source, episode.layout.fields, self._layout.fields)
            if episode.steps < self._cut.minlen:
                raise ValueError(
                    f"{source} has fewer steps than replay.minlen, "
                    f"{self._cut.minlen}; lower it or choose another folder."
                )
            shared = dataclasses.replace(episode, layout=self._layout)
            self._opened[episode.index] = shared
        self._contents.take_over(list(self._opened.values()), folder.evicted_names())


def _refuse(
    source: str,
    found: Mapping[str, layouts.Field],
    expected: Mapping[str, layouts.Field],
) -> None:
    raise ValueError(
        f"{source} has [{layouts.describe(found)}], but this replay expects "
        f"[{layouts.describe(expected)}]. Choose another logdir, or the same "
        "observation and action sizes."
    )
