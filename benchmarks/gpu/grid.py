"""The cells of the table: what is measured, each in a process of its own.

A cell is named by its kind, a function of `benchmarks.gpu.measure`, and by what varies:
`update/full + P2E/16/xla/loop`. Its case is that of `benchmarks.turns.cases` with a few
entries more; `settings` are keys of our configuration.
"""

import itertools
from typing import Any, NamedTuple

from benchmarks.turns import cases
from dreamerv2 import settings as settings_lib

PRECISIONS = ("32", "16", "bfloat16")
COMPILERS = {"no xla": False, "xla": True}
LOOPS = {"loop": False, "unrolled": True}
BATCHES = (1, 4, 16)  # environments that the policy acts for
GOLDEN = ["discrete", "continuous", "p2e"]  # folders of tests/golden
SUITES = {  # a task of each suite whose hours are told
    "minigrid": "minigrid_MiniGrid-LavaCrossingS9N1-v0",
    "minihack": "minihack_MiniHack-River-Monster-v0",
    "atari": "atari_pong",
}
TINY = dict(deter=8, hidden=8, cnn_depth=2, layers=1, units=8, stoch=3, classes=4)
TINY |= dict(batch=2, length=8, horizon=3)  # 16 frames for the policy
Case = dict[str, Any]


class Work(NamedTuple):
    """What an update computes."""

    size: str  # a key of `cases.SIZES`
    block: str = ""  # of configs.yaml, whose networks it has instead of the size's
    plan2explore: bool = False
    unrolled: bool = False  # whether loops are measured unrolled too


WORKS = {
    "small": Work("small", unrolled=True),
    "full": Work("full", unrolled=True),
    "full + P2E": Work("full", plan2explore=True, unrolled=True),
    "minihack": Work("full", "minihack"),
    "minihack + P2E": Work("full", "minihack", plan2explore=True),
    "atari": Work("full", "atari"),
}
TINY_WORKS = {"tiny + P2E": Work("small", plan2explore=True, unrolled=True)}


class Cell(NamedTuple):
    """One process."""

    kind: str
    name: str
    case: Case
    environment: dict[str, str] = {}  # variables that it gets


def networks(block: str) -> dict[str, Any]:
    """Returns what a block of configs.yaml says about the networks of the agent."""
    keys = ("rssm", r".*\.norm")
    found = settings_lib.configs[block] if block else {}
    return {key: found[key] for key in keys if key in found}


def make_case(work: Work, precision: str, tiny: bool, **settings: Any) -> Case:
    """Returns the case of some work in a precision, with further settings."""
    own = networks(work.block) | {"precision": precision} | settings
    case = cases.make_case(work.size, True, own) | (TINY if tiny else {})
    more = dict(rehearse=False, devices=int(settings.get("devices", 1)))
    return case | more | dict(plan2explore=work.plan2explore)


def make(devices: int, *, tiny: bool, rehearse: bool) -> list[Cell]:
    """Returns all cells, the quickest kinds first.

    Args:
      devices: How many GPUs there are.
      tiny: Whether networks and batches are as small as they can be, and one of them
        stands for all.
      rehearse: Whether a CPU plays the GPU, see `benchmarks.adapters.device`.
    """
    cells = [
        *_verify(tiny),
        *_environments(),
        *_policies(tiny),
        *_updates(tiny),
        *_shared_updates(devices, tiny),
        *_loops(tiny),
    ]
    always = dict(rehearse=rehearse, tiny=tiny)
    return [cell._replace(case=cell.case | always) for cell in cells]


def _verify(tiny: bool) -> list[Cell]:
    """Reference numbers: exact products in single precision, then as they come.

    From Ampere on GPUs round the factors of single-precision products to 10 bits (TF32)
    unless this variable forbids it.
    """
    exact = {"NVIDIA_TF32_OVERRIDE": "0"}
    kinds = [("32 without TF32", "32", 1, exact), ("32", "32", 100, {})]
    kinds += [(precision, precision, 1000, {}) for precision in PRECISIONS[1:]]
    folders = GOLDEN[:1] if tiny else GOLDEN
    return [
        Cell(
            "verify",
            f"verify/{name}/{compiler}",
            dict(
                precision=precision, scale=scale, jit_compile=compiled, folders=folders
            ),
            variables,
        )
        for name, precision, scale, variables in kinds
        for compiler, compiled in COMPILERS.items()
        if not (tiny and compiled)
    ]


def _environments() -> list[Cell]:
    return [
        Cell("environment", f"environment/{suite}", dict(suite=suite, task=task))
        for suite, task in SUITES.items()
    ]


def _policies(tiny: bool) -> list[Cell]:
    works = TINY_WORKS if tiny else {k: WORKS[k] for k in ("small", "full", "atari")}
    return [
        Cell("policy", f"policy/{name}/{precision}", make_case(work, precision, tiny))
        for name, work in works.items()
        for precision in PRECISIONS
    ]


def _updates(tiny: bool) -> list[Cell]:
    found = []
    for name, work in (TINY_WORKS if tiny else WORKS).items():
        for loop, precision, compiler in itertools.product(
            LOOPS, PRECISIONS, COMPILERS
        ):
            settings = dict(jit_compile=COMPILERS[compiler], unroll=LOOPS[loop])
            if settings["unroll"] and not work.unrolled:
                continue
            if settings["unroll"] and tiny and precision != "16":
                continue  # they take long to compile; one stands for all
            case = make_case(work, precision, tiny, **settings)
            cell = Cell("update", f"update/{name}/{precision}/{compiler}/{loop}", case)
            found.append(cell)
    return found


def _shared_updates(devices: int, tiny: bool) -> list[Cell]:
    """Updates that GPUs share: as many as there are and divide the batch."""
    name, work = ("tiny + P2E", TINY_WORKS["tiny + P2E"]) if tiny else ("full", None)
    work = work or WORKS[name]
    rows = (TINY if tiny else cases.ALWAYS)["batch"]
    counts = [n for n in range(2, devices + 1) if rows % n == 0]
    return [
        Cell(
            "update",
            f"devices/{name}/{precision}/{count}",
            make_case(work, precision, tiny, devices=count),
        )
        for count in counts
        for precision in PRECISIONS[:2]
    ]


def _loops(tiny: bool) -> list[Cell]:
    """The whole program on MiniGrid, one after the other and at the same time."""
    works = TINY_WORKS if tiny else {"full": WORKS["full"]}
    return [
        Cell(
            "loop",
            f"loop/{name}/{precision}/{'collecting meanwhile' if both else 'in turn'}",
            make_case(work, precision, tiny, collect_during_update=both),
        )
        for name, work in works.items()
        for precision in PRECISIONS[:2]
        for both in (False, True)
    ]
