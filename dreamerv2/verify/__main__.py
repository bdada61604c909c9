"""Checks this machine's numbers against reference numbers.

    python -m dreamerv2.verify tests/golden/discrete tests/golden/p2e

A folder holds `weights.npz`, `batch.npz` and `expected.npz`; the sizes stand in
`config.yaml` of its parent folder, under `all` and under the folder's own name. All
sampling is replaced by the mode, so every entry of `expected.npz` is deterministic.
Use it for a new GPU, TensorFlow version, or precision (`--precision 16`, with a
tolerance to match: `--scale 1000`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from common.compute import devices, loading
from dreamerv2.verify import case as case_lib
from dreamerv2.verify import entries

TOLERANCE = 1e-4  # relative error of outputs
TOLERANCE_GRADIENT = 1e-3  # of gradients and of weights after an update
_GRADIENT_NAMES = ("/grad/", "train_step/weights/")


class Row(NamedTuple):
    """The comparison of one entry."""

    name: str
    error: float
    passed: bool


def main(argv: list[str] | None = None) -> int:
    """Prints a table for each folder; returns 1 if an entry fails, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m dreamerv2.verify", description=__doc__.split("\n")[0]
    )
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--precision", default="32", choices=devices.PRECISIONS)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on the tolerances"
    )
    parser.add_argument("--jit_compile", action="store_true", help="let XLA compile")
    args = parser.parse_args(argv)
    print(devices.setup())
    failures = 0
    for folder in args.folders:
        try:
            case = case_lib.load_case(
                folder, precision=args.precision, jit_compile=args.jit_compile
            )
        except (OSError, ValueError) as error:
            print(f"dreamerv2.verify: {error}", file=sys.stderr)
            return 2
        rows = compare(case.expected, entries.compute(case), args.scale)
        failures += sum(not row.passed for row in rows)
        _print_table(folder, rows)
    print(f"{'FAILED' if failures else 'OK'}: {failures} entries out of tolerance.")
    return 1 if failures else 0


def compare(
    expected: Mapping[str, np.ndarray],
    computed: Mapping[str, np.ndarray],
    scale: float = 1.0,
) -> list[Row]:
    """Compares every expected entry: ||out - ref|| / ||ref|| against its tolerance.

    Args:
      expected: Reference arrays.
      computed: Arrays of this implementation.
      scale: Factor on the tolerances.
    """
    rows = []
    for name, reference in expected.items():
        limit = TOLERANCE
        if any(part in name for part in _GRADIENT_NAMES):
            limit = TOLERANCE_GRADIENT
        error = relative_error(computed.get(name), reference)
        rows.append(Row(name, error, bool(error <= limit * scale)))
    return rows


def relative_error(value: np.ndarray | None, reference: np.ndarray) -> float:
    """Returns ||value - reference|| / ||reference||, infinite if not comparable."""
    if value is None or value.shape != reference.shape:
        return float("inf")
    reference = reference.astype(np.float64)
    difference = np.linalg.norm((value.astype(np.float64) - reference).ravel())
    norm = np.linalg.norm(reference.ravel())
    error = difference / norm if norm else difference
    return float(error) if np.isfinite(error) else float("inf")


def _print_table(folder: str, rows: list[Row]) -> None:
    width = max(len(row.name) for row in rows)
    print(f"\n{folder}")
    print(f"  {'entry':<{width}}  {'largest relative error':>22}  verdict")
    for row in rows:
        verdict = "ok" if row.passed else "FAILED"
        print(f"  {row.name:<{width}}  {row.error:>22.2e}  {verdict}")


if __name__ == "__main__":
    loading.prepare_script()
    sys.exit(main())
