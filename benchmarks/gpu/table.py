"""The tables of a file of results, in Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.gpu import grid, hours

REHEARSAL = (
    "A rehearsal: a CPU built the graphs that a GPU gets. It shows that everything "
    "runs, and nothing of how fast it is."
)
LONGEST = 80  # characters of an error
UPDATE = {  # figure: heading, factor
    "tracing, s": ("tracing, s", 1),
    "first update, s": ("first update, s", 1),
    "update, median s": ("update, median ms", 1e3),
    "update, least s": ("least ms", 1e3),
    "device memory, GB": ("GPU memory, GB", 1),
    "peak memory, GB": ("process, GB", 1),
    "device busy, %": ("busy, %", 1),
}
VERIFY = {
    "entries": ("entries", 1),
    "out of tolerance": ("out of tolerance", 1),
    "tolerances times": ("tolerances times", 1),
    "largest relative error": ("largest relative error", 1),
}
LOOP = {
    "steps a second": ("steps a second", 1),
    "ms a step": ("ms a step", 1),
    "environment, ms a step": ("environment", 1),
    "policy, ms a step": ("policy", 1),
    "update, ms a step": ("update", 1),
    "device memory, GB": ("GPU memory, GB", 1),
}
POLICY = {
    f"{mode}, batch {rows}, median ms": (f"{mode}, {rows}", 1)
    for mode in ("explore", "evaluate")
    for rows in grid.BATCHES
}
TABLES = {  # kind: title, columns of the names, figures
    "verify": ("Reference numbers", ("precision", "XLA"), VERIFY),
    "update": ("Updates", ("size", "precision", "XLA", "loops"), UPDATE),
    "devices": ("Several GPUs", ("size", "precision", "GPUs"), UPDATE),
    "policy": ("A step of the policy, median ms", ("size", "precision"), POLICY),
    "environment": (
        "A step of an environment",
        ("suite",),
        {"ms a step": ("ms a step", 1)},
    ),
    "loop": ("The loop on MiniGrid", ("size", "precision", "collecting"), LOOP),
}


def render(content: Mapping[str, Any]) -> str:
    """Returns all tables of a file's content that have a line, and the hours."""
    parts = [heading(content)]
    for kind, (title, columns, figures) in TABLES.items():
        if found := list(_lines(kind, content["cells"], figures)):
            parts.append(f"**{title}**")
            heads = [*columns, *(head for head, _ in figures.values())]
            parts.append(_lay_out(heads, found))
    if found := list(_hours(content["cells"])):
        parts.append("**Hours of whole runs**")
        heads = ["run", "updates", *(f"{p}, {c}" for p, c in _variants())]
        parts += [
            _lay_out(heads, found),
            f"{hours.FORMULA[0].upper()}{hours.FORMULA[1:]}.",
        ]
        parts.append("`>` stands where policy or environment were not measured.")
    return "\n\n".join(parts) + "\n"


def heading(content: Mapping[str, Any]) -> str:
    """Returns a line on what was measured, when, and of which code."""
    device, cells = content["device"], content["cells"].values()
    gpus = device["gpus"]
    names = f"{len(gpus)} x {gpus[0]}" if gpus else "no GPU"
    facts = [names, device["machine"], f"TensorFlow {device['tensorflow']}"]
    for key in ("cuda", "cudnn"):
        facts += [f"{key} {device[key]}"] if device[key] else []
    for key in ("date", "commit"):
        facts += sorted({cell[key].partition("T")[0] for cell in cells})
    text = ", ".join(facts) + "."
    notes = [REHEARSAL] if content["rehearse"] else []
    notes += ["Networks and batches are tiny."] if content["tiny"] else []
    return " ".join([text, *notes])


def _lines(
    kind: str, cells: Mapping[str, Any], figures: Mapping[str, tuple[str, float]]
) -> Iterator[list[str]]:
    """Yields a line of text for each cell whose name begins with a kind."""
    for name, cell in cells.items():
        first, *place = name.split("/")
        if first != kind:
            continue
        if "error" in cell:
            error = cell["error"].replace("|", "/")
            yield [*place, f"failed: {error[:LONGEST]}", *[""] * (len(figures) - 1)]
            continue
        values = [(cell["figures"].get(key), by) for key, (_, by) in figures.items()]
        yield [*place, *(_number(v and v * by) for v, by in values)]


def _variants() -> list[tuple[str, str]]:
    return [(p, c) for p in grid.PRECISIONS for c in grid.COMPILERS]


def _hours(cells: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, run in hours.RUNS.items():
        line = [name, f"{hours.counts(run)[2]:,}"]
        for precision, compiler in _variants():
            parts = hours.parts(run, cells, precision, compiler)
            value = hours.estimate(run, parts)
            sign = "> " if value and None in parts else ""
            line.append(sign + _number(value))
        if set(line[2:]) != {"-"}:
            yield line


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _lay_out(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
