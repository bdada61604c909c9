"""A run that is killed at any moment and started again ends as if it never was.

DREAMERV2_KILLS=20 python -m pytest tests/run/tf/test_killed.py kills every pair of
strategies twenty times; without the variable one pair is killed three times. A run that
comes to its end is compared, and another one begins. The processes that are killed are
forked from one that has imported everything.
"""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys

import dummies
import killable
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


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["killable"])


def run(folder: pathlib.Path, pair: tuple[str, str]) -> int:
    """A run that nothing happens to, from a command; returns its number of moments."""
    script = pathlib.Path(__file__).resolve().parents[2] / "killable.py"
    environment = {**os.environ, "PYTHONPATH": str(script.parent.parent)}
    command = [sys.executable, str(script), str(folder), "0", *pair, "kill"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def kill(folder: pathlib.Path, moment: int, pair: tuple[str, str]) -> bool:
    """Goes on with a run until a moment; tells whether it came to its end before."""
    words = (str(folder), str(moment), *pair, "kill")
    process = FORKS.Process(target=killable.main, args=words)
    process.start()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0)
    return process.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_killed_at_random_moments_a_run_ends_bit_by_bit_as_one_that_lived(
    tmp_path, pair
):
    moments = run(tmp_path / "whole", pair)
    rng = np.random.default_rng(7)
    kills, ended = 0, 0
    while kills < (KILLS or 3):
        folder = tmp_path / f"killed{ended}"
        if not kill(folder, int(rng.integers(1, moments // 2)), pair):
            kills += 1
            continue
        dummies.assert_same_end(tmp_path / "whole", folder)
        ended += 1
    run(tmp_path / f"killed{ended}", pair)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / f"killed{ended}")
    print(f"{kills} kills of {ended + 1} runs, each of {moments} moments")
