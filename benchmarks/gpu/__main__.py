"""Measures this program on a GPU, whole: numbers, speed, memory, hours.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --out gpu.json --only update/full --rounds 5
    python -m benchmarks.gpu --table gpu.json
    python -m benchmarks.gpu --rehearse --tiny --out /tmp/rehearsal.json

It needs a checkout with the extra `gpu` and nothing else; of suites that are not
installed the hours lack the environment. What is measured, one cell after the other,
each in a process of its own: reference numbers in each precision; a step of each
suite's environment; a step of the policy for 1, 4 and 16 environments; updates by
networks, precision, XLA and unrolled loops, with the seconds of the first one, the peak
memory and the share of time in which the GPU computes; updates that several GPUs share,
as many as there are; the loop on MiniGrid, with `collect_during_update` and without.

The file has a cell as soon as it is measured: the same command goes on where it was
stopped. A cell that fails (out of memory, nothing that XLA can compile, too long) has
its error, and the next one follows. At the end the tables are printed, with the hours
of the papers' runs.

`--rehearse` runs all of it on a CPU that builds the graphs of a GPU, and divides
itself into two where devices share an update: what would not run is found before there
is a GPU. `--tiny` makes networks and batches tiny and takes one kind for all.
"""

import argparse
import pathlib
import re
import sys

from benchmarks.gpu import grid, results, table

REHEARSED = 2  # devices into which a CPU is divided


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parses and checks the flags."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    parser.add_argument("--out", type=path, default=path("gpu.json"), metavar="FILE")
    parser.add_argument(
        "--table", type=path, metavar="FILE", help="print the tables of a file; no more"
    )
    parser.add_argument(
        "--only", default="", metavar="REGEX", help="cells in whose names this is found"
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the names of two GPUs' cells; no more",
    )
    parser.add_argument("--rounds", type=int, default=20, help="of each cell")
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="after which a cell is killed"
    )
    parser.add_argument(
        "--again", action="store_true", help="measure those that failed once more"
    )
    parser.add_argument(
        "--rehearse", action="store_true", help="a CPU plays the GPU: nothing is timed"
    )
    parser.add_argument("--tiny", action="store_true", help="tiny networks and batches")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"--rounds is {args.rounds}; give at least 1.")
    if not args.minutes > 0:
        parser.error(f"--minutes is {args.minutes:g}; give more than 0.")
    if not args.out.parent.is_dir():
        parser.error(f"--out: there is no folder {args.out.parent}; make it first.")
    try:
        args.only = re.compile(args.only)
    except re.error as error:
        parser.error(f"--only is {args.only!r}, no regular expression: {error}.")
    return args


def choose(args: argparse.Namespace, devices: int) -> list[grid.Cell]:
    """Returns the cells that flags ask for.

    Raises:
      ValueError: There are none.
    """
    made = grid.make(devices, tiny=args.tiny, rehearse=args.rehearse)
    cells = [
        cell._replace(case=cell.case | {"rounds": args.rounds})
        for cell in made
        if args.only.search(cell.name)
    ]
    if not cells:
        raise ValueError(
            f"--only {args.only.pattern!r} is in none of {len(made)} names; --list "
            "prints them."
        )
    return cells


def count_devices(device: results.Result, rehearse: bool) -> int:
    """Returns how many devices can share an update.

    Raises:
      ValueError: There is no GPU, and none is to be played.
    """
    if rehearse:
        return REHEARSED
    if not device["gpus"]:
        raise ValueError(
            "TensorFlow sees no GPU, so there is nothing to measure. Install the "
            "extra, pip install -e '.[gpu]', and see nvidia-smi (Docker: --gpus all). "
            "--rehearse lets this CPU play the GPU; of the CPU itself "
            "python -m benchmarks.update has figures."
        )
    return len(device["gpus"])


def measure(args: argparse.Namespace) -> None:
    """Measures what is missing, and writes it down cell by cell.

    Raises:
      ValueError: See `choose`, `count_devices` and `results.open_file`.
    """
    device = results.describe(args.rehearse, args.minutes)
    cells = choose(args, count_devices(device, args.rehearse))
    switches = dict(tiny=args.tiny, rehearse=args.rehearse)
    content = results.open_file(args.out, device, **switches)
    todo = results.missing(cells, content, args.again)
    for number, cell in enumerate(todo):
        print(f"{number + 1} of {len(todo)}: {cell.name} ", end="", flush=True)
        result = content["cells"][cell.name] = results.run(cell, args.minutes)
        results.save(args.out, content)
        print(f"{result['seconds']:.0f} s {result.get('error', '')}", flush=True)
    print(f"\n{table.render(content)}")


def main(argv: list[str] | None = None) -> int:
    """Measures, or prints tables.

    Returns:
      0; 2 if something cannot be done, 130 if Ctrl-C stopped it.
    """
    args = parse(argv)
    try:
        if args.table:
            print(table.render(results.load(args.table)), end="")
        elif args.list:
            print("\n".join(cell.name for cell in choose(args, REHEARSED)))
        else:
            measure(args)
    except ValueError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
