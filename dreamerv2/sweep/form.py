"""The form of a sweep file, checked key by key.

script: train_minigrid.py     # or dreamerv2, or a path of what has parse_flags(argv)
                              # and make_tasks(config)
logdir: ~/logdir/my_sweep     # a trial is the run logdir/METHOD_sSEED
flags: --cl --num_tasks=3     # of every trial
methods:                      # name -> its further flags
  fifo: ""
  reservoir: --reservoir_sampling
seeds: 0-4                    # or a list, [0, 1, 2]
references: {methods: [fifo], seeds: 0-4}    # each of their tasks alone
resources: {cpus: 1, gpus: 0.25, memory: 4}  # of a trial; memory in GiB, 0 = any
retries: 3                    # after failures in a row that bring no new snapshot
"""

from __future__ import annotations

import os
import pathlib
import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from common import config as config_lib
from common.config import coerce

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_RANGE = re.compile(r"(\d+)-(\d+)")


class SweepError(ValueError):
    """A sweep file that cannot be run as it is."""


class Resources(NamedTuple):
    """What one trial holds while it runs."""

    cpus: float = 1.0
    gpus: float = 0.0  # below 1: the share of one
    memory: float = 0.0  # GiB, 0 = not counted


class References(NamedTuple):
    """Methods whose tasks are trained on alone as well."""

    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()


class Form(NamedTuple):
    """What a sweep file says; the flags are not yet looked into."""

    script: str
    logdir: str
    methods: dict[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    flags: tuple[str, ...] = ()
    references: References = References()
    resources: Resources = Resources()
    retries: int = 3


def read(path: str | os.PathLike) -> Form:
    """Reads a sweep file.

    Raises:
      SweepError: If a key is unknown or missing, or a value not valid.
      ConfigError: If the file cannot be read or is not YAML, which it is not with two
        methods of one name.
    """
    content = config_lib.load(path)
    _check_keys("", content, Form._fields)
    for key in ("script", "logdir", "methods", "seeds"):
        if content.get(key) in (None, "", [], {}):
            raise SweepError(
                f"{pathlib.Path(path).name}: {key} is missing. Look into a file of "
                "sweeps/ for the form."
            )
    methods = _methods(content["methods"])
    seeds = _seeds("seeds", content["seeds"])
    return Form(
        script=str(content["script"]),
        logdir=str(content["logdir"]),
        methods=methods,
        seeds=seeds,
        flags=_words("flags", content.get("flags")),
        references=_references(content.get("references"), methods, seeds),
        resources=_resources(content.get("resources") or {}),
        retries=_retries(content.get("retries", Form._field_defaults["retries"])),
    )


def _check_keys(where: str, given: object, known: tuple[str, ...]) -> None:
    if not isinstance(given, Mapping):
        raise SweepError(f"{where} = {given!r}: give a mapping of {', '.join(known)}.")
    for key in given:
        if key not in known:
            near = coerce.nearest(str(key), known)
            hint = f"Did you mean {near[0]}?" if near else ""
            raise SweepError(
                f"{where}{': ' if where else ''}unknown key {key!r}; there are "
                f"{', '.join(known)}. {hint}".rstrip()
            )


def _methods(given: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(given, Mapping):
        raise SweepError(f"methods = {given!r}: map names to flags.")
    for name in given:
        if not _NAME.fullmatch(str(name)):
            raise SweepError(
                f"methods: {name!r} becomes part of a folder's name; it may have "
                "letters, digits and _ . + - only."
            )
    return {str(n): _words(f"methods.{n}", flags) for n, flags in given.items()}


def _words(key: str, given: object) -> tuple[str, ...]:
    """Flags as a line, or as a list of words."""
    if isinstance(given, list):
        return tuple(str(word) for word in given)
    if not isinstance(given, str | None):
        raise SweepError(f"{key} = {given!r}: give flags, such as --cl --num_tasks=3.")
    try:
        return tuple(shlex.split(given or ""))
    except ValueError as error:  # a quote that is not closed
        raise SweepError(f"{key} = {given!r}: {error}.") from error


def _seeds(key: str, given: object) -> tuple[int, ...]:
    if isinstance(given, str) and (match := _RANGE.fullmatch(given.strip())):
        first, last = map(int, match.groups())
        given = list(range(first, last + 1))
    seeds = given if isinstance(given, list) else [given]
    whole = all(type(seed) is int and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise SweepError(
            f"{key} = {given!r}: give different whole numbers, 0 or more, as 0-4 or "
            "[0, 1, 2]."
        )
    return tuple(seeds)


def _references(
    given: object, methods: Mapping[str, Any], seeds: tuple[int, ...]
) -> References:
    if not given:
        return References()
    _check_keys("references", given, References._fields)
    names = given.get("methods") or ()
    names = tuple(map(str, names if isinstance(names, list) else [names]))
    for name in names:
        if name not in methods:
            raise SweepError(
                f"references: there is no method {name!r}; choose from "
                f"{', '.join(methods)}."
            )
    return References(names, _seeds("references.seeds", given.get("seeds", [*seeds])))


def _resources(given: object) -> Resources:
    _check_keys("resources", given, Resources._fields)
    values = {k: coerce.convert(f"resources.{k}", 1.0, v) for k, v in given.items()}
    result = Resources(**values)
    whole = result.gpus <= 1 or result.gpus == int(result.gpus)
    if result.cpus <= 0 or result.gpus < 0 or result.memory < 0 or not whole:
        raise SweepError(
            f"resources = {dict(given)}: cpus are above 0, gpus a share of one or a "
            "whole number, memory 0 or more."
        )
    return result


def _retries(given: object) -> int:
    retries = coerce.convert("retries", Form._field_defaults["retries"], given)
    if retries < 0:
        raise SweepError(f"retries = {retries}: give 0 or more.")
    return retries
