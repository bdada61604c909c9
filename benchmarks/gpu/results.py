"""The file of results: cells that are done, and making those that are not."""

import contextlib
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.gpu import grid
from benchmarks.learning import runs
from benchmarks.turns import cases, inturn

MEASURE = "benchmarks.gpu.measure"
# Of tiny networks one asks whether XLA compiles them, not how fast the result is.
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
LINES = 20  # of what a process printed, shown if it fails
Result = dict[str, Any]


def describe(rehearse: bool, minutes: float) -> Result:
    """Returns the machine, its GPUs and TensorFlow's versions.

    Raises:
      SystemExit: TensorFlow cannot be loaded.
    """
    cell = grid.Cell("device", "device", dict(rehearse=rehearse, tiny=False))
    found = run(cell, minutes)
    if "error" in found:
        raise SystemExit(f"TensorFlow cannot tell its devices: {found['error']}")
    return {**found["figures"], "machine": cases.machine()}


def open_file(path: pathlib.Path, device: Result, *, tiny: bool, rehearse: bool) -> Any:
    """Returns what a file of results holds, or a new one without cells.

    Raises:
      ValueError: The file is none of ours, or was made on another device or with other
        switches.
    """
    new = {"device": device, "tiny": tiny, "rehearse": rehearse}
    if not path.exists():
        return {**new, "cells": {}}
    content = load(path)
    for key, value in new.items():
        if content[key] != value:
            raise ValueError(
                f"{path} was made with {key} {content[key]!r}, now it is {value!r}; "
                "give another --out."
            )
    return content


def load(path: pathlib.Path) -> Any:
    """Reads a file of results.

    Raises:
      ValueError: It is not there, or none of ours.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    wanted = {"device", "tiny", "rehearse", "cells"}
    if not isinstance(content, dict) or not wanted <= set(content):
        raise ValueError(
            f"{path} is no file of python -m benchmarks.gpu, which has "
            f"{', '.join(sorted(wanted))}; give another."
        )
    return content


def save(path: pathlib.Path, content: Any) -> None:
    """Writes a file of results, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def missing(cells: Sequence[grid.Cell], content: Any, again: bool) -> list[grid.Cell]:
    """Returns the cells that are not in a file.

    Args:
      cells: Those that there shall be.
      content: Of the file.
      again: Whether those that have failed count as missing.

    Raises:
      ValueError: A cell in the file has another case, such as another number of rounds.
    """
    found = []
    for cell in cells:
        done = content["cells"].get(cell.name)
        if done is None or again and "error" in done:
            found.append(cell)
        elif done["case"] != cell.case:
            differ = [
                key
                for key in sorted({*done["case"], *cell.case})
                if done["case"].get(key) != cell.case.get(key)
            ]
            raise ValueError(
                f"The file has {cell.name} with another {', '.join(differ)}; give "
                "another --out, or the same flags as then."
            )
    return found


def run(cell: grid.Cell, minutes: float) -> Result:
    """Measures a cell in a process of its own; returns its entry in the file.

    Whatever becomes of the process, an entry has `figures`, or in `error` the first
    line of what went wrong.

    Args:
      cell: What to measure.
      minutes: After so many the process and all below it are killed.
    """
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "cell.json"
        with (pathlib.Path(folder) / "log").open("w+") as log:
            error = _start(cell, path, log, minutes)
            if path.exists():
                error = json.loads(path.read_text())
            if "error" in error:
                log.seek(0)
                print("".join(log.readlines()[-LINES:]), file=sys.stderr)
    return {
        **{"kind": cell.kind, "case": cell.case, **error},
        **{"seconds": time.monotonic() - since, "commit": runs.commit()},
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
    }


def _start(cell: grid.Cell, path: pathlib.Path, log: Any, minutes: float) -> Result:
    """Lets a process measure a cell, and waits; returns how it ended as an `error`."""
    env = {**os.environ, **cell.environment, "PYTHONPATH": str(inturn.ROOT)}
    env.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if cell.case["rehearse"]:
        env["CUDA_VISIBLE_DEVICES"] = "-1"
    if cell.case["tiny"]:
        env.setdefault("XLA_FLAGS", QUICKLY)
    request = json.dumps({"kind": cell.kind, "case": cell.case})
    process = subprocess.Popen(
        [sys.executable, "-m", MEASURE, str(path)],
        env=env,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        text=True,
        start_new_session=True,  # so that all below it can be ended with it
    )
    try:
        process.communicate(request, timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        return {"error": f"killed after {minutes:g} minutes"}
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return {"error": f"the process ended with status {process.returncode}"}
