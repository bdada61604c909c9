"""Fixtures of the tests of whole runs, and a quick way past TensorFlow."""

import pathlib
import re
import sys

import hypothesis
import pytest

import dreamerv2  # noqa: F401  says how TensorFlow computes, if it is loaded later

# The same examples each time; a machine with much to do is no fault of one.
hypothesis.settings.register_profile("patient", deadline=None, derandomize=True)
hypothesis.settings.load_profile("patient")


def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config):
    """Does not import whole files of tests that `-m "not tf and not slow"` excludes."""
    if collection_path.suffix != ".py":
        return None
    excluded = re.findall(r"\bnot (\w+)", config.option.markexpr)
    marks = [f"\npytestmark = pytest.mark.{name}" for name in excluded]
    return any(mark in collection_path.read_text() for mark in marks) or None


@pytest.fixture
def agents(monkeypatch):
    """Puts a recorder of calls in place of the agent; returns those that were made."""
    import dummies

    from dreamerv2.algorithm import agent

    monkeypatch.setattr(agent, "Agent", dummies.Recorder)
    monkeypatch.setattr(dummies.Recorder, "made", [])
    monkeypatch.setattr(dummies.Recorder, "losses", {})
    monkeypatch.setattr(dummies.Recorder, "on_train", None)
    return dummies.Recorder.made


@pytest.fixture(autouse=True, scope="module")
def _graphs():
    """A file whose runs are eager leaves graphs to the next one."""
    yield
    if tensorflow := sys.modules.get("tensorflow"):
        tensorflow.config.run_functions_eagerly(False)
