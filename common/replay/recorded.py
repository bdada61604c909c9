"""A folder of episodes that were recorded before: read at once, never written.

Each `.npz` file directly in it is one episode, whatever its name: our own replays are
such folders. Its arrays have a row for the reset and one for each step, T + 1 in all:

    KEY          [T + 1, ...]  an observation of the task: uint8 [H, W, C] images,
                               float32 [n] vectors
    action       [T + 1, A]    what led to the row: one-hot, or numbers from -1 to 1;
                 or [T + 1]    of choices their numbers too, from 0. Of the first row
                               it is not read
    reward       [T + 1]       what came with the row; 0 in the first
    is_terminal  [T + 1]       true in the last row if the episode has ended for good,
                               false if it was cut, and in all other rows
    is_first     [T + 1]       may be left out: true in the first row
    is_last      [T + 1]       may be left out: true in the last row

Further keys are not read.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from common import specs
from common.replay import buffer, episodes, layouts, store

Arrays = dict[str, np.ndarray]  # [T + 1, ...] by key


class RecordedError(ValueError):
    """A folder holds no episodes that a task's agent could learn from."""


class Folder(store.Nowhere):
    """The episodes of a folder, in the order of their names; all of task 0.

    Attributes:
      digest: Of all that was read; of another content it is another.
      skipped: Episodes that were too short.
      unread: Keys that no observation of the task has.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        spaces: specs.Spaces,
        *,
        minlen: int,
        capacity: int,
    ) -> None:
        """Reads all of it.

        Args:
          path: The folder.
          spaces: Of the task.
          minlen: Fewest steps of an episode that is held.
          capacity: Most steps of all of them together.

        Raises:
          RecordedError: If there are none, or too many; a file cannot be read, or is
            no episode of the task.
        """
        self._path, self._spaces = pathlib.Path(path), spaces
        self.skipped, self.unread = 0, set()
        self._episodes: list[episodes.Episode] = []
        digest = hashlib.blake2b(digest_size=16)
        for file in self._files():
            arrays = self._read(file)
            if len(arrays["reward"]) - 1 < minlen:
                self.skipped += 1
                continue
            for key in sorted(arrays):
                digest.update(key.encode() + arrays[key].tobytes())
            self._hold(arrays)
            if self.steps > capacity:
                raise RecordedError(
                    f"{self._path} has more steps than replay.capacity, {capacity:,}; "
                    "raise --replay.capacity."
                )
        self.digest = digest.hexdigest()
        if not self._episodes:
            raise RecordedError(
                f"All {self.skipped} episodes of {self._path} are shorter than "
                f"replay.minlen, {minlen} steps. Lower --minlen."
            )

    @property
    def steps(self) -> int:
        """Steps of the episodes held."""
        return sum(episode.steps for episode in self._episodes)

    def __str__(self) -> str:
        """What was found, in a line for the start of a run."""
        size = sum(episode.nbytes for episode in self._episodes)
        short = f", {self.skipped} shorter ones left out" if self.skipped else ""
        unread = f"; not read: {', '.join(sorted(self.unread))}" if self.unread else ""
        return (
            f"Learns from {self._path}: {len(self._episodes):,} episodes with "
            f"{self.steps:,} steps, {size / 1e6:.1f} MB in memory{short}{unread}."
        )

    def load(
        self,
        only: Collection[str] | None = None,
        check: Callable[[str, layouts.Layout], None] = lambda name, found: None,
    ) -> list[episodes.Episode]:
        """Returns all episodes, which were read before."""
        for episode in self._episodes:
            check(episode.name, episode.layout)
        return list(self._episodes)

    def _files(self) -> list[pathlib.Path]:
        """The files in order; our own by their numbers, others behind them."""
        paths = [path for path in self._path.glob("*.npz") if path.is_file()]
        if not paths:
            below = sorted({str(file.parent) for file in self._path.glob("*/*.npz")})
            why = "has no .npz files" if self._path.is_dir() else "is no folder"
            hint = "Give --offline a folder of episodes, such as a run's train_replay."
            if below:
                hint = f"There are some in {', '.join(below[:5])}."
            raise RecordedError(f"offline is {self._path}, which {why}. {hint}")

        def order(path: pathlib.Path) -> tuple[float, str]:
            ours = episodes.parse_name(path.name)
            return (ours.index if ours else np.inf), path.name

        return sorted(paths, key=order)

    def _read(self, file: pathlib.Path) -> Arrays:
        """The arrays of a file in the form that the agent learns from."""
        try:
            with np.load(file, allow_pickle=False) as content:
                found = {key: content[key] for key in content.files}
        except (*episodes.UNREADABLE, AttributeError) as error:
            raise RecordedError(
                f"{file} cannot be read: {error}. Mend it, or move it elsewhere."
            ) from error
        try:
            arrays = conform(found, self._spaces)
        except RecordedError as error:
            raise RecordedError(f"{file}: {error}") from error
        known = {*arrays, "is_first", "is_last"}
        beside = (layouts.LOG, layouts.EXTRA)
        self.unread |= {k for k in set(found) - known if not k.startswith(beside)}
        return arrays

    def _hold(self, arrays: Arrays) -> None:
        first = self._episodes[0].layout if self._episodes else None
        layout = first or layouts.Layout.of(arrays, batched=True)
        index = len(self._episodes)
        self._episodes.append(episodes.from_arrays(arrays, layout, index=index, task=0))


class Replay(buffer.Replay):
    """A replay of recorded episodes, to which none is added."""

    def __init__(self, folder: Folder, **options: Any) -> None:
        """Takes the folder, and what `buffer.Replay` takes; `open` comes later."""
        super().__init__(None, **options)
        self._recorded = folder

    def open(
        self, directory: Any = None, state: Mapping[str, Any] | None = None
    ) -> None:
        """Takes over the recorded episodes, whatever the folder of the run holds."""
        super().open(self._recorded)
        self._skipped = self._recorded.skipped

    def get_state(self) -> dict[str, Any]:
        """As that of another replay, and what tells whether the folder has changed."""
        return super().get_state() | {"recorded": self._recorded.digest}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state of the same episodes.

        Raises:
          RecordedError: If they were others.
        """
        if state.get("recorded") != self._recorded.digest:
            raise RecordedError(
                "The episodes of --offline are not those that this run has learned "
                "from until now: files were added, removed or changed. Put them back, "
                "or begin a run of its own in another --logdir."
            )
        super().set_state(state)


def conform(found: Mapping[str, np.ndarray], spaces: specs.Spaces) -> Arrays:
    """Returns the arrays of an episode as our own replay has them.

    Args:
      found: Arrays [T + 1, ...] by key, see the head of this module.
      spaces: Of the task.

    Raises:
      RecordedError: If a key is missing, or has another shape, type or value.
    """
    needed = ["action", "reward", "is_terminal", *spaces.obs_specs]
    if missing := [key for key in needed if key not in found]:
        raise RecordedError(
            f"it lacks {', '.join(missing)}, and has {', '.join(sorted(found))}. The "
            "task's environment says which observations there must be."
        )
    lengths = {key: found[key].shape[:1] for key in needed}
    rows = len(np.atleast_1d(found["reward"]))
    if rows < 2 or {*lengths.values()} != {(rows,)}:
        shapes = ", ".join(f"{key} {found[key].shape}" for key in needed)
        raise RecordedError(
            f"it has {shapes}, but every array needs a row for the reset and one for "
            "each step."
        )
    arrays = {
        key: _cast(key, found[key], spec.shape, np.dtype(spec.dtype))
        for key, spec in spaces.obs_specs.items()
    }
    arrays["action"] = _actions(found["action"], spaces.act_spec)
    arrays["reward"] = _cast("reward", found["reward"], (), np.dtype(np.float32))
    first, last = np.arange(rows) == 0, np.arange(rows) == rows - 1
    arrays["is_first"] = _flags("is_first", found.get("is_first", first), first)
    arrays["is_last"] = _flags("is_last", found.get("is_last", last), last)
    arrays["is_terminal"] = _flags("is_terminal", found["is_terminal"], last)
    return arrays


def _cast(
    key: str, array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    fits = array.dtype.kind in "biuf" and np.can_cast(array.dtype, dtype, "same_kind")
    if array.shape[1:] != shape or not fits:
        raise RecordedError(
            f"{key} is {array.dtype}{list(array.shape[1:])} in each row, where "
            f"{dtype}{list(shape)} is needed. Convert it before."
        )
    if not np.isfinite(array).all():
        raise RecordedError(f"{key} has values that are no numbers or infinite.")
    return array.astype(dtype)


def _actions(array: np.ndarray, spec: specs.ActionSpec) -> np.ndarray:
    """Actions float32 [T + 1, A] whose first row, before any action, is zero."""
    if spec.discrete and array.ndim == 1 and array.dtype.kind in "iu":
        taken = array[1:]
        if taken.min() < 0 or taken.max() >= spec.size:
            raise RecordedError(
                f"action has numbers from {taken.min()} to {taken.max()}, but the "
                f"task's are 0 to {spec.size - 1}."
            )
        actions = np.zeros((len(array), spec.size), np.float32)
        actions[np.arange(1, len(array)), taken] = 1
        return actions
    actions = np.array(array)
    actions[0] = 0
    actions = _cast("action", actions, (spec.size,), np.dtype(np.float32))
    if spec.discrete:
        ones = (actions == 1).sum(1) == 1
        if not (ones & ((actions != 0).sum(1) == 1))[1:].all():
            raise RecordedError(
                "action has rows that are not one-hot; give those, or whole numbers."
            )
    elif (most := np.abs(actions).max()) > 1 + 1e-6:
        raise RecordedError(
            f"action has values as large as {most:g}, but -1 to 1 is needed: scale "
            "them from the bounds of the environment's action space."
        )
    return actions


def _flags(key: str, array: np.ndarray, must: np.ndarray) -> np.ndarray:
    """Flags bool [T + 1] that are true where they must; `is_terminal` may be false."""
    flags = np.asarray(array)
    if flags.shape != must.shape or not np.isin(flags, (0, 1)).all():
        raise RecordedError(f"{key} is no row of booleans.")
    flags = flags.astype(bool)
    wrong = flags & ~must if key == "is_terminal" else flags != must
    if wrong.any():
        raise RecordedError(
            f"{key} is {flags[wrong.argmax()]} in row {wrong.argmax()} of "
            f"{len(flags)}; a file holds one whole episode."
        )
    return flags
