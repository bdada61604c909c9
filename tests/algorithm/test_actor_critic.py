"""Laws of the task behaviour that the reference numbers do not cover."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from dreamerv2.algorithm import actor_critic

pytestmark = pytest.mark.usefixtures("eagerly")


def critics(agent, updates):
    """Weights of critic and slow critic before the first and after each update."""
    data, state, history = tiny_agent.batch(), None, []
    for step in range(updates + 1):
        if step:
            state, _ = agent.train(data, state, step=step)
        weights = agent.task.named_weights()
        history.append(
            [
                weights[f"{name}/out/out/kernel"].numpy()
                for name in ("critic", "target_critic")
            ]
        )
    return history


def test_the_slow_critic_is_copied_at_the_first_update_and_every_nth_after():
    history = critics(tiny_agent.make(slow_target_update=3), 7)
    source = [None, 1, 1, 1, 4, 4, 4, 7]  # which critic each slow critic equals
    for (_, slow), index in zip(history[1:], source[1:], strict=True):
        np.testing.assert_array_equal(slow, history[index][0])
    fast = [critic for critic, _ in history]
    assert all((a != b).any() for a, b in zip(fast, fast[1:], strict=False))
    assert (history[0][0] != history[0][1]).all()


def test_a_fraction_of_the_critic_is_copied_but_all_of_it_at_first():
    agent = tiny_agent.make(slow_target_update=2, slow_target_fraction=0.25)
    history = critics(agent, 3)
    np.testing.assert_array_equal(history[1][1], history[1][0])
    np.testing.assert_array_equal(history[2][1], history[1][1])
    expected = 0.25 * history[3][0] + 0.75 * history[2][1]
    np.testing.assert_allclose(history[3][1], expected, rtol=1e-6)


def test_without_a_slow_critic_the_critic_judges_itself():
    agent = tiny_agent.make(slow_target=False)
    assert not any("target_critic" in name for name in agent.named_weights())
    imagined, _ = imagine(agent)
    value = agent.task.critic(imagined.trajectory.feat).mode()
    np.testing.assert_array_equal(imagined.value, value)


def imagine(agent, data=None):
    """What the task behaviour imagines, and the states [B, T, ...] it starts from."""
    data = {k: tf.constant(v) for k, v in (data or tiny_agent.batch()).items()}
    data = agent.model.preprocess(data)
    state = agent.model.initial(tiny_agent.BATCH)
    _, outputs, _ = agent.model.loss(data, state, tf.constant([1, 2]))
    imagined, _ = agent.task.imagine(
        agent.model,
        outputs.post,
        data["is_terminal"],
        lambda trajectory: (agent.model.reward(trajectory.feat), {}),
        tf.constant([3, 4]),
    )
    return imagined, outputs


def coefficients(**settings):
    values = {"actor_ent": 0.0, "actor_grad_mix": 0.1, **settings}
    return {key: tf.constant(value) for key, value in values.items()}


def actor_loss_and_gradient(gradient, discrete=False, **settings):
    agent = tiny_agent.make(discrete=discrete, actor_grad=gradient)
    weights = agent.task.actor_opt.weights
    with tf.GradientTape() as tape:
        imagined, _ = imagine(agent, tiny_agent.batch(discrete=discrete))
        loss, _ = agent.task.actor_loss(imagined, coefficients(**settings))
    return float(loss), tape.gradient(loss, weights)


@pytest.mark.parametrize("discrete", [True, False])
def test_both_gradients_are_mixed_by_actor_grad_mix(discrete):
    one, grads_one = actor_loss_and_gradient("reinforce", discrete)
    two, grads_two = actor_loss_and_gradient("dynamics", discrete)
    both, grads = actor_loss_and_gradient("both", discrete, actor_grad_mix=0.3)
    np.testing.assert_allclose(both, 0.3 * one + 0.7 * two, rtol=1e-4)
    for a, b, c in zip(grads_one, grads_two, grads, strict=True):
        assert np.abs(a).max() > 0 and np.abs(b).max() > 0
        np.testing.assert_allclose(c, 0.3 * a + 0.7 * b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("mix, name", [("0", "dynamics"), ("1", "reinforce")])
def test_an_update_with_all_of_one_gradient_is_the_update_with_that_gradient(
    mix, name, discrete
):
    results = []
    for gradient in ("both", name):
        agent = tiny_agent.make(
            discrete=discrete, actor_grad=gradient, actor_grad_mix=mix, actor_ent="0"
        )
        _, metrics = agent.train(tiny_agent.batch(discrete=discrete), None, step=0)
        assert metrics["actor_grad_norm"] > 1e-4
        results.append((metrics["actor_grad_norm"], metrics["actor_loss"]))
    np.testing.assert_allclose(*results, rtol=1e-4)


@pytest.mark.parametrize("discrete, name", [(True, "reinforce"), (False, "dynamics")])
def test_the_gradient_follows_the_kind_of_action_unless_it_is_given(discrete, name):
    assert tiny_agent.make(discrete=discrete).task.gradient == name
    given = tiny_agent.make(discrete=discrete, actor_grad="both")
    assert given.task.gradient == "both"


def test_entropy_is_rewarded_by_actor_ent():
    agent = tiny_agent.make()
    imagined, _ = imagine(agent)
    dist = agent.task.actor(imagined.trajectory.feat[:-2])
    entropy = np.mean(imagined.trajectory.weight[:-2] * dist.entropy())
    plain, _ = agent.task.actor_loss(imagined, coefficients())
    loss, metrics = agent.task.actor_loss(imagined, coefficients(actor_ent=0.5))
    np.testing.assert_allclose(loss, plain - 0.5 * entropy, rtol=1e-4)
    np.testing.assert_allclose(metrics["actor_ent"], np.mean(dist.entropy()), rtol=1e-5)


def test_an_update_uses_the_scheduled_entropy_of_its_step():
    agent = tiny_agent.make(actor_ent="linear(1,0,100)")
    for step, expected in ((0, 1.0), (75, 0.25), (200, 0.0)):
        _, metrics = agent.train(tiny_agent.batch(), None, step=step)
        np.testing.assert_allclose(metrics["actor_ent_scale"], expected, atol=1e-6)


def test_a_plan_starts_from_every_state_and_follows_the_actor():
    agent = tiny_agent.make()
    imagined, outputs = imagine(agent)
    rows = tiny_agent.BATCH * tiny_agent.LENGTH
    feat, action, discount, weight = imagined.trajectory
    assert feat.shape == (4, rows, agent.model.rssm.feat_size)
    assert action.shape == (4, rows, tiny_agent.ACTIONS)
    assert discount.shape == weight.shape == (4, rows)
    assert imagined.target.shape == (3, rows)
    start = tf.reshape(outputs.feat, feat[0].shape)  # [B, T, F] -> [B * T, F]
    np.testing.assert_array_equal(feat[0], start)
    np.testing.assert_array_equal(action[0], np.zeros_like(action[0]))
    np.testing.assert_allclose(tf.reduce_sum(action[1:], -1), 1, rtol=1e-6)


def test_nothing_counts_that_is_imagined_after_the_end_of_an_episode():
    agent = tiny_agent.make()
    data = tiny_agent.batch()
    weight = imagine(agent, data)[0].trajectory.weight.numpy()
    ended = data["is_terminal"].ravel()
    assert ended.any()
    np.testing.assert_array_equal(weight[0], np.ones_like(weight[0]))
    np.testing.assert_array_equal(weight[1:, ended], 0)
    assert (weight[:, ~ended] > 0).all()
    np.testing.assert_allclose(weight[1, ~ended], 0.99, rtol=1e-6)


# Normalisation of rewards.


def test_with_momentum_one_rewards_are_only_scaled():
    norm = actor_critic.StreamNorm(momentum=1.0, scale=2.0, eps=0.0)
    for x in ([1.0, -3.0], [10.0, 20.0]):
        np.testing.assert_allclose(norm(tf.constant(x))[0], 2 * np.array(x), rtol=1e-6)


def test_rewards_are_divided_by_the_running_mean_of_their_magnitude():
    norm = actor_critic.StreamNorm(momentum=0.75, scale=2.0, eps=0.5)
    magnitude = 1.0
    for x in ([1.0, -3.0], [10.0, 20.0], [0.0, 0.0]):
        magnitude = 0.75 * magnitude + 0.25 * np.abs(x).mean()
        y, metrics = norm(tf.constant(x))
        expected = 2 * np.array(x) / (magnitude + 0.5)
        np.testing.assert_allclose(y, expected, rtol=1e-6)
        np.testing.assert_allclose(norm.named_weights()["magnitude"], magnitude)
        np.testing.assert_allclose(metrics["mean"], np.mean(x), rtol=1e-6)
        np.testing.assert_allclose(metrics["std"], np.std(x), rtol=1e-6)
        np.testing.assert_allclose(metrics["normed_mean"], expected.mean(), rtol=1e-6)
        np.testing.assert_allclose(metrics["normed_std"], expected.std(), rtol=1e-6)
