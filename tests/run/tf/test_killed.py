"""A run that is killed at any moment and started again ends as if it never was.

DREAMERV2_KILLS=20 python -m pytest tests/run/tf/test_killed.py kills every pair of
strategies twenty times; without the variable one pair is killed three times.
"""

import os
import pathlib
import signal
import subprocess
import sys

import dummies
import numpy as np
import pytest

KILLS = int(os.environ.get("DREAMERV2_KILLS", 0))
PAIRS = [("reservoir", "uncertainty")]
if KILLS:
    PAIRS = [
        *(("fifo", "uniform"), ("reservoir", "recent"), ("reservoir", "uncertainty")),
        *(("random_replacement", "reward"), ("coverage", "uniform")),
        *(("split", "uniform"), ("split", "uncertainty")),
    ]


def run(folder: pathlib.Path, moment: int, pair: tuple[str, str]):
    script = pathlib.Path(__file__).resolve().parents[2] / "killable.py"
    environment = {**os.environ, "PYTHONPATH": str(script.parent.parent)}
    command = [sys.executable, str(script), str(folder), str(moment), *pair, "kill"]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_killed_at_random_moments_a_run_ends_bit_by_bit_as_one_that_lived(
    tmp_path, pair
):
    whole = run(tmp_path / "whole", 0, pair)
    assert whole.returncode == 0, whole.stderr
    moments = int(whole.stdout.split()[-1])
    rng = np.random.default_rng(7)
    for _ in range(KILLS or 3):
        killed = run(tmp_path / "killed", int(rng.integers(1, moments)), pair)
        assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    last = run(tmp_path / "killed", 0, pair)
    assert last.returncode == 0, last.stderr
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "killed")
