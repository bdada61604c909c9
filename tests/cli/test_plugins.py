"""Laws of how a user's own parts are found."""

import sys

import pytest

from common import config as config_lib
from common.config import plugins

KNOWN = {"fifo": 1, "reservoir": 2}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the given text; it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(text)
        return tmp_path / f"{name}.py"

    return write


def test_a_name_of_ours_is_taken_from_the_table():
    assert plugins.choose("replay.retention", "fifo", KNOWN) == 1


def test_a_part_is_found_by_module_or_file_and_name(module):
    path = module("own_parts", "PART = 3\n")
    for name in ("own_parts:PART", f"{path}:PART"):
        assert plugins.choose("replay.retention", name, KNOWN) == 3


def test_a_module_of_plugins_is_imported_once_whichever_way_it_is_named(module):
    path = module(
        "own_counter", "import sys\nsys.imported = getattr(sys, 'imported', 0) + 1\n"
    )
    try:
        plugins.load([str(path), "own_counter", str(path)])
        assert sys.imported == 1
    finally:
        del sys.imported


def test_another_process_finds_a_module_by_its_name_or_by_its_file(module):
    path = module("own_file", "PART = 1\n")
    module("own_name", "PART = 2\n")
    for name in (str(path), "own_name"):
        plugins.find_module(name)
    assert plugins.reference("own_file") == str(path)
    assert plugins.reference("own_name") == "own_name"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fifi", r"Unknown replay.retention 'fifi'.*fifo"),
        ("nowhere_at_all:Part", "nowhere_at_all.*cannot be imported"),
        ("own_broken:Part", r"ZeroDivisionError: .*, in .*own_broken.py, line 1"),
        ("own_exit:Part", r"own_exit.*it exits, with 'enough'.*__main__"),
        ("own_whole:Prat", "has no 'Prat'.*Part"),
        ("json.py:Part", "another module is called json|cannot be imported"),
    ],
)
def test_what_is_not_there_is_named_with_the_way_out(module, name, message):
    module("own_broken", "1 / 0\n")
    module("own_exit", "raise SystemExit('enough')\n")
    module("own_whole", "Part = 1\n")
    with pytest.raises(config_lib.ConfigError, match=message):
        plugins.choose("replay.retention", name, KNOWN)
    assert "own_broken" not in sys.modules


def test_paths_hold_from_any_folder_and_nothing_else_is_touched(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    here = {
        "own.py": f"{tmp_path}/own.py",
        "own.py:Mine": f"{tmp_path}/own.py:Mine",
        "../own.py": f"{tmp_path.parent}/own.py",
    }
    for value, expected in here.items():
        assert plugins.absolute(value) == expected
        assert plugins.absolute((value, "own")) == (expected, "own")
    for value in ("own:Mine", "fifo", "", "a.py.b", 1, False, 0.5, ()):
        assert plugins.absolute(value) is value
