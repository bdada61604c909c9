"""Laws of the exploration behaviours."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from common.compute import onehots

SIZES = {"stoch": 12, "deter": 8, "feat": 20, "embed": 8}
SEED = tf.constant([1, 2])

pytestmark = pytest.mark.usefixtures("eagerly")


def make(name="Plan2Explore", **settings):
    return tiny_agent.make(expl_behavior=name, **{"imag_horizon": 2, **settings})


def found(agent, discrete=True):
    """Preprocessed data and what the world model found in it."""
    data = tiny_agent.batch(discrete=discrete)
    data = agent.model.preprocess({k: tf.constant(v) for k, v in data.items()})
    zero = agent.model.initial(tiny_agent.BATCH)
    return data, agent.model.loss(data, zero, SEED)[1]


def features(agent, *lead):
    size = agent.model.rssm.feat_size
    feat = np.random.default_rng(0).normal(size=(*lead, size))
    action = np.eye(tiny_agent.ACTIONS)[np.random.default_rng(1).integers(0, 3, lead)]
    feat = onehots.Latents(tf.constant(feat, tf.float32))
    return feat, tf.constant(action, tf.float32)


def novelty_loss(agent, data, outputs):
    """The loss of the novelty model, the agent staying as it is."""
    before = tiny_agent.snapshot(agent)
    metrics = agent.expl.learn(data, outputs, agent.coefficients(0), SEED)
    for name, variable in agent.named_state().items():
        variable.assign(before[name])
    return float(metrics["expl_loss"])


def assert_learns(agent, discrete=True):
    """Two updates are finite and train every weight of the exploration."""
    before = tiny_agent.snapshot(agent)
    data, state = tiny_agent.batch(discrete=discrete), None
    for step in range(2):
        state, metrics = agent.train(data, state, step=step)
        assert np.isfinite([float(x) for x in metrics.values()]).all()
    names = {"expl_expl_loss", "expl_actor_loss", "expl_critic_loss"}
    assert names <= set(metrics)
    weights = {id(w) for opt in agent.expl.optimizers().values() for w in opt.weights}
    for name, weight in agent.named_weights().items():
        if id(weight) in weights:
            assert (weight.numpy() != before[name]).any(), name


# Plan2Explore.


@pytest.mark.parametrize("target", SIZES)
def test_the_ensemble_learns_every_kind_of_target(target):
    agent = make(disag_target=target)
    kernel = agent.named_weights()["expl/ensemble/out/out/kernel"]
    assert kernel.shape == (2, 8, SIZES[target])
    assert_learns(agent)


@pytest.mark.parametrize(
    "discrete, settings",
    [
        (True, {"disag_action_align": "next", "disag_log": True}),
        (True, {"disag_action_cond": False, "disag_offset": 2}),
        (True, {"rssm__discrete": 0, "disag_offset": 0}),
        (True, {"precision": "16", "expl_extr_scale": 0.5}),
        (False, {"disag_action_align": "next"}),
        (False, {"disag_action_cond": False, "disag_log": True}),
    ],
)
def test_plan2explore_learns_under_every_setting(discrete, settings):
    assert_learns(make(discrete=discrete, **settings), discrete)


def test_disagreement_is_the_mean_deviation_over_the_members():
    agent = make(disag_models=3)
    feat, action = features(agent, 4, 5)
    weights = {k: w.numpy() for k, w in agent.expl.named_weights().items()}
    x = np.concatenate([feat, action], -1)
    predictions = []
    for i in range(3):
        layer, out = (
            [weights[f"ensemble/{name}/{part}"][i] for part in ("kernel", "bias")]
            for name in ("dense0", "out/out")
        )
        h = x @ layer[0] + layer[1]
        h = np.where(h > 0, h, np.exp(np.minimum(h, 0)) - 1)
        predictions.append(h @ out[0] + out[1])
    expected = np.std(predictions, 0).mean(-1)
    disagreement = agent.expl.disagreement(feat, action, 0)
    np.testing.assert_allclose(disagreement, expected, rtol=1e-4)
    logarithm = make(disag_models=3, disag_log=True).expl
    disagreement = logarithm.disagreement(feat, action, 0)
    np.testing.assert_allclose(disagreement, np.log(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "settings, changed",
    [
        ({"disag_action_align": "previous"}, {2}),
        ({"disag_action_align": "next"}, {1}),
        ({"disag_action_cond": False}, set()),
    ],
)
def test_an_action_judges_the_state_it_led_to_or_the_one_it_was_taken_in(
    settings, changed
):
    agent = make(**settings)
    feat, action = features(agent, 5, 4)
    other = tf.tensor_scatter_nd_update(action, [[2]], [tf.roll(action[2], 1, -1)])
    one = agent.expl.disagreement(feat, action, 0)
    two = agent.expl.disagreement(feat, other, 0)
    times = np.nonzero((one != two).numpy().any(-1))[0]
    assert set(times) == changed


@pytest.mark.parametrize(
    "offset, align", [(0, "previous"), (1, "previous"), (1, "next"), (2, "next")]
)
def test_the_ensemble_predicts_offset_steps_ahead_from_the_aligned_action(
    offset, align
):
    settings = {"disag_action_align": align, "disag_target": "deter"}
    agent = make(disag_offset=offset, **settings)
    data, outputs = found(agent)
    base = novelty_loss(agent, data, outputs)
    length = tiny_agent.LENGTH
    shift = int(align == "next")
    uses = {
        "feat": set(range(length - offset)),
        "deter": set(range(offset, length)),
        "action": {min(t + shift, length - 1) for t in range(length - offset)},
    }
    for key, t in itertools.product(uses, range(length)):
        bump = tf.one_hot(t, length)[None, :, None]
        now, seen = data, outputs
        if key == "action":
            now = {**data, "action": data["action"] + bump}
        elif key == "feat":
            seen = outputs._replace(feat=onehots.Latents(outputs.feat + bump))
        else:
            post = {**outputs.post, "deter": outputs.post["deter"] + bump}
            seen = outputs._replace(post=post)
        assert (novelty_loss(agent, now, seen) != base) == (t in uses[key]), (key, t)


def test_the_reward_mixes_disagreement_and_task_by_their_scales():
    agent = make(expl_intr_scale=0.5, expl_extr_scale=2.0)
    data, outputs = found(agent)
    imagined, _ = agent.expl.imagine(
        agent.model, outputs.post, data["is_terminal"], agent.expl.reward, SEED
    )
    reward, _ = agent.expl.reward(imagined.trajectory)
    intrinsic = agent.expl.intrinsic_reward(imagined.trajectory)
    extrinsic = agent.model.reward(imagined.trajectory.feat)
    assert reward.shape == imagined.trajectory.weight.shape
    np.testing.assert_allclose(reward, 0.5 * intrinsic + 2 * extrinsic, rtol=1e-4)


def test_members_come_to_agree_about_what_they_have_seen():
    agent = make(expl_opt__lr=0.1)
    data, outputs = found(agent)
    feat, action = outputs.feat[:, :-1], data["action"][:, :-1]
    history = []
    for _ in range(15):
        history.append(float(tf.reduce_mean(agent.expl.disagreement(feat, action, 1))))
        agent.expl.learn(data, outputs, agent.coefficients(0), SEED)
    assert history[-1] < 0.5 * history[0]


# ModelLoss.


@pytest.mark.parametrize("name", ["kl", "vector", "reward", "discount"])
def test_the_head_of_model_loss_learns_the_loss_it_is_given(name):
    agent = make("ModelLoss", expl_model_loss=name)
    data, outputs = found(agent)
    loss = outputs.kl if name == "kl" else -outputs.log_probs[name]
    guess = agent.named_weights()
    for key in ("kernel", "bias"):  # a head that says 2 everywhere
        weight = guess[f"expl/head/out/out/{key}"]
        weight.assign(tf.fill(weight.shape, 2.0 * (key == "bias")))
    expected = np.mean(0.5 * (loss - 2) ** 2) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(novelty_loss(agent, data, outputs), expected, rtol=1e-4)


@pytest.mark.parametrize("discrete", [True, False])
def test_model_loss_learns(discrete):
    assert_learns(make("ModelLoss", discrete=discrete), discrete)


def test_model_loss_seeks_what_its_head_expects():
    agent = make("ModelLoss")
    data, outputs = found(agent)
    imagined, _ = agent.expl.imagine(
        agent.model, outputs.post, data["is_terminal"], agent.expl.reward, SEED
    )
    head = agent.expl.named_weights()
    for key in ("kernel", "bias"):
        weight = head[f"head/out/out/{key}"]
        weight.assign(tf.fill(weight.shape, 2.0 * (key == "bias")))
    intrinsic = agent.expl.intrinsic_reward(imagined.trajectory)
    np.testing.assert_allclose(intrinsic, np.full(intrinsic.shape, 2.0))


# Random.


@pytest.mark.parametrize("discrete", [True, False])
def test_random_exploration_learns_nothing(discrete):
    agent = make("Random", discrete=discrete)
    assert not any(name.startswith("expl") for name in agent.named_state())
    _, metrics = agent.train(tiny_agent.batch(discrete=discrete), None, step=0)
    assert not any(name.startswith("expl") for name in metrics)


def test_random_continuous_actions_fill_the_interval():
    agent = make("Random", discrete=False)
    feat, _ = features(agent, 1000)
    noise = agent.expl.noise([1000], SEED)
    action = agent.expl.actor(feat).sample(noise).numpy()
    assert action.shape == (1000, tiny_agent.ACTIONS)
    np.testing.assert_allclose(
        np.quantile(action, [0, 0.25, 0.5, 0.75, 1], 0).mean(-1),
        [-1, -0.5, 0, 0.5, 1],
        atol=0.05,
    )


# All of them.


@pytest.mark.parametrize("name", ["Plan2Explore", "ModelLoss", "Random"])
def test_exploration_leaves_model_and_task_behaviour_as_they_are_without_it(name):
    agents = tiny_agent.make(imag_horizon=2), make(name)
    for agent in agents:
        state = None
        for step in range(2):
            state, _ = agent.train(tiny_agent.batch(), state, step=step)
    greedy, exploring = (tiny_agent.snapshot(agent) for agent in agents)
    shared = {k: v for k, v in exploring.items() if not k.startswith("expl/")}
    tiny_agent.assert_same(greedy, shared)
