"""Every option of exploration: it trains, and it does what its name says."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from common.compute import onehots

SEED = tf.constant([1, 2])
GAUSSIAN = {"rssm__discrete": 0}
IMAGES = ("image", "vector")


@pytest.fixture(autouse=True, scope="module")
def _eager():
    with tiny_agent.running(eagerly=True):
        yield


def make(name="Plan2Explore", *keys, **settings):
    return tiny_agent.make(*keys, expl_behavior=name, **{"imag_horizon": 2, **settings})


def train(agent, *keys, updates=2, discrete=True):
    """Two updates; all metrics are finite numbers. Returns them.

    In float16 a gradient may overflow, which only leaves out the step.
    """
    data, state, metrics = tiny_agent.batch(*keys, discrete=discrete), None, []
    for step in range(updates):
        state, now = agent.train(data, state, step=step)
        metrics.append({key: float(value) for key, value in now.items()})
        watched = {k: v for k, v in metrics[-1].items() if not k.endswith("_norm")}
        assert np.isfinite(list(watched.values())).all(), metrics[-1]
    return metrics


def outputs_of(agent):
    data = agent.model.preprocess(
        {k: tf.constant(v) for k, v in tiny_agent.batch().items()}
    )
    zero = agent.model.initial(tiny_agent.BATCH)
    return data, agent.model.loss(data, zero, SEED)[1]


# Everything trains.


@pytest.mark.parametrize(
    "target, size", [("stoch", 3), ("deter", 8), ("feat", 11), ("embed", 8)]
)
def test_gaussian_latents_are_targets_of_their_own_size(target, size):
    agent = make(disag_target=target, **GAUSSIAN)
    kernel = agent.named_weights()["expl/ensemble/out/out/kernel"]
    assert kernel.shape[-1] == size
    assert "expl_expl_loss" in train(agent)[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"disag_offset": 3, "disag_action_align": "next"},  # the whole batch length
        {"disag_target": "embed", "disag_offset": 2, "disag_log": True},
        {"disag_target": "feat", "disag_action_cond": False, **GAUSSIAN},
        {"disag_models": 5, "expl_intr_scale": 0.9, "expl_extr_scale": 0.9},
        {"expl_reward_norm__momentum": 0.9, "expl_reward_norm__scale": 2.0},
        {"grad_heads": ["decoder"], "pred_discount": False},  # not rssm_full_recon
        {"grad_heads": ["decoder"], "pred_discount": False, "expl_extr_scale": 1.0},
        {"expl_head__norm": "layer", "expl_opt__opt": "sgd"},
        {"precision": "16", "disag_log": True},
        {"precision": "bfloat16", "disag_target": "feat"},
        {"l2_scale": 1.0},
    ],
    ids=str,
)
def test_plan2explore_trains(settings):
    agent = make(**settings)
    before = tiny_agent.snapshot(agent)
    metrics = train(agent)
    assert {"expl_expl_loss", "expl_actor_loss", "expl_critic_loss"} <= set(metrics[0])
    after = tiny_agent.snapshot(agent)
    for part in ("ensemble/out/out/kernel", "actor/out/out/kernel"):
        assert (before[f"expl/{part}"] != after[f"expl/{part}"]).any(), part


@pytest.mark.parametrize("latent", [{}, GAUSSIAN], ids=["discrete", "Gaussian"])
@pytest.mark.parametrize("loss", ["kl", "image", "vector", "reward", "discount"])
def test_model_loss_trains_on_every_loss(loss, latent):
    agent = make("ModelLoss", *IMAGES, expl_model_loss=loss, **latent)
    assert "expl_expl_loss" in train(agent, *IMAGES)[0]


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("name", ["greedy", "Random", "Plan2Explore", "ModelLoss"])
def test_every_behaviour_acts_for_some_rows_and_is_evaluated(name, discrete):
    settings = {"expl_noise": "0.2", "eval_noise": "0.1", "eval_state_mean": True}
    agent = make(name, discrete=discrete, **settings)
    train(agent, discrete=discrete, updates=1)
    vector = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    obs = {"vector": vector, "is_first": np.ones(4, bool)}
    exploring = np.array([True, False, True, False])
    for evaluate in (False, True):
        action, _ = agent.policy(
            obs, None, step=0, exploring=exploring, evaluate=evaluate
        )
        assert action.shape == (4, tiny_agent.ACTIONS)
        assert np.isfinite(action).all()


# What they mean.


def world(rows=128, length=8):
    """States of noise that are followed by whatever action is taken in them.

    Returns data and outputs in which `deter` at t holds the action that led to t, and
    nothing else can be predicted.
    """
    agent_rng = np.random.default_rng(0)
    action = np.eye(3, dtype=np.float32)[agent_rng.integers(3, size=(rows, length))]
    deter = np.zeros((rows, length, 8), np.float32)
    deter[..., :3] = action
    feat = agent_rng.normal(size=(rows, length, 20)).astype(np.float32)
    return action, feat, deter


def fitted(align):
    """The loss of the ensemble in that world after some updates, per component."""
    agent = make(disag_target="deter", disag_action_align=align, expl_opt__lr=3e-2)
    data, outputs = outputs_of(agent)
    action, feat, deter = map(tf.constant, world())
    data = {**data, "action": action}
    post = {**outputs.post, "deter": deter}
    outputs = outputs._replace(feat=onehots.Latents(feat), post=post)
    for _ in range(150):
        loss, _ = agent.expl.optimizers()["expl_opt"].minimize(
            lambda: (agent.expl.predictor_loss(data, outputs),) * 2
        )
    least = 0.5 * np.log(2 * np.pi) * 8 * 2  # 8 components, 2 members, no error
    return float(loss) - least


def test_next_gives_the_ensemble_the_action_that_leads_to_the_target():
    # Half the squared error of one of three equal chances is 1 / 3, for each member.
    assert fitted("next") < 0.15
    assert fitted("previous") > 0.5


def test_members_of_a_larger_offset_predict_further_ahead():
    # deter at t is the number t: two steps ahead of t it is t + 2.
    agent = make(disag_target="deter", disag_offset=2, disag_action_cond=False)
    data, outputs = outputs_of(agent)
    time = tf.range(tiny_agent.LENGTH, dtype=tf.float32)[None, :, None]
    post = {**outputs.post, "deter": outputs.post["deter"] * 0 + time}
    zeros = {k: tf.zeros_like(v) for k, v in agent.expl.named_weights().items()}
    for name, weight in agent.expl.named_weights().items():
        weight.assign(zeros[name])  # members that say 0 everywhere
    loss = agent.expl.predictor_loss(data, outputs._replace(post=post))
    targets = np.arange(2, tiny_agent.LENGTH)
    expected = 2 * 8 * np.mean(0.5 * targets**2 + 0.5 * np.log(2 * np.pi))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_intrinsic_rewards_are_brought_to_their_scale():
    settings = {"expl_reward_norm__momentum": 0.0, "expl_reward_norm__scale": 3.0}
    agent = make(**settings)
    data, outputs = outputs_of(agent)
    imagined, _ = agent.expl.imagine(
        agent.model, outputs.post, data["is_terminal"], agent.expl.reward, SEED
    )
    assert float(tf.reduce_mean(agent.expl.intrinsic_reward(imagined.trajectory))) < 1
    reward, _ = agent.expl.reward(imagined.trajectory)
    np.testing.assert_allclose(tf.reduce_mean(tf.abs(reward)), 3.0, rtol=1e-4)


@pytest.mark.parametrize("full", [True, False])
def test_only_with_full_reconstruction_rewards_shape_the_representation(full):
    settings = {} if full else {"grad_heads": ["decoder"], "pred_discount": False}
    kernels = []
    for reward in (0.0, 1.0):
        agent, data = make(**settings), tiny_agent.batch()
        data["reward"] = np.full_like(data["reward"], reward)
        agent.train(data, None, step=0)
        kernels.append(agent.named_weights()["rssm/gru/kernel"].numpy())
    assert (kernels[0] != kernels[1]).any() == full


def test_a_single_member_cannot_disagree():
    with pytest.raises(ValueError, match="disag_models is 1; at least 2"):
        make(disag_models=1)


def test_l2_pulls_every_part_that_is_trained():
    agent = make(l2_scale=1e6, **{f"{n}_opt__lr": 1e-3 for n in ("model", "expl")})
    train(agent, updates=1)
    for optimizer in agent.optimizers().values():
        optimizer.anchor()
    state = tiny_agent.snapshot(agent)
    anchors = {name for name in state if "/l2/anchor/" in name}
    weights = [w for opt in agent.optimizers().values() for w in opt.weights]
    assert len(anchors) == len(weights) > 40
    for name in anchors:
        part, below = name.split("/l2/anchor/")
        owner = {"model_opt": "", "actor_opt": "actor/", "critic_opt": "critic/"}
        owner.update({"expl/expl_opt": "expl/ensemble/"})
        owner.update({f"expl/{k}": f"expl/{owner[k]}" for k in list(owner)[1:3]})
        np.testing.assert_array_equal(state[name], state[owner[part] + below])
    (first, second) = train(agent)
    parts = ("model", "actor", "critic", "expl_expl", "expl_actor", "expl_critic")
    for part in parts:
        assert first[f"{part}_l2"] == 0 < second[f"{part}_l2"], part
        assert second[f"{part}_loss"] > first[f"{part}_loss"] + 1, part
