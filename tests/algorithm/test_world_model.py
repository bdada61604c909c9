"""Laws of the world model that the reference numbers do not cover."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_agent

from common.compute import chunks

pytestmark = pytest.mark.usefixtures("eagerly")


def tensors(*keys, **options):
    return {k: tf.constant(v) for k, v in tiny_agent.batch(*keys, **options).items()}


def losses_and_gradients(agent, *keys):
    """The parts of the loss, and the gradient of the total by name of the weight."""
    model = agent.model
    weights = model.named_weights()
    with tf.GradientTape() as tape:
        state = model.initial(tiny_agent.BATCH)
        data = model.preprocess(tensors(*keys))
        total, _, metrics = model.loss(data, state, tf.constant([1, 2]))
    grads = tape.gradient(total, list(weights.values()))
    return float(total), metrics, dict(zip(weights, grads, strict=True))


@pytest.mark.parametrize(
    "name, function",
    [("identity", lambda x: x), ("sign", np.sign), ("tanh", np.tanh)],
)
def test_rewards_are_clipped_as_configured(name, function):
    data = tensors("vector")
    result = tiny_agent.make(clip_rewards=name).model.preprocess(data)
    np.testing.assert_allclose(result["reward"], function(data["reward"]), rtol=1e-6)


@pytest.mark.parametrize("precision", ["32", "16", "bfloat16"])
def test_observations_take_the_precision_of_the_run_but_images_stay_bytes(precision):
    data = tensors("image", "vector", "scalar")
    data["scalar"] = tf.cast(30 * data["scalar"] + 99, tf.uint8)
    agent = tiny_agent.make("image", "vector", "scalar", precision=precision)
    result = agent.model.preprocess(data)
    assert result["image"] is data["image"]
    dtype = {"32": tf.float32, "16": tf.float16, "bfloat16": tf.bfloat16}[precision]
    tolerance = 1e-6 if precision == "32" else 1e-2
    for key, expected in (
        ("vector", data["vector"]),
        ("scalar", data["scalar"].numpy() / 255 - 0.5),
    ):
        assert result[key].dtype == dtype
        found = tf.cast(result[key], tf.float32)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert agent.model.encoder(result).dtype == dtype
    for key in ("is_first", "is_last", "is_terminal"):
        assert result[key].dtype == tf.bool
    assert result["reward"].dtype == result["discount"].dtype == tf.float32


def test_the_true_discount_is_zero_only_at_a_real_end():
    data = tiny_agent.batch()
    data["is_last"][1, 3] = True  # cut off by a time limit
    agent = tiny_agent.make(discount=0.9)
    result = agent.model.preprocess({k: tf.constant(v) for k, v in data.items()})
    expected = np.where(data["is_terminal"], 0, 0.9)
    np.testing.assert_allclose(result["discount"], expected, rtol=1e-6)


def test_a_policy_may_observe_without_reward_and_flags():
    agent = tiny_agent.make()
    data = {"vector": tensors()["vector"]}
    assert set(agent.model.preprocess(data)) == {"vector"}


def test_the_total_is_the_sum_of_the_scaled_parts():
    scales = {"kl": 0.5, "reward": 2.0, "discount": 5.0}
    agent = tiny_agent.make(
        "image", "vector", **{f"loss_scales__{k}": v for k, v in scales.items()}
    )
    total, metrics, _ = losses_and_gradients(agent, "image", "vector")
    parts = ("kl", "image", "vector", "reward", "discount")
    expected = sum(scales.get(k, 1.0) * float(metrics[f"{k}_loss"]) for k in parts)
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_heads_that_send_no_gradient_leave_the_representation_alone():
    """Only the reward counts: with its gradient it trains the encoder, without not."""
    muted = {"loss_scales__kl": 0.0, "loss_scales__discount": 0.0}
    for names, trains in ((["decoder", "reward"], True), (["decoder"], False)):
        agent = tiny_agent.make(grad_heads=names, loss_scales__reward=1.0, **muted)
        one = losses_and_gradients(agent)[2]
        agent = tiny_agent.make(grad_heads=names, loss_scales__reward=9.0, **muted)
        two = losses_and_gradients(agent)[2]
        key = "encoder/dense0/kernel"
        assert (one[key] != two[key]).numpy().any() == trains
        key = "heads/reward/out/out/kernel"
        np.testing.assert_allclose(two[key], 9 * one[key], rtol=1e-4, atol=1e-6)


def test_without_a_discount_head_the_discount_is_the_configured_one():
    agent = tiny_agent.make(
        pred_discount=False, grad_heads=["decoder", "reward"], discount=0.9
    )
    assert not any("discount" in name for name in agent.named_weights())
    model = agent.model
    data = model.preprocess(tensors())
    zero = model.initial(tiny_agent.BATCH)
    _, outputs, metrics = model.loss(data, zero, tf.constant([1, 2]))
    assert "discount_loss" not in metrics
    trajectory = model.imagine(
        lambda feat, noise: tf.zeros([len(feat), tiny_agent.ACTIONS]),
        None,
        outputs.post,
        data["is_terminal"],
        3,
        None,
    )
    np.testing.assert_allclose(trajectory.discount, np.full((4, 8), 0.9), rtol=1e-6)
    weight = np.array([1, 0.9, 0.81, 0.729])
    np.testing.assert_allclose(trajectory.weight[:, 0], weight, rtol=1e-5)


def test_every_step_of_imagination_draws_its_own_noise():
    model = tiny_agent.make().model
    for weight in model.named_weights().values():
        weight.assign(tf.zeros_like(weight))  # all classes alike, at every step
    start = model.initial(64)
    start = {k: v[:, None] for k, v in start.items()}  # [B, T, ...]
    latents = model.imagine(
        lambda feat, noise: tf.zeros([64, tiny_agent.ACTIONS]),
        None,
        start,
        tf.zeros([64, 1]),
        40,
        tf.constant([1, 2]),
    ).feat[1:, :, : model.rssm.stoch_size]
    classes = tf.argmax(tf.reshape(latents, [40, 64, 3, 4]), -1).numpy()
    again = (classes[1:] == classes[:-1]).mean()
    np.testing.assert_allclose(again, 1 / 4, atol=0.03)
    counts = np.bincount(classes.ravel(), minlength=4) / classes.size
    np.testing.assert_allclose(counts, 1 / 4, atol=0.03)


@pytest.mark.parametrize(
    "settings, reads, draws",
    [
        ({"encoder__mlp_keys": "$^"}, {"image"}, {"image", "vector"}),
        ({"decoder__cnn_keys": "$^"}, {"image", "vector"}, {"vector"}),
    ],
)
def test_encoder_and_decoder_choose_their_own_observations(settings, reads, draws):
    agent = tiny_agent.make("image", "vector", **settings)
    data = tiny_agent.batch("image", "vector", length=6)
    _, metrics = agent.train(data, None, step=0)
    assert {k for k in ("image", "vector") if f"{k}_loss" in metrics} == draws
    assert set(agent.report(data)) == {"openl_image"} & {f"openl_{k}" for k in draws}
    obs = {k: v[:, 0] for k, v in data.items() if k in {*reads, "is_first"}}
    action, _ = agent.policy(obs, None, step=0, exploring=np.zeros(2, bool))
    assert action.shape == (2, tiny_agent.ACTIONS)


def test_the_prior_learns_faster_than_the_posterior_by_kl_balance():
    agents = [tiny_agent.make(kl__balance=balance) for balance in (0.8, 0.4)]
    one, two = (losses_and_gradients(agent)[2] for agent in agents)
    key = "rssm/img_dist_0/kernel"  # of the prior alone
    assert np.abs(one[key]).max() > 0
    np.testing.assert_allclose(one[key], 2 * two[key], rtol=1e-3, atol=1e-6)


def test_the_loss_follows_the_kl_settings():
    plain = losses_and_gradients(tiny_agent.make())[1]
    free = losses_and_gradients(tiny_agent.make(kl__free=50.0))[1]
    assert float(free["kl_loss"]) == 50
    np.testing.assert_allclose(free["model_kl"], plain["model_kl"], rtol=1e-6)
    turned = losses_and_gradients(tiny_agent.make(kl__forward=True))[1]
    assert abs(turned["model_kl"] - plain["model_kl"]) > 1e-5


def test_the_error_is_the_loss_without_what_a_perfect_prediction_costs():
    scales = {"reward": 3.0, "kl": 0.5}
    settings = {f"loss_scales__{key}": scale for key, scale in scales.items()}
    agent = tiny_agent.make("image", "vector", **settings)
    total, metrics, _ = losses_and_gradients(agent, "image", "vector")
    shapes = {key: spec.shape for key, spec in agent.obs_specs.items()}
    errors = 0.5 * float(metrics["kl_loss"]) + float(metrics["discount_loss"])
    for key in ("image", "vector", "reward"):
        numbers = np.prod(shapes.get(key, ()))
        halves = float(metrics[f"{key}_loss"]) - 0.5 * np.log(2 * np.pi) * numbers
        assert halves > 0
        errors += scales.get(key, 1.0) * halves
    np.testing.assert_allclose(float(metrics["model_error"]), errors, rtol=1e-3)
    assert float(metrics["model_error"]) < total


def test_images_are_decoded_with_the_scale_that_the_optimiser_divides_by(monkeypatch):
    scales = []
    mean = chunks.mean

    def spy(*args, loss_scale, **options):
        scales.append(float(loss_scale))
        return mean(*args, loss_scale=loss_scale, **options)

    monkeypatch.setattr(chunks, "mean", spy)
    for precision, expected in (("16", 64.0), ("32", 1.0)):
        agent = tiny_agent.make("image", precision=precision)
        if precision == "16":
            agent.named_state()["model_opt/scale"].assign(expected)
        _, metrics = agent.train(tiny_agent.batch("image"), None, step=0)
        assert scales.pop() == metrics.get("model_loss_scale", 1.0) == expected
