"""Runs of several agents on one task: each a process, and a file when it is done."""

import concurrent.futures
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

from benchmarks.turns import cases, inturn

CASE: cases.Case = dict(
    task="minigrid_MiniGrid-Empty-5x5-v0",
    **dict(time_limit=100, steps=4000, prefill=500, train_every=5),
    **dict(deter=128, hidden=128, stoch=16, classes=16, cnn_depth=8),
    **dict(layers=2, units=128, batch=16, length=16, horizon=15, lr=3e-4),
    **dict(minlen=2, maxlen=16, action_size=7, discrete=True, plan2explore=False),
)


class Job(NamedTuple):
    """One run."""

    agent: str
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.agent}-{self.seed}"


def parse_case(pairs: Sequence[str]) -> cases.Case:
    """Returns CASE with other values, each in the type of the present one.

    Raises:
      ValueError: An unknown key, a value of another type, or nothing after the prefill.
    """
    case = dict(CASE)
    known = [key for key, value in CASE.items() if not isinstance(value, bool)]
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in known:
            raise ValueError(
                f"--case: there is no {key!r}; choose from {', '.join(known)}."
            )
        try:
            case[key] = type(CASE[key])(value)
        except ValueError as error:
            raise ValueError(
                f"--case: {key} is {value!r}; give a value like {CASE[key]!r}."
            ) from error
    if case["steps"] <= case["prefill"]:
        raise ValueError(
            f"--case: steps is {case['steps']}, but the prefill takes "
            f"{case['prefill']} of them; give more."
        )
    return case


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
    jobs: Sequence[Job], train: Callable[[Job], str], logdir: pathlib.Path, workers: int
) -> dict[Job, str]:
    """Makes the runs that have no file, in their order.

    Args:
      jobs: The runs that there shall be.
      train: Makes one, and its file; returns what went wrong, or "".
      logdir: Where the files are.
      workers: Runs at the same time.

    Returns:
      What went wrong, by run.
    """
    missing = [job for job in jobs if not path_of(logdir, job).exists()]
    failed = {}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for job, error in zip(missing, pool.map(train, missing), strict=True):
            print(f"{job.name}: {error or 'done'}", flush=True)
            if error:
                failed[job] = error
    return failed


def run(
    job: Job,
    *,
    sources: Mapping[str, inturn.Source],
    case: cases.Case,
    logdir: pathlib.Path,
    minutes: float,
) -> str:
    """Trains one agent once, and writes its file; returns what went wrong, or "".

    Args:
      job: Which agent, with which seed.
      sources: The adapters by agent.
      case: What it is trained on.
      logdir: Where the file goes.
      minutes: After so many the process is killed.
    """
    folder, since = logdir / "under_way" / job.name, time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    own = {"seed": job.seed, "settings": {}, "folder": str(folder)}
    own |= {"python": sys.executable, "root": str(inturn.ROOT)}
    try:
        info, versions = _train(sources[job.agent], case | own, minutes)
    except SystemExit as error:
        late = time.monotonic() - since >= 60 * minutes
        return f"killed after {minutes:g} minutes" if late else str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record = {
        **{"agent": job.agent, "seed": job.seed, "case": case},
        **{"returns": info["returns"], "settings": info["settings"]},
        **{"versions": versions, "seconds": time.monotonic() - since},
        **{"commit": commit(), **cases.circumstances()},
    }
    partial = path_of(logdir, job).with_suffix(".partial")
    partial.write_text(json.dumps(record) + "\n")
    partial.replace(path_of(logdir, job))
    return ""


def _train(
    source: inturn.Source, case: cases.Case, minutes: float
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns what the adapter tells of a whole training, and the versions below it."""
    with inturn.Worker(source) as worker:
        kill = functools.partial(os.kill, worker.pid, signal.SIGKILL)
        timer = threading.Timer(60 * minutes, kill)
        timer.start()
        try:
            worker.make("training", case)
            return worker.run()["info"], worker.versions
        finally:
            timer.cancel()


def commit() -> str:
    """Returns the checkout's commit, `unknown` outside of one."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=inturn.ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
