"""Folders of reference numbers, and the agent that such a folder describes."""

from __future__ import annotations

import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common import config as config_lib
from common import specs
from dreamerv2 import settings as settings_lib
from dreamerv2.algorithm import agent as agent_lib

_FLAGS = ("is_first", "is_last", "is_terminal")


class Case(NamedTuple):
    """One folder of reference numbers."""

    config: config_lib.Config
    weights: dict[str, np.ndarray]
    batch: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


def load_case(folder: str | os.PathLike, **overrides: Any) -> Case:
    """Reads a folder of reference numbers.

    Args:
      folder: Folder with the three files, `config.yaml` beside it.
      **overrides: Configuration keys to set on top.

    Raises:
      FileNotFoundError: If a file is missing.
      ValueError: If the configuration does not name the folder or a file is damaged.
    """
    folder = pathlib.Path(folder).resolve()
    path = folder.parent / "config.yaml"
    for needed in (path, *(folder / f"{n}.npz" for n in Case._fields[1:])):
        if not needed.is_file():
            raise FileNotFoundError(
                f"{needed} is missing; a folder of reference numbers has weights.npz, "
                "batch.npz and expected.npz, and config.yaml beside it."
            )
    settings = config_lib.load(path)
    if folder.name not in settings:
        raise ValueError(
            f"{path} has no block {folder.name!r}; it has {sorted(settings)}."
        )
    config = settings_lib.defaults.update(
        settings.get("all", {}),
        settings[folder.name],
        {"eval_state_mean": True},  # the policy takes the modes as well
        overrides,
    )
    arrays = [_load_arrays(folder / f"{name}.npz") for name in Case._fields[1:]]
    return Case(config, *arrays)


def build_agent(case: Case) -> agent_lib.Agent:
    """Builds the agent of a case with the case's weights."""
    observations = {
        key: specs.ArraySpec(value.shape[2:], value.dtype)
        for key, value in case.batch.items()
        if key not in ("action", "reward", *_FLAGS)
    }
    action = case.batch["action"]
    onehot = np.isin(action, (0, 1)).all() and (action.sum(-1) <= 1).all()
    act_spec = specs.ActionSpec(action.shape[-1], bool(onehot))
    agent = agent_lib.Agent(case.config, observations, act_spec)
    weights = agent.named_weights()
    for name, value in gather_ensemble(case.weights).items():
        if name not in weights:
            raise ValueError(f"weights.npz has {name!r}, which the agent has not.")
        weights[name].assign(value)
    return agent


def gather_ensemble(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stacks `expl/ensemble{i}/...` of single networks into `expl/ensemble/...`."""
    prefix = "expl/ensemble"
    result = {k: v for k, v in weights.items() if not k.startswith(prefix)}
    members: dict[str, dict[int, np.ndarray]] = {}
    for name, value in weights.items():
        if name.startswith(prefix):
            index, _, rest = name[len(prefix) :].partition("/")
            members.setdefault(rest, {})[int(index)] = value
    for rest, values in members.items():
        result[f"{prefix}/{rest}"] = np.stack([values[i] for i in sorted(values)])
    return result


def scatter_ensemble(weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of `gather_ensemble`, with the values of the weights."""
    prefix = "expl/ensemble/"
    result = {}
    for name, value in weights.items():
        array = value.numpy()
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            for i, member in enumerate(array):
                result[f"expl/ensemble{i}/{rest}"] = member
        else:
            result[name] = array
    return result


def _load_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged: {error}. Copy it again.") from error
