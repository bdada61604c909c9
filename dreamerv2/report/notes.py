"""What one has to know before one compares the rows of a report's tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dreamerv2.report import published as published_lib
from dreamerv2.report import results, tables


def setting(benchmark: results.Benchmark) -> str:
    """Steps and evaluations, as far as all runs agree."""
    starts = [0, *(end for _, end in benchmark.ends)]
    lengths = [end - s for (_, end), s in zip(benchmark.ends, starts, strict=False)]
    if len(set(lengths)) == 1:
        steps = f"{lengths[0]:,} steps each"
    else:
        steps = " + ".join(f"{length:,}" for length in lengths) + " steps"
    if len(lengths) > len(benchmark.tasks):
        steps += f", the sequence {len(lengths) // len(benchmark.tasks)} times"
    text = f"{len(benchmark.tasks)} tasks, {steps}"
    found = {_evaluations(run.settings) for run in benchmark.records()}
    return text + (f"; {found.pop()}." if len(found) == 1 else ".")


def _evaluations(settings: Mapping[str, Any]) -> str:
    """How a run was evaluated."""
    every = int(settings.get("eval_every", 0)) * int(settings.get("action_repeat", 1))
    size = count(int(settings.get("eval_eps", 1)), "episode")
    size += " of each task"
    if int(settings.get("eval_steps", 0)):
        size = f"{int(settings['eval_steps']):,} steps over all tasks"
    return f"an evaluation is {size}, every {every:,} steps"


def notes(benchmark: results.Benchmark, clip_negative: bool) -> list[str]:
    """Sentences on seeds, references, published figures and what is not defined.

    Args:
      benchmark: with everything computed.
      clip_negative: whether negative values were counted as 0.
    """
    published, comparable = published_lib.find(benchmark.tasks, benchmark.ends)
    return [
        *names([benchmark]),
        *_notes(benchmark, tables.labels(benchmark)),
        *_published_notes(published, comparable, clip_negative),
    ]


def names(benchmarks: Sequence[results.Benchmark]) -> list[str]:
    """Which methods the labels with a number are."""
    found: dict[str, str] = {}
    for benchmark in benchmarks:
        found |= tables.labels(benchmark)
    return [f"`{label}` is `{name}`." for name, label in found.items() if name != label]


def _published_notes(
    published: published_lib.Table | None, comparable: bool, clip: bool
) -> list[str]:
    if published is None:
        return []
    if not comparable:
        return [
            f"The tasks are those of {published.name} (Kessler et al., 2023), whose "
            f"published figures are for {published.steps:,} steps each; these runs "
            "have another budget, so they are not compared."
        ]
    note = (
        f"Published: Kessler et al. (2023), {published.name}, {published.seeds} seeds, "
        "returns"
    )
    if not clip:
        note += ", negative ones counted as 0: `--clip_negative` does so here"
    return [note + "."]


def _notes(benchmark: results.Benchmark, names: Mapping[str, str]) -> list[str]:
    """What one has to know before comparing the rows."""
    notes = []
    methods = [m for m in benchmark.methods.values() if m.finished]
    counts = {len(method.finished) for method in methods}
    if len(counts) > 1:
        listed = ", ".join(f"{names[m.name]} {len(m.finished)}" for m in methods)
        notes.append(f"The methods have different numbers of seeds: {listed}.")
    if 1 in counts:
        notes.append("One seed says nothing of the spread: no deviation, no interval.")
    for method in benchmark.methods.values():
        notes += _method_notes(method, names[method.name], benchmark)
    return notes + _lacking_notes(methods, names, benchmark)


def _lacking_notes(
    methods: Sequence[results.Method],
    names: Mapping[str, str],
    benchmark: results.Benchmark,
) -> list[str]:
    """For which tasks there is nothing to compare with."""
    groups: dict[tuple, list[str]] = {}
    for method in methods:
        lacking = tuple(t for t in benchmark.tasks if t not in method.references)
        groups.setdefault(lacking, []).append(names[method.name])
    return [
        f"No forward transfer of {', '.join(found)}: there is no finished run on "
        f"{', '.join(map(tables.short, lacking))} alone that is as long."
        for lacking, found in groups.items()
        if lacking
    ]


def _method_notes(
    method: results.Method, label: str, benchmark: results.Benchmark
) -> list[str]:
    notes = []
    if not method.finished:
        runs = count(len(method.unfinished), "run")
        return [f"{label}: no finished run yet, {runs} under way or broken off."]
    seeds = [run.seed for run in method.finished]
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        notes.append(
            f"{label}: seed {', '.join(twice)} was run more than once; its runs count "
            "as seeds of their own, though they are not independent."
        )
    if len(method.references) == len(benchmark.tasks):
        notes += _reference_notes(method, label)
    return notes + _undefined_notes(method, label)


def _undefined_notes(method: results.Method, label: str) -> list[str]:
    """Which measures are not defined, and why."""
    signals: dict[tuple, list[str]] = {}
    for signal, measures in method.table.items():
        for name, values in measures.items():
            bad = sum(not math.isfinite(value) for value in values.runs)
            if bad:
                signals.setdefault((name, bad), []).append(signal)
    titles = {name: each.title for name, each in results.MEASURES.items()}
    return [
        f"{label}: {titles[name]} of {' and '.join(found)} is not "
        f"defined in {bad} of {count(len(method.finished), 'run')}{_reason(name)}."
        for (name, bad), found in signals.items()
    ]


def _reason(name: str) -> str:
    return {
        "forward_transfer": ", because a task alone is perfect all along (AUC 1)",
        "forward_transfer_reference": ", because a task is perfect all along (AUC 1)",
        "zero_shot_transfer": ", because there is no evaluation before the first task "
        "ends",
    }.get(name, "")


def _reference_notes(method: results.Method, label: str) -> list[str]:
    """With which single-task runs a method was compared."""
    groups: dict[tuple, list[str]] = {}
    for task, reference in method.references.items():
        key = reference.differing, len(reference.seeds)
        groups.setdefault(key, []).append(f"{tables.short(task)} ({reference.method})")
    notes = []
    for (differing, seeds), tasks in groups.items():
        how = "the same configuration"
        if differing:
            how = f"the nearest configuration, which differs in {', '.join(differing)}"
        notes.append(
            f"{label}: forward transfer is against {count(seeds, 'run')} on each task "
            f"alone, of {how}: {', '.join(tasks)}."
        )
    return notes


def count(value: int, word: str) -> str:
    """`3 runs`."""
    return f"{value:,} {word}{'s' * (value != 1)}"
