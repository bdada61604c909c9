"""The format of metrics.jsonl: a JSON object a line, with the `step` that it is of.

Who writes or reads such a file asks here. A run that is killed leaves a last line that
is cut off, a bad disk leaves anything: to a reader such a line is None, not an error.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

WALL = "time_wall"  # seconds since the run began, in each line
_TAIL = 8192  # bytes, more than a line has


def encode(step: int, scalars: Mapping[str, int | float]) -> bytes:
    """Returns a record as a line, `step` first.

    Floats are rounded to float32 where that keeps them; those that are not finite
    become null.
    """
    numbers = {name: _number(value) for name, value in scalars.items()}
    return json.dumps({"step": step, **numbers}, allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """Returns the record of a line, None if the line is no JSON object."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def step_of(record: Mapping[str, Any] | None) -> float:
    """Returns the step of a record; infinity for None, or without a finite step."""
    try:
        step = float(record["step"])
    except (KeyError, TypeError, ValueError):
        return math.inf
    return step if math.isfinite(step) else math.inf


def read(path: str | os.PathLike) -> Iterator[dict[str, Any] | None]:
    """Yields the record of every line, None for a line that is no record.

    Raises:
      OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        yield from map(decode, file)


def newest_step(path: str | os.PathLike) -> int | None:
    """Returns the step of the last record, None if the end of the file has none.

    Only the end is read, also while the file is being written.

    Raises:
      OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        lines = file.read().splitlines()
    steps = (step_of(decode(line)) for line in reversed(lines))
    return next((int(step) for step in steps if step < math.inf), None)


def _number(value: int | float) -> int | float | None:
    """An int, a float rounded to float32 where that keeps it, or None."""
    if isinstance(value, int) or not math.isfinite(value):
        return value if isinstance(value, int) else None
    if value and not 1e-37 < abs(value) < 3e38:
        return value
    return float(str(np.float32(value)))
