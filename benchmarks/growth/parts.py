"""What is measured at each size, and the sizes."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.growth import memory as memory_lib
from common.compute import loading

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
METHODS = ("fifo", "random_replacement", "reservoir", "split", "coverage")
STEPS, ROUNDS = 500, 5  # that are timed of a run
MB = 1e6
Row = dict[str, float]

TINY = {
    "rssm": {"deter": 8, "hidden": 8, "stoch": 3, "discrete": 4},
    r".*_head": {"layers": 1, "units": 8},
    "actor": {"layers": 1, "units": 8},
    "critic": {"layers": 1, "units": 8},
    "encoder.mlp_layers": [8],
    "decoder.mlp_layers": [8],
    "train_every": 20,
    "pretrain": 1,
    "wandb.mode": "disabled",
}


def command(*words: str) -> Row:
    """Runs a module of ours: seconds, CPU seconds and memory.

    Raises:
      CalledProcessError: If it fails.
    """
    before, start = os.times(), time.perf_counter()
    call = [sys.executable, "-m", *words]
    with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        with memory_lib.Memory(process.pid) as memory:
            code = process.wait()
    seconds, after = time.perf_counter() - start, os.times()
    if code:
        raise subprocess.CalledProcessError(code, call)
    user = after.children_user - before.children_user
    system = after.children_system - before.children_system
    return {"s": seconds, "CPU s": user + system, "MB": memory.most / MB}


def measure_replay(steps: int) -> Row:
    """The replay of `benchmarks.replay` with so many steps."""
    from benchmarks import replay

    found = replay.measure("fifo+uniform", replay.record("minigrid", 60), steps)
    return {
        "memory, MB": found["rss/step"] * steps / MB,
        "files, MB": found["disk/step"] * steps / MB,
        "batch, ms": found["batch"],
        "add 100 steps, ms": found["add"],
        "open again, s": found["reopen"] * steps / 1e5,
    }


def train(folder: pathlib.Path, names: list[str], settings: dict) -> None:
    """Trains tiny networks on Catch, under as many names as there are tasks."""
    loading.prepare_script()
    from dreamerv2 import settings as settings_lib
    from dreamerv2.run import loop, tasks

    known = settings_lib.configs["forgetting"]
    config = settings_lib.defaults.update(
        known, TINY, {"logdir": str(folder), "cl": True}, settings
    )
    rules = tasks.of_suite("", config.tasks, config).trained
    made = [rules[k % len(rules)]._replace(name=name) for k, name in enumerate(names)]
    with contextlib.redirect_stdout(None):
        loop.train(tasks.TaskList(made), config, script="interference")


def copy_runs(count: int, folder: pathlib.Path) -> None:
    """Writes `count` finished runs of five methods, all equal but for their names."""
    from common import config as config_lib
    from common.records import files
    from dreamerv2 import settings as settings_lib

    pattern = folder / "pattern"
    rules = settings_lib.configs["forgetting"]["tasks"]
    train(pattern, list(rules), {"steps": 1000, "eval_every": 100, "log_every": 100})
    config = config_lib.Config.read(pattern / files.CONFIG)
    for number in range(count):
        method = METHODS[number % len(METHODS)]
        tag = f"{method}_seed{number // len(METHODS)}"
        run = folder / "runs" / tag
        run.mkdir(parents=True)
        for name in (files.METRICS, files.TASKS, files.RUN):
            shutil.copy(pattern / name, run)
        own = {"seed": number // len(METHODS), "replay.retention": method, "tag": tag}
        config.update({"logdir": str(run.parent)}, own).save(run / files.CONFIG)


def measure_runs(count: int) -> Row:
    """The report and the plot of so many runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        copy_runs(count, folder)
        where = ("--indir", str(folder / "runs"), "--outdir")
        made = {
            "report": command("dreamerv2.report", *where, str(folder / "report")),
            "plot": command("common.plot", *where, str(folder / "plot")),
        }
    return {f"{what}, {k}": v for what, row in made.items() for k, v in row.items()}


def measure_plan(trials: int) -> Row:
    """The dry run of a sweep of so many trials."""
    with tempfile.TemporaryDirectory() as name:
        file = pathlib.Path(name) / "sweep.yaml"
        lines = ["script: interference.py", "flags: --configs forgetting"]
        lines += [f"logdir: {name}/runs", f"seeds: 1-{trials}"]
        lines += ["methods: {split: --split_sampling}"]
        file.write_text("\n".join(lines))
        return command("dreamerv2.sweep", str(file), "--dry_run")


def measure_tasks(count: int) -> Row:
    """A continual run of so many tasks."""
    from common.records import files

    every = 40
    steps = {"steps": 2 * every, "prefill": every, "eval_every": every}
    settings = steps | {"log_every": every, "eval_eps": 10, "eval_envs": 10}
    settings |= {"eval_model_eps": 0, "checkpoint_every": 2 * every * count}
    with tempfile.TemporaryDirectory() as name, memory_lib.Memory() as memory:
        folder = pathlib.Path(name)
        start = time.perf_counter()
        train(folder, [f"rule_{k}" for k in range(count)], settings)
        total = time.perf_counter() - start
        text = (folder / files.METRICS).read_text()
        snapshot = max((folder / files.CHECKPOINTS).iterdir(), key=os.path.getmtime)
        size = sum(p.stat().st_size for p in snapshot.rglob("*") if p.is_file())
    lines = [json.loads(line) for line in text.splitlines()]
    spent = [line for line in lines if "time_total" in line][2:]
    per = [line["time_evaluation"] for line in spent if "time_evaluation" in line]
    return {
        "run, s": total,
        "evaluation, ms": 1e3 * float(np.median(per)),
        "of it a task, ms": 1e3 * float(np.median(per)) / count,
        "evaluation, %": 100 * sum(per) / sum(line["time_total"] for line in spent),
        "memory, MB": memory.most / MB,
        "snapshot, MB": size / MB,
        "log of an evaluation, kB": len(text) / len(per) / 1e3,
    }


def measure_envs(count: int) -> Row:
    """Training with so many environments, in the program and in processes."""
    from benchmarks import loop

    result = {}
    for where in ("none", "process"):
        settings = {"envs": str(count), "envs_parallel": where, "eval_every": "1e9"}
        settings |= {"train_every": "1e9", "pretrain": "1", "eval_eps": "1"}
        settings |= {"prefill": str(max(500, 110 * count))}  # an episode of each
        steps = max(STEPS, 50 * count)
        with memory_lib.Memory() as memory:
            measured = loop.run("minigrid", "quickstart", settings, steps, ROUNDS)
        found = loop.summarize(measured, steps)
        name = {"none": "in the program", "process": "processes"}[where]
        result[f"{name}, steps/s"] = found["steps a second"]
        result[f"{name}, CPU ms a step"] = found["CPU ms a step"]
        result[f"{name}, MB"] = memory.most / MB
    return result


def measure_shared(count: int) -> Row:
    """Runs at the same time, each with its share of the cores or with all of them."""
    cores = os.cpu_count() or 1
    rows = {n: side_by_side(count, n) for n in {max(1, cores // count), cores}}
    named = {"a share": rows[max(1, cores // count)], "all cores": rows[cores]}
    return {f"{what}, {k}": v for what, row in named.items() for k, v in row.items()}


def side_by_side(count: int, threads: int) -> Row:
    """Runs of the quickstart: the environment steps a second of all together.

    Raises:
      RuntimeError: If one fails.
    """
    from dreamerv2.sweep import process

    words = [sys.executable, "-m", "benchmarks.loop", "--size", "quickstart"]
    words += ["--steps", str(STEPS), "--rounds", str(ROUNDS)]
    words += ["--set", "eval_every=1e9", "eval_eps=1"]
    options = {"cwd": ROOT, "env": os.environ | process.threads(threads)}
    with tempfile.TemporaryDirectory() as folder, memory_lib.Memory() as memory:
        files = [pathlib.Path(folder) / f"{k}.json" for k in range(count)]
        runs = [
            subprocess.Popen(
                [*words, "--json", str(file)], stdout=subprocess.DEVNULL, **options
            )
            for file in files
        ]
        if any([run.wait() for run in runs]):
            raise RuntimeError(f"{' '.join(words)} failed; see above.")
        found = [json.loads(file.read_text()) for file in files]
    return {
        "steps/s": sum(run["steps a second"] for run in found),
        "CPU ms a step": sum(run["CPU ms a step"] for run in found) / count,
        "MB": memory.most / MB,
    }


class Part(NamedTuple):
    """One table."""

    size: str
    measure: Callable[[int], Row]
    sizes: tuple[int, ...]


PARTS = {
    "replay": Part("steps held", measure_replay, (100_000, 1_000_000, 10_000_000)),
    "runs": Part("runs", measure_runs, (10, 100, 1000)),
    "plan": Part("trials", measure_plan, (10, 80, 1000)),
    "tasks": Part("tasks", measure_tasks, (3, 10, 30, 100)),
    "envs": Part("environments", measure_envs, (1, 4, 16, 64)),
    "shared": Part("runs at a time", measure_shared, (1, 2)),
}


def show(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
