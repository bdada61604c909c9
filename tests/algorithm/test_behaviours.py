"""Every behaviour, ours and one's own, trains and acts in the graphs that users run.

Most other tests of the algorithm run eagerly, where features are always tensors.
"""

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from common import config as config_lib
from common.compute import graphs
from common.nets import heads, optim
from dreamerv2.algorithm import behaviour


class Own(behaviour.Intrinsic):
    """Seeks rewards that are hard to predict; does with features all that one may."""

    def build(self, rng):
        size = self.model.rssm.feat_size + 4
        return self.add("head", heads.MLP(rng, size, (), **self.config.expl_head))

    def predictor_loss(self, data, outputs):
        feat = outputs.feat[:, :-1].stop_gradient()
        found = self.predictor(self.widen(feat, outputs.feat[:, 1:]))
        target = tf.stop_gradient(-outputs.log_probs["reward"])
        return -tf.reduce_mean(found.log_prob(target[:, 1:]))

    def intrinsic_reward(self, trajectory):
        later = tf.concat([trajectory.feat[1:], trajectory.feat[-1:]], 0)
        return self.predictor(self.widen(trajectory.feat, later)).mode()

    def widen(self, feat, later):
        """The features and four numbers of the next ones."""
        return feat.concat(tf.stop_gradient(later[..., -4:]))


def reduce_steps(now, weight, grad, slots):
    """Plain gradient descent that counts its steps in a moment."""
    slots[0].assign_add(tf.ones_like(grad))
    weight.assign_sub(now.lr * grad)


RULE = optim.Rule(1, reduce_steps)

SETTINGS = {
    "greedy": {},
    "Random": {"expl_behavior": "Random"},
    "Plan2Explore": {
        "expl_behavior": "Plan2Explore",
        "expl_extr_scale": 1.0,
        "disag_action_align": "next",
    },
    "ModelLoss": {
        "expl_behavior": "ModelLoss",
        "expl_model_loss": "kl",
        "pred_discount": False,
        "grad_heads": ["decoder", "reward"],
    },
    "own": {"expl_behavior": "test_behaviours:Own"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_an_update_is_the_same_in_both_forms_of_features(name, monkeypatch):
    found = []
    for sparse in (True, False):
        if not sparse:  # with one-hot vectors, as on a GPU
            monkeypatch.setattr(graphs, "fuses", lambda: False)
        agent = tiny_agent.make(**SETTINGS[name])
        before = tiny_agent.snapshot(agent)
        for _ in range(2):
            _, metrics = agent.train(tiny_agent.batch(), None, step=0)
        found.append((metrics, agent.named_weights()))
    obs = {key: value[:, 0] for key, value in tiny_agent.batch().items()}
    action, _ = agent.policy(obs, None, step=0, exploring=np.array([True, False]))
    assert action.shape == (tiny_agent.BATCH, tiny_agent.ACTIONS)
    (one, weights), (two, others) = found
    for key in one:
        np.testing.assert_allclose(one[key], two[key], rtol=1e-3, atol=1e-5)
    for key in weights:
        np.testing.assert_allclose(weights[key], others[key], rtol=1e-2, atol=1e-4)
    learned = {k for k in weights if (before[k] != weights[k].numpy()).any()}
    if agent.expl and agent.expl.optimizers():
        assert {"expl/actor", "expl/critic"} <= {k.rsplit("/", 3)[0] for k in learned}
        assert any("ensemble" in k or "expl/head" in k for k in learned)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Plan2Explorer", r"Unknown expl_behavior 'Plan2Explorer'.*Plan2Explore\?"),
        ("test_behaviours:Missing", "no 'Missing'"),
        ("test_behaviours:reduce_steps", "must name a class as"),
    ],
)
def test_a_behaviour_that_is_not_there_is_named(name, message):
    with pytest.raises(config_lib.ConfigError, match=message):
        tiny_agent.make(expl_behavior=name)


def test_an_optimiser_of_ones_own_takes_the_steps():
    agent = tiny_agent.make(actor_opt__opt="test_behaviours:RULE")
    agent.train(tiny_agent.batch(), None, step=0)
    agent.train(tiny_agent.batch(), None, step=0)
    counts = {k: v for k, v in agent.named_state().items() if "actor_opt/slot0" in k}
    assert counts and all((value.numpy() == 2).all() for value in counts.values())


def test_what_is_no_rule_is_no_optimiser():
    with pytest.raises(config_lib.ConfigError, match="actor_opt.opt.*optim.Rule"):
        tiny_agent.make(actor_opt__opt="test_behaviours:reduce_steps")


class Wrong(Own):
    """Judges the states but the last, and so trains nothing that fits together."""

    def intrinsic_reward(self, trajectory):
        return super().intrinsic_reward(trajectory)[:-1]


def test_a_wrong_shape_is_named_while_the_graph_is_traced():
    agent = tiny_agent.make(expl_behavior="test_behaviours:Wrong")
    with pytest.raises(ValueError, match=r"reward has shape \[3, 8\].*\[H \+ 1, N\]"):
        agent.train(tiny_agent.batch(), None, step=0)


class Listening(Own):
    """Remembers between which tasks it was."""

    def on_task_change(self, finished, next):
        self.heard = (finished, next)


def test_a_behaviour_hears_of_task_changes_if_it_wants_to():
    for name in ("test_behaviours:Listening", "Plan2Explore", "greedy"):
        agent = tiny_agent.make(expl_behavior=name)
        agent.on_task_change(0, 2)
        assert getattr(agent.expl, "heard", None) == ((0, 2) if ":" in name else None)
