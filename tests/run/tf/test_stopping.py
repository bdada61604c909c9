"""Signals stop a run between two steps, with everything saved."""

import os
import signal

import dummies
import pytest

from dreamerv2.run import stopping


@pytest.fixture(autouse=True)
def recorder(agents):
    """In place of the agent."""
    return agents


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_signal_is_remembered_once_and_stops_at_once_the_second_time(number, capsys):
    before = signal.getsignal(number)
    with stopping.StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop and stop.name == signal.Signals(number).name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    assert "saving" in capsys.readouterr().out


@pytest.mark.parametrize("moment", [7, 26, 55])
def test_stopped_by_a_signal_a_run_goes_on_to_the_same_end(tmp_path, moment, capsys):
    dummies.run(tmp_path / "whole", dummies.Tapes(2))

    class Signalling(dummies.Walk):
        def step(self, action):
            if len(dummies.steps(tapes.train[0]) + dummies.steps(tapes.train[1])) == (
                moment
            ):
                os.kill(os.getpid(), signal.SIGTERM)
            return super().step(action)

    tapes = dummies.Tapes(2, Signalling)
    dummies.run(tmp_path / "stopped", tapes)
    assert dummies.snapshot(tmp_path / "stopped")[0]["step"] == moment + 1
    assert f"SIGTERM: stopped at step {moment + 1} of 80" in capsys.readouterr().out
    dummies.run(tmp_path / "stopped", dummies.Tapes(2))
    dummies.assert_same_end(tmp_path / "whole", tmp_path / "stopped")
