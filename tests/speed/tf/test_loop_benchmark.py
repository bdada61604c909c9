"""The benchmark of the loop measures a run, and counts what it says."""

import dummies
import numpy as np
import pytest

from benchmarks import loop as benchmark


def test_shares_and_the_rest_add_up_and_rounds_give_medians():
    line = {"time_total": 2.0, "time_cpu": 3.0, "time_update": 1.5, "time_policy": 0.2}
    slow = {key: 10 * value for key, value in line.items()}
    result = benchmark.summarize([line, slow, line], steps=100)
    assert result["steps a second"] == 50
    assert result["ms a step"] == 20
    assert result["CPU ms a step"] == 30
    assert result["policy, ms a step"] == pytest.approx(2)
    assert result["other, ms a step"] == pytest.approx(3)
    assert result["save, ms a step"] == 0
    shares = [v for name, v in result.items() if name.endswith("% of the time")]
    assert sum(shares) == pytest.approx(100)


@pytest.mark.parametrize("size", sorted(benchmark.SIZES))
def test_a_size_keeps_the_settings_of_the_suite(tmp_path, size):
    settings = {"eval_eps": "3"}
    config = benchmark.configure("minihack", size, settings, 40, str(tmp_path))
    assert config.wandb.mode == "disabled" and config.log_every == 40
    assert config.eval_eps == 3
    assert config.encoder.norm == "layer"  # the suite's
    assert config.encoder.cnn_depth == {"small": 16, "full": 48, "quickstart": 8}[size]
    assert config.train_every == {"quickstart": 5}.get(size, 10)


@pytest.mark.slow
def test_the_rounds_of_a_run_are_measured_whole():
    settings = {**dummies.SIZES, "replay": {"minlen": 2, "maxlen": 4}, "prefill": 60}
    settings |= {"time_limit": 10, "envs": 2, "train_every": 10, "eval_every": 20}
    rounds = benchmark.run("minigrid", "small", settings, steps=20, rounds=2)
    assert [line["step"] for line in rounds] == [100, 120]
    assert [line["updates"] for line in rounds] == [6, 8]  # one before the first step
    for line in rounds:
        result = benchmark.summarize([line], 20)
        parts = [v for name, v in result.items() if name.endswith("% of the time")]
        assert min(parts) >= 0
        assert result["evaluation, ms a step"] > 0
        assert result["update, ms a step"] > 0


def test_an_environment_far_away_waits_in_training_only(monkeypatch):
    waits = []
    monkeypatch.setattr(benchmark.time, "sleep", waits.append)
    (near,) = dummies.Tapes(1).tasks
    far = benchmark.move_away(near, 30.0)
    env, action = far.make(), np.array([0.0, 1.0])
    env.reset(0)
    env.step(action)
    assert waits == [0.03]
    assert far.make_eval is near.make_eval
    assert benchmark.move_away(near, 0.0) is near
