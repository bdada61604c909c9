"""Batches from the replay: each row of the batch is a stream of its own.

A stream concatenates windows of episodes and cuts them into sequences of a fixed
length. `is_first` is true where a window begins. A window that is cut by the end of a
sequence goes on at the start of the same row of the next batch, so a recurrent state
carried from batch to batch belongs to it.

Choosing the windows and decoding them are two things: the choice is made at a fixed
point of the program, so that a run is reproducible, and the decoding can go on in
another thread while the last batch is learned from.
"""

import collections
import concurrent.futures
import dataclasses
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from common.replay import episodes


class Window(NamedTuple):
    """Transitions `start` to `stop` - 1 of an episode.

    `fresh` tells that a window begins here: its first transition gets `is_first`.
    """

    episode: episodes.Episode
    start: int
    stop: int
    fresh: bool = True


@dataclasses.dataclass(frozen=True)
class Cut:
    """How windows are cut from episodes; lengths in transitions.

    A window has `min(total, maxlen) - randint(minlen)` transitions, at least `minlen`.
    Its start is uniform. With `prioritize_ends` the range of starts is longer by
    `minlen` and clipped, so that the end of the episode is drawn more often.
    """

    minlen: int
    maxlen: int
    prioritize_ends: bool

    def __post_init__(self) -> None:
        """Raises ValueError if no window can have such lengths."""
        if self.minlen < 1:
            raise ValueError(
                f"replay.minlen is {self.minlen}; it must be at least 1 step."
            )
        if self.maxlen < self.minlen:
            raise ValueError(
                f"replay.maxlen is {self.maxlen}, less than replay.minlen, "
                f"{self.minlen}; no window can be both. Raise maxlen or lower minlen."
            )

    def __call__(self, episode: episodes.Episode, rng: np.random.Generator) -> Window:
        """A random window of an episode of at least `minlen` transitions."""
        length = min(episode.total, self.maxlen) - int(rng.integers(self.minlen))
        length = max(length, self.minlen)
        last = episode.total - length  # the latest start
        extra = self.minlen if self.prioritize_ends else 0
        start = min(int(rng.integers(last + 1 + extra)), last)
        return Window(episode, start, start + length)


Choice = list[list[Window]]  # the windows of each row, of `length` together


class Cache:
    """Decoded chunks; the least recently used ones leave. Safe between threads."""

    def __init__(self, limit: int) -> None:
        """Holds at most `limit` bytes."""
        self._limit = limit
        self._size = 0
        self._lock = threading.Lock()
        self._chunks: collections.OrderedDict[
            tuple[int, int], tuple[int, dict[str, np.ndarray]]
        ] = collections.OrderedDict()

    def __len__(self) -> int:
        """Bytes held."""
        return self._size

    def get(self, episode: episodes.Episode, number: int) -> dict[str, np.ndarray]:
        """Chunk `number` of an episode, decoded."""
        key = (episode.index, number)
        with self._lock:
            if key in self._chunks:
                self._chunks.move_to_end(key)
                return self._chunks[key][1]
        chunk = episode.chunk(number)
        if episode.index >= 0:  # an unfinished episode has no name to be found by
            self._put(key, chunk)
        return chunk

    def clear(self) -> None:
        """Forgets all chunks."""
        with self._lock:
            self._chunks.clear()
            self._size = 0

    def check_valid(self) -> None:
        """Raises AssertionError unless it is as large as what it holds."""
        with self._lock:
            size = sum(size for size, _ in self._chunks.values())
            assert self._size == size <= self._limit, (
                f"{self._size} bytes counted, {size} held of {self._limit}"
            )

    def _put(self, key: tuple[int, int], chunk: dict[str, np.ndarray]) -> None:
        size = sum(array.nbytes for array in chunk.values())
        with self._lock:
            if key not in self._chunks:
                self._chunks[key] = size, chunk
                self._size += size
            while self._size > self._limit:
                _, (gone, _) = self._chunks.popitem(last=False)
                self._size -= gone


def decode(choice: Choice, length: int, cache: Cache) -> dict[str, np.ndarray]:
    """The batch that a choice describes: fresh arrays [B, T, ...] of every key."""
    layout = choice[0][0].episode.layout
    batch = layout.empty(len(choice), length)
    for row, windows in enumerate(choice):
        time = 0
        for window in windows:
            part = {key: array[row, time:] for key, array in batch.items()}
            _copy(window, part, cache)
            if window.fresh:
                part["is_first"][0] = True
            time += window.stop - window.start
    return batch


def _copy(window: Window, out: Mapping[str, np.ndarray], cache: Cache) -> None:
    """Copies a window's transitions to the beginning of arrays [T, ...]."""
    episode, start, stop, _ = window
    size = episodes.CHUNK
    for number in range(start // size, (stop - 1) // size + 1):
        chunk, offset = cache.get(episode, number), number * size
        low, high = max(start, offset), min(stop, offset + size)
        for key, array in chunk.items():
            out[key][low - start : high - start] = array[low - offset : high - offset]


class Stream:
    """Endless batches of `batch` rows and `length` transitions."""

    def __init__(
        self,
        *,
        draw: Callable[[np.random.Generator], Window],
        find: Callable[[int], episodes.Episode | None],
        cache: Cache,
        batch: int,
        length: int,
        rng: np.random.Generator,
        prefetch: bool,
    ) -> None:
        """Made by `Replay.stream`, which describes the arguments."""
        self._draw = draw
        self._find = find
        self._cache = cache
        self._length = length
        self._rng = rng
        self._prefetch = prefetch
        self._rows: list[Window | None] = [None] * batch  # what is left of a window
        self._choice: Choice | None = None  # of the next batch, if already chosen
        self._future: concurrent.futures.Future | None = None  # and its arrays
        self._thread = (
            concurrent.futures.ThreadPoolExecutor(1, "replay-reader")
            if prefetch
            else None
        )

    def next(self) -> dict[str, np.ndarray]:
        """The next batch: fresh arrays [B, T, ...] of every key.

        With `prefetch`, the windows of the batch after it are chosen now too, and
        decoded in another thread.

        Raises:
          LookupError: The replay holds no episode yet.
        """
        if not self._prefetch:
            return decode(self._choose(), self._length, self._cache)
        if self._choice is None:
            self._start(self._choose())
        batch = self._future.result()
        self._start(self._choose())
        return batch

    def uses(self) -> list[episodes.Episode]:
        """The stored episodes that batches under way still need."""
        found = (window.episode for window in self._windows())
        return [episode for episode in found if episode.index >= 0]

    def get_state(self) -> dict[str, Any]:
        """JSON-able state: the generator, and every window under way.

        Windows of unfinished episodes are left out, as those end with the process.
        """
        return {
            "rng": self._rng.bit_generator.state,
            "rows": [_describe(window) for window in self._rows],
            "plan": self._choice
            and [[_describe(w) for w in row] for row in self._choice],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores a state, after that of the replay.

        A row whose episode is gone begins a new window, with a warning; if a batch
        chosen ahead cannot be had again, all rows do, as they were to go on behind it.
        So do they if the state is of another number of rows.
        """
        self._cancel()
        self._rng.bit_generator.state = state["rng"]
        if len(state["rows"]) != len(self._rows):
            self._rows = [None] * len(self._rows)
            return
        self._rows = [self._resolve(saved) for saved in state["rows"]]
        if state["plan"]:
            choice = [[self._resolve(saved) for saved in row] for row in state["plan"]]
            complete = all(window for row in choice for window in row)
            length = sum(window.stop - window.start for window in choice[0] if window)
            if self._prefetch and complete and length == self._length:
                self._start(choice)
            else:
                self._rows = [None] * len(self._rows)

    def check_valid(self) -> None:
        """Raises AssertionError if a window leaves its episode, or a row its length."""
        for window in self._rows:
            fresh = window is not None and window.fresh
            assert not fresh, f"a rest from {window.start} on begins a window"
        for row in self._choice or ():
            length = sum(window.stop - window.start for window in row)
            assert length == self._length, f"a row of {length}, not {self._length}"
        for window in self._windows():
            total = window.episode.total
            inside = 0 <= window.start < window.stop <= total
            assert inside, f"{window.start} to {window.stop} of {total} transitions"

    def close(self) -> None:
        """Ends the thread."""
        self._cancel()
        if self._thread:
            self._thread.shutdown()

    def _windows(self) -> list[Window]:
        """What is left of a window in the rows, and the windows chosen ahead."""
        rests = [window for window in self._rows if window]
        return rests + [window for row in self._choice or () for window in row]

    def _start(self, choice: Choice) -> None:
        self._choice = choice
        self._future = self._thread.submit(decode, choice, self._length, self._cache)

    def _cancel(self) -> None:
        if self._future:
            self._future.exception()  # waits for it to end
        self._choice = self._future = None

    def _choose(self) -> Choice:
        return [self._choose_row(row) for row in range(len(self._rows))]

    def _choose_row(self, row: int) -> list[Window]:
        windows, missing = [], self._length
        while missing:
            window = self._rows[row] or self._draw(self._rng)
            cut = min(window.stop, window.start + missing)
            windows.append(window._replace(stop=cut))
            missing -= cut - window.start
            rest = window._replace(start=cut, fresh=False)
            self._rows[row] = rest if cut < window.stop else None
        return windows

    def _resolve(self, saved: list | None) -> Window | None:
        if saved is None:
            return None
        index, start, stop, fresh = saved
        episode = self._find(index)
        if episode is None or episode.total < stop:
            warnings.warn(
                f"Episode {index} of a saved batch row is gone; the row begins a new "
                "window. The resumed run draws other batches than the first one.",
                stacklevel=3,
            )
            return None
        return Window(episode, start, stop, bool(fresh))


def _describe(window: Window | None) -> list | None:
    if window is None or window.episode.index < 0:
        return None
    return [window.episode.index, window.start, window.stop, window.fresh]
