"""Metrics of many runs: grouped by benchmark and method, compared with single tasks.

A benchmark is a list of trained tasks and the frames at which each ends. Only finished
runs enter a number. Shapes: R runs of a method, T tasks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from common.config import kinds
from common.curves import continual as continual_lib
from common.curves import evaluations, intervals
from dreamerv2.report import runs as runs_lib

_LONGEST = 48  # characters of a method's name in a table
SIGNALS = {name.removeprefix("eval_"): name for name in runs_lib.METRICS}


class Measure(NamedTuple):
    """What a column of the table means."""

    title: str
    better: str
    meaning: str


MEASURES = {
    "performance": Measure(
        "performance",
        "higher",
        "value of each task at the end of the run, averaged over the tasks",
    ),
    "forgetting": Measure(
        "forgetting",
        "lower",
        "value of each task at the end of its own training minus that at the end of "
        "the run, averaged over the tasks (the last one counts 0); negative: the task "
        "got better afterwards",
    ),
    "forward_transfer": Measure(
        "forward transfer",
        "higher",
        "how much better a task is learned after the others than by an agent that "
        "learns it alone: (AUC - AUC alone) / (1 - AUC alone), AUC the mean evaluation "
        "while the task is trained; 0 is no effect, below 0 the others got in the way",
    ),
    "forward_transfer_reference": Measure(
        "forward transfer (released)",
        "higher",
        "the same as the paper's released script computed it, divided by (1 - AUC) of "
        "the run itself",
    ),
    "zero_shot_transfer": Measure(
        "zero-shot transfer",
        "higher",
        "value of a task just before its own training, minus its value at the run's "
        "first evaluation, averaged over all tasks but the first",
    ),
    "max_forgetting": Measure(
        "max forgetting",
        "lower",
        "the best value of each task at any evaluation minus that at the end of the "
        "run, averaged over the tasks; never negative",
    ),
    "worst": Measure(
        "worst task",
        "higher",
        "the least value of all tasks at the end of the run",
    ),
    "worst_half": Measure(
        "worst in the second half",
        "higher",
        "the least value of all evaluations in the second half of the run, of tasks "
        "whose (first) training had ended by then",
    ),
}
_OVER_TASKS = ("performance", "forward_transfer", "forward_transfer_reference")


class Aggregate(NamedTuple):
    """A measure over the runs of a method; nan where it is not defined.

    One run has neither a deviation nor an interval.
    """

    mean: float
    std: float
    iqm: float
    low: float
    high: float
    runs: tuple[float, ...]


@dataclass(frozen=True)
class Reference:
    """Single-task runs that one task of a method is compared with.

    Attributes:
      method: of the single-task runs.
      seeds: of these.
      total: frames of the shortest of them.
      differing: keys of the configuration that differ from the continual run's.
      curves: signal -> the curves of the seeds.
    """

    method: str
    seeds: tuple[str, ...]
    total: int
    differing: tuple[str, ...]
    curves: Mapping[str, tuple[evaluations.Curve, ...]]


@dataclass
class Method:
    """The runs of one method on one benchmark, and what they came to.

    Attributes:
      name: the method.
      label: what to call it: its name, or its tag and a number if that is long.
      finished: runs that enter the numbers.
      unfinished: runs that do not.
      references: task -> what it is compared with, of the tasks that have such runs.
      scores: signal -> measure -> [R, T], or [R, 1] for what has no terms by task.
      table: signal -> measure -> aggregate over the runs.
      matrices: signal -> [R, 1 + phases, evaluated tasks].
    """

    name: str
    label: str = ""
    finished: list[runs_lib.Record] = field(default_factory=list)
    unfinished: list[runs_lib.Record] = field(default_factory=list)
    references: dict[str, Reference] = field(default_factory=dict)
    scores: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    table: dict[str, dict[str, Aggregate]] = field(default_factory=dict)
    matrices: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Benchmark:
    """All methods that were run on the same tasks for the same steps."""

    tasks: tuple[str, ...]
    ends: tuple[tuple[int, int], ...]
    methods: dict[str, Method] = field(default_factory=dict)

    @property
    def continual(self) -> bool:
        """Whether there is more than one task."""
        return len(self.tasks) > 1

    @property
    def signals(self) -> list[str]:
        """What its finished runs have been measured in."""
        found = [signal for m in self.methods.values() for signal in m.table]
        return [signal for signal in SIGNALS if signal in found]

    def records(self) -> list[runs_lib.Record]:
        """Its finished runs."""
        return [run for method in self.methods.values() for run in method.finished]


def evaluate(
    records: Sequence[runs_lib.Record], clip_negative: bool = False
) -> list[Benchmark]:
    """Groups runs and computes every measure; benchmarks of several tasks come first.

    Args:
      records: all runs; those on one task are references for the others.
      clip_negative: counts negative values as 0, as the paper's tables do.
    """
    found: dict[tuple, Benchmark] = {}
    for record in records:
        key = record.trained, record.ends
        benchmark = found.setdefault(key, Benchmark(*key))
        method = benchmark.methods.setdefault(record.method, Method(record.method))
        (method.unfinished if record.fault else method.finished).append(record)
    benchmarks = sorted(found.values(), key=lambda b: not b.continual)
    for benchmark in benchmarks:
        for method in benchmark.methods.values():
            if method.finished and benchmark.continual:
                method.references = _references(method.finished[0], records)
            if method.finished:
                _measure(method, benchmark, clip_negative)
    _label([m for benchmark in benchmarks for m in benchmark.methods.values()])
    return benchmarks


def _label(methods: Sequence[Method]) -> None:
    """Gives methods their labels; one of several benchmarks has one label in all."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(method.name for method in methods):
        groups.setdefault(name.partition(" (")[0], []).append(name)
    for method in methods:
        base = method.name.partition(" (")[0]
        names = groups[base]
        long = names != [base] and max(map(len, names)) > _LONGEST
        number = names.index(method.name) + 1
        method.label = f"{base} [{number}]" if long else method.name


def _measure(method: Method, benchmark: Benchmark, clip: bool) -> None:
    """Fills in scores, table and matrices of a method."""
    count = len(benchmark.tasks)
    for signal, metric in SIGNALS.items():
        runs = [run.curves(metric) for run in method.finished]
        if not all(k in found for found in runs for k in range(count)):
            continue
        scores: dict[str, list[np.ndarray]] = {}
        matrices = []
        known = [method.references.get(task) for task in benchmark.tasks]
        alone = [ref and ref.curves.get(signal) for ref in known]
        areas: list[float] = []
        if all(alone):
            first = method.finished[0].first_ends
            areas = continual_lib.reference_areas(first, alone, clip).tolist()
        for run, found in zip(method.finished, runs, strict=True):
            terms = _terms(run, found, areas, clip)
            matrices.append(terms.pop("matrix"))
            for name, values in terms.items():
                scores.setdefault(name, []).append(values)
        method.scores[signal] = {k: np.stack(v) for k, v in scores.items()}
        method.matrices[signal] = _stacked(matrices)
        method.table[signal] = {
            name: aggregate(name, values)
            for name, values in method.scores[signal].items()
        }


def _terms(
    run: runs_lib.Record,
    found: Mapping[int, evaluations.Curve],
    alone: Sequence[float],
    clip: bool,
) -> dict[str, np.ndarray]:
    """The terms by task of every measure that is defined for one run, and its matrix.

    `alone` has the AUC of the references, or nothing if a task has none.

    With several rounds through the tasks, forgetting counts from the end of a task's
    last training, and transfer looks at its first.
    """
    cm, ends = continual_lib, run.last_ends
    ours = [found[k] for k in range(len(run.trained))]
    # A task that is evaluated only and has no value is a column of nan.
    matrix = np.full((1 + len(run.ends), len(run.tasks)), np.nan)
    columns = list(found)
    phases = [end for _, end in run.ends]
    matrix[:, columns] = cm.task_matrix(list(found.values()), phases, clip)
    terms = {
        "performance": cm.task_performance(ours, ends, clip),
        "forgetting": cm.task_forgetting(ours, ends, clip),
        "max_forgetting": cm.task_max_forgetting(ours, ends, clip),
        "worst": np.array([cm.worst_performance(ours, ends, clip)]),
        "worst_half": np.array([cm.worst_in_second_half(ours, phases, clip)]),
        "matrix": matrix,
    }
    if len(ours) == 1:
        return {key: terms[key] for key in ("performance", "matrix")}
    first = run.first_ends
    if alone:
        terms["forward_transfer"] = cm.task_forward_transfer(ours, first, alone, clip)
        terms["forward_transfer_reference"] = cm.task_forward_transfer_reference(
            ours, first, alone, clip
        )
    rows = matrix[: 1 + len(ours), : len(ours)]
    terms["zero_shot_transfer"] = np.array([cm.zero_shot_transfer(rows)])
    return terms


def _stacked(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """[R, rows, columns]; runs that were evaluated on fewer tasks have nan there."""
    columns = max(matrix.shape[1] for matrix in matrices)
    return np.stack(
        [
            np.pad(m, ((0, 0), (0, columns - m.shape[1])), constant_values=np.nan)
            for m in matrices
        ]
    )


def aggregate(name: str, scores: np.ndarray) -> Aggregate:
    """Mean and deviation over runs; interquartile mean with its 95 % interval.

    Args:
      name: the measure. The interquartile mean of `performance` and of the forward
        transfers is over all runs and tasks, strata of the bootstrap being the tasks;
        that of the others is over runs, as some of their terms are 0 by definition.
      scores: [R, T] or [R, 1].
    """
    runs = scores.mean(axis=1)
    mean, std = intervals.mean_std(runs)
    values = scores if name in _OVER_TASKS else runs
    nan = float("nan")
    if not np.isfinite(scores).all():
        return Aggregate(mean, std, nan, nan, nan, tuple(runs.tolist()))
    if len(runs) == 1:
        iqm = intervals.interquartile_mean(values)
        return Aggregate(mean, nan, iqm, nan, nan, tuple(runs.tolist()))
    interval = intervals.stratified_bootstrap(values, np.random.default_rng(0))
    return Aggregate(mean, std, *interval, tuple(runs.tolist()))


def _references(
    run: runs_lib.Record, records: Iterable[runs_lib.Record]
) -> dict[str, Reference]:
    """For each task the finished single-task runs that are nearest to a continual run.

    They train on the task for at least as many steps. Of several methods the one whose
    configuration differs in the fewest keys is taken; of equals the first by name.
    """
    found = {}
    first = dict(zip(run.trained, run.intervals, strict=False))
    for task, (_, start, end) in first.items():
        groups: dict[tuple, list[runs_lib.Record]] = {}
        for other in records:
            if other.trained == (task,) and not other.fault:
                if other.total >= end - start:
                    keys = _differing(run.settings, other.settings)
                    groups.setdefault((len(keys), other.method, keys), []).append(other)
        if groups:
            (_, method, keys), runs = min(groups.items(), key=lambda item: item[0])
            found[task] = Reference(
                method,
                tuple(other.seed for other in runs),
                min(other.total for other in runs),
                keys,
                {
                    signal: tuple(other.curves(metric)[0] for other in runs)
                    for signal, metric in SIGNALS.items()
                    if all(0 in other.curves(metric) for other in runs)
                },
            )
    return found


def _differing(one: Mapping, other: Mapping) -> tuple[str, ...]:
    """Keys that both have, with different values, and that say how a run learns."""
    return tuple(
        sorted(
            key
            for key in set(one) & set(other)
            if str(one[key]) != str(other[key])
            and kinds.makes_another_method(key)
            and not kinds.is_one_of(key, kinds.SCHEDULE)
        )
    )
