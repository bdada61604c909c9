"""The report of a comparison: runs.csv, report.md and curves.png."""

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.learning import comparison, runs
from benchmarks.turns import cases
from common.curves import intervals

ALL = "all"  # the column of a run's mean over its bins
Rows = Mapping[str, Sequence[intervals.Interval]]


def write(records: Mapping[runs.Job, Any], case: cases.Case, out: pathlib.Path) -> str:
    """Writes the three files; returns the text of report.md."""
    out.mkdir(parents=True, exist_ok=True)
    found = comparison.columns(records, case)
    rows, ends = comparison.compare(found), comparison.ends_of(case)
    names = [*map(str, ends), ALL]
    with (out / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["agent", "seed", *names, "seconds"])
        for job in sorted(records):
            values = [f"{value:.4f}" for value in found[job.agent][job.seed]]
            seconds = f"{records[job]['seconds']:.0f}"
            writer.writerow([job.agent, job.seed, *values, seconds])
    counts = ", ".join(f"{len(each)} of {agent}" for agent, each in found.items())
    differing = comparison.differing(records) or ["none"]
    lines = [
        f"Mean return of the training episodes that end in {comparison.WIDTH} steps up",
        *("to the one named, with 95 % intervals.", ""),
        *(table(rows, names), ""),
        *(f"Runs: {counts}. Settings that differ:", ""),
        *(f"- {line}" for line in differing),
    ]
    text = "\n".join(lines) + "\n"
    (out / "report.md").write_text(text)
    draw(rows, ends, out / "curves.png")
    return text


def table(rows: Rows, names: Sequence[str]) -> str:
    """Lays intervals out: a line a bin, a column an agent or a difference."""
    lines = [["steps", *rows], ["---"] * (1 + len(rows))]
    for k, name in enumerate(names):
        cells = [row[k] for row in rows.values()]
        lines.append(
            [name, *(f"{c.point:.2f} [{c.low:.2f}, {c.high:.2f}]" for c in cells)]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(rows: Rows, ends: Sequence[int], path: pathlib.Path) -> None:
    """Draws the bins of the agents on the left, the differences on the right."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for k, (name, row) in enumerate(rows.items()):
        panel, (point, low, high) = axes[int(" - " in name)], np.array(row[:-1]).T
        panel.plot(ends, point, label=name, color=f"C{k}", marker="o", markersize=3)
        panel.fill_between(ends, low, high, color=f"C{k}", alpha=0.2, lw=0)
    axes[1].axhline(0, color="0.5", lw=0.8)
    for panel, title in zip(axes, ("return in training", "difference"), strict=True):
        panel.set(xlabel="steps up to the end of a bin", title=title)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
