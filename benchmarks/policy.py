"""Measures one step of the policy: of 1, 4 and 16 environments, in training and not.

    python -m benchmarks.policy --size small full
    python -m benchmarks.policy --batch 1 --plan2explore --json out.json
    python -m benchmarks.policy --against benchmarks/adapters/ours.py --path ../old

A step encodes an image of 64x64x3 for each environment, updates the latent state and
chooses one of seven actions; `explore` is a step of collecting, `evaluate` one of
evaluation. Every implementation is a process of its own, they take turns of 50 steps in
each round (benchmarks/turns/inturn.py), each batch and mode in turn too. Columns: the
median and least milliseconds of a step, those of CPU of all threads, and the median's
ratio to the least batch and to the first implementation, over rounds.
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
from typing import Any

from benchmarks.turns import cases, inturn

STEPS = 50  # of each turn
MODES = ("explore", "evaluate")
HEADER = f"{'':34}{'median ms':>10}{'least ms':>10}{'CPU ms':>10}{'/ batch':>10}"
HEADER += f"{'/ first':>10}"


@dataclasses.dataclass
class Line:
    """A policy and what was measured of it."""

    worker: inturn.Worker
    case: cases.Case
    key: str
    steps: list[float] = dataclasses.field(default_factory=list)  # seconds
    medians: list[float] = dataclasses.field(default_factory=list)  # of each turn
    cpu: list[float] = dataclasses.field(default_factory=list)  # seconds a step

    def turn(self) -> None:
        """Takes and notes some steps."""
        reply = self.worker.run(STEPS, self.key)
        self.steps += reply["wall"]
        self.medians.append(statistics.median(reply["wall"]))
        self.cpu.append(reply["cpu"] / STEPS)

    def figures(self, batch: "Line", first: "Line") -> dict[str, float]:
        """Milliseconds, and ratios to two other lines."""
        return {
            "median ms": 1e3 * statistics.median(self.steps),
            "least ms": 1e3 * min(self.steps),
            "CPU ms": 1e3 * statistics.median(self.cpu),
            "/ batch": inturn.ratio(self.medians, batch.medians),
            "/ first": inturn.ratio(self.medians, first.medians),
        }


def measure(
    variants: list[cases.Variant], batches: list[int], rounds: int
) -> dict[str, dict[str, Line]]:
    """Measures policies in turn.

    Returns:
      {implementation: {mode and batch: line}}.
    """
    lines: dict[str, dict[str, Line]] = {}
    with contextlib.ExitStack() as stack:
        for variant in variants:
            worker = stack.enter_context(inturn.Worker(variant.source))
            below = lines[worker.name + variant.suffix] = {}
            for mode in MODES:
                for rows in batches:
                    key = f"{mode}, batch {rows}"
                    more = {"rows": rows, "evaluate": mode == "evaluate"}
                    below[key] = Line(worker, variant.case | more, key)
                    worker.make("policy", below[key].case, key)
                    worker.run(3, key)  # traces
        for name in inturn.rounds(rounds, list(lines)):
            for line in lines[name].values():
                line.turn()
    return lines


def report(lines: dict[str, dict[str, Line]]) -> list[dict[str, Any]]:
    """Prints the table; returns what `--json` writes of each line."""
    results, first = [], next(iter(lines.values()))
    print(HEADER)
    for name, below in lines.items():
        for key, line in below.items():
            least = min(
                (
                    x
                    for x in below.values()
                    if x.case["evaluate"] == line.case["evaluate"]
                ),
                key=lambda x: x.case["rows"],
            )
            figures = line.figures(least, first[key])
            cells = "".join(f"{value:10.2f}" for value in figures.values())
            print(f"{f'{name}, {key}':34}{cells}")
            results.append(
                {
                    "name": name,
                    "case": line.case,
                    "versions": line.worker.versions,
                    "figures": figures,
                    "medians": line.medians,
                    "cpu": line.cpu,
                }
            )
    return results


def main() -> None:
    """Prints one table for each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 4, 16])
    cases.add_flags(parser)
    args = cases.parse(parser)
    print(cases.machine())
    results: list[dict[str, Any]] = []
    for size in args.size:
        case = cases.make_case(size, True, args.settings)
        lines = measure(cases.variants(args, case), args.batch, args.rounds)
        print(f"\n{size}, {args.rounds} rounds in turn, {STEPS} steps each")
        results += report(lines)
    if args.json:
        content = {**cases.circumstances(), "lines": results}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
