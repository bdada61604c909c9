"""Whatever fails once, the right command ends as if it had not, bit by bit.

A call that raises, a disk that is full from there on, Ctrl-C twice: at the moments that
`killable` counts, from the first of a start to the last of a run. Kills have a file of
their own, since they end the process. DREAMERV2_FAULTS=1 takes every moment; without
the variable it is every thirtieth.
"""

import contextlib
import os

import dummies
import killable
import pytest

EVERY = int(os.environ.get("DREAMERV2_FAULTS", 30))
SETTINGS = {**killable.SETTINGS, "expl_behavior": "greedy", "steps": 35}
RETENTION = {"full": "fifo", "error": "reservoir", "interrupt": "split"}


@pytest.fixture(autouse=True)
def recorder(agents):
    return agents


def run(folder, retention, fault="", moment=0):
    """Runs with a fault at a moment; returns how many moments there were."""
    moments = killable.Moments(moment, fault)
    with pytest.MonkeyPatch.context() as patch:
        moments.watch_all(patch.setattr)
        dummies.run(folder, dummies.Tapes(2), **SETTINGS, replay__retention=retention)
    return moments.count


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the faults
@pytest.mark.parametrize(("fault", "retention"), RETENTION.items())
def test_a_run_goes_on_exactly_after_any_fault(tmp_path, fault, retention):
    count = run(tmp_path / "whole", retention)
    again = run(tmp_path / "other", retention)
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "other")
    for moment in range(1 + len(fault), min(count, again), EVERY):
        folder = tmp_path / f"{moment}"
        with contextlib.suppress(OSError, RuntimeError, ValueError, KeyboardInterrupt):
            run(folder, retention, fault, moment)
        run(folder, retention)
        try:
            assert_same_end(tmp_path / "whole", folder)
        except AssertionError as error:
            raise AssertionError(f"{fault} at moment {moment} of {count}") from error


def assert_same_end(whole, folder):
    """Runs have ended alike; a snapshot may be missing that could not be written."""
    dummies.assert_same_end(whole, folder, replay=False)
    expected, found = dummies.stored(whole), dummies.stored(folder)
    assert found.items() <= expected.items()
    assert {f"train_replay/{name}" for name in dummies.needed(folder)} <= found.keys()
