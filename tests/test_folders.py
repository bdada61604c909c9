"""Where tests stand: those that need TensorFlow are in folders that say so."""

import ast
import collections
import functools
import pathlib
import re

import folders
import pytest
import source

HEAVY = {"tensorflow", "tensorflow_probability", "tf_keras", "keras"}
FILES = sorted(folders.TESTS.rglob("*.py"))
HELPERS = {path.stem: path for path in FILES if path.parent == folders.TESTS}


@functools.cache
def tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text())


def loads(path: pathlib.Path) -> set[str]:
    """Top-level packages that are loaded when a file of the tests is imported."""
    names = source.imported(tree(path), lazy=False)
    modules = source.closure(*source.ours(names))
    found = source.tops(names)
    found |= {n for m in modules for n in source.tops(source.imports(m, lazy=False))}
    helpers = [HELPERS[name] for name in names & set(HELPERS) if HELPERS[name] != path]
    return found.union(*map(loads, helpers))


def test_the_reading_of_tests_sees_what_their_helpers_load():
    assert "tensorflow" in loads(folders.TESTS / "algorithm" / "test_policy.py")
    assert "tensorflow" in loads(HELPERS["steady"])  # by way of dummies
    assert "ast" in loads(HELPERS["test_folders"])


def test_tests_load_tensorflow_only_in_its_folders():
    light = [
        path
        for path in FILES
        if path.name.startswith("test_") and not folders.need_tensorflow(path)
    ]
    assert light and len(light) < len(FILES)
    wrong = [str(p.relative_to(folders.TESTS)) for p in light if loads(p) & HEAVY]
    assert not wrong, "move these into a folder tf, or import inside of tests marked tf"


@pytest.mark.slow
def test_a_whole_file_is_marked_by_its_folder_alone():
    marked = [
        str(path.relative_to(folders.TESTS))
        for path in FILES
        for node in tree(path).body
        if ast.unparse(node) == "pytestmark = pytest.mark.tf"
        and not folders.need_tensorflow(path)
    ]
    assert not marked, "move these into a folder tf"


def test_no_test_is_skipped_because_a_module_of_ours_is_missing():
    """It would be skipped in silence once the module has another name."""
    skipping = re.compile(r"importorskip\(\s*.(common|dreamerv2|gym_minigrid)\b")
    guilty = [path for path in FILES if skipping.search(path.read_text())]
    assert not guilty, "import the module, or skip for the package that it needs"


def test_no_two_files_of_tests_have_one_name():
    """Folders of tests are no packages: pytest would refuse to collect the second."""
    names = collections.Counter(path.name for path in FILES)
    twice = [name for name, count in names.items() if count > 1]
    assert not [name for name in twice if name.startswith("test_")]
