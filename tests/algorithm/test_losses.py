"""Laws of the pure functions that DreamerV2 minimises."""

import numpy as np
import pytest
import tensorflow as tf

from common.nets import dists
from dreamerv2.algorithm import losses

RNG = np.random.default_rng(0)
REWARD, VALUE = (RNG.normal(size=(6, 4)).astype(np.float32) for _ in range(2))
DISCOUNT = RNG.uniform(0, 1, (6, 4)).astype(np.float32)
BOOTSTRAP = RNG.normal(size=4).astype(np.float32)


def slow_lambda_return(reward, value, discount, bootstrap, lambda_):
    """The recursion as the paper writes it."""
    next_value = [*value[1:], bootstrap]
    target, targets = bootstrap, []
    for t in reversed(range(len(reward))):
        mixed = (1 - lambda_) * next_value[t] + lambda_ * target
        target = reward[t] + discount[t] * mixed
        targets.insert(0, target)
    return np.stack(targets)


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95, 1.0])
def test_the_lambda_return_is_its_recursion(lambda_, unroll):
    inputs = REWARD, VALUE, DISCOUNT, BOOTSTRAP, lambda_
    target = losses.lambda_return(*inputs, unroll=unroll)
    np.testing.assert_allclose(target, slow_lambda_return(*inputs), rtol=1e-5)


def test_lambda_zero_looks_one_step_ahead():
    reward, value = tf.constant([1.0, 2.0, 3.0]), tf.constant([9.0, 10.0, 20.0])
    target = losses.lambda_return(
        reward, value, tf.constant([0.5, 0.1, 0.5]), tf.constant(8.0), 0.0
    )
    np.testing.assert_allclose(target, [1 + 5, 2 + 2, 3 + 4])


def test_lambda_one_sums_discounted_rewards():
    reward, value = tf.constant([1.0, 2.0, 3.0]), tf.constant([9.0, 10.0, 20.0])
    target = losses.lambda_return(reward, value, tf.fill([3], 0.5), tf.constant(8.0), 1)
    np.testing.assert_allclose(target, [3.75, 5.5, 7.0])


def test_a_discount_of_zero_cuts_off_what_follows():
    discount = DISCOUNT.copy()
    discount[2] = 0
    late = np.arange(6)[:, None] > 2
    one = losses.lambda_return(REWARD, VALUE, discount, BOOTSTRAP, 0.95)
    two = losses.lambda_return(
        REWARD + late, VALUE + late, discount, BOOTSTRAP + 1, 0.95
    )
    np.testing.assert_array_equal(one[:3], two[:3])
    np.testing.assert_allclose(one[2], REWARD[2])
    assert (np.asarray(one)[3:] != np.asarray(two)[3:]).all()


@pytest.mark.parametrize("unroll", [False, True])
def test_the_lambda_return_carries_gradients_to_the_last_value(unroll):
    discount, last = tf.constant([0.9, 0.8, 0.7]), tf.constant(1.0)
    with tf.GradientTape() as tape:
        tape.watch(last)
        target = losses.lambda_return(
            tf.zeros(3), tf.zeros(3), discount, last, 0.5, unroll=unroll
        )[0]
    np.testing.assert_allclose(tape.gradient(target, last), 0.45 * 0.4 * 0.7, rtol=1e-6)


def test_the_weight_of_a_state_is_the_product_of_the_discounts_before_it():
    discount = tf.constant([[0.5, 1.0], [0.25, 0.0], [0.5, 0.5], [0.0, 0.0]])
    weight = losses.discount_weights(discount)
    np.testing.assert_allclose(weight, [[1, 1], [0.5, 1], [0.125, 0], [0.0625, 0]])


def test_the_weights_of_states_take_no_gradient():
    discount = tf.constant([0.5, 0.25, 0.5])
    with tf.GradientTape() as tape:
        tape.watch(discount)
        total = tf.reduce_sum(losses.discount_weights(discount))
    assert tape.gradient(total, discount) is None


def unit_normal(mean):
    return dists.Normal(mean, 1.0, 1)


def kl_balance(post, prior, **settings):
    """Loss, divergences and both gradients under normals of variance one."""
    post, prior = tf.constant(post), tf.constant(prior)
    default = {"free": 0.0, "forward": False, "balance": 0.8, "free_avg": True}
    with tf.GradientTape() as tape:
        tape.watch([post, prior])
        result = losses.kl_balance(post, prior, unit_normal, **{**default, **settings})
    return result, *tape.gradient(result.loss, [post, prior])


@pytest.mark.parametrize("free_avg", [True, False])
@pytest.mark.parametrize("forward", [True, False])
def test_kl_balance_trains_the_prior_by_balance_and_the_posterior_by_the_rest(
    forward, free_avg
):
    post, prior = [[1.0], [5.0]], [[0.0], [2.0]]
    result, to_post, to_prior = kl_balance(
        post, prior, forward=forward, free_avg=free_avg
    )
    # KL is half the squared distance, which is 1 and 3; two elements are averaged.
    np.testing.assert_allclose(result.loss, (0.5 + 4.5) / 2, rtol=1e-6)
    np.testing.assert_allclose(result.value, [0.5, 4.5], rtol=1e-6)
    np.testing.assert_allclose(to_prior, [[-0.8 / 2], [-0.8 * 3 / 2]], rtol=1e-6)
    np.testing.assert_allclose(to_post, [[0.2 / 2], [0.2 * 3 / 2]], rtol=1e-6)


@pytest.mark.parametrize("forward", [True, False])
def test_the_divergence_runs_from_the_posterior_unless_it_is_turned(forward):
    post, prior = np.log([[0.7, 0.2, 0.1]]), np.log([[0.1, 0.3, 0.6]])
    result = losses.kl_balance(
        post, prior, dists.OneHot, free=0.0, forward=forward, balance=0.8, free_avg=True
    )
    left, right = (prior, post) if forward else (post, prior)
    expected = (np.exp(left) * (left - right)).sum(-1)
    np.testing.assert_allclose(result.value, expected, rtol=1e-5)
    np.testing.assert_allclose(result.loss, expected[0], rtol=1e-5)


@pytest.mark.parametrize("free_avg", [True, False])
def test_below_the_free_nats_nothing_is_trained(free_avg):
    result, to_post, to_prior = kl_balance(
        [[1.0], [3.0]], [[0.0], [0.0]], free=5.0, free_avg=free_avg
    )
    np.testing.assert_allclose(result.loss, 5.0)
    np.testing.assert_array_equal(to_post, np.zeros([2, 1]))
    np.testing.assert_array_equal(to_prior, np.zeros([2, 1]))
    np.testing.assert_allclose(result.value, [0.5, 4.5], rtol=1e-6)


def test_free_nats_count_for_the_mean_or_for_every_element():
    settings = {"post": [[1.0], [3.0]], "prior": [[0.0], [0.0]], "free": 1.0}
    result, _, to_prior = kl_balance(**settings, free_avg=True)
    np.testing.assert_allclose(result.loss, (0.5 + 4.5) / 2, rtol=1e-6)
    assert (to_prior.numpy() != 0).all()
    result, _, to_prior = kl_balance(**settings, free_avg=False)
    np.testing.assert_allclose(result.loss, (1.0 + 4.5) / 2, rtol=1e-6)
    np.testing.assert_array_equal(to_prior.numpy() != 0, [[False], [True]])


def objective(gradient, mix=0.25):
    """Value of the objective and its gradients by log_prob, target, baseline."""
    inputs = [tf.constant([-2.0]), tf.constant([5.0]), tf.constant([2.0])]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        log_prob, target, baseline = inputs
        value = losses.actor_objective(
            gradient=gradient,
            mix=mix,
            log_prob=log_prob,
            target=target,
            baseline=baseline,
        )
    grads = tape.gradient(value, inputs)
    return float(value[0]), [None if g is None else float(g[0]) for g in grads]


def test_reinforce_weighs_log_probabilities_by_advantages_it_does_not_train():
    assert objective("reinforce") == (-2.0 * (5.0 - 2.0), [3.0, None, None])


def test_dynamics_maximises_the_target_itself():
    assert objective("dynamics") == (5.0, [None, 1.0, None])


def test_both_mixes_reinforce_and_dynamics():
    value = 0.25 * -2.0 * 3.0 + 0.75 * 5.0
    assert objective("both") == (value, [0.25 * 3.0, 0.75, None])


def test_an_unknown_actor_gradient_is_answered_with_the_choices():
    with pytest.raises(ValueError, match="'renforce'.*both.*dynamics.*reinforce"):
        objective("renforce")


def test_a_weighted_mean_divides_by_the_count_and_trains_no_weight():
    value, weight = tf.constant([2.0, 4.0]), tf.constant([1.0, 0.5])
    with tf.GradientTape() as tape:
        tape.watch([value, weight])
        mean = losses.weighted_mean(value, weight)
    np.testing.assert_allclose(mean, 2.0)
    to_value, to_weight = tape.gradient(mean, [value, weight])
    np.testing.assert_allclose(to_value, [0.5, 0.25])
    assert to_weight is None
