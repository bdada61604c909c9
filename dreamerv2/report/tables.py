"""A report as data: the content of report.json, and the rows of its CSV files."""

import csv
import json
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dreamerv2.report import improvement, model, published, replay, results, runs


def labels(benchmark: results.Benchmark) -> dict[str, str]:
    """What to call each method."""
    return {method.name: method.label for method in benchmark.methods.values()}


def title(benchmark: results.Benchmark) -> str:
    """The tasks of a benchmark in their order."""
    return " → ".join(short(task) for task in benchmark.tasks)


def short(task: str) -> str:
    """`MiniGrid-DoorKey-9x9-v0`, with or without its suite -> `DoorKey-9x9`."""
    task = re.sub(r"^(minigrid|minihack)_(?=Mini)", "", task)
    return re.sub(r"^(MiniGrid|MiniHack)-|-v\d+$", "", task) or task


def to_json(
    benchmarks: Sequence[results.Benchmark],
    left_out: Mapping[str, str],
    clip_negative: bool,
) -> dict[str, Any]:
    """Everything in the report that is a number or a name; nan becomes None."""
    unfinished = [
        {
            **_identity(run),
            "reason": run.fault,
            "step": int(run.log.last),
            "of": run.total,
        }
        for benchmark in benchmarks
        for method in benchmark.methods.values()
        for run in method.unfinished
    ]
    return _plain(
        {
            "clip_negative": clip_negative,
            "measures": {
                name: measure._asdict() for name, measure in results.MEASURES.items()
            },
            "benchmarks": [_benchmark(benchmark) for benchmark in benchmarks],
            "unfinished": unfinished,
            "left_out": [
                {"run": run, "reason": reason} for run, reason in left_out.items()
            ],
        }
    )


def _benchmark(benchmark: results.Benchmark) -> dict[str, Any]:
    table, comparable = published.find(benchmark.tasks, benchmark.ends)
    names = labels(benchmark)
    return {
        "tasks": benchmark.tasks,
        "ends": [{"task": k, "step": end} for k, end in benchmark.ends],
        "methods": [
            {"label": names[method.name], **_method(method)}
            for method in benchmark.methods.values()
        ],
        "improvement": {
            signal: [pair._asdict() for pair in improvement.compare(benchmark, signal)]
            for signal in benchmark.signals
        },
        "published": table
        and {
            "name": table.name,
            "seeds": table.seeds,
            "comparable": comparable,
            "rows": {
                name: {
                    key: figure._asdict()
                    for key, figure in zip(published.MEASURES, row, strict=True)
                }
                for name, row in table.rows.items()
            },
        },
    }


def _method(method: results.Method) -> dict[str, Any]:
    return {
        "method": method.name,
        "runs": [_identity(run) for run in method.finished],
        "unfinished": len(method.unfinished),
        "metrics": {
            signal: {
                name: {
                    **values._asdict(),
                    "terms": method.scores[signal][name],
                }
                for name, values in table.items()
            }
            for signal, table in method.table.items()
        },
        "matrices": method.matrices,
        "model": {
            loss: {
                "runs": [_identity(run) for run in reading.runs],
                **{"end": reading.end, "rise": reading.rise},
            }
            for loss, reading in model.of_method(method).items()
        },
        "replay": {
            name: found and found._asdict()
            for name, found in (
                ("held", replay.held(method.finished)),
                ("drawn", replay.drawn(method.finished)),
                ("arrivals", replay.arrivals(method.finished)),
            )
        },
        "references": {
            task: {
                "method": reference.method,
                "seeds": reference.seeds,
                "steps": reference.total,
                "differing": reference.differing,
            }
            for task, reference in method.references.items()
        },
    }


def _identity(run: runs.Record) -> dict[str, Any]:
    return {"run": run.place, "method": run.method, "seed": run.seed}


def _plain(value: Any) -> Any:
    """Arrays become lists, and numbers that are not finite None."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def write(content: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Writes report.json, table.csv, runs.csv and matrix.csv.

    With several methods there is an improvement.csv, with losses of the world model a
    model.csv.

    Args:
      content: of `to_json`.
      folder: where to; it exists.

    Raises:
      OSError: a file cannot be written.
    """
    text = json.dumps(content, indent=1, allow_nan=False)
    text = re.sub(r"\[[^][{}\"]*\]", lambda row: " ".join(row[0].split()), text)
    (folder / "report.json").write_text(text + "\n")
    _write_csv(folder / "table.csv", _table_rows(content))
    _write_csv(folder / "runs.csv", _run_rows(content))
    _write_csv(folder / "matrix.csv", _matrix_rows(content))
    for name, rows in (
        ("improvement.csv", _improvement_rows(content)),
        ("model.csv", _model_rows(content)),
    ):
        if rows:
            _write_csv(folder / name, rows)


def _write_csv(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _table_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each benchmark, method, signal and measure."""
    return [
        {
            "benchmark": number,
            "method": method["method"],
            "value": signal,
            "metric": name,
            "seeds": len(method["runs"]),
            **{key: values[key] for key in ("mean", "std", "iqm", "low", "high")},
        }
        for number, benchmark in enumerate(content["benchmarks"], 1)
        for method in benchmark["methods"]
        for signal, table in method["metrics"].items()
        for name, values in table.items()
    ]


def _run_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each run, finished or not."""
    rows = []
    for number, benchmark in enumerate(content["benchmarks"], 1):
        for method in benchmark["methods"]:
            for i, run in enumerate(method["runs"]):
                metrics = {
                    f"{signal}_{name}": values["runs"][i]
                    for signal, table in method["metrics"].items()
                    for name, values in table.items()
                }
                rows.append({"benchmark": number, **run, "fault": "", **metrics})
    for run in content["unfinished"]:
        identity = {key: run[key] for key in ("run", "method", "seed")}
        rows.append({"benchmark": "", **identity, "fault": run["reason"]})
    for run in content["left_out"]:
        rows.append({"benchmark": "", "run": run["run"], "fault": run["reason"]})
    return rows


def _matrix_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each value of a task-by-task matrix of a run."""
    return [
        {
            "benchmark": number,
            **run,
            "value": signal,
            "after": row,
            "task": column + 1,
            "evaluation": value,
        }
        for number, benchmark in enumerate(content["benchmarks"], 1)
        for method in benchmark["methods"]
        for signal, matrices in method["matrices"].items()
        for run, matrix in zip(method["runs"], matrices, strict=True)
        for row, values in enumerate(matrix)
        for column, value in enumerate(values)
        if value is not None
    ]


def _improvement_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each pair of methods."""
    return [
        {"benchmark": number, "value": signal, **pair}
        for number, benchmark in enumerate(content["benchmarks"], 1)
        for signal, pairs in benchmark["improvement"].items()
        for pair in pairs
    ]


def _model_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each loss of the world model on a task of a run."""
    return [
        {
            "benchmark": number,
            **run,
            "loss": loss,
            "task": task,
            "end": end,
            "rise": rise,
        }
        for number, benchmark in enumerate(content["benchmarks"], 1)
        for method in benchmark["methods"]
        for loss, found in method["model"].items()
        for run, *terms in zip(found["runs"], found["end"], found["rise"], strict=True)
        for task, (end, rise) in enumerate(zip(*terms, strict=True), 1)
    ]
