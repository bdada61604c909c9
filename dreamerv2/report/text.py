"""A report for people: Markdown that GitHub shows, from the groups of runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dreamerv2.report import notes as notes_lib
from dreamerv2.report import published as published_lib
from dreamerv2.report import results
from dreamerv2.report import runs as runs_lib
from dreamerv2.report import tables as tables_lib

_ARROWS = {"higher": "↑", "lower": "↓"}


def render(
    benchmarks: Sequence[results.Benchmark],
    left_out: Mapping[str, str],
    figures: Mapping[int, Sequence[tuple[str, str]]],
    clip_negative: bool,
) -> str:
    """The whole of report.md.

    Args:
      benchmarks: with everything computed.
      left_out: run -> why it says too little.
      figures: number of a benchmark, from 1 -> its pictures, as (path, caption); 0
        has those of the single tasks.
      clip_negative: whether negative values were counted as 0.
    """
    runs = [run for b in benchmarks for m in b.methods.values() for run in m.finished]
    unfinished = [
        run for b in benchmarks for m in b.methods.values() for run in m.unfinished
    ]
    parts = ["# Report", _head(runs, unfinished, left_out, clip_negative)]
    for number, benchmark in enumerate(benchmarks, 1):
        if benchmark.continual:
            parts += _benchmark(benchmark, clip_negative)
            parts += _pictures(figures.get(number, ()))
    single = [benchmark for benchmark in benchmarks if not benchmark.continual]
    if any(benchmark.records() for benchmark in single):
        parts += ["## Single tasks", _single(single)]
        parts += _pictures(figures.get(0, ()))
    if unfinished or left_out:
        parts += ["## Not in the numbers", _missing(unfinished, left_out)]
    parts += ["## What the numbers mean", _meanings()]
    return "\n\n".join(part for part in parts if part) + "\n"


def number(value: float) -> str:
    """Two decimals, fewer for large values."""
    if not math.isfinite(value):
        return "not defined"
    digits = 2 if abs(value) < 100 else 1 if abs(value) < 1000 else 0
    return f"{round(value, digits) + 0.0:.{digits}f}"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], words: Iterable[int] = (0,)
) -> str:
    """A Markdown table; the columns `words` to the left, the others to the right."""
    align = ["---" if i in words else "---:" for i in range(len(head))]
    lines = [head, align, *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _head(
    runs: Sequence[runs_lib.Record],
    unfinished: Sequence[runs_lib.Record],
    left_out: Mapping[str, str],
    clip: bool,
) -> str:
    total = len(runs) + len(unfinished) + len(left_out)
    text = f"{notes_lib.count(total, 'run')}, {len(runs)} finished."
    if total > len(runs):
        text += " The others are in no number; they stand [below](#not-in-the-numbers)."
    if clip:
        text += " Negative values count as 0, as in the paper's tables."
    return text


def _benchmark(benchmark: results.Benchmark, clip: bool) -> list[str]:
    names = tables_lib.labels(benchmark)
    parts = [f"## {tables_lib.title(benchmark)}", _setting(benchmark)]
    published, comparable = published_lib.find(benchmark.tasks, benchmark.ends)
    for signal in benchmark.signals:
        parts.append(f"### {signal.capitalize()}")
        parts.append("Mean ± standard deviation over seeds:")
        shown = published if comparable and signal == "return" else None
        measures = _measures(benchmark, signal, shown)
        rows = _mean_rows(benchmark, signal, names, measures)
        if shown:
            rows += [published_row(name, shown, measures) for name in shown.rows]
        parts.append(table(_columns(measures), rows))
        many = [m for m in benchmark.methods.values() if len(m.finished) > 1]
        if any(signal in method.table for method in many):
            parts.append("Interquartile mean [95 % interval]:")
            measures = _measures(benchmark, signal)
            rows = _interval_rows(benchmark, signal, names, measures)
            parts.append(table(_columns(measures), rows))
    notes = notes_lib.notes(benchmark, clip)
    return [*parts, "\n".join(f"- {note}" for note in notes)]


def _setting(benchmark: results.Benchmark) -> str:
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
    size = notes_lib.count(int(settings.get("eval_eps", 1)), "episode")
    size += " of each task"
    if int(settings.get("eval_steps", 0)):
        size = f"{int(settings['eval_steps']):,} steps over all tasks"
    return f"an evaluation is {size}, every {every:,} steps"


def _measures(
    benchmark: results.Benchmark,
    signal: str,
    published: published_lib.Table | None = None,
) -> list[str]:
    """The measures that at least one method has, or a published one."""
    tables = [m.table.get(signal, {}) for m in benchmark.methods.values()]
    there = {name for each in tables for name in each}
    there |= set(published_lib.MEASURES if published else ())
    return [name for name in results.MEASURES if name in there]


def _columns(measures: Sequence[str]) -> list[str]:
    known = [results.MEASURES[name] for name in measures]
    return ["method", "seeds", *(f"{m.title} {_ARROWS[m.better]}" for m in known)]


def _mean_rows(
    benchmark: results.Benchmark,
    signal: str,
    names: Mapping[str, str],
    measures: Sequence[str],
) -> list[list[str]]:
    rows = []
    for method in benchmark.methods.values():
        if signal in method.table:
            cells = []
            for name in measures:
                values = method.table[signal].get(name)
                cells.append(_mean(values, len(method.finished)))
            rows.append([names[method.name], _seeds(method), *cells])
    return rows


def _mean(values: results.Aggregate | None, runs: int) -> str:
    if values is None:
        return "–"
    if runs == 1 or not math.isfinite(values.mean):
        return number(values.mean)
    return f"{number(values.mean)} ± {number(values.std)}"


def _interval_rows(
    benchmark: results.Benchmark,
    signal: str,
    names: Mapping[str, str],
    measures: Sequence[str],
) -> list[list[str]]:
    rows = []
    for method in benchmark.methods.values():
        if signal in method.table and len(method.finished) > 1:
            cells = []
            for name in measures:
                values = method.table[signal].get(name)
                cells.append("–" if values is None else _interval(values))
            rows.append([names[method.name], _seeds(method), *cells])
    return rows


def _interval(values: results.Aggregate) -> str:
    if not math.isfinite(values.iqm):
        return number(values.iqm)
    low, high = number(values.low), number(values.high)
    return f"{number(values.iqm)} [{low}, {high}]"


def _seeds(method: results.Method) -> str:
    done, more = len(method.finished), len(method.unfinished)
    return f"{done} of {done + more}" if more else str(done)


def published_row(
    name: str, published: published_lib.Table, measures: Sequence[str]
) -> list[str]:
    """The row of a published method.

    Args:
      name: a row of the published table.
      published: the table.
      measures: the columns besides name and seeds.
    """
    figures = zip(published_lib.MEASURES, published.rows[name], strict=True)
    known = {
        measure: number(f.mean) + ("" if f.std is None else f" ± {number(f.std)}")
        for measure, f in figures
    }
    cells = [known.get(measure, "–") for measure in measures]
    return [f"*published: {name}*", str(published.seeds), *cells]


def _single(benchmarks: Sequence[results.Benchmark]) -> str:
    rows = []
    for benchmark in benchmarks:
        names = tables_lib.labels(benchmark)
        for method in benchmark.methods.values():
            if method.finished:
                cells = []
                for signal in results.SIGNALS:
                    values = method.table.get(signal, {}).get("performance")
                    cells.append(_mean(values, len(method.finished)))
                task = tables_lib.short(benchmark.tasks[0])
                steps = f"{benchmark.ends[-1][1]:,}"
                label = names[method.name]
                rows.append([task, label, steps, _seeds(method), *cells])
    signals = [f"{signal} at the end ↑" for signal in results.SIGNALS]
    return table(["task", "method", "steps", "seeds", *signals], rows, (0, 1))


def _missing(unfinished: Sequence[runs_lib.Record], left_out: Mapping[str, str]) -> str:
    rows = []
    for run in unfinished:
        share = f"{min(run.log.last / run.total, 1):.0%}"
        rows.append([f"`{run.place}`", run.method, run.seed, share, run.fault])
    rows += [[f"`{run}`", "", "", "", reason] for run, reason in left_out.items()]
    return table(["run", "method", "seed", "done", "why"], rows, (0, 1, 4))


def _pictures(figures: Sequence[tuple[str, str]]) -> list[str]:
    return [
        f"{caption}\n\n![{caption.partition('.')[0]}]({path})"
        for path, caption in figures
    ]


def _meanings() -> str:
    rows = [
        [m.title, f"{m.better} is better", m.meaning] for m in results.MEASURES.values()
    ]
    lines = [f"- **{title}** ({better}): {meaning}." for title, better, meaning in rows]
    lines += [
        "- The value of a task is the mean over the episodes of one evaluation: "
        "success is the share that reached the goal, return the sum of rewards.",
        "- **interquartile mean**: the mean of the middle half, which single failed or "
        "lucky runs do not move. Of performance and forward transfer it is over all "
        "runs and tasks, of the others over runs.",
        "- **95 % interval**: from 1,000 samples of as many runs, drawn with "
        "replacement for each task on its own. With few seeds it is too narrow.",
    ]
    return "\n".join(lines)
