"""The replay: whole episodes in memory and on disk, and batches drawn from them.

Two separate choices make it up (`strategies`): which episodes stay, and which are
drawn. Capacity counts environment steps; it is never exceeded by more than the
newest episode. Windows and batches count transitions, the reset being one: a window
has `min(total, maxlen) - randint(minlen)` of an episode's `total` transitions, at
least `minlen`. Each idea has its own module: `ongoing` (what is under way), `contents`
(what is held), `archive` (its files), `streams` (batches); here they come together.
"""

import contextlib
import functools
import pathlib
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from common.replay import (
    archive,
    contents,
    episodes,
    layouts,
    strategies,
    streams,
)
from common.replay import ongoing as ongoing_lib


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
        retention: strategies.Retention,
        sampling: strategies.Sampling,
        seed: int,
        keep_evicted: bool = False,
        ongoing: bool = False,
        cache_bytes: int = 64_000_000,
        specs: Mapping[str, Any] | None = None,
    ) -> None:
        """Begins empty, or with the episodes that a folder holds.

        Args:
          directory: Folder of the episode files, see `open`; None keeps episodes in
            memory only.
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
        self._draws_ongoing = bool(ongoing)
        self._specs = specs
        self._skipped = 0
        self._ongoing = ongoing_lib.Ongoing()
        self._held_back: list[episodes.Builder] | None = None  # see `all_or_none`
        self._contents = contents.Contents(self._capacity, retention, sampling)
        self._cache = streams.Cache(int(cache_bytes))
        self._streams: weakref.WeakSet[streams.Stream] = weakref.WeakSet()
        self._streams_made = 0
        self._layout: layouts.Layout | None = None
        self._keep_evicted = bool(keep_evicted)
        self._archive = archive.Archive(None, keep_evicted=self._keep_evicted)
        if directory is not None:
            self.open(directory)

    def open(
        self, directory: archive.Place, state: Mapping[str, Any] | None = None
    ) -> None:
        """Takes over the episodes of a folder, or creates it; before the first step.

        Nothing in it is removed or renamed until the first episode arrives, so that
        nothing is lost if a run fails before.

        Args:
          directory: Where the files are, and are written from now on.
          state: What `set_state` will be given: only files that it needs are read.

        Raises:
          ValueError: The folder holds episodes of other shapes than expected, or
            shorter than `minlen`.
        """
        self._archive = archive.Archive(directory, keep_evicted=self._keep_evicted)
        only = None if state is None else {*state["held"], *state["in_use"]}
        self._layout = self._archive.open(self._cut.minlen, self._specs, only)
        opened = list(self._archive.opened.values())
        self._contents.take_over(opened, self._archive.evicted_names())

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
        if self._layout is None and transition["is_first"]:
            found = layouts.Layout.of(transition)
            self._layout = layouts.expect(found, self._specs, "The environment")
        ended = self._ongoing.append(transition, self._layout, worker, task)
        if ended and self._held_back is not None:
            self._held_back.append(ended)
            return None
        return self._finish(ended) if ended else None

    @contextlib.contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Takes in what ends inside of it at its end; nothing, if that is an error."""
        held_back = self._held_back = []
        try:
            yield
        except BaseException:  # a stop too
            self.drop_ongoing()
            raise
        finally:
            self._held_back = None
        for ended in held_back:
            self._finish(ended)

    def drop_ongoing(self) -> None:
        """Forgets the unfinished episodes (after a task switch or a restart)."""
        self._ongoing.clear()

    def on_task_change(self, finished: int, next: int) -> None:
        """Tells the strategies that the training goes on with another task.

        Args:
          finished: Number of the task that has been trained on.
          next: Number of the task that follows.
        """
        self._contents.on_task_change(finished, next)

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
            draw=draw,
            find=self._find,
            cache=self._cache,
            batch=batch,
            length=length,
            rng=rng,
            prefetch=prefetch,
        )
        self._streams.add(stream)
        return stream

    def stats(self) -> dict[str, int]:
        """Counters.

        `total_*`: all episodes that ever arrived with at least `minlen` steps, and
        their steps; after opening a folder without a state, those on the disk.
        `loaded_*`: held now. `er_task_{k}`: episodes of task k held.
        `skipped_episodes`: finished, but too short. `unwritten_episodes`: held but not
        yet on the disk. `corrupt_files`: could not be read when the folder was opened.
        """
        skipped = {"skipped_episodes": self._skipped}
        return self._contents.stats() | skipped | self._archive.stats()

    def shares(self, arrival: bool = False) -> dict[str, int]:
        """`er_steps_{k}`: steps of task k held; `drawn_task_{k}`: windows drawn of it.

        Args:
          arrival: Adds the windows drawn by the number of their episode, from the first
            that arrived to the newest; see `counts.Counts.by_arrival`.
        """
        return self._contents.shares(arrival)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that a batch could be drawn from."""
        unfinished = self._draws_ongoing and self._ongoing.has(self._cut.minlen)
        return not self._contents.episodes and not unfinished

    @property
    def nbytes(self) -> int:
        """Bytes of the held episodes in memory, without the cache."""
        return sum(episode.nbytes for episode in self._contents.episodes.values())

    def get_state(self) -> dict[str, Any]:
        """JSON-able state: what is held and all counters and generators.

        Waits until all files are written. Unfinished episodes are no part of it.
        Streams have a state of their own, to be taken at the same time. The files that
        it needs stay until `keep` is called without it.

        Raises:
          UnwrittenError: Some of its episodes cannot be written, the disk being full.
        """
        state, in_use = self._contents.get_state(), sorted(self._in_use())
        self._archive.save(state["held"], in_use)
        return state | {"in_use": in_use, "skipped_episodes": self._skipped}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state, right after the folder was opened.

        Files of episodes that arrived later than the state are deleted with the first
        new one: the resumed run collects its own. An episode whose file is missing is
        left out, with a warning.

        Raises:
          ValueError: The state belongs to other strategies, or none of its episodes
            is there.
        """
        self.drop_ongoing()
        self._cache.clear()
        self._contents.set_state(state, self._archive.opened.values())
        self._skipped = state["skipped_episodes"]
        needed = {*state["held"], *state["in_use"]}
        self._archive.restore(needed, self._contents.next_index)

    def keep(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Lets the files go that no held episode needs and none of these states.

        Args:
          states: All that were saved and are still there, to go on from.
        """
        needed = {n for state in states for n in (*state["held"], *state["in_use"])}
        self._archive.keep(needed, self._in_use())

    def flush(self) -> None:
        """Waits until all files are written."""
        self._archive.flush()

    def close(self) -> None:
        """Writes what is left to write and ends all threads.

        Of the evicted episodes' files only those stay that a saved state needs.
        """
        for stream in self._streams:
            stream.close()
        self._archive.close()

    def check_valid(self) -> None:
        """Raises AssertionError unless what is held, drawn and on the disk agree.

        For tests: it waits until all files are written.
        """
        held, in_use = self._contents.episodes.values(), self._in_use()
        for episode in held:
            assert episode.layout == self._layout, f"{episode.name}: {episode.layout}"
            assert episode.steps >= self._cut.minlen, f"{episode.name} is too short"
        self._contents.check_valid()
        self._ongoing.check_valid()
        self._cache.check_valid()
        for stream in self._streams:
            stream.check_valid()
        self._archive.check_valid([episode.name for episode in held], in_use)

    def _finish(self, ended: episodes.Builder) -> int | None:
        if ended.total - 1 < self._cut.minlen:
            self._skipped += 1
            return None
        episode = ended.build(self._contents.next_index)
        left = self._contents.arrive(episode)
        held = self._contents.episodes
        self._archive.arrive(episode, left, held, self._in_use())
        return episode.index if episode.index in held else None

    def _in_use(self) -> set[str]:
        """File names of the episodes that batches under way need."""
        return {e.name for stream in self._streams for e in stream.uses()}

    def _find(self, index: int) -> episodes.Episode | None:
        return self._contents.episodes.get(index) or self._archive.opened.get(index)

    def _draw(self, rng: np.random.Generator, counted: bool = True) -> streams.Window:
        """Draws an episode, and a window of it."""
        unfinished = []
        if self._draws_ongoing:
            unfinished = self._ongoing.so_far(self._cut.minlen)
        if not self._contents.episodes and not unfinished:
            raise LookupError(
                f"The replay holds no episode of at least {self._cut.minlen} steps "
                f"(replay.minlen) yet; {self._skipped} were shorter. Collect more "
                "before the first update (prefill), or lower replay.minlen."
            )
        return self._cut(self._contents.draw(unfinished, counted), rng)
