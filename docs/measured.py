"""Tables of measurements, from files in results/; `generate` writes them into pages."""

import functools
import json
import pathlib
import statistics
import sys
from collections.abc import Callable, Iterable

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.growth import parts  # noqa: E402

SPEED = ROOT / "results/speed/intel_amx"
# Columns of `benchmarks.update` -> what they are called.
IMPLEMENTATIONS = {
    "ours": "this",
    "ours precision=bfloat16": "this, `--precision bfloat16`",
    "original": "the author's, TensorFlow 2.15",
    "sheeprl": "sheeprl 0.8.4, PyTorch 2.13",
    "ours + P2E": "this, with Plan2Explore",
    "ours precision=bfloat16 + P2E": "the same in bfloat16",
}


def forgetting() -> str:
    """Returns the table of five replays on Catch."""
    data = json.loads((ROOT / "results/forgetting/report.json").read_text())
    (bench,) = [b for b in data["benchmarks"] if len(b["tasks"]) == 3]
    rows = []
    for method in bench["methods"]:
        metrics = method["metrics"]["success"]
        ends = zip(*metrics["performance"]["terms"], strict=True)  # by task
        cells = [f"`{method['label']}`", *(f"{statistics.mean(e):.2f}" for e in ends)]
        for name in ("performance", "forgetting"):
            cells.append("{mean:.2f} ± {std:.2f}".format(**metrics[name]))
        rows.append(cells)
    return _table(("replay", "plain", "swap", "shift", "mean", "forgetting"), rows)


def _speed() -> dict[str, dict[str, dict[str, float]]]:
    """Returns figures by size of the networks and by implementation."""
    found: dict[str, dict[str, dict[str, float]]] = {"small": {}, "full": {}}
    for file in ("plan2explore", "small", "full"):  # what is in two is of the last
        for column in json.loads((SPEED / f"{file}.json").read_text())["columns"]:
            shown = IMPLEMENTATIONS[column["name"]]
            found[column["case"]["size"]][shown] = column["figures"]
    return found


def speed() -> str:
    """Returns README's rows: seconds of an update."""
    sizes = _speed()
    rows = []
    for name in IMPLEMENTATIONS.values():
        cells = [
            _seconds(figures[name]["update, median s"]) if name in figures else "-"
            for figures in sizes.values()
        ]
        rows.append([name, *cells])
    return _table(("", *sizes), rows)


def speed_of_all() -> str:
    """Returns the table of all that was measured on that machine."""
    rows = []
    for size, columns in _speed().items():
        for name in filter(columns.get, IMPLEMENTATIONS.values()):
            figures = columns[name]
            share = figures.get("share of that")
            cells = (
                _seconds(figures["update, median s"]),
                f"{figures['update, median CPU s']:.1f}",
                f"{figures['start to end of it, s']:.1f}",
                f"{figures['peak memory, GB']:.2f}",
                f"{share:.2f}" if share else "",
            )
            rows.append([f"{size}, {name}", *cells])
    head = ("", "update, s", "CPU, s", "start, s", "memory, GB", "share")
    return _table(head, rows)


def policy() -> str:
    """Returns the table of a policy's step, by environments in the batch."""
    cells: dict[int, list[str]] = {}
    heads = []
    for line in json.loads((SPEED / "policy.json").read_text())["lines"]:
        case, figures = line["case"], line["figures"]
        if case["evaluate"]:
            continue
        head = f"{case['size']}, {IMPLEMENTATIONS[line['name']].split(',')[0]}"
        heads += [head] if head not in heads else []
        cell = f"{figures['median ms']:.1f} ({figures['least ms']:.1f})"
        cells.setdefault(case["rows"], []).append(cell)
    rows = ([str(count), *row] for count, row in cells.items())
    return _table(("environments", *heads), rows)


def growth(part: str) -> str:
    """Returns the table of a part of `benchmarks.growth`."""
    rows = json.loads((SPEED / "growth.json").read_text())[part]
    return _table(
        [parts.PARTS[part].size, *next(iter(rows.values()))],
        (
            [f"{int(size):,}", *map(parts.show, row.values())]
            for size, row in rows.items()
        ),
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table in Markdown."""
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 2 else f"{value:.1f}"


NUMBERS: dict[str, Callable[[], str]] = {
    "forgetting": forgetting,
    "speed": speed,
    "speed_of_all": speed_of_all,
    "policy": policy,
    **{f"growth_{part}": functools.partial(growth, part) for part in parts.PARTS},
}
