"""Weights that were saved under names, and the variables that are to take them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

Shapes = Mapping[str, tuple[int, ...]]

_MOMENT = re.compile(r"(.*/)?(slot\d+|l2)/.+")  # of `optim.Optimizer`
_CONTAINERS = ("heads", "expl")  # what lies directly below is a part of its own


class Misfit(NamedTuple):
    """In what saved weights and variables differ.

    Attributes:
      faults: Sentences; the variables would not be what was saved.
      notes: Sentences about what begins anew, or is left out.
    """

    faults: list[str]
    notes: list[str]


def is_moment(name: str) -> bool:
    """Whether a name is that of a moment or an anchor of an optimiser."""
    return bool(_MOMENT.fullmatch(name))


def part(name: str) -> str:
    """Returns the network that a weight belongs to: `actor`, `heads/reward`."""
    first, *below = name.split("/")
    return "/".join([first, *below[:1]] if first in _CONTAINERS else [first])


def compare(variables: Shapes, saved: Shapes) -> Misfit:
    """Compares names and shapes.

    What is missing does no harm if it is a number (a counter, a running magnitude) or
    of an optimiser: that begins anew. What nobody takes does none either, unless it is
    of a network that the variables do have: then that network was another one.

    Args:
      variables: Shapes of the variables by name.
      saved: Shapes of what was saved by name.
    """
    lacking = [name for name in sorted(variables) if name not in saved]
    unused = [name for name in sorted(saved) if name not in variables]
    parts = {part(name) for name in variables if not _is_spare(name, variables)}
    needed = [name for name in lacking if not _is_spare(name, variables)]
    other = [n for n in unused if not _is_spare(n, saved) and part(n) in parts]
    changed = [
        f"{name} {saved[name]}, here {shape}"
        for name, shape in sorted(variables.items())
        if name in saved and tuple(saved[name]) != tuple(shape)
    ]
    faults = _sentences(
        ("it lacks", needed),
        ("the agent's networks have no", other),
        ("other shapes have", changed),
    )
    anew = [name for name in lacking if name not in needed]
    left = [name for name in unused if name not in other]
    notes = _sentences(("begins anew:", anew), ("is not used here:", left))
    return Misfit(faults, notes)


def _is_spare(name: str, shapes: Shapes) -> bool:
    return is_moment(name) or not len(shapes[name])


def _sentences(*groups: tuple[str, list[str]]) -> list[str]:
    return [f"{what} {_listed(names)}" for what, names in groups if names]


def _listed(names: list[str], most: int = 6) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
