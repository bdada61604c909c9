"""Fixtures of the tests of whole runs, and a quick way past TensorFlow."""

import pathlib
import sys

import hypothesis
import pytest

import dreamerv2  # noqa: F401  says how TensorFlow computes, if it is loaded later

# The same examples each time; a machine with much to do is no fault of one.
hypothesis.settings.register_profile("patient", deadline=None, derandomize=True)
hypothesis.settings.load_profile("patient")


def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config):
    """Does not import whole files of TensorFlow tests for `-m "not tf"`."""
    if "not tf" in config.option.markexpr and collection_path.suffix == ".py":
        return "\npytestmark = pytest.mark.tf\n" in collection_path.read_text() or None
    return None


@pytest.fixture
def agents(monkeypatch):
    """Puts a recorder of calls in place of the agent; returns those that were made."""
    import dummies

    from dreamerv2 import agent

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
