"""Mixed precision learns: 16 and bfloat16 beside 32, on the same data and seed."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from common.compute import devices

UPDATES = 50
KEYS = (tiny_agent.IMAGE, tiny_agent.VECTOR, tiny_agent.SCALAR)


def losses(precision, discrete):
    """Every loss over 50 updates: name -> float32 [50]; and the agent."""
    with tiny_agent.running(eagerly=False):
        agent = tiny_agent.make(
            *KEYS, discrete=discrete, precision=precision, **{"model_opt__lr": 1e-3}
        )
        state, lines = None, []
        for i in range(UPDATES):
            data = tiny_agent.batch(*KEYS, discrete=discrete, seed=i % 5)
            state, metrics = agent.train(data, state, step=i)
            lines.append({k: float(metrics[k]) for k in metrics if k.endswith("_loss")})
    return {key: np.array([line[key] for line in lines]) for key in lines[0]}, agent


@pytest.fixture(scope="module", params=[True, False], ids=["discrete", "continuous"])
def single(request):
    return request.param, losses("32", request.param)[0]


@pytest.mark.parametrize("precision", ["16", "bfloat16"])
def test_half_precision_starts_as_single_does_and_learns_as_well(single, precision):
    discrete, expected = single
    found, agent = losses(precision, discrete)
    assert set(found) == set(expected) >= {"image_loss", "actor_loss", "critic_loss"}
    for key, values in found.items():
        assert np.isfinite(values).all(), key
        # The actor's loss is a small difference of returns: rounding of the weights
        # alone shifts it by 0.0002 in float16 and 0.002 in bfloat16.
        slack = {"16": 5e-4, "bfloat16": 3e-3}[precision] if key == "actor_loss" else 0
        np.testing.assert_allclose(
            values[0], expected[key][0], rtol=0.02, atol=slack, err_msg=key
        )
    tail = slice(-10, None)
    assert found["model_loss"][tail].mean() < found["model_loss"][0]
    ends = [each["model_loss"][tail].mean() for each in (found, expected)]
    np.testing.assert_allclose(*ends, rtol=0.02)
    types = {value.dtype for value in agent.named_weights().values()}
    assert types == {tf.float32, tf.int64}
    assert ("model_opt/scale" in agent.named_state()) == (precision == "16")
    steps = int(agent.named_state()["model_opt/steps"].numpy())
    assert steps > UPDATES * 0.8  # few are left out while the loss scale is found


def test_auto_is_half_precision_where_there_is_a_gpu(monkeypatch, capsys):
    for found, expected in (([], "32"), (["a GPU"], "16")):
        monkeypatch.setattr(
            devices.tf.config, "list_physical_devices", lambda kind, f=found: f
        )
        assert devices.choose_precision("auto") == expected
        assert f"Precision: {expected}" in capsys.readouterr().out
        assert devices.choose_precision("bfloat16") == "bfloat16"
