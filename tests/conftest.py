"""Which tests need TensorFlow, and fixtures of the tests of whole runs."""

import pathlib
import sys

import folders
import hypothesis
import pytest

import dreamerv2  # noqa: F401  says how TensorFlow computes, if it is loaded later

# The same examples each time; a machine with much to do is no fault of one.
hypothesis.settings.register_profile("patient", deadline=None, derandomize=True)
hypothesis.settings.load_profile("patient")


def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config):
    """Imports nothing of these folders if `-m` excludes all of their tests."""
    wanted = config.option.markexpr
    excluded = " or " not in wanted and "not tf" in wanted.split(" and ")
    return (excluded and folders.need_tensorflow(collection_path)) or None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Gives the tests of these folders the mark `tf`."""
    if folders.need_tensorflow(item.path):
        item.add_marker("tf")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts files, slow ones first: with `-n` no long one is left for the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    heavy = {item.path for item in items if item.get_closest_marker("tf")}
    items.sort(key=lambda item: (item.path not in slow, item.path not in heavy))


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
