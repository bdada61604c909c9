"""Fixtures of the tests of whole runs."""

import pytest


@pytest.fixture
def agents(monkeypatch):
    """Puts a recorder of calls in place of the agent; returns those that were made."""
    import dummies

    from dreamerv2 import agent

    monkeypatch.setattr(agent, "Agent", dummies.Recorder)
    monkeypatch.setattr(dummies.Recorder, "made", [])
    monkeypatch.setattr(dummies.Recorder, "losses", {})
    return dummies.Recorder.made
