"""What docs/algorithm.md and docs/numerics.md point to is there."""

import re

import numpy as np
import pytest
import source

from dreamerv2 import settings

GOLDEN = source.ROOT / "tests" / "golden"
CASES = ("discrete", "continuous", "p2e")
CODE = re.compile(r"`([^`\n]+)`")
ALGORITHM = (source.ROOT / "docs" / "algorithm.md").read_text()
NUMERICS = (source.ROOT / "docs" / "numerics.md").read_text()


def rows(heading):
    """The rows of all tables with a column of that name, as dicts of cells."""
    names, found = [], []
    for line in ALGORITHM.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            names = []
        elif not names:
            names = cells
        elif heading in names and not set(line) <= set("|-"):
            found.append(dict(zip(names, cells, strict=True)))
    return found


def entries():
    """The names of all reference numbers, by case."""
    found = {}
    for case in CASES:
        with np.load(GOLDEN / case / "expected.npz") as file:
            found[case] = file.files
    return found


def defined(name, text):
    """Whether a file defines a class or function, or a method of a class."""
    owner, _, attribute = name.rpartition(".")
    if owner:
        body = re.split(rf"^class {owner}\b", text, flags=re.M)[1:]
        text = (
            re.split(r"^(?=\S)", body[0].partition("\n")[2], flags=re.M)[0]
            if body
            else ""
        )
    return re.search(rf"^\s*(def|class) {attribute}\b", text, re.M)


@pytest.mark.parametrize("row", rows("here"), ids=lambda row: next(iter(row.values())))
def test_the_code_of_an_equation_is_in_the_file_beside_it(row):
    named = CODE.findall(row["here"])
    files = [name for name in named if name.endswith(".py")]
    texts = [(source.ROOT / name).read_text() for name in files]
    functions = [name for name in named if name not in files]
    assert files and functions
    for name in functions:
        assert any(defined(name, text) for text in texts), f"{name} is not in {files}"


def test_the_keys_of_an_equation_are_settings():
    named = [key for row in rows("keys") for key in CODE.findall(row["keys"])]
    keys = [name for name in named if not name.startswith("--")]
    assert len(keys) > 50
    assert not sorted(set(keys) - set(settings.defaults.flat))


def test_what_holds_an_equation_is_a_file_of_tests_or_a_group_of_reference_numbers():
    names = {name for each in entries().values() for name in each}
    for row in rows("held by"):
        held = CODE.findall(row["held by"])
        assert held, row
        for name in held:
            if name.startswith("tests/"):
                assert (source.ROOT / name).is_file(), name
            else:
                assert any(each.startswith(name) for each in names), name


def test_the_block_reference_sets_what_its_page_tells():
    text = ALGORITHM.partition("`--configs reference` sets")[2].partition("\n\n")[0]
    told = set(CODE.findall(text)) & set(settings.defaults.flat)
    assert told == set(settings.configs["reference"])


def test_the_reference_numbers_are_as_many_as_the_page_tells():
    counts = {case: len(names) for case, names in entries().items()}
    for case, count in counts.items():
        assert f"| `{case}` | {count} |" in NUMERICS
    assert f"{sum(counts.values())} reference numbers" in NUMERICS
