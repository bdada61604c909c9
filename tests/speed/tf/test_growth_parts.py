"""Each part of the benchmark of growth at a small size; nothing is timed."""

import math

import pytest

from benchmarks.growth import parts

SMALL = {"replay": 2000, "runs": 10, "plan": 4, "tasks": 2, "envs": 2, "shared": 1}


def test_each_part_has_a_small_size():
    assert SMALL.keys() == parts.PARTS.keys()


@pytest.mark.parametrize("name", parts.PARTS)
def test_a_part_measures_all_its_columns(name, monkeypatch):
    monkeypatch.setattr(parts, "STEPS", 20)
    monkeypatch.setattr(parts, "ROUNDS", 1)
    row = parts.PARTS[name].measure(SMALL[name])
    assert row and all(math.isfinite(value) and value >= 0 for value in row.values())
    assert any(value > 0 for value in row.values())
