"""Atomic snapshots: tensors in TensorFlow's format, everything else as JSON.

A snapshot is a folder `step-000000012345` with `tensors.*`, `state.json` and
`checksums.json`. It is written under another name, flushed to the disk, and renamed
when it is complete. The checksums decide whether it is whole; if the newest one is
damaged, the one before is taken.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.nets import weights

if TYPE_CHECKING:  # Which snapshots are whole can be told without TensorFlow.
    import tensorflow as tf

_LOG = logging.getLogger(__name__)

_PREFIX = "step-"
_PARTIAL = ".partial"
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
            shutil.rmtree(partial, ignore_errors=True)
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
        for old in self.paths()[: -self._keep]:
            if old not in self._always:
                shutil.rmtree(old, ignore_errors=True)
        return target

    def paths(self) -> list[pathlib.Path]:
        """Returns the complete snapshots, oldest first."""
        if not self._folder.is_dir():
            return []
        names = self._folder.glob(f"{_PREFIX}*")
        return sorted(path for path in names if path.suffix != _PARTIAL)

    def latest(self) -> pathlib.Path | None:
        """Returns the newest snapshot that is whole, None if there is none at all.

        A damaged one is moved aside, with a warning that names what is wrong.

        Raises:
          CheckpointError: If there are snapshots, but all are damaged.
        """
        paths = self.paths()
        for path in reversed(paths):
            fault = find_fault(path)
            if fault is None:
                return path
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)
            _LOG.warning(
                "The snapshot %s is damaged (%s); now named %s, it is passed over.",
                path,
                fault,
                aside.name,
            )
        if paths:
            raise CheckpointError(
                f"All {len(paths)} snapshots in {self._folder} are damaged and moved "
                "aside. Put back a copy, or start anew with --overwrite."
            )
        return None

    def _path(self, step: int) -> pathlib.Path:
        return self._folder / f"{_PREFIX}{step:012d}"


def step_of(path: pathlib.Path) -> int:
    """Returns the step that a snapshot is named after."""
    return int(path.name.removeprefix(_PREFIX))


def find_fault(path: pathlib.Path) -> str | None:
    """Returns what is wrong with a snapshot's files, None if they are whole."""
    try:
        sums = json.loads((path / _CHECKSUMS).read_text())
        for name, expected in sums.items():
            if _checksum(path / name) != expected:
                return f"{name} has another checksum"
    except (OSError, ValueError, AttributeError) as error:
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
            "layers and heads as its run's config.yaml has them, or train anew."
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
