"""Laws of the distributions, against NumPy and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

from common.nets import dists

LOGITS = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
TRUNCATED = [(0.0, 1.0), (0.9, 0.1), (-0.99, 0.5), (0.3, 2.1)]  # location, scale


def seed(number=0):
    return tf.constant([7, number])


def truncnorm(mean, std):
    return stats.truncnorm((-1 - mean) / std, (1 - mean) / std, mean, std)


# One-hot vectors.


def test_one_hot_samples_come_as_often_as_their_probabilities_say():
    probs = np.array([0.5, 0.3, 0.15, 0.05])
    count = 20_000
    dist = dists.OneHot(np.log(probs))
    sample = dist.sample(dist.noise([count, 4], seed())).numpy()
    assert set(np.unique(sample.round(6))) == {0, 1}
    np.testing.assert_allclose(sample.sum(-1), 1, rtol=1e-6)
    counts = sample.round().sum(0)
    assert stats.chisquare(counts, probs * count).pvalue > 0.001


def test_a_one_hot_sample_has_the_gradient_of_its_probabilities():
    logits, weight = tf.constant(LOGITS), np.arange(4, dtype=np.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        sample = dists.OneHot(logits).sample(dists.OneHot.noise([2, 3, 4], seed()))
        straight = tf.reduce_sum(sample * weight)
        soft = tf.reduce_sum(tf.nn.softmax(logits) * weight)
    expected = tape.gradient(soft, logits)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(tape.gradient(straight, logits), expected, rtol=1e-5)


def test_one_hot_noise_is_finite_and_follows_its_seed():
    noise = [dists.OneHot.noise([1000, 4], seed(n)).numpy() for n in (0, 0, 1)]
    assert np.isfinite(noise).all()
    np.testing.assert_array_equal(noise[0], noise[1])
    assert (noise[0] != noise[2]).all()


@pytest.mark.parametrize("event_ndims", [1, 2])
def test_one_hot_densities_are_those_of_numpy(event_ndims):
    other = LOGITS[::-1] * 2
    dist = dists.OneHot(LOGITS, event_ndims)
    value = np.eye(4)[[[0, 1, 2], [3, 0, 1]]]
    logp, logq = special.log_softmax(LOGITS, -1), special.log_softmax(other, -1)
    expected = {
        "log_prob": (value * logp).sum(-1),
        "entropy": -(np.exp(logp) * logp).sum(-1),
        "kl": (np.exp(logp) * (logp - logq)).sum(-1),
    }
    if event_ndims == 2:  # a row of categoricals is one event
        expected = {key: x.sum(-1) for key, x in expected.items()}
    np.testing.assert_allclose(dist.log_prob(value), expected["log_prob"], rtol=1e-5)
    np.testing.assert_allclose(dist.entropy(), expected["entropy"], rtol=1e-5)
    kl = dist.kl(dists.OneHot(other, event_ndims))
    np.testing.assert_allclose(kl, expected["kl"], rtol=1e-5)


def test_the_mode_of_one_hot_vectors_is_the_largest_logit():
    mode = dists.OneHot(LOGITS).mode()
    np.testing.assert_allclose(mode, np.eye(4)[LOGITS.argmax(-1)], atol=1e-6)


# Normals.


def test_normal_samples_are_distributed_normally():
    dist = dists.Normal(tf.fill([20_000], 3.0), 0.5, 0)
    sample = dist.sample(dist.noise([20_000], seed())).numpy()
    assert stats.kstest(sample, stats.norm(3.0, 0.5).cdf).pvalue > 0.001
    np.testing.assert_array_equal(dist.mode(), np.full(20_000, 3.0))


def test_a_normal_sample_has_gradients_to_mean_and_deviation():
    mean, std, noise = tf.constant([1.0]), tf.constant([2.0]), tf.constant([0.5])
    with tf.GradientTape() as tape:
        tape.watch([mean, std])
        sample = dists.Normal(mean, std).sample(noise)
    np.testing.assert_allclose(sample, [2.0])
    np.testing.assert_allclose(tape.gradient(sample, [mean, std]), [[1.0], [0.5]])


@pytest.mark.parametrize("event_ndims", [0, 1, 2])
def test_normal_densities_are_those_of_scipy(event_ndims):
    mean, std = LOGITS, np.exp(LOGITS[::-1])
    other_mean, other_std, value = LOGITS * 2, np.exp(LOGITS), LOGITS + 0.5
    axes = tuple(range(3 - event_ndims, 3))
    dist = dists.Normal(mean, std, event_ndims)
    expected = stats.norm(mean, std).logpdf(value).sum(axes)
    np.testing.assert_allclose(dist.log_prob(value), expected, rtol=1e-4)
    expected = stats.norm(mean, std).entropy().sum(axes)
    np.testing.assert_allclose(dist.entropy(), expected, rtol=1e-4)
    ratio = std / other_std
    square = ((mean - other_mean) / other_std) ** 2
    expected = (0.5 * (ratio**2 + square - 1) - np.log(ratio)).sum(axes)
    kl = dist.kl(dists.Normal(other_mean, other_std, event_ndims))
    np.testing.assert_allclose(kl, expected, rtol=1e-4)


def test_an_image_under_variance_one_is_an_independent_normal():
    rng = np.random.default_rng(0)
    mean, value = rng.normal(size=(2, 2, 3, 4, 5, 3)).astype(np.float32)
    dist = dists.UnitNormalImage(mean)
    tfd = tfp.distributions
    expected = tfd.Independent(tfd.Normal(mean, 1.0), 3).log_prob(value)
    assert expected.shape == (2, 3)
    np.testing.assert_allclose(dist.log_prob(value), expected, rtol=1e-5)
    np.testing.assert_array_equal(dist.mode(), mean)
    with tf.GradientTape() as tape:
        tape.watch(dist.mean)
        scaled = dist.log_prob(value) * [[1.0, -2.0, 0.5], [3.0, 4.0, 0.0]]
    factor = np.reshape([1.0, -2.0, 0.5, 3.0, 4.0, 0.0], [2, 3, 1, 1, 1])
    expected = factor * (value - mean)
    np.testing.assert_allclose(tape.gradient(scaled, dist.mean), expected, rtol=1e-5)


# Truncated normals.


@pytest.mark.parametrize("mean, std", TRUNCATED)
def test_truncated_normal_samples_are_distributed_as_in_scipy(mean, std):
    dist = dists.TruncatedNormal(tf.fill([20_000, 1], mean), tf.fill([20_000, 1], std))
    sample = dist.sample(dist.noise([20_000, 1], seed())).numpy()[:, 0]
    assert (np.abs(sample) < 1).all()
    assert stats.kstest(sample, truncnorm(mean, std).cdf).pvalue > 0.001
    np.testing.assert_array_equal(dist.mode(), dist.mean)


@pytest.mark.parametrize("mean", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("std", [0.1, 2.1])
def test_truncated_normals_stay_finite_at_the_ends_of_the_noise(mean, std):
    ends = [[1e-7], [1 - 1e-7]]
    mean, std = tf.fill([2, 1], mean), tf.fill([2, 1], std)
    with tf.GradientTape() as tape:
        tape.watch([mean, std])
        dist = dists.TruncatedNormal(mean, std)
        sample = dist.sample(tf.constant(ends))
        log_prob = dist.log_prob(sample)
    assert (np.abs(sample) < 1).all()
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, [mean, std])).all()


@pytest.mark.parametrize("mean, std", TRUNCATED)
def test_truncated_normal_gradients_are_finite_differences_of_the_quantile(mean, std):
    noise = np.linspace(0.05, 0.95, 7)
    means, stds = tf.fill([7, 1], mean), tf.fill([7, 1], std)
    with tf.GradientTape() as tape:
        tape.watch([means, stds])
        dist = dists.TruncatedNormal(means, stds)
        sample = dist.sample(tf.constant(noise[:, None], tf.float32))
    to_mean, to_std = (g[:, 0] for g in tape.gradient(sample, [means, stds]))
    np.testing.assert_allclose(
        sample[:, 0], truncnorm(mean, std).ppf(noise), rtol=1e-4, atol=1e-5
    )
    h = 1e-5
    ppf = {
        (i, j): truncnorm(mean + i * h, std + j * h).ppf(noise)
        for i, j in ((1, 0), (-1, 0), (0, 1), (0, -1))
    }
    expected = (ppf[1, 0] - ppf[-1, 0]) / (2 * h)
    np.testing.assert_allclose(to_mean, expected, rtol=2e-3, atol=2e-3)
    expected = (ppf[0, 1] - ppf[0, -1]) / (2 * h)
    np.testing.assert_allclose(to_std, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("mean, std", TRUNCATED)
def test_truncated_normal_densities_are_those_of_scipy(mean, std):
    value = np.linspace(-0.99, 0.99, 5)
    dist = dists.TruncatedNormal(tf.fill([5], mean), tf.fill([5], std))
    expected = truncnorm(mean, std).logpdf(value).sum()
    np.testing.assert_allclose(dist.log_prob(value), expected, rtol=1e-4)
    expected = 5 * truncnorm(mean, std).entropy()
    np.testing.assert_allclose(dist.entropy(), expected, rtol=1e-3, atol=1e-3)


# Coins and uniforms.


def test_a_coin_takes_probabilities_as_labels():
    logits, label = LOGITS[0, 0], np.array([0.0, 0.3, 0.99, 1.0])
    dist = dists.Bernoulli(logits)
    probs = special.expit(logits)
    expected = label * np.log(probs) + (1 - label) * np.log(1 - probs)
    np.testing.assert_allclose(dist.log_prob(label), expected, rtol=1e-5)
    np.testing.assert_allclose(dist.mean(), probs, rtol=1e-6)
    np.testing.assert_array_equal(dist.mode(), probs > 0.5)


def test_uniform_samples_fill_the_interval():
    dist = dists.Uniform([20_000, 1])
    sample = dist.sample(dist.noise([20_000, 1], seed())).numpy()[:, 0]
    assert stats.kstest(sample, stats.uniform(-1, 2).cdf).pvalue > 0.001
    np.testing.assert_array_equal(dist.sample(None), np.zeros([20_000, 1]))
    np.testing.assert_array_equal(dist.mode(), np.zeros([20_000, 1]))


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_parameters_in_half_precision_are_computed_with_in_single(dtype):
    x = tf.cast(LOGITS, dtype)
    made = [dists.OneHot(x), dists.Normal(x, x**2 + 1), dists.Bernoulli(x)]
    made.append(dists.TruncatedNormal(tf.tanh(x), x**2 + 1))
    for dist in made:
        assert dist.mode().dtype == tf.float32
        assert dist.log_prob(dist.mode()).dtype == tf.float32
