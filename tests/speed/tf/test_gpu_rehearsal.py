"""The benchmark of a GPU on a CPU that plays it: every kind of cell runs to its end."""

import json
import math
import re

import pytest

from benchmarks.gpu import __main__ as benchmark

CELLS = (  # one of each kind
    *("environment/minigrid", "policy/tiny + P2E/16", "devices/tiny + P2E/16/2"),
    *("update/tiny + P2E/16/xla/loop", "loop/tiny + P2E/16/collecting meanwhile"),
    "verify/32/no xla",
)


@pytest.mark.slow
def test_a_rehearsal_measures_each_kind_once_and_then_has_nothing_to_do(
    tmp_path, capsys
):
    words = ["--rehearse", "--tiny", "--rounds", "1", "--out", str(tmp_path / "g.json")]
    words += ["--only", "^(" + "|".join(map(re.escape, CELLS)) + ")$"]
    assert benchmark.main(words) == 0
    first = json.loads((tmp_path / "g.json").read_text())
    assert sorted(first["cells"]) == sorted(CELLS)
    for name, cell in first["cells"].items():
        assert "error" not in cell, f"{name}: {cell['error']}"
        for figure, value in cell["figures"].items():
            if value is not None and not isinstance(value, list):
                assert math.isfinite(value) and value >= 0, f"{name}, {figure}"
    verified = first["cells"]["verify/32/no xla"]["figures"]
    assert verified["entries"] > 100 and verified["out of tolerance"] == 0
    shared = first["cells"]["devices/tiny + P2E/16/2"]["figures"]
    assert shared["update, median s"] > 0
    assert "A rehearsal" in capsys.readouterr().out
    assert benchmark.main(words) == 0
    assert json.loads((tmp_path / "g.json").read_text()) == first
