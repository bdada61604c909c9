"""The weights that a run begins with: those of another run's snapshot.

Only weights are taken. What belongs to the course of a run begins anew: optimisers,
counters, running magnitudes, the replay, step 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from common import config as config_lib
from common.nets import weights
from common.records import files
from dreamerv2 import settings
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import build, checkpoint, rundir
from dreamerv2.run.sources import saved

T = TypeVar("T")

MODEL = ("encoder", "rssm", "heads")  # the world model's networks
# What may begin anew where the other run had none: nothing that acts reads it.
MAY_LACK = ("expl", "heads/reward", "heads/discount", "target_critic")
# Blocks of the configuration that networks are made from.
_SIZES = ("rssm", "encoder", "decoder", "actor", "critic")


class InitialError(ValueError):
    """A run cannot begin with what it was told to."""


class Initial(NamedTuple):
    """What a run begins with.

    Attributes:
      parts: `all`, or `model` alone.
      config: Of the other run.
      snapshot: What it has saved.
    """

    parts: str
    config: config_lib.Config
    snapshot: saved.Saved


def pinned(config: config_lib.Config) -> config_lib.Config:
    """Returns the configuration with the step that `init_from` means.

    Without one it is the newest snapshot when the run is begun. A run that was begun
    before keeps the step that its folder notes: stopped before its first snapshot, it
    begins with the same weights again, whatever the other has learned since.

    Raises:
      InitialError, CheckpointError: As `read`.
    """
    logdir, step = settings.split_source(config.init_from)
    if step or not config.init_from:
        return config
    path = rundir.path_of(config) / files.CONFIG
    if path.is_file() and not config.overwrite:
        noted = settings.complete(config_lib.Config.read(path)).init_from
        if settings.split_source(noted)[0] == logdir:
            return config.update(init_from=noted)
    newest = read(config).snapshot.path
    return config.update(init_from=f"{logdir}:{checkpoint.step_of(newest)}")


def read(config: config_lib.Config) -> Initial | None:
    """Returns what `init_from` names, None if it is empty; nothing is changed there.

    Raises:
      InitialError: If there is no such run or snapshot, or it is the run itself.
      CheckpointError: If the snapshot is damaged.
    """
    if not config.init_from:
        return None
    logdir, step = settings.split_source(config.init_from)
    folder = saved.folder_of(logdir)
    if folder == rundir.path_of(config):
        raise InitialError(
            f"init_from is {config.init_from}, the logdir of this run itself. To go on "
            "with it leave --init_from out; to begin another run choose another "
            "--logdir or --tag."
        )
    try:
        theirs = saved.read_config(folder)
        found = saved.read(folder, theirs, step or saved.NEWEST)
    except ValueError as error:
        raise InitialError(f"init_from is {config.init_from}: {error}") from error
    return Initial(config.init_from_parts, theirs, found)


def give(initial: Initial, agent: agent_lib.Agent, config: config_lib.Config) -> None:
    """Sets an agent's weights, and prints which of them begin anew all the same.

    Args:
      initial: What to begin with.
      agent: A new one.
      config: Of its run.

    Raises:
      InitialError: If its networks are others, or what it observes and does; the
        message names the weights, and settings that differ.
    """
    path = initial.snapshot.path
    if initial.snapshot.spaces is not None:
        build.check_specs(
            "to begin with",
            agent,
            initial.snapshot.spaces,
            f"the run of {path}",
            "Weights hold for the same observations and actions only: choose another "
            "--init_from, or wrap the environment so that it has those.",
        )
    arrays = _chosen(checkpoint.split_tensors(initial.snapshot.tensors).agent, initial)
    variables = _chosen(agent.named_weights(), initial)
    theirs, ours = (set(map(weights.part, names)) for names in (arrays, variables))
    anew = {part for part in ours - theirs if part.startswith(MAY_LACK)}
    taken = {k: v for k, v in variables.items() if weights.part(k) not in anew}
    misfit = weights.compare(
        {name: tuple(variable.shape) for name, variable in taken.items()},
        {name: array.shape for name, array in arrays.items()},
    )
    if misfit.faults:
        raise InitialError(_describe(misfit.faults, initial, config))
    for name, variable in taken.items():
        variable.assign(arrays[name])
    agent.publish()
    print(f"Begins with the weights of {path} ({initial.parts}).")
    for what, parts in (("begin anew", anew), ("are not used here", theirs - ours)):
        if parts:
            print(f"Of its networks these {what}: {', '.join(sorted(parts))}.")


def _chosen(named: Mapping[str, T], initial: Initial) -> dict[str, T]:
    """Those of the weights that a run is to begin with."""
    return {
        name: value
        for name, value in named.items()
        if len(value.shape)  # a number counts or measures the course of a run
        and not weights.is_moment(name)
        and (initial.parts == "all" or name.split("/")[0] in MODEL)
    }


def _describe(faults: list[str], initial: Initial, config: config_lib.Config) -> str:
    """What does not fit, which settings it comes from, and the way out."""
    differing = [
        f"  {key}: {there!r} there, {here!r} here"
        for key, there, here in config_lib.differences(initial.config, config)
        if _is_size(key)
    ]
    lines = "\n".join(["", *differing, ""]) if differing else " "
    model = ", or begin with its world model alone (--init_from_parts model)"
    return (
        f"The weights of {initial.snapshot.path} (init_from) do not fit the networks "
        f"of this run: {'; '.join(faults)}.{lines}Give this run the sizes, layers and "
        f"heads of that one{model if initial.parts == 'all' else ''}."
    )


def _is_size(key: str) -> bool:
    first = key.split(".")[0]
    return first in _SIZES or first.endswith("_head") or first == "expl_behavior"
