"""Trains this agent and the original one on one task, and compares their returns.

    python -m benchmarks.learning --logdir ~/logdir/learning --seeds 0-29 \
        --python ~/venv/original/bin/python --out results/learning
    python -m benchmarks.learning --logdir ~/logdir/short --seeds 0-2 \
        --case steps=2000 minlen=5 maxlen=16 --python ~/venv/original/bin/python

benchmarks/adapters/original.py says how to make that interpreter's environment. Each
run is a process of its own and leaves a small file in `--logdir`; one that is there is
not run again, so that the same command goes on where it was stopped. Seeds are gone
through in turn, each with all agents, so that these have equally many at any time;
`--report` reports on what is there.

`--case` names what all agents have in common: the task and its budget, the sizes, the
learning rate of all three optimisers, the windows that the replay cuts. Everything else
is what the author's package has by default; the report lists settings that differ.
`--also` adds agents, such as this one with a part exchanged: adapters with a function
`make_training(case)`, which our own interpreter runs.

What is compared was chosen beforehand: returns of training episodes, averaged over
bins of 500 steps by the step at which an episode ends, from the end of the prefill on;
the mean of a run over its bins; and the difference of agents in each. Intervals hold
95 % of the means of resampled runs.
"""

import argparse
import functools
import os
import pathlib
import re
import sys

from benchmarks.learning import report, runs
from benchmarks.turns import inturn


def parse_seeds(text: str) -> list[int]:
    """`0-2,7` -> [0, 1, 2, 7].

    Raises:
      ValueError: Anything else.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        if match is None:
            raise ValueError(f"--seeds is {text!r}; write numbers and ranges: 0-4,7.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"--seeds has {part!r}, which is empty; write 0-4.")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def sources(args: argparse.Namespace) -> dict[str, inturn.Source]:
    """Returns the agents by name: ours, the original, and those added.

    Raises:
      ValueError: If an adapter is missing, or two agents have one name.
    """
    original = inturn.Source(inturn.ADAPTERS / "original.py", args.python, None)
    found = {"ours": inturn.Source(), "original": original}
    for file in args.also:
        if not file.is_file():
            raise ValueError(f"--also: there is no file {file}.")
        if file.stem in found:
            raise ValueError(f"--also: {file.stem} is there already; rename the file.")
        found[file.stem] = inturn.Source(file.resolve())
    return found


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parses and checks the flags; `seeds`, `case` and `sources` are what they mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    path = pathlib.Path
    parser.add_argument("--logdir", type=path, required=True, help="of the runs")
    parser.add_argument("--out", type=path, help="of the report; default: --logdir")
    parser.add_argument("--seeds", default="0-2", metavar="0-4,7")
    parser.add_argument("--python", default=sys.executable, help="of the original")
    parser.add_argument("--also", type=path, nargs="*", default=[], metavar="ADAPTER")
    parser.add_argument("--case", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, default=1, help="runs at the same time")
    parser.add_argument("--threads", type=int, default=1, help="of TensorFlow in a run")
    parser.add_argument("--minutes", type=float, default=60, help="bound of a run")
    parser.add_argument("--report", action="store_true", help="make no runs")
    args = parser.parse_args(argv)
    for key in ("workers", "threads", "minutes"):
        if getattr(args, key) <= 0:
            parser.error(f"--{key} is {getattr(args, key)}; give more than 0.")
    args.logdir = args.logdir.expanduser()
    args.out = (args.out or args.logdir).expanduser()
    try:
        args.seeds, args.case = parse_seeds(args.seeds), runs.parse_case(args.case)
        args.sources = sources(args)
        args.jobs = [runs.Job(a, seed) for seed in args.seeds for a in args.sources]
        runs.load(args.logdir, args.jobs, args.case)
    except ValueError as error:
        parser.error(str(error))
    return args


def main() -> None:
    """Makes the runs that are missing, and the report of all."""
    args = parse()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(args.threads)
    args.logdir.mkdir(parents=True, exist_ok=True)
    train = functools.partial(
        runs.run,
        sources=args.sources,
        case=args.case,
        logdir=args.logdir,
        minutes=args.minutes,
    )
    jobs = [] if args.report else args.jobs
    failed = runs.run_missing(jobs, train, args.logdir, args.workers)
    if records := runs.load(args.logdir, args.jobs, args.case):
        print(report.write(records, args.case, args.out))
    elif args.report:
        raise SystemExit(f"{args.logdir} has no runs yet; leave --report out.")
    if failed:
        names = ", ".join(job.name for job in failed)
        raise SystemExit(f"{len(failed)} runs failed: {names}. Try again.")


if __name__ == "__main__":
    main()
