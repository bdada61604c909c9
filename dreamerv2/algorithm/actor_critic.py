"""Learning behaviour by imagination: an actor, a critic and its slow copy.

Hafner et al. 2021, section 2.2. Shapes: H horizon, N imagined rows, F feature,
A action.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import specs
from common.compute import devices, graphs, replicas
from common.nets import dists, heads, optim
from common.nets import layers as nn
from dreamerv2.algorithm import losses, rssm, world_model

RewardFn = Callable[[world_model.Trajectory], tuple[tf.Tensor, dict[str, tf.Tensor]]]
Metrics = dict[str, tf.Tensor]


class Imagined(NamedTuple):
    """An imagined trajectory with what the actor and the critic learn from it."""

    trajectory: world_model.Trajectory
    value: tf.Tensor  # [H + 1, N], slow critic
    target: tf.Tensor  # [H, N], lambda-returns


class StreamNorm(nn.Module):
    """Divides by a running mean of magnitudes; with momentum 1 it does nothing."""

    def __init__(self, *, momentum: float, scale: float, eps: float):
        """Starts at a magnitude of one."""
        super().__init__()
        self._momentum, self._scale, self._eps = momentum, scale, eps
        self._magnitude = self.add("magnitude", tf.Variable(1.0))

    def __call__(self, x: tf.Tensor) -> tuple[tf.Tensor, Metrics]:
        """Updates the magnitude, and returns the normalised tensor with metrics."""
        magnitude = replicas.mean(tf.reduce_mean(tf.abs(x)))
        magnitude = self._momentum * self._magnitude + (1 - self._momentum) * magnitude
        self._magnitude.assign(magnitude)
        y = x / (magnitude + self._eps) * self._scale
        metrics = {
            "mean": tf.reduce_mean(x),
            "std": replicas.std(x),
            "normed_mean": tf.reduce_mean(y),
            "normed_std": replicas.std(y),
        }
        return y, metrics


class ActorCritic(nn.Module):
    """A policy that maximises a reward function inside the world model (section 2.2).

    Attributes:
      config: The run's configuration.
      act_spec: Size and kind of the actions.
      gradient: reinforce, dynamics or both (`actor_grad`).
    """

    def __init__(
        self,
        config: config_lib.Config,
        act_spec: specs.ActionSpec,
        feat_size: int,
        rng: np.random.Generator,
    ):
        """Builds actor, critic, slow critic and two optimisers.

        Raises:
          ValueError: If `actor_grad` is unknown, or the actor's distribution does not
            fit the actions.
        """
        super().__init__()
        if config.actor_grad not in losses.ACTOR_GRADS:
            raise ValueError(
                f"Unknown actor_grad {config.actor_grad!r}; choose from "
                f"{list(losses.ACTOR_GRADS)}."
            )
        for key, least in (("imag_horizon", 2), ("slow_target_update", 1)):
            if config[key] < least:
                raise ValueError(
                    f"{key} is {config[key]}; it must be at least {least}."
                )
        heads.check_dist("critic.dist", config.critic.dist, ("mse",))
        self.config = config
        self.act_spec = act_spec
        self.gradient = config.actor_grad
        if self.gradient == "auto":
            self.gradient = "reinforce" if act_spec.discrete else "dynamics"
        dist = "onehot" if act_spec.discrete else "trunc_normal"
        if config.actor.dist not in ("auto", dist):
            raise ValueError(
                f"actor.dist {config.actor.dist!r} does not fit "
                f"{'discrete' if act_spec.discrete else 'continuous'} actions; "
                "use auto, onehot (discrete) or trunc_normal (continuous)."
            )
        shape = (act_spec.size,)
        actor = {**config.actor, "dist": dist}
        self.actor = self.add("actor", heads.MLP(rng, feat_size, shape, **actor))
        self.critic = self.add("critic", heads.MLP(rng, feat_size, (), **config.critic))
        self._slow = self.critic
        if config.slow_target:
            slow = heads.MLP(rng, feat_size, (), **config.critic)
            self._slow = self.add("target_critic", slow)
        self._updates = self.add("updates", tf.Variable(0, dtype=tf.int64))
        self._norm = self.add("reward_norm", StreamNorm(**config.reward_norm))
        self.actor_opt = make_optimizer("actor", self.actor, config)
        self.critic_opt = make_optimizer("critic", self.critic, config)

    def noise(self, batch: list[int], seed: tf.Tensor | None) -> tf.Tensor | None:
        """Returns noise to sample actions [*batch, A] with; None takes the mode."""
        kind = dists.OneHot if self.act_spec.discrete else dists.TruncatedNormal
        if seed is None:
            return None
        shape, axis = [*batch, self.act_spec.size], len(batch) - 1
        return replicas.own_rows(lambda x: kind.noise(x, seed), shape, axis)

    def train(
        self,
        model: world_model.WorldModel,
        start: rssm.State,
        is_terminal: tf.Tensor,
        reward_fn: RewardFn,
        coefficients: Mapping[str, tf.Tensor],
        seed: tf.Tensor | None,
    ) -> Metrics:
        """Takes one gradient step of actor and critic (equations 5 and 6).

        Args:
          model: The world model to imagine in.
          start: States [B, T, ...] to imagine from.
          is_terminal: [B, T], whether episodes have ended there.
          reward_fn: Function of a trajectory to rewards [H + 1, N] and metrics.
          coefficients: `actor_ent` and `actor_grad_mix` at this step.
          seed: Stateless seed [2]; None takes the modes.
        """
        imagine = functools.partial(
            self.imagine, model, start, is_terminal, reward_fn, seed
        )
        if self.gradient == "reinforce":  # no gradient goes through the trajectory
            done = imagine()
            imagine = lambda: done  # noqa: E731

        def actor_loss() -> tuple[tf.Tensor, tuple[Imagined, Metrics]]:
            imagined, metrics = imagine()
            loss, more = self.actor_loss(imagined, coefficients)
            return loss, (imagined, {**metrics, **more})

        (imagined, metrics), actor = self.actor_opt.minimize(actor_loss)
        more, critic = self.critic_opt.minimize(lambda: self.critic_loss(imagined))
        self._update_slow_critic()
        return {**metrics, **more, **actor, **critic}

    def imagine(
        self,
        model: world_model.WorldModel,
        start: rssm.State,
        is_terminal: tf.Tensor,
        reward_fn: RewardFn,
        seed: tf.Tensor | None,
    ) -> tuple[Imagined, Metrics]:
        """Imagines trajectories and computes their lambda-returns (equation 4).

        Updates nothing but the running magnitudes of rewards.

        Args:
          model: The world model to imagine in.
          start: States [B, T, ...], the first of N = B T trajectories.
          is_terminal: [B, T], whether episodes have ended there.
          reward_fn: Function of a trajectory to rewards [H + 1, N] and metrics.
          seed: Stateless seed [2]; None takes the modes.
        """
        config = self.config
        seed1, seed2 = graphs.split_seed(seed, 2)
        rows = int(np.prod(is_terminal.shape))
        trajectory = model.imagine(
            lambda feat, noise: self.actor(feat).sample(noise),
            self.noise([config.imag_horizon, rows], seed1),
            start,
            is_terminal,
            config.imag_horizon,
            seed2,
            differentiable=self.gradient != "reinforce",
        )
        reward, metrics = reward_fn(trajectory)
        states = config.imag_horizon + 1
        graphs.check_shape("the reward", reward, **{"H + 1": states, "N": rows})
        reward, more = self._norm(reward)
        metrics.update(graphs.prefix(more, "reward"))
        value = self._slow(trajectory.feat).mode()
        target = losses.lambda_return(
            reward[:-1],
            value[:-1],
            trajectory.discount[:-1],
            value[-1],
            config.discount_lambda,
            unroll=config.unroll,
        )
        metrics["critic_slow"] = tf.reduce_mean(value)
        metrics["critic_target"] = tf.reduce_mean(target)
        return Imagined(trajectory, value, target), metrics

    def actor_loss(
        self, imagined: Imagined, coefficients: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, Metrics]:
        """Returns the loss of the actor in states 0..H-2 (equation 6).

        An action at state t leads to state t + 1, whose lambda-return judges it. The
        last two states have no such pair.
        """
        feat, action, _, weight = imagined.trajectory
        policy = self.actor(feat[:-2].stop_gradient())
        target, log_prob, baseline = imagined.target[1:], None, None
        if self.gradient != "dynamics":
            log_prob = policy.log_prob(tf.stop_gradient(action[1:-1]))
            baseline = imagined.value[:-2]
        objective = losses.actor_objective(
            gradient=self.gradient,
            mix=coefficients["actor_grad_mix"],
            log_prob=log_prob,
            target=target,
            baseline=baseline,
        )
        entropy = policy.entropy()
        objective += coefficients["actor_ent"] * entropy
        loss = -losses.weighted_mean(objective, weight[:-2])
        metrics = {
            "actor_ent": tf.reduce_mean(entropy),
            "actor_ent_scale": coefficients["actor_ent"],
        }
        return loss, metrics

    def critic_loss(self, imagined: Imagined) -> tuple[tf.Tensor, Metrics]:
        """Returns the critic's regression towards the lambda-returns (equation 5)."""
        feat, _, _, weight = imagined.trajectory
        dist = self.critic(feat[:-1].stop_gradient())
        log_prob = dist.log_prob(tf.stop_gradient(imagined.target))
        loss = -losses.weighted_mean(log_prob, weight[:-1])
        return loss, {"critic": tf.reduce_mean(dist.mode())}

    def optimizers(self) -> dict[str, Any]:
        """Returns the optimisers by name."""
        return {"actor_opt": self.actor_opt, "critic_opt": self.critic_opt}

    def _update_slow_critic(self) -> None:
        """Copies the critic at the first update and then at every n-th."""
        if not self.config.slow_target:
            return
        due = self._updates % self.config.slow_target_update == 0
        fraction = tf.where(self._updates == 0, 1.0, self.config.slow_target_fraction)
        mix = tf.where(due, fraction, 0.0)
        slow, fast = self._slow.named_weights(), self.critic.named_weights()

        def copy() -> None:
            for name, weight in slow.items():
                weight.assign(mix * fast[name] + (1 - mix) * weight)

        tf.cond(due, copy, lambda: None)
        self._updates.assign_add(1)


def make_optimizer(
    name: str, part: nn.Module, config: config_lib.Config
) -> optim.Optimizer:
    """Returns the optimiser of a part's weights, as `{name}_opt` configures it."""
    return optim.Optimizer(
        name,
        part.named_weights(),
        l2=config.l2_scale,
        loss_scale=optim.LossScale(devices.compute_dtype(config.precision)),
        **config[f"{name}_opt"],
    )
