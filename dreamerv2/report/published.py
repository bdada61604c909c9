"""Published figures of continual learning, to stand beside one's own.

Kessler et al., "The Effectiveness of World Models for Continual Reinforcement Learning"
(CoLLAs 2023), Tables 1 and 2: returns, negative ones counted as 0.
"""

from typing import NamedTuple

MEASURES = ("performance", "forgetting", "forward_transfer")


class Figure(NamedTuple):
    """Mean over seeds and standard deviation; None where the paper gives none."""

    mean: float
    std: float | None


class Table(NamedTuple):
    """A benchmark of the paper.

    Attributes:
      name: what it is called.
      tasks: ids in the order of training.
      steps: environment steps of each task.
      seeds: of each method.
      rows: method -> figures in the order of MEASURES.
    """

    name: str
    tasks: tuple[str, ...]
    steps: int
    seeds: int
    rows: dict[str, tuple[Figure, Figure, Figure]]


def _row(*values: float | tuple[float, float]) -> tuple[Figure, Figure, Figure]:
    pairs = (v if isinstance(v, tuple) else (v, None) for v in values)
    performance, forgetting, transfer = (Figure(*pair) for pair in pairs)
    return performance, forgetting, transfer


TABLES = (
    Table(
        "MiniGrid-3",
        (
            "MiniGrid-DoorKey-9x9-v0",
            "MiniGrid-LavaCrossingS9N1-v0",
            "MiniGrid-SimpleCrossingS9N1-v0",
        ),
        750_000,
        20,
        {
            "Impala": _row((0.00, 0.00), (0.00, 0.00), (0.00, 0.00)),
            "CLEAR": _row((0.03, 0.05), (0.01, 0.06), (0.03, 0.03)),
            "DreamerV2": _row((0.72, 0.24), (-0.11, 0.30), (0.49, 0.83)),
            "DreamerV2 + P2E": _row((0.46, 0.10), (0.05, 0.18), (0.43, 0.22)),
        },
    ),
    Table(
        "MiniHack-8",
        (
            "MiniHack-Room-Random-15x15-v0",
            "MiniHack-Room-Monster-15x15-v0",
            "MiniHack-Room-Trap-15x15-v0",
            "MiniHack-Room-Ultimate-15x15-v0",
            "MiniHack-River-Narrow-v0",
            "MiniHack-River-v0",
            "MiniHack-River-Monster-v0",
            "MiniHack-HideNSeek-v0",
        ),
        1_000_000,
        5,
        {
            "base": _row(0.09, 0.37, 0.56),
            "P2E": _row(0.28, 0.13, 0.11),
            "P2E, model learned from observations only": _row(0.39, 0.19, 0.87),
            "the same, one policy for exploration and evaluation": _row(
                0.38, 0.22, 0.76
            ),
        },
    ),
)


def find(
    tasks: tuple[str, ...], ends: tuple[tuple[int, int], ...]
) -> tuple[Table | None, bool]:
    """The paper's table for these tasks.

    Args:
      tasks: ids in the order of training.
      ends: (task, frame of its end) of each stretch of training.

    Returns:
      The table, None if the paper has none for these tasks; and whether the runs have
      its budget, so that the figures may be compared.
    """
    for table in TABLES:
        if table.tasks == tasks:
            steps = [(k, (k + 1) * table.steps) for k in range(len(tasks))]
            return table, list(ends) == steps
    return None, False
