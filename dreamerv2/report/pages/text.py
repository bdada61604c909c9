"""The report for people: Markdown that GitHub shows, from the groups of runs."""

import math
from collections.abc import Iterable, Mapping, Sequence

from common.curves import intervals
from dreamerv2.report import improvement as improvement_lib
from dreamerv2.report import model as model_lib
from dreamerv2.report import notes as notes_lib
from dreamerv2.report import published as published_lib
from dreamerv2.report import results
from dreamerv2.report import runs as runs_lib
from dreamerv2.report import tables as tables_lib

DEVIATION = "sample standard deviation (n - 1)"
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
        parts += ["## Single tasks", _single(single), _items(notes_lib.names(single))]
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
    parts = [f"## {tables_lib.title(benchmark)}", notes_lib.setting(benchmark)]
    published, comparable = published_lib.find(benchmark.tasks, benchmark.ends)
    for signal in benchmark.signals:
        parts.append(f"### {signal.capitalize()}")
        parts.append(f"Mean ± {DEVIATION} over seeds:")
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
        parts += _improvement(benchmark, signal, names)
    parts += _model(benchmark, names)
    notes = notes_lib.notes(benchmark, clip)
    return [*parts, _items(notes)]


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


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
    return _spread(values.mean, values.std)


def _spread(mean: float, std: float) -> str:
    """The one form of mean and deviation."""
    return f"{number(mean)} ± {number(std)}"


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


def _improvement(
    benchmark: results.Benchmark, signal: str, names: Mapping[str, str]
) -> list[str]:
    """How likely each method is to be better than others; nothing of one method."""
    pairs = improvement_lib.compare(benchmark, signal)
    if not pairs:
        return []
    cells = {(pair.method, pair.other): _probability(pair) for pair in pairs}
    rows = [name for name in names if any(name == pair.method for pair in pairs)]
    others = [name for name in names if any(name == pair.other for pair in pairs)]
    return [
        "Probability of improvement, that a run of the row's method is better at the "
        "end than one of the column's [95 % interval]:",
        table(
            ["method", *(names[other] for other in others)],
            [
                [names[m], *(cells.get((m, other), "–") for other in others)]
                for m in rows
            ],
        ),
    ]


def _probability(pair: improvement_lib.Pair) -> str:
    if not math.isfinite(pair.low):
        return number(pair.point)
    return f"{number(pair.point)} [{number(pair.low)}, {number(pair.high)}]"


def _model(benchmark: results.Benchmark, names: Mapping[str, str]) -> list[str]:
    """The world model's losses at the end; nothing where no run tells them."""
    found = {m.name: model_lib.of_method(m) for m in benchmark.methods.values()}
    losses = [
        loss
        for loss in model_lib.losses([benchmark])
        if any(loss in each for each in found.values())
    ]
    rows = []
    for name, readings in found.items():
        if readings:
            seeds = max(len(reading.runs) for reading in readings.values())
            each = [readings.get(loss) for loss in losses]
            cells = [cell for reading in each for cell in _nats(reading)]
            rows.append([names[name], str(seeds), *cells])
    if not rows:
        return []
    columns = [f"{loss}{what} ↓" for loss in losses for what in ("", " risen by")]
    return [
        "### World model",
        "Losses on set-aside episodes, in nats a step, mean over tasks ± "
        f"{DEVIATION} over seeds: at the end of the run, and by how much they have "
        "risen since the end of each task's own training.",
        table(["method", "seeds", *columns], rows),
    ]


def _nats(reading: model_lib.Reading | None) -> list[str]:
    """Loss at the end, and its rise."""
    if reading is None:
        return ["–", "–"]
    cells = []
    for values in (reading.end, reading.rise):
        mean, std = intervals.mean_std(values.mean(axis=1))
        cells.append(_spread(mean, std) if len(values) > 1 else number(mean))
    return cells


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
        "- **probability of improvement**: the share of all pairs of a run of each "
        "method in which the one is better at the end than the other, a tie counting "
        "half, averaged over the tasks; 0.50 is no difference.",
        "- **95 % interval**: from 1,000 samples of as many runs, drawn with "
        "replacement for each task on its own. With few seeds it is too narrow.",
    ]
    return "\n".join(lines)
