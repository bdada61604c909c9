"""Atomic snapshots: tensors in TensorFlow's format, everything else as JSON.

A snapshot is a folder `step-000000012345` with `tensors.*`, `state.json` and
`checksums.json`. It is written under another name, flushed to the disk, and renamed
when it is complete. The checksums decide whether it is whole; if the newest one is
damaged, the one before is taken. One that cannot be read may be whole: that is an
error. Whatever else lies in the folder of snapshots is somebody else's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.nets import weights

if TYPE_CHECKING:  # Which snapshots are whole can be told without TensorFlow.
    import tensorflow as tf

_LOG = logging.getLogger(__name__)

_PREFIX = "step-"
_PARTIAL = ".partial"
_NAME = re.compile(rf"{_PREFIX}\d{{12,}}")
_CHECKSUMS = "checksums.json"

# What the names of tensors begin with that are not the agent's.
CARRY = "carry/"  # the learner's, from one batch to the next
POLICY = "policy/"  # what the policy remembers of the episodes under way


class CheckpointError(RuntimeError):
    """A snapshot could not be written, or does not fit the run."""


class Tensors(NamedTuple):
    """The arrays of a snapshot by name, sorted by whom they belong to."""

    agent: dict[str, np.ndarray]
    carry: dict[str, np.ndarray]
    policy: dict[str, np.ndarray]


class Checkpoints:
    """The snapshots of one run."""

    def __init__(
        self, folder: str | os.PathLike, keep: int = 2, always: Collection[int] = ()
    ):
        """Uses a folder; makes it at the first save.

        Args:
          folder: Where the snapshots lie.
          keep: How many of the newest stay.
          always: Steps whose snapshots stay as well, such as the ends of tasks.

        Raises:
          ValueError: If `keep` is below 1.
        """
        if keep < 1:
            raise ValueError(f"checkpoint_keep is {keep}; at least 1 must stay.")
        self._folder = pathlib.Path(folder)
        self._keep = keep
        self._always = {self._path(step) for step in always}
        self._damaged: list[pathlib.Path] = []
        self._states: dict[pathlib.Path, Mapping[str, Any]] = {}

    def save(
        self, step: int, tensors: Mapping[str, tf.Tensor], state: Mapping[str, Any]
    ) -> pathlib.Path:
        """Writes a snapshot, then removes the oldest ones.

        Args:
          step: Environment steps so far; names the snapshot.
          tensors: Tensors or variables by name.
          state: Everything else, fit for JSON.

        Raises:
          CheckpointError: If it cannot be written; older snapshots stay.
        """
        import tensorflow as tf

        target = self._path(step)
        partial = target.with_name(target.name + _PARTIAL)
        try:
            for left_over in self._folder.glob(f"{_PREFIX}*{_PARTIAL}"):
                shutil.rmtree(left_over, ignore_errors=True)
            partial.mkdir(parents=True)
            _write_tensors(partial / "tensors", tensors)
            (partial / "state.json").write_text(json.dumps(state))
            sums = {path.name: _checksum(path) for path in partial.iterdir()}
            (partial / _CHECKSUMS).write_text(json.dumps(sums))
            for path in (*partial.iterdir(), partial):
                _flush(path)
            if target.exists():
                shutil.rmtree(target)
            os.replace(partial, target)
            _flush(self._folder)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(
                f"The snapshot {target} could not be written: {error}. "
                "Free some space or make the folder writable; older snapshots stay."
            ) from error
        self._states[target] = state
        self.tidy()
        return target

    def tidy(self) -> None:
        """Removes all but the newest snapshots and those that always stay."""
        for old in sorted({*self.paths()[: -self._keep]} - {*self._always}):
            _remove(old)

    def paths(self) -> list[pathlib.Path]:
        """Returns the complete snapshots, oldest first."""
        if not self._folder.is_dir():
            return []
        return sorted(
            path
            for path in self._folder.glob(f"{_PREFIX}*")
            if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
        )

    def latest(self) -> pathlib.Path | None:
        """Returns the newest snapshot that is whole, None if there is none at all.

        Damaged ones are passed over, with a warning that names what is wrong.

        Raises:
          CheckpointError: If there are snapshots, but all are damaged, or one cannot
            be read.
        """
        self._damaged = []
        paths = self.paths()
        for path in reversed(paths):
            try:
                fault = _find_damage(path)
            except OSError as error:
                raise CheckpointError(
                    f"The snapshot {path} cannot be read: {error}. It may be whole: "
                    "make it readable, and give the same command again."
                ) from error
            if fault is None:
                return path
            self._damaged.append(path)
            _LOG.warning("The snapshot %s is damaged (%s); passed over.", path, fault)
        if paths:
            raise CheckpointError(
                f"All {len(paths)} snapshots in {self._folder} are damaged. Put back a "
                "copy, or start anew with --overwrite."
            )
        return None

    def move_aside(self) -> None:
        """Renames the snapshots that `latest` has passed over to `damaged-*`."""
        for path in self._damaged:
            aside = path.with_name(f"damaged-{path.name}")
            number = 1
            while aside.exists():
                number += 1
                aside = path.with_name(f"damaged-{path.name}-{number}")
            os.replace(path, aside)
            _LOG.warning("The damaged snapshot %s is now named %s.", path, aside.name)
        self._damaged = []

    def states(self) -> list[Mapping[str, Any]]:
        """Returns what `state.json` of each snapshot holds, but of cut ones.

        Raises:
          CheckpointError: If one cannot be read that may be whole.
        """
        paths = self.paths()
        known, self._states = self._states, {}
        for path in paths:
            try:
                self._states[path] = known.get(path) or load_state(path)
            except CheckpointError as error:
                if isinstance(error.__cause__, PermissionError):
                    raise
        return list(self._states.values())

    def _path(self, step: int) -> pathlib.Path:
        return self._folder / f"{_PREFIX}{step:012d}"


def step_of(path: pathlib.Path) -> int:
    """Returns the step that a snapshot is named after."""
    return int(path.name.removeprefix(_PREFIX))


def find_fault(path: pathlib.Path) -> str | None:
    """Returns what is wrong with a snapshot's files, None if they are whole."""
    try:
        return _find_damage(path)
    except OSError as error:
        return str(error)


def _find_damage(path: pathlib.Path) -> str | None:
    """As `find_fault`; OSError where that cannot be told, as a file cannot be read."""
    try:
        sums = json.loads((path / _CHECKSUMS).read_text())
        for name, expected in sums.items():
            if _checksum(path / name) != expected:
                return f"{name} has another checksum"
    except (FileNotFoundError, NotADirectoryError, ValueError, AttributeError) as error:
        return str(error)
    return None


def load_state(path: pathlib.Path) -> dict[str, Any]:
    """Returns what `state.json` of a snapshot holds."""
    try:
        return json.loads((path / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"The snapshot {path} cannot be read: {error}. "
            "Delete its folder to go on from the one before."
        ) from error


@contextlib.contextmanager
def fitting(path: pathlib.Path) -> Iterator[None]:
    """Turns what restoring stumbles over into an error that names the snapshot.

    Raises:
      CheckpointError: If an entry is missing, or is not what it should be.
    """
    try:
        yield
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"The entries of {path / 'state.json'} are not those of a snapshot: "
            f"{type(error).__name__}: {error}. Delete that snapshot's folder to go on "
            "from the one before."
        ) from error


def load_tensors(path: pathlib.Path) -> dict[str, Any]:
    """Returns the arrays of a snapshot by name."""
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(path / "tensors"))
        names = reader.get_variable_to_shape_map()
        return {name: reader.get_tensor(name) for name in names}
    except (tf.errors.OpError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"The snapshot {path} cannot be read: {error}. "
            "Delete its folder to go on from the one before."
        ) from error


def assign(variables: Mapping[str, tf.Variable], arrays: Mapping[str, Any]) -> None:
    """Sets variables to the arrays of the same names.

    What does no harm where it is missing, or not used, is told as a warning; see
    `weights.compare`.

    Raises:
      CheckpointError: If networks differ; the message names their weights.
    """
    found = weights.compare(
        {name: tuple(variable.shape) for name, variable in variables.items()},
        {name: np.shape(array) for name, array in arrays.items()},
    )
    if found.faults:
        raise CheckpointError(
            f"The snapshot is of another agent: {'; '.join(found.faults)}. Keep sizes, "
            "layers and heads as its run's config.yaml has them, and observations and "
            "actions of the environment as they were; or train anew."
        )
    for note in found.notes:
        _LOG.warning("A snapshot of another version, which does no harm: %s.", note)
    for name in set(variables) & set(arrays):
        variables[name].assign(arrays[name])


def split_tensors(arrays: Mapping[str, np.ndarray]) -> Tensors:
    """Sorts the arrays of a snapshot by whom they belong to."""
    carry = {k: v for k, v in arrays.items() if k.startswith(CARRY)}
    policy = {k: v for k, v in arrays.items() if k.startswith(POLICY)}
    agent = {k: v for k, v in arrays.items() if k not in {*carry, *policy}}
    return Tensors(agent, carry, policy)


def name_policy_state(
    state: tuple[Mapping[str, tf.Tensor], tf.Tensor] | None,
) -> dict[str, tf.Tensor]:
    """Returns the tensors of a policy's state by name; empty before its first step."""
    if state is None:
        return {}
    latent, action = state
    named = {f"{POLICY}{key}": value for key, value in latent.items()}
    return {**named, f"{POLICY}action": action}


def policy_state(
    named: Mapping[str, np.ndarray],
) -> tuple[dict[str, tf.Tensor], tf.Tensor] | None:
    """The inverse of `name_policy_state`."""
    import tensorflow as tf

    latent = {k.removeprefix(POLICY): tf.constant(v) for k, v in named.items()}
    action = latent.pop("action", None)
    return None if action is None else (latent, action)


def _write_tensors(prefix: pathlib.Path, tensors: Mapping[str, tf.Tensor]) -> None:
    import tensorflow as tf

    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.convert_to_tensor(tensors[name]) for name in names],
    )


def _remove(path: pathlib.Path) -> None:
    """Deletes a snapshot, which is none any more before its first file goes."""
    partial = path.with_name(path.name + _PARTIAL)
    with contextlib.suppress(OSError):
        os.replace(path, partial)
        shutil.rmtree(partial)


def _checksum(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _flush(path: pathlib.Path) -> None:
    """Makes sure that a file or folder has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
