"""A script that learns nothing but saves and goes on as a real one, in a second.

    python tests/dummy_benchmark.py --logdir FOLDER --tag TAG --steps 60

Each step adds to a chain of checksums, so that a step that is lost or done twice shows
at the end. With `--state_bonus` it fails at step 25. DUMMY_PAUSE: seconds a step.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Sequence

from common import config as config_lib
from common.records import files
from dreamerv2 import cli, settings
from dreamerv2.run import checkpoint, phases, rundir, stopping, tasks

SNAPSHOTS = 20  # steps between them
TASKS = ("walk", "run")


def parse_flags(argv: Sequence[str] | None = None) -> config_lib.Config:
    return settings.parse_flags("minigrid", __doc__, argv)


def make_tasks(config: config_lib.Config) -> tasks.TaskList:
    names = cli.choose_tasks(config, TASKS)
    return tasks.TaskList([tasks.Task(name, None, None) for name in names])


def main() -> None:
    config = parse_flags()
    count = len(make_tasks(config).trained)
    train(config, phases.of_tasks(count, config).total)


def train(config: config_lib.Config, total: int) -> None:
    with rundir.opened(config) as folder, stopping.StopRequest() as stop:
        latest = checkpoint.Checkpoints(folder / files.CHECKPOINTS).latest()
        reached = checkpoint.step_of(latest) if latest else None
        rundir.check(config, files.Tasks(), reached)
        rundir.begin(config, files.Tasks(), is_saved=latest is not None)
        state = restore(folder)
        while state["step"] < total:
            time.sleep(float(os.environ.get("DUMMY_PAUSE", 0)))
            advance(state, config)
            with open(folder / files.METRICS, "a") as file:
                print(json.dumps(state), file=file)
            ended = state["step"] == total
            if stop or ended or state["step"] % SNAPSHOTS == 0:
                save(folder, state)
            if stop:
                break
    print(f"At step {state['step']} of {total}.")


def advance(state: dict, config: config_lib.Config) -> None:
    state["step"] += 1
    if config.state_bonus and state["step"] == 25:
        raise RuntimeError("the power has failed")
    text = f"{state['chain']} {state['step']} {config.seed} {config.replay.retention}"
    state["chain"] = hashlib.blake2b(text.encode()).hexdigest()[:16]


def save(folder: pathlib.Path, state: dict) -> None:
    path = folder / files.CHECKPOINTS / f"step-{state['step']:012d}"
    partial = path.with_name(path.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    (partial / "state.json").write_text(json.dumps(state))
    sums = {p.name: checkpoint._checksum(p) for p in partial.glob("state.json")}
    (partial / "checksums.json").write_text(json.dumps(sums))
    if not path.exists():
        os.replace(partial, path)


def restore(folder: pathlib.Path) -> dict:
    latest = checkpoint.Checkpoints(folder / files.CHECKPOINTS).latest()
    state = checkpoint.load_state(latest) if latest else {"step": 0, "chain": ""}
    metrics = folder / files.METRICS
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    kept = "".join(f"{line}\n" for line in lines[: state["step"]])
    if lines:
        metrics.write_text(kept)
    return state


if __name__ == "__main__":
    cli.run(main)
