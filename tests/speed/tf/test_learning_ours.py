"""A whole run by the adapter of our own agent."""

import importlib
import sys

import numpy as np
import pytest

from benchmarks.adapters import ours
from benchmarks.learning import runs
from dreamerv2.algorithm import agent

TINY = ["time_limit=10", "steps=60", "prefill=30", "deter=8", "hidden=8", "stoch=2"]
TINY += ["classes=2", "cnn_depth=1", "layers=1", "units=4", "batch=2", "length=4"]
TINY += ["horizon=2", "minlen=2", "maxlen=4"]


@pytest.mark.slow
def test_a_run_has_the_settings_of_its_case_and_tells_each_return(tmp_path):
    case = runs.parse_case(TINY) | {"settings": {}, "seed": 5, "folder": str(tmp_path)}
    training = ours.make_training(case)
    for key, value in {
        **{"seed": 5, "replay.maxlen": 4, "critic_opt.lr": 3e-4, "dataset.batch": 2},
        **{"actor.units": 4, "rssm.discrete": 2, "imag_horizon": 2, "prefill": 30},
    }.items():
        assert training.info["settings"][key] == value
    training()
    steps = [step for step, _ in training.info["returns"]]
    assert steps == sorted(steps) and 50 < steps[-1] <= 60  # ten steps at most
    assert max(b - a for a, b in zip([0, *steps], steps, strict=False)) <= 10


@pytest.mark.parametrize(
    ("adapter", "given"), [("swapped", [[3], [1], [2]]), ("fresh", None)]
)
def test_an_adapter_gives_the_rows_another_state(adapter, given, monkeypatch):
    seen = []

    def record(self, batch, state, *, step):
        seen.append((state, step))

    monkeypatch.setattr(agent.Agent, "train", record)
    module = f"benchmarks.adapters.{adapter}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.import_module(module)
    agent.Agent.train(None, {}, None, step=3)
    agent.Agent.train(None, {}, {"deter": np.array([[1], [2], [3]])}, step=4)
    (first, _), (then, step) = seen
    assert first is None and step == 4
    assert (then and then["deter"].tolist()) == given
