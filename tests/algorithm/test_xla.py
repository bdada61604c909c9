"""What XLA makes of a whole update, in the graphs that a GPU gets.

XLA for a CPU refuses what XLA for a GPU refuses, for both begin with the same shapes
and operations: a loop without a limit, a shape that depends on values.
"""

import numpy as np
import pytest
import tensorflow as tf
import test_behaviours
import tiny_agent

from common.compute import graphs
from common.nets import coders

KEYS = (tiny_agent.IMAGE, tiny_agent.VECTOR)
RICH = {  # what else there is in a loss, an optimiser and a reward
    "expl_behavior": "Plan2Explore",
    "expl_extr_scale": 0.5,
    "expl_reward_norm__momentum": 0.5,
    "reward_norm__momentum": 0.5,
    "disag_log": True,
    "disag_target": "feat",
    "rssm__ensemble": 2,
    "slow_target_update": 2,
    "slow_target_fraction": 0.5,
    "kl__free": 0.2,
    "l2_scale": 0.1,
    "actor_grad": "both",
    "actor_opt__clip": 0.1,
    r".*\.norm": "layer",
}
GAUSSIAN = {
    "rssm__discrete": 0,
    "expl_behavior": "Plan2Explore",
    "disag_target": "embed",
}
BEHAVIOURS = {**test_behaviours.SETTINGS, "rich": RICH, "gaussian": GAUSSIAN}
CASES = (  # behaviour, discrete actions, precision, unrolled
    ("greedy", False, "16", True),
    ("Random", True, "bfloat16", False),
    ("Plan2Explore", True, "16", False),
    ("ModelLoss", False, "bfloat16", False),
    ("own", True, "32", True),
    ("rich", True, "32", False),
    ("gaussian", False, "bfloat16", False),
)
# Half of the bits may choose another class where two are nearly as probable.
TOLERANCES = {"32": 1e-3, "16": 1e-1, "bfloat16": 1e-1}

# XLA keeps some products in float32, so that one way a gradient times the loss scale
# may overflow, and the other way it does not.
SCALED = ("_grad_norm", "_loss_scale")


def make(name, discrete, precision, **switches):
    # With such a step it does not matter for the actor whether the model took one.
    settings = BEHAVIOURS[name] | {r".*_opt\.lr": 1e-6, "precision": precision}
    settings |= switches
    return tiny_agent.make(*KEYS, discrete=discrete, **settings)


def update_of_modes(agent, discrete):
    """Metrics of an update without samples, for XLA draws its own."""
    data = tiny_agent.batch(*KEYS, discrete=discrete)
    data = {key: tf.constant(value) for key, value in data.items()}
    state = agent.model.initial(tiny_agent.BATCH)
    return agent.train_graph(data, state, agent.coefficients(0), None)[1]


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Graphs find what they find on a GPU; images are decoded in pieces."""
    monkeypatch.setattr(graphs, "fuses", lambda: False)
    monkeypatch.setattr(coders, "_PIECE", 2)  # of 8 states


@pytest.mark.slow
@pytest.mark.parametrize("name, discrete, precision, unroll", CASES)
def test_an_update_compiled_for_a_gpu_is_the_eager_one(
    name, discrete, precision, unroll
):
    with tiny_agent.running(eagerly=True):
        expected = update_of_modes(make(name, discrete, precision), discrete)
    with tiny_agent.running(eagerly=False):
        agent = make(name, discrete, precision, unroll=unroll, jit_compile=True)
        found = update_of_modes(agent, discrete)
    assert set(found) == set(expected)
    tolerance = TOLERANCES[precision]
    for key, value in expected.items():
        if precision == "16" and key.endswith(SCALED):
            continue
        np.testing.assert_allclose(
            found[key], value, rtol=tolerance, atol=tolerance / 10, err_msg=key
        )


@pytest.mark.slow
@pytest.mark.parametrize("name, discrete", [("rich", True), ("gaussian", False)])
def test_an_update_that_draws_samples_compiles_for_a_gpu(name, discrete):
    with tiny_agent.running(eagerly=False):
        agent = make(name, discrete, "bfloat16", jit_compile=True)
        data = tiny_agent.batch(*KEYS, discrete=discrete)
        _, metrics = agent.train(data, None, step=0)
    assert {"model_loss", "actor_loss", "expl_critic_loss"} <= set(metrics)
    for key, value in metrics.items():
        assert np.isfinite(value), key
