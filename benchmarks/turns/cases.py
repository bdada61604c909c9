"""What is measured: sizes of the networks, kinds of actions, implementations.

A case is a dict of plain values, which every adapter understands on its own terms:
`size` and its numbers `deter`, `hidden`, `cnn_depth`, `layers`, `units`, `stoch`,
`classes`; `batch` x `length` frames of 64x64x3, imagination over `horizon` steps;
`discrete` actions or continuous ones, `action_size` of them; `plan2explore`; and
`settings`, keys and values of our configuration, for our own implementation alone. A
policy has `rows`, environments stepped together, and `evaluate`.
"""

import argparse
import contextlib
import datetime
import os
import pathlib
import platform
import sys
from typing import Any, NamedTuple

from benchmarks.turns import inturn

SIZES: dict[str, dict[str, int]] = {
    "small": dict(deter=200, hidden=200, cnn_depth=16, layers=2, units=200),
    "full": dict(deter=1024, hidden=1024, cnn_depth=48, layers=4, units=400),
}
ALWAYS = dict(stoch=32, classes=32, batch=16, length=50, horizon=15, action_size=7)
INSTRUCTIONS = ("amx_bf16", "avx512_vnni", "avx512f", "avx2", "avx")  # best first
Case = dict[str, Any]


class Variant(NamedTuple):
    """One column of a table."""

    source: inturn.Source
    case: Case
    suffix: str  # of the implementation's name


def make_case(size: str, discrete: bool, settings: dict[str, str]) -> Case:
    """Returns the case of a size and a kind of actions, without Plan2Explore."""
    case = dict(size=size, **SIZES[size], **ALWAYS, discrete=discrete)
    return case | dict(plan2explore=False, settings=settings)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that all benchmarks of the agent share."""
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["full"])
    parser.add_argument(
        "--plan2explore", action="store_true", help="measure it with and without"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--vary",
        nargs="+",
        default=[],
        metavar="KEY=VALUE[,KEY=VALUE]",
        help="ours with other settings, in the same rounds",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        type=pathlib.Path,
        default=[],
        metavar="ADAPTER",
        help="another implementation, in the same rounds, see benchmarks/turns/host.py",
    )
    text = "the interpreter for --against: one for all, or one for each"
    parser.add_argument("--python", nargs="+", default=[sys.executable], help=text)
    parser.add_argument(
        "--path", type=pathlib.Path, help="a folder on the import path of --against"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses and checks the flags; `set` and `vary` become dicts."""
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds is {args.rounds}; give at least 1.")
    for file in args.against:
        if not file.is_file():
            parser.error(f"--against: there is no file {file}.")
    if len(args.python) == 1:
        args.python *= len(args.against)
    if len(args.python) != len(args.against):
        parser.error(
            f"--python names {len(args.python)} interpreters for {len(args.against)} "
            "of --against; give one, or one for each."
        )
    if args.path and not args.path.is_dir():
        parser.error(f"--path: there is no folder {args.path}.")
    try:
        args.settings = _settings(args.set)
        args.variations = {text: _settings(text.split(",")) for text in args.vary}
    except ValueError as error:
        parser.error(str(error))
    return args


def _settings(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{pair!r} is no setting; write KEY=VALUE.")
    return dict(pair.split("=", 1) for pair in pairs)


def variants(args: argparse.Namespace, case: Case) -> list[Variant]:
    """Returns ours, ours with what is varied, and the others."""
    path = args.path and args.path.resolve()
    found = [Variant(inturn.Source(), case, "")]
    for text, settings in args.variations.items():
        varied = case | {"settings": case["settings"] | settings}
        found.append(Variant(inturn.Source(), varied, f" {text}"))
    for file, python in zip(args.against, args.python, strict=True):
        source = inturn.Source(file.resolve(), python, path)
        suffix = f" of {args.path.name}" if args.path else ""
        found.append(Variant(source, case, suffix))
    if args.plan2explore:
        found += [
            v._replace(case=v.case | {"plan2explore": True}, suffix=f"{v.suffix} + P2E")
            for v in found
        ]
    return found


def circumstances() -> dict[str, Any]:
    """Returns when and on what was measured."""
    return {
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": machine(),
    }


def machine() -> str:
    """Returns the CPU's name, its best instructions for products, and their number."""
    facts: dict[str, str] = {}
    with contextlib.suppress(OSError):  # not Linux
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            facts[key.strip()] = value.strip()
    known = facts.get("flags", "").split()
    best = [name for name in INSTRUCTIONS if name in known][:1]
    name = facts.get("model name", platform.machine())
    return ", ".join([name, *best, f"{os.cpu_count()} CPUs"])
