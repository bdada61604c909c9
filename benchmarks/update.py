"""Measures the agent's update: start, tracing, first update, median, memory.

    python -m benchmarks.update --size small full --plan2explore
    python -m benchmarks.update --actions continuous --json out.json
    python -m benchmarks.update --vary precision=bfloat16 jit_compile=True
    python -m benchmarks.update --against benchmarks/adapters/original.py \
        --python ~/venv/original/bin/python
    python -m benchmarks.update --against benchmarks/adapters/ours.py --path ../old

A batch is 16 x 50 frames of 64x64x3 and seven actions, the horizon 15. `full` has the
defaults of configs.yaml; `small` has deter and hidden 200, CNN depth 16 and heads of
2 x 200. Each column of a table is a process of its own; they are started one after the
other and then take one update each, round by round (benchmarks/turns/inturn.py). Lines:

    weights, million               of all networks, Plan2Explore's included
    tracing, s                     building the graph of an update, nothing run
    first update, s                without the tracing, where that can be done apart
    start to end of it, s          from the start of the process
    second update, s               where an implementation may trace once more
    update, median s               of the rounds after those two
    update, least s                the quickest of them
    update, median CPU s           of all threads
    peak memory, GB                resident, of the process

and with `--limit` for our own, see benchmarks/turns/limit.py:

    operations, 10^9               of products and convolutions, one update
    a product's, 10^9/s            what the machine reaches in one large product
    share of that                  which an update reaches

Brackets hold the ratio to the first column: of updates the median over rounds.
`--against` takes any implementation for which there is an adapter;
benchmarks/turns/host.py says how to write one.
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
from typing import Any

from benchmarks.turns import cases, inturn
from benchmarks.turns import limit as limit_lib

MEDIAN, CPU = "update, median s", "update, median CPU s"


@dataclasses.dataclass
class Column:
    """A process and what was measured of it."""

    worker: inturn.Worker
    case: cases.Case
    start: dict[str, float | None]  # figures of the first two updates
    wall: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)
    memory: float = 0.0  # bytes
    limit: dict[str, float] = dataclasses.field(default_factory=dict)

    def update(self) -> None:
        """Takes and notes one update."""
        reply = self.worker.run()
        self.wall += reply["wall"]
        self.cpu.append(reply["cpu"])
        self.memory = reply["memory"]

    @property
    def figures(self) -> dict[str, float | None]:
        """The column of the table."""
        return {
            **self.start,
            MEDIAN: statistics.median(self.wall),
            "update, least s": min(self.wall),
            CPU: statistics.median(self.cpu),
            "peak memory, GB": self.memory / 1e9,
            **self.limit,
        }


def start(worker: inturn.Worker, case: cases.Case) -> Column:
    """Takes the first two updates of a process."""
    worker.make("update", case)
    tracing = worker.trace()
    first, since = worker.run(), worker.age
    second = worker.run()
    weights = first["info"].get("weights")
    figures = {
        "weights, million": weights and weights / 1e6,
        "tracing, s": tracing,
        "first update, s": first["wall"][0],
        "start to end of it, s": since,
        "second update, s": second["wall"][0],
    }
    return Column(worker, case, figures)


def measure(
    variants: list[cases.Variant], rounds: int, limit: bool = False
) -> dict[str, Column]:
    """Measures variants in turn; returns columns by name."""
    columns: dict[str, Column] = {}
    with contextlib.ExitStack() as stack:
        shares = limit_lib.Limit(stack)
        for variant in variants:
            worker = stack.enter_context(inturn.Worker(variant.source))
            name = worker.name + variant.suffix
            columns[name] = start(worker, variant.case)
            if limit and variant.source == inturn.Source():
                shares.add(name, variant.case)
        for turn, name in enumerate(inturn.rounds(rounds, list(columns))):
            if turn % len(columns) == 0:
                shares.update()
            columns[name].update()
        for name, column in columns.items():
            column.limit = shares.figures(name, statistics.median(column.wall))
    return columns


def ratios(columns: dict[str, Column]) -> dict[str, dict[str, float]]:
    """Returns the ratio of each figure to the first column's."""
    first = next(iter(columns.values()))
    found = {}
    for name, column in columns.items():
        found[name] = {
            figure: value / first.figures[figure]
            for figure, value in column.figures.items()
            if column is not first
            and value
            and first.figures.get(figure)
            and figure not in column.limit
        }
        if column is not first:
            found[name][MEDIAN] = inturn.ratio(column.wall, first.wall)
            found[name][CPU] = inturn.ratio(column.cpu, first.cpu)
    return found


def report(columns: dict[str, Column]) -> list[dict[str, Any]]:
    """Returns what `--json` writes of each column."""
    quotients = ratios(columns)
    return [
        {
            "name": name,
            "case": column.case,
            "versions": column.worker.versions,
            "figures": column.figures,
            "ratios": quotients[name],
            "wall": column.wall,
            "cpu": column.cpu,
        }
        for name, column in columns.items()
    ]


def main() -> None:
    """Prints one table for each size and kind of actions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("discrete", "continuous")
    parser.add_argument("--actions", nargs="+", choices=kinds, default=["discrete"])
    cases.add_flags(parser)
    parser.add_argument(
        "--limit", action="store_true", help="share of what is possible"
    )
    args = cases.parse(parser)
    print(cases.machine())
    results: list[dict[str, Any]] = []
    for size in args.size:
        for actions in args.actions:
            case = cases.make_case(size, actions == "discrete", args.settings)
            columns = measure(cases.variants(args, case), args.rounds, args.limit)
            figures = {name: column.figures for name, column in columns.items()}
            print(f"\n{size}, {actions} actions, {args.rounds} rounds in turn")
            print(inturn.table(figures, ratios(columns)), flush=True)
            results += report(columns)
    if args.json:
        content = {**cases.circumstances(), "columns": results}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
