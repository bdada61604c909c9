"""The mathematics of DreamerV2 as pure functions.

Index convention: a trajectory of imagination has states 0..H; `reward[t]`,
`discount[t]` and `value[t]` belong to state t; H is the horizon.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from common.compute import replicas, scans

ACTOR_GRADS = ("auto", "both", "dynamics", "reinforce")  # auto: see ActorCritic


class KLBalance(NamedTuple):
    """The KL loss of the world model (equation 2) and the divergence in it."""

    loss: tf.Tensor  # []
    value: tf.Tensor  # [...] nats, KL(post || prior)


def kl_balance(
    post: tf.Tensor,
    prior: tf.Tensor,
    make_dist,
    *,
    free: float,
    forward: bool,
    balance: float,
    free_avg: bool,
) -> KLBalance:
    """Trains the prior faster than the posterior (Hafner et al. 2021, Algorithm 2).

    loss = balance * KL(sg(post) || prior) + (1 - balance) * KL(post || sg(prior)).

    Args:
      post: Nest of the posterior's parameters.
      prior: Nest of the prior's parameters.
      make_dist: Function from parameters to a distribution with `kl(other)`.
      free: Free nats, below which a term exerts no gradient.
      forward: Whether the divergence runs the other way, KL(prior || post).
      balance: Weight of the term that trains the prior.
      free_avg: Whether free nats apply to the batch mean, not to every element.

    Returns:
      The loss and the divergences.
    """
    sg = lambda tree: tf.nest.map_structure(tf.stop_gradient, tree)  # noqa: E731
    left, right = (prior, post) if forward else (post, prior)
    mix = balance if forward else 1 - balance
    value_left = make_dist(left).kl(make_dist(sg(right)))
    value_right = make_dist(sg(left)).kl(make_dist(right))
    if free_avg:
        means = tf.reduce_mean(value_left), tf.reduce_mean(value_right)
        loss_left, loss_right = (tf.maximum(x, free) for x in replicas.mean(means))
    else:
        loss_left = tf.reduce_mean(tf.maximum(value_left, free))
        loss_right = tf.reduce_mean(tf.maximum(value_right, free))
    return KLBalance(mix * loss_left + (1 - mix) * loss_right, value_left)


def lambda_return(
    reward: tf.Tensor,
    value: tf.Tensor,
    discount: tf.Tensor,
    bootstrap: tf.Tensor,
    lambda_: float,
    *,
    unroll: bool = False,
) -> tf.Tensor:
    """Returns V_t = r_t + d_t * ((1 - lambda) * v_{t+1} + lambda * V_{t+1}).

    Hafner et al. 2021, equation 4, with V_H = v_H.

    Args:
      reward: [H, ...] rewards r_t.
      value: [H, ...] values v_t of the states 0..H-1.
      discount: [H, ...] discounts d_t.
      bootstrap: [...] value v_H of the last state.
      lambda_: Mix between one-step targets (0) and Monte-Carlo returns (1).
      unroll: Whether to write the loop out.

    Returns:
      [H, ...] targets.
    """
    next_value = tf.concat([value[1:], bootstrap[None]], 0)
    base = reward + discount * next_value * (1 - lambda_)
    return scans.scan(
        lambda target, now: now[0] + now[1] * lambda_ * target,
        (base, discount),
        bootstrap,
        unroll=unroll,
        reverse=True,
    )


def discount_weights(discount: tf.Tensor) -> tf.Tensor:
    """Returns the chance that each imagined state is reached, [H + 1, ...].

    The cumulative product of the discounts before it; the first weight is 1. Losses of
    imagined states are weighted with it (Hafner et al. 2021, section 2.2).
    """
    shifted = tf.concat([tf.ones_like(discount[:1]), discount[:-1]], 0)
    return tf.stop_gradient(tf.math.cumprod(shifted, 0))


def actor_objective(
    *,
    gradient: str,
    mix: tf.Tensor | float,
    log_prob: tf.Tensor | None,
    target: tf.Tensor,
    baseline: tf.Tensor | None,
) -> tf.Tensor:
    """Returns what the actor maximises for each state, without the entropy.

    Hafner et al. 2021, equation 6.

    Args:
      gradient: reinforce (score function with a baseline), dynamics (straight through
        the model) or both.
      mix: With both: weight of reinforce.
      log_prob: Log-probabilities of the actions taken, for reinforce.
      target: Lambda-returns that follow the actions.
      baseline: Values of the states in which the actions were taken, for reinforce.

    Raises:
      ValueError: If the gradient is unknown.
    """
    if gradient == "dynamics":
        return target
    if gradient not in ("reinforce", "both"):
        raise ValueError(
            f"Unknown actor_grad {gradient!r}; choose from {list(ACTOR_GRADS)}."
        )
    reinforce = log_prob * tf.stop_gradient(target - baseline)
    if gradient == "reinforce":
        return reinforce
    return mix * reinforce + (1 - mix) * target


def weighted_mean(value: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `weight * value`, the expectation in equations 5 and 6.

    Weights take no gradient.
    """
    return tf.reduce_mean(tf.stop_gradient(weight) * value)
