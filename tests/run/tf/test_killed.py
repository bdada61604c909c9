"""A run that is killed at any moment and started again ends as if it never was.

DREAMERV2_KILLS=200 python -m pytest tests/run/tf/test_killed.py kills every pair of
strategies twenty times, and two hundred times with a recorder in the agent's place,
which is quick; without the variable it is one pair, three and ten times. A run that
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
PAIRS, OF_RECORDER = [("reservoir", "uncertainty")], [("fifo", "uniform")]
if KILLS:
    PAIRS = [
        *(("fifo", "uniform"), ("reservoir", "recent"), ("reservoir", "uncertainty")),
        *(("random_replacement", "reward"), ("coverage", "uniform")),
        *(("split", "uniform"), ("split", "uncertainty")),
    ]
    OF_RECORDER = [PAIRS[0], PAIRS[1], PAIRS[3]]  # it reads vectors and has no model


SCRIPT = pathlib.Path(killable.__file__)
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["killable"])


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """The server that forks finds what it loads beforehand, and is silent if not."""
    folders = (SCRIPT.parent, SCRIPT.parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))


def run(folder: pathlib.Path, words: tuple[str, ...]) -> int:
    """A run that nothing happens to, from a command; returns its number of moments."""
    command = [sys.executable, str(SCRIPT), str(folder), "0", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def kill(folder: pathlib.Path, moment: int, words: tuple[str, ...]) -> bool:
    """Goes on with a run until a moment; tells whether it came to its end before."""
    args = (str(folder), str(moment), *words)
    process = FORKS.Process(target=killable.main, args=args)
    process.start()
    process.join(200)
    assert process.exitcode in (-signal.SIGKILL, 0)
    return process.exitcode == 0


def check(folder: pathlib.Path, count: int, *words: str) -> None:
    """Kills runs so many times, and compares each with one that lived."""
    moments = run(folder / "whole", words)
    rng = np.random.default_rng(7)
    kills, ended = 0, 0
    while kills < count:
        killed = folder / f"killed{ended}"
        if not kill(killed, int(rng.integers(1, moments // 2)), words):
            kills += 1
            continue
        dummies.assert_same_end(folder / "whole", killed)
        ended += 1
    run(folder / f"killed{ended}", words)
    dummies.assert_same_end(folder / "whole", folder / f"killed{ended}")
    print(f"{kills} kills of {ended + 1} runs, each of {moments} moments")


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_killed_at_random_moments_a_run_ends_bit_by_bit_as_one_that_lived(
    tmp_path, pair
):
    check(tmp_path, KILLS // 10 or 3, *pair, "kill", "dreamer")


@pytest.mark.slow
@pytest.mark.parametrize("pair", OF_RECORDER, ids="+".join)
def test_so_does_a_run_with_a_recorder_in_the_agents_place(tmp_path, pair):
    check(tmp_path, KILLS or 10, *pair, "kill", "recorder")
