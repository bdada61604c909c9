"""Measures the loop around the update: steps a second, and where the seconds go.

    python -m benchmarks.loop --suite minigrid --size small
    python -m benchmarks.loop --suite minihack --size full --steps 50 --rounds 3
    python -m benchmarks.loop --size quickstart --steps 500 --set eval_every=500
    python -m benchmarks.loop --latency 20 --set collect_during_update=True

It trains as the scripts do, in a folder that is deleted, and reads the metrics of that
run: the first interval, with the traces, is left out; of the others the medians are
printed. `full` and `small` have the networks and the batch of `benchmarks.update` and
else the suite's settings, `quickstart` is that block of configs.yaml. With fewer steps
than `eval_every` no evaluation is measured.
"""

import argparse
import contextlib
import io
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np

from benchmarks.adapters import ours
from benchmarks.turns import cases
from common import config as config_lib
from common.envs import base
from dreamerv2 import settings as settings_lib
from dreamerv2.run import loop, phases
from dreamerv2.run import tasks as tasks_lib

SECTIONS = ("environment", "policy", "replay", "update", "evaluation", "save", "other")
SETUP = ("suite", "size", "steps", "rounds", "latency")
SIZES = {
    **{size: ours.settings(cases.make_case(size, True, {})) for size in cases.SIZES},
    "quickstart": settings_lib.configs["quickstart"],
}


def configure(
    suite: str, size: str, settings: dict[str, str], steps: int, folder: str
) -> config_lib.Config:
    """Returns the suite's configuration, logging every `steps` steps.

    Args:
      suite: A block of configs.yaml.
      size: A key of `SIZES`.
      settings: Further keys.
      steps: Environment steps of a round.
      folder: The logdir.
    """
    always = {"logdir": folder, "log_every": steps, "wandb.mode": "disabled"}
    always |= {"log_every_video": 0, "prefill": 500}
    return settings_lib.defaults.update(
        settings_lib.configs[suite], SIZES[size], always, settings
    )


def choose_tasks(suite: str, config: config_lib.Config) -> tasks_lib.TaskList:
    """Returns the suite's benchmark tasks, or the configuration's own for MiniGrid."""
    if suite == "minihack":
        from common.envs.suites import minihack

        return tasks_lib.of_suite(suite, minihack.MINIHACK_4, config)
    from common.envs.suites import minigrid

    return tasks_lib.of_suite(suite, config.tasks or minigrid.MINIGRID_3, config)


class Distant(base.Wrapper):
    """An environment that computes elsewhere: each step waits, without a core."""

    def __init__(self, env: base.Env, seconds: float):
        """Takes the seconds that a step waits."""
        super().__init__(env)
        self._seconds = seconds

    def step(self, action: np.ndarray) -> base.Transition:
        """Waits, then steps."""
        time.sleep(self._seconds)
        return super().step(action)


def move_away(task: tasks_lib.Task, latency: float) -> tasks_lib.Task:
    """Returns the task with training environments that wait so many milliseconds."""
    if not latency:
        return task
    return task._replace(make=lambda: Distant(task.make(), latency / 1e3))


def run(
    suite: str,
    size: str,
    settings: dict[str, str],
    steps: int,
    rounds: int,
    latency: float = 0.0,
) -> list[dict[str, float]]:
    """Trains, and returns the metrics of each round after the first."""
    with tempfile.TemporaryDirectory() as folder:
        config = configure(suite, size, settings, steps, folder)
        # A step more than the last round has, for a run ends with an evaluation.
        total = config.prefill + (rounds + 1) * steps + config.envs
        tasks = [
            move_away(task, latency) for task in choose_tasks(suite, config).trained
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            made = tasks_lib.TaskList(tasks)
            loop.train(made, config, schedule=phases.Schedule([total]))
        text = (pathlib.Path(folder) / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    # The first line has the steps before the first update.
    return [line for line in lines if "time_total" in line][2 : 2 + rounds]


def summarize(rounds: list[dict[str, float]], steps: int) -> dict[str, float]:
    """Returns medians over rounds: steps a second, ms a step, and shares in %."""
    seconds = [
        {name: line.get(f"time_{name}", 0.0) for name in SECTIONS} for line in rounds
    ]
    for line, parts in zip(rounds, seconds, strict=True):
        parts["other"] = line["time_total"] - sum(parts.values())
    totals = [line["time_total"] for line in rounds]
    result = {
        "steps a second": statistics.median(steps / total for total in totals),
        "ms a step": statistics.median(1e3 * total / steps for total in totals),
        "CPU ms a step": statistics.median(1e3 * r["time_cpu"] / steps for r in rounds),
    }
    for name in SECTIONS:
        parts = [line[name] for line in seconds]
        result[f"{name}, ms a step"] = 1e3 * statistics.median(parts) / steps
        shares = [p / total for p, total in zip(parts, totals, strict=True)]
        result[f"{name}, % of the time"] = 100 * statistics.median(shares)
    return result


def main() -> None:
    """Prints one line for each figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", choices=("minigrid", "minihack"), default="minigrid")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--steps", type=int, default=100, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train_every", type=int, help="steps; the suite's otherwise")
    parser.add_argument(
        "--latency", type=float, default=0.0, help="milliseconds a step waits besides"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in args.set)
    if args.train_every:
        settings["train_every"] = str(args.train_every)
    choice = (args.suite, args.size, settings, args.steps, args.rounds)
    measured = run(*choice, args.latency)
    if not measured:
        parser.exit(1, "No round was finished.\n")
    result = summarize(measured, args.steps)
    for name, value in result.items():
        print(f"{name:28} {value:9.2f}")
    if args.json:
        setup = {k: getattr(args, k) for k in SETUP}
        with open(args.json, "w") as file:
            json.dump({**setup, **settings, **result}, file, indent=2)


if __name__ == "__main__":
    main()
