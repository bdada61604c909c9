"""Folders as runs leave them, written in a moment: for tests of what reads them."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from common.records import files
from dreamerv2 import settings as settings_lib
from dreamerv2.run import phases, rundir

TASKS = ("MiniGrid-A-v0", "MiniGrid-B-v0")
Value = Callable[[int, int], float | None]  # (task, step) -> value; None: not recorded

# Of the groups only the replay's: nothing here reads the others, and YAML takes time.
DEFAULTS = settings_lib.Settings(
    {
        key: value
        for key, value in settings_lib.defaults.flat.items()
        if "." not in key or key.startswith("replay.")
    }
)


def nothing(task: int, step: int) -> float:
    """A value of 0 throughout."""
    return 0.0


def write_log(
    folder: pathlib.Path,
    records: Iterable[Mapping[str, Any]],
    config: str = "",
    tail: str = "",
) -> pathlib.Path:
    """Writes a metrics.jsonl, and no more of a run than is asked for.

    Args:
      folder: Where to; it is made.
      records: The lines, None for null.
      config: Text of a config.yaml beside it, if not empty.
      tail: What follows the records.

    Returns:
      The path of the metrics.jsonl.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / files.METRICS).write_text(text + tail)
    if config:
        (folder / files.CONFIG).write_text(config)
    return folder / files.METRICS


def write(
    folder: pathlib.Path,
    tag: str,
    seed: int = 0,
    *,
    value: Value = nothing,
    tasks: Sequence[str] = TASKS,
    steps: int = 100,
    until: int | None = None,
    success: bool = True,
    extra: Sequence[str] = (),
    replay: bool = True,
    model: Value | None = None,
    tail: str = "",
    **settings: Any,
) -> pathlib.Path:
    """Writes a run below a folder, with its configuration and its tasks.

    Args:
      folder: The logdir; the run is in `folder/tag`.
      tag: Of the run, its seed included.
      seed: Of the run.
      value: Of the evaluations, every 10 steps from step 10 on.
      tasks: Names of the tasks that it trains on.
      steps: Of each task.
      until: The step that it has come to; its end if None.
      success: Whether its tasks tell success; the return is a tenth less.
      extra: Names of the tasks that it is evaluated on only.
      replay: Whether it logs what the replay holds and what is drawn from it.
      model: The image loss of the world model at each evaluation; its losses of
        reward and discount and its KL divergence are a tenth. None: not recorded.
      tail: What follows in metrics.jsonl.
      **settings: Overrides of the configuration, `__` for a dot.

    Returns:
      The folder of the run.
    """
    config = DEFAULTS.update(
        {"logdir": str(folder), "tag": tag, "seed": seed, "steps": steps},
        {"cl": len(tasks) > 1, "tasks": list(tasks), "eval_every": 10},
        {"eval_eps": 5, **{k.replace("__", "."): v for k, v in settings.items()}},
    )
    schedule = phases.Schedule([steps] * len(tasks), config.num_task_repeats)
    ends = schedule.logged_ends(config.envs, config.action_repeat)
    noted = files.Tasks("train_minigrid", (*tasks, *extra), tuple(ends))
    place = rundir.begin(config, noted, is_saved=False)
    lines = []
    for frame in range(10, (ends[-1][1] if until is None else until) + 1, 10):
        (task, end) = next(pair for pair in ends if frame <= pair[1])
        line: dict[str, Any] = {"step": frame}
        for k in range(len(tasks) + len(extra)):
            number = value(k, frame)
            line[f"eval_return_{k}"] = None if number is None else 0.9 * number
            if success:
                line[f"eval_success_{k}"] = number
            if model:
                line |= _losses(k, model(k, frame))
        lines += [{"step": frame, "return": 0.0, "task": task}, line]
        if replay:
            lines.append(_counters(frame, task, frame == end))
    write_log(place, lines, tail=tail)
    return place


def _losses(task: int, loss: float | None) -> dict[str, float | None]:
    part = None if loss is None else 0.1 * loss
    parts = {key: part for key in ("reward", "discount", "kl")}
    return {f"eval_model_{k}_{task}": v for k, v in {"image": loss, **parts}.items()}


def _counters(step: int, task: int, ended: bool) -> dict[str, Any]:
    """A replay of one episode every 5 steps, all held; the newest 32 are drawn."""
    counters = {"step": step, "task": task, "updates": step, "total_episodes": step / 5}
    for k in range(task + 1):
        counters[f"er_steps_{k}"] = step / (task + 1)
        counters[f"drawn_task_{k}"] = step - 10 * k
    if ended:
        counters["drawn_width"] = 8
        bins = int(step / 5 / 8) + 1
        counters |= {f"drawn_bin_{i}": step * (i + 1) for i in range(bins)}
    return counters
