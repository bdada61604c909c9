"""Trains this agent and the original one on one task, and compares their returns.

    python -m benchmarks.learning --logdir ~/logdir/learning --seeds 0-29 \
        --python ~/venv/original/bin/python --out results/learning
    python -m benchmarks.learning --logdir ~/logdir/short --seeds 0-2 \
        --case steps=2000 minlen=5 maxlen=16 --python ~/venv/original/bin/python

benchmarks/adapters/original.py says how to make that interpreter's environment. Each
run is a process of its own and leaves a small file in `--logdir`; one that is there is
not run again, so that the same command goes on where it was stopped. Seeds are gone
through in turn, each with all agents, so that these have equally many at any time.

`--case` names what both have in common: the task and its budget, the sizes, the
learning rate of all three optimisers, the windows that the replay cuts. Everything else
is what the author's package has by default; the report lists settings that differ.

What is compared was chosen beforehand: returns of training episodes, averaged over
bins of 500 steps by the step at which an episode ends, from the end of the prefill on;
the mean of a run over its bins; and the difference of agents in each. Intervals hold
95 % of the means of resampled runs.
"""

import argparse
import concurrent.futures
import csv
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks import cases, inturn
from common.curves import intervals

WIDTH = 500  # steps of a bin
ALL = "all"  # the column of a run's mean over its bins
CASE: cases.Case = dict(
    task="minigrid_MiniGrid-Empty-5x5-v0",
    **dict(time_limit=100, steps=4000, prefill=500, train_every=5),
    **dict(deter=128, hidden=128, stoch=16, classes=16, cnn_depth=8),
    **dict(layers=2, units=128, batch=16, length=16, horizon=15, lr=3e-4),
    **dict(minlen=50, maxlen=50, action_size=7, discrete=True, plan2explore=False),
)
SEEDLESS = {"logdir", "seed"}  # settings that differ between any two runs
Returns = Sequence[tuple[int, float]]  # (step at which an episode ends, its return)


class Job(NamedTuple):
    """One run."""

    agent: str
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.agent}-{self.seed}"


def run(
    job: Job,
    source: inturn.Source,
    case: cases.Case,
    logdir: pathlib.Path,
    minutes: float,
) -> str:
    """Trains one agent once, and writes its file; returns what went wrong, or "".

    Args:
      job: Which agent, with which seed.
      source: The adapter of the agent.
      case: What it is trained on.
      logdir: Where the file goes.
      minutes: After so many the process is killed.
    """
    folder, since = logdir / "under_way" / job.name, time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    given = {"seed": job.seed, "settings": {}, "folder": str(folder)}
    given |= {"python": sys.executable, "root": str(inturn.ROOT)}
    try:
        with inturn.Worker(source) as worker:
            kill = functools.partial(os.kill, worker.pid, signal.SIGKILL)
            timer = threading.Timer(60 * minutes, kill)
            timer.start()
            try:
                worker.make("training", {**case, **given})
                info = worker.run()["info"]
            finally:
                timer.cancel()
    except SystemExit as error:
        late = time.monotonic() - since >= 60 * minutes
        return f"stopped after {minutes:g} minutes" if late else str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record = {
        **{"agent": job.agent, "seed": job.seed, "case": case},
        **{"returns": info["returns"], "settings": info["settings"]},
        **{"versions": worker.versions, "seconds": time.monotonic() - since},
        **{"commit": commit(), **cases.circumstances()},
    }
    partial = path_of(logdir, job).with_suffix(".partial")
    partial.write_text(json.dumps(record) + "\n")
    partial.replace(path_of(logdir, job))
    return ""


def path_of(logdir: pathlib.Path, job: Job) -> pathlib.Path:
    """The file of a run that is done."""
    return logdir / f"{job.name}.json"


def load(logdir: pathlib.Path, jobs: Sequence[Job], case: cases.Case) -> dict[Job, Any]:
    """Returns the records of those runs that are done.

    Raises:
      ValueError: If one was made with another case.
    """
    found = {}
    for job in jobs:
        path = path_of(logdir, job)
        if not path.exists():
            continue
        record = json.loads(path.read_text())
        for key in sorted({*record["case"], *case}):
            old, new = record["case"].get(key), case.get(key)
            if old != new:
                raise ValueError(
                    f"{path} was made with {key} {old!r}, now it is {new!r}; give "
                    "another --logdir, or the same --case."
                )
        found[job] = record
    return found


def run_missing(
    jobs: Sequence[Job],
    train: Callable[[Job], str],
    logdir: pathlib.Path,
    workers: int,
) -> dict[Job, str]:
    """Makes the runs that have no file, in their order; returns what went wrong."""
    missing = [job for job in jobs if not path_of(logdir, job).exists()]
    failed = {}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for job, error in zip(missing, pool.map(train, missing), strict=True):
            print(f"{job.name}: {error or 'done'}", flush=True)
            if error:
                failed[job] = error
    return failed


# What is compared.


def ends_of(case: cases.Case) -> list[int]:
    """Returns the last step of each bin."""
    return [*range(case["prefill"] + WIDTH, case["steps"], WIDTH), case["steps"]]


def binned(returns: Returns, case: cases.Case) -> np.ndarray:
    """Returns the mean return [bins] of the episodes that end in each bin.

    A bin has the steps behind the end of the bin before up to its own, included; nan
    where no episode ends.
    """
    steps, values = np.array(returns, float).reshape(-1, 2).T
    means, start = [], case["prefill"]
    for end in ends_of(case):
        inside = values[(start < steps) & (steps <= end)]
        means.append(inside.mean() if len(inside) else np.nan)
        start = end
    return np.array(means)


def columns(records: Mapping[Job, Any], case: cases.Case) -> dict[str, dict]:
    """Returns {agent: {seed: values [bins + 1]}}, the last one the mean over bins."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for job, record in records.items():
        means = binned(record["returns"], case)
        row = np.append(means, np.nanmean(means))
        found.setdefault(job.agent, {})[job.seed] = row
    return found


def mean(values: Sequence[float]) -> intervals.Interval:
    """Returns the mean over runs with its interval; runs without a value are left out.

    Returns nan if none has one.
    """
    there = np.array(values)[np.isfinite(values)]
    if not len(there):
        return intervals.Interval(np.nan, np.nan, np.nan)
    rng = np.random.default_rng(0)
    return intervals.stratified_bootstrap(there, rng, np.mean)


def difference(mine: Sequence[float], other: Sequence[float]) -> intervals.Interval:
    """Returns mean(mine) - mean(other) with its interval, runs drawn independently.

    Args:
      mine: [N], of the seeds that both have.
      other: [N], of the same seeds.
    """
    pairs = np.stack([mine, other], 1)
    pairs = pairs[np.isfinite(pairs).all(1)]
    if not len(pairs):
        return intervals.Interval(np.nan, np.nan, np.nan)
    rng = np.random.default_rng(0)
    return intervals.stratified_bootstrap(
        pairs, rng, lambda drawn: drawn[:, 0].mean() - drawn[:, 1].mean()
    )


def compare(found: Mapping[str, Mapping[int, np.ndarray]]) -> dict[str, list]:
    """Returns the intervals [bins + 1] of each agent and of the differences.

    A difference is that of the first agent to another, of the seeds that both have.
    """
    rows = {
        agent: [mean(column) for column in np.array([*runs.values()]).T]
        for agent, runs in found.items()
    }
    first, *others = found
    for agent in others:
        both = sorted({*found[first]} & {*found[agent]})
        sides = [np.array([found[name][s] for s in both]) for name in (first, agent)]
        if both:
            pairs = zip(sides[0].T, sides[1].T, strict=True)
            rows[f"{first} - {agent}"] = [difference(*pair) for pair in pairs]
    return rows


def differing(records: Mapping[Job, Any]) -> list[str]:
    """Returns a line for each setting that agents share by name and not by value."""
    settings: dict[str, dict] = {}
    for job, record in records.items():
        settings.setdefault(job.agent, record["settings"])
    shared = set.intersection(*map(set, settings.values())) - SEEDLESS
    lines = []
    for key in sorted(shared):
        values = {agent: _plain(each[key]) for agent, each in settings.items()}
        if len({json.dumps(value) for value in values.values()}) > 1:
            text = ", ".join(f"{agent} {value!r}" for agent, value in values.items())
            lines.append(f"`{key}`: {text}")
    return lines


def _plain(value: Any) -> Any:
    """A number also if it is written in quotation marks."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


# The report.


def report(records: Mapping[Job, Any], case: cases.Case, out: pathlib.Path) -> str:
    """Writes runs.csv, report.md and curves.png; returns the text of the second."""
    out.mkdir(parents=True, exist_ok=True)
    found, names = columns(records, case), [*map(str, ends_of(case)), ALL]
    with (out / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["agent", "seed", *names, "seconds"])
        for job, record in sorted(records.items()):
            row = [f"{value:.4f}" for value in found[job.agent][job.seed]]
            seconds = f"{record['seconds']:.0f}"
            writer.writerow([job.agent, job.seed, *row, seconds])
    rows = compare(found)
    lines = ["| steps | " + " | ".join(rows) + " |", "|---" * (1 + len(rows)) + "|"]
    for k, name in enumerate(names):
        cells = (
            f"{r[k].point:.2f} [{r[k].low:.2f}, {r[k].high:.2f}]" for r in rows.values()
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    counts = ", ".join(f"{len(runs)} of {agent}" for agent, runs in found.items())
    lines += ["", f"Runs: {counts}. Settings that differ:", ""]
    lines += [f"- {line}" for line in differing(records)] or ["- none"]
    text = "\n".join(lines) + "\n"
    (out / "report.md").write_text(text)
    draw(rows, ends_of(case), out / "curves.png")
    return text


def draw(rows: Mapping[str, list], ends: Sequence[int], path: pathlib.Path) -> None:
    """Draws means of the bins on the left, differences on the right."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for k, (name, row) in enumerate(rows.items()):
        panel, (point, low, high) = axes[int(" - " in name)], np.array(row[:-1]).T
        panel.plot(ends, point, label=name, color=f"C{k}", marker="o", markersize=3)
        panel.fill_between(ends, low, high, color=f"C{k}", alpha=0.2, lw=0)
    axes[1].axhline(0, color="0.5", lw=0.8)
    for panel, title in zip(axes, ("return in training", "difference"), strict=True):
        panel.set(xlabel="steps at the end of a bin", title=title)
        panel.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def commit() -> str:
    """Returns the checkout's commit, `unknown` outside of one."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=inturn.ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


# Flags.


def parse_seeds(text: str) -> list[int]:
    """`0-2,7` -> [0, 1, 2, 7].

    Raises:
      ValueError: Anything else.
    """
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise ValueError(f"--seeds is {text!r}; write numbers and ranges: 0-4,7.")
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise ValueError(f"--seeds is {text!r}, an empty range; write 0-4.")
    return list(dict.fromkeys(found))


def parse_case(pairs: Sequence[str]) -> cases.Case:
    """Returns CASE with other values, each in the type of the present one.

    Raises:
      ValueError: An unknown key, a value of another type, or nothing after the prefill.
    """
    case = dict(CASE)
    for pair in pairs:
        key, _, value = pair.partition("=")
        kind = type(case.get(key))
        if kind not in (int, float, str):
            known = ", ".join(k for k, v in CASE.items() if not isinstance(v, bool))
            raise ValueError(f"--case: there is no {key!r}; choose from {known}.")
        try:
            case[key] = kind(value)
        except ValueError as error:
            text = f"--case: {key} is {value!r}; give a value like {CASE[key]!r}."
            raise ValueError(text) from error
    if case["steps"] <= case["prefill"]:
        raise ValueError(
            f"--case: steps is {case['steps']}, but the prefill alone takes "
            f"{case['prefill']}; give more."
        )
    return case


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = pathlib.Path
    parser.add_argument("--logdir", type=here, required=True, help="of the runs")
    parser.add_argument("--out", type=here, help="of the report; default: --logdir")
    parser.add_argument("--seeds", default="0-2", metavar="0-4,7")
    parser.add_argument("--python", default=sys.executable, help="of the original")
    parser.add_argument("--workers", type=int, default=1, help="runs at the same time")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--minutes", type=float, default=60, help="bound of a run")
    parser.add_argument("--case", nargs="*", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    for key in ("workers", "threads", "minutes"):
        if getattr(args, key) <= 0:
            parser.error(f"--{key} is {getattr(args, key)}; give more than 0.")
    try:
        args.seeds, args.case = parse_seeds(args.seeds), parse_case(args.case)
    except ValueError as error:
        parser.error(str(error))
    args.logdir = args.logdir.expanduser()
    args.out = (args.out or args.logdir).expanduser()
    return args


def main() -> None:
    """Makes the runs that are missing, and the report of all."""
    args = _parse()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(args.threads)
    original = inturn.Source(inturn.HERE / "adapters/original.py", args.python, None)
    sources = {"ours": inturn.Source(), "original": original}
    jobs = [Job(agent, seed) for seed in args.seeds for agent in sources]
    args.logdir.mkdir(parents=True, exist_ok=True)
    try:
        load(args.logdir, jobs, args.case)
    except ValueError as error:
        raise SystemExit(str(error)) from error

    def train(job: Job) -> str:
        return run(job, sources[job.agent], args.case, args.logdir, args.minutes)

    failed = run_missing(jobs, train, args.logdir, args.workers)
    if records := load(args.logdir, jobs, args.case):
        print(report(records, args.case, args.out))
    if failed:
        names = ", ".join(job.name for job in failed)
        raise SystemExit(f"{len(failed)} runs failed: {names}; try again.")


if __name__ == "__main__":
    main()
