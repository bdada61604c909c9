"""Measures what grows with the work: steps, runs, trials, tasks, environments.

    python -m benchmarks.growth
    python -m benchmarks.growth replay --sizes 1e5 1e6 1e7
    python -m benchmarks.growth runs plan --json growth.json
    python -m benchmarks.growth tasks envs shared

Each line of a table is a process of its own, the next one ten times or so the size of
the one before. Parts:

    replay   steps held, FIFO and uniform draws, recorded MiniGrid episodes repeated:
             memory, files, one batch of 16 x 50, adding 100 steps, opening it again
    runs     finished runs of five methods, copies of one short run on Catch: the report
             and the plot of all of them
    plan     trials of a sweep: what `--dry_run` takes
    tasks    tasks of a continual run with tiny networks on Catch: an evaluation of all
             tasks, the environment steps and updates between two, a snapshot
    envs     training environments that step together, MiniGrid with the networks of the
             quickstart, in the program and in processes of their own
    shared   runs at the same time on this machine, the quickstart: with its share of
             the cores each, as trials of a sweep have, and with all cores each

Memory is the most that a process and those below it held together, pages that they
share counted once.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import pathlib
from collections.abc import Iterator

from benchmarks.growth import parts
from benchmarks.turns import cases


def rows(part: parts.Part, sizes: tuple[int, ...]) -> Iterator[tuple[int, parts.Row]]:
    """Measures a part at each size, in a new process."""
    fresh = multiprocessing.get_context("spawn")  # memory of one is not another's
    for size in sizes:
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=fresh) as pool:
            yield size, pool.submit(part.measure, size).result()


def main() -> None:
    """Measures the parts that the flags name, and prints a table of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts.PARTS))
    text = "in place of the part's own; one PART only"
    parser.add_argument("--sizes", nargs="+", type=float, help=text)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    args = parser.parse_args()
    for name in args.parts:
        if name not in parts.PARTS:
            parser.error(
                f"there is no part {name!r}; there are {', '.join(parts.PARTS)}."
            )
    chosen = args.parts or list(parts.PARTS)
    if args.sizes and len(chosen) > 1:
        parser.error("--sizes needs one PART: their sizes count different things.")
    for size in args.sizes or ():
        if size < 1 or size % 1:
            parser.error(f"--sizes has {size:g}; a size is a whole number from 1 on.")
    print(cases.machine())
    result: dict = cases.circumstances()
    for name in chosen:
        part = parts.PARTS[name]
        sizes = tuple(map(int, args.sizes)) if args.sizes else part.sizes
        result[name] = {}
        for number, (size, found) in enumerate(rows(part, sizes)):
            if number == 0:
                print(f"\n{part.size:>13}  " + "  ".join(found))
            cells = [f"{parts.show(value):>{len(key)}}" for key, value in found.items()]
            print(f"{size:13,}  " + "  ".join(cells), flush=True)
            result[name][size] = found
            if args.json:  # what is measured stays if a later size fails
                args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
