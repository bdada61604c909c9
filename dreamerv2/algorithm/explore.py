"""Exploration behaviours: random actions, Plan2Explore, seeking model loss.

One of one's own is a class in a module of one's own, named by `expl_behavior:
module:Class`: a `Behaviour`, most easily a subclass of `Intrinsic`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import specs
from common.compute import onehots
from common.nets import dists, heads, optim
from common.nets import layers as nn
from dreamerv2.algorithm import actor_critic, world_model

Metrics = dict[str, tf.Tensor]


class Behaviour(Protocol):
    """What an agent asks of an exploration behaviour.

    It is made once, as `Class(config, act_spec, model, rng)` (see `Intrinsic`), and is
    a `layers.Module`, whose named weights are saved. While training, `learn` is called
    in every update, after the world model and the task behaviour have learned; while
    acting, `noise` and `actor` in every step, for all rows, of which those that explore
    take its actions.
    """

    def actor(self, feat: onehots.Latents) -> Any:
        """Returns a distribution of actions [..., A], given features [..., F]."""

    def noise(self, batch: list[int], seed: tf.Tensor | None) -> tf.Tensor | None:
        """Returns what actions [*batch, A] are sampled with; None takes the modes."""

    def learn(
        self,
        data: Mapping[str, tf.Tensor],
        outputs: world_model.Outputs,
        coefficients: Mapping[str, tf.Tensor],
        seed: tf.Tensor | None,
    ) -> Metrics:
        """Takes gradient steps on a batch, see `Intrinsic.learn`."""

    def optimizers(self) -> dict[str, optim.Optimizer]:
        """Returns the optimisers by name, whose moments are saved."""


class Random(nn.Module):
    """Uniformly distributed actions; nothing is learned."""

    def __init__(
        self,
        config: config_lib.Config,
        act_spec: specs.ActionSpec,
        model: world_model.WorldModel,
        rng: np.random.Generator,
    ):
        """Takes the size and kind of the actions."""
        super().__init__()
        del config, model, rng
        self._act_spec = act_spec

    def noise(self, batch: list[int], seed: tf.Tensor | None) -> tf.Tensor | None:
        """Returns noise to sample actions [*batch, A] with; None takes the mode."""
        if seed is None:
            return None
        kind = dists.OneHot if self._act_spec.discrete else dists.Uniform
        return kind.noise([*batch, self._act_spec.size], seed)

    def actor(self, feat: onehots.Latents) -> dists.OneHot | dists.Uniform:
        """Returns the same distribution for any features [..., F]."""
        shape = [*feat.shape[:-1], self._act_spec.size]
        if self._act_spec.discrete:
            return dists.OneHot(tf.zeros(shape))
        return dists.Uniform(shape)

    def learn(
        self,
        data: Mapping[str, tf.Tensor],
        outputs: world_model.Outputs,
        coefficients: Mapping[str, tf.Tensor],
        seed: tf.Tensor | None,
    ) -> Metrics:
        """Learns nothing."""
        return {}

    def optimizers(self) -> dict[str, optim.Optimizer]:
        """Returns no optimiser."""
        return {}


class Intrinsic(actor_critic.ActorCritic):
    """Actor and critic of an intrinsic reward, learned beside those of the task.

    A subclass says what is novel. In the order in which they are called:

    - `build(rng)`, once, makes the networks that novelty is predicted with;
    - `predictor_loss(data, outputs)`, in every update, is minimised with `expl_opt`;
    - `intrinsic_reward(trajectory)`, then, judges what the behaviour's own actor does
      in imagination; `expl_intr_scale` times it, plus `expl_extr_scale` times the
      task's reward, is what actor and critic learn from.

    For example, to seek states in which the reward is hard to predict:

        class RewardLoss(explore.Intrinsic):
            def build(self, rng):
                size = self.model.rssm.feat_size
                head = heads.MLP(rng, size, (), **self.config.expl_head)
                return self.add("head", head)

            def predictor_loss(self, data, outputs):
                dist = self.predictor(outputs.feat.stop_gradient())
                return -tf.reduce_mean(dist.log_prob(-outputs.log_probs["reward"]))

            def intrinsic_reward(self, trajectory):
                return self.predictor(trajectory.feat).mode()

    Attributes:
      model: The world model; `config` and `act_spec` are there too.
      predictor: What `build` has returned.
    """

    def __init__(
        self,
        config: config_lib.Config,
        act_spec: specs.ActionSpec,
        model: world_model.WorldModel,
        rng: np.random.Generator,
    ):
        """Builds actor, critic, the predictor of novelty and their optimisers.

        Args:
          config: The run's configuration.
          act_spec: Size and kind of the actions.
          model: The world model to imagine in.
          rng: Source of the initial weights.
        """
        super().__init__(config, act_spec, model.rssm.feat_size, rng)
        self.model = model
        self._intr_norm, self._extr_norm = (
            self.add(name, actor_critic.StreamNorm(**config.expl_reward_norm))
            for name in ("intr_norm", "extr_norm")
        )
        self.predictor = self.build(rng)
        self._opt = actor_critic.make_optimizer("expl", self.predictor, config)

    def build(self, rng: np.random.Generator) -> nn.Module:
        """Makes and `add`s the networks that predict novelty, and returns them."""
        raise NotImplementedError

    def predictor_loss(
        self, data: Mapping[str, tf.Tensor], outputs: world_model.Outputs
    ) -> tf.Tensor:
        """Returns the loss [] that the predictor is trained with.

        Args:
          data: Preprocessed batch [B, T, ...].
          outputs: What the world model found in it.
        """
        raise NotImplementedError

    def intrinsic_reward(self, trajectory: world_model.Trajectory) -> tf.Tensor:
        """Returns the novelty [H + 1, N] of imagined states, before normalisation."""
        raise NotImplementedError

    def learn(
        self,
        data: Mapping[str, tf.Tensor],
        outputs: world_model.Outputs,
        coefficients: Mapping[str, tf.Tensor],
        seed: tf.Tensor | None,
    ) -> Metrics:
        """Takes one gradient step of the predictor, then of actor and critic.

        Args:
          data: Preprocessed batch [B, T, ...].
          outputs: What the world model found in it.
          coefficients: See `ActorCritic.train`.
          seed: Stateless seed [2]; None takes the modes.
        """
        _, metrics = self._opt.minimize(
            lambda: (self.predictor_loss(data, outputs), None)
        )
        more = self.train(
            self.model,
            outputs.post,
            data["is_terminal"],
            self.reward,
            coefficients,
            seed,
        )
        return {**metrics, **more}

    def reward(self, trajectory: world_model.Trajectory) -> tuple[tf.Tensor, Metrics]:
        """Mixes intrinsic and task reward by `expl_intr_scale` and `_extr_scale`."""
        intrinsic, _ = self._intr_norm(self.intrinsic_reward(trajectory))
        reward = self.config.expl_intr_scale * intrinsic
        if self.config.expl_extr_scale:
            extrinsic, _ = self._extr_norm(self.model.reward(trajectory.feat))
            reward += self.config.expl_extr_scale * extrinsic
        return reward, {}

    def optimizers(self) -> dict[str, optim.Optimizer]:
        """Returns the optimisers by name."""
        return {"expl_opt": self._opt, **super().optimizers()}


class Plan2Explore(Intrinsic):
    """Seeks states whose next latent an ensemble disagrees about (Sekar et al. 2020).

    Each member predicts the target `disag_offset` steps ahead from the features and,
    with `disag_action_cond`, an action. The intrinsic reward is the standard deviation
    over members, averaged over the target's dimensions (equation 1 there).
    """

    def build(self, rng: np.random.Generator) -> heads.EnsembleMLP:
        """Makes the ensemble.

        Raises:
          ValueError: If `disag_target` or `disag_action_align` is unknown, or
            `disag_offset` or `disag_models` out of range.
        """
        config, model = self.config, self.model
        if not 0 <= config.disag_offset < config.dataset.length:
            raise ValueError(
                f"disag_offset is {config.disag_offset}; it must be less than "
                f"dataset.length, {config.dataset.length}, and at least 0."
            )
        if config.disag_models < 2:
            raise ValueError(
                f"disag_models is {config.disag_models}; at least 2 are needed to "
                "disagree."
            )
        sizes = {
            "stoch": model.rssm.stoch_size,
            "deter": model.rssm.feat_size - model.rssm.stoch_size,
            "feat": model.rssm.feat_size,
            "embed": model.encoder.size,
        }
        _check_choice("disag_target", config.disag_target, sizes)
        aligns = ("previous", "next")
        _check_choice("disag_action_align", config.disag_action_align, aligns)
        inputs = model.rssm.feat_size
        inputs += self.act_spec.size if config.disag_action_cond else 0
        size = sizes[config.disag_target]
        ensemble = heads.EnsembleMLP(
            rng, config.disag_models, inputs, size, **config.expl_head
        )
        return self.add("ensemble", ensemble)

    def predictor_loss(
        self, data: Mapping[str, tf.Tensor], outputs: world_model.Outputs
    ) -> tf.Tensor:
        """Returns the negative log-likelihood [] of the target, over all members."""
        offset = self.config.disag_offset
        inputs = self._inputs(outputs.feat, data["action"], axis=1).stop_gradient()
        target = tf.cast(tf.stop_gradient(self._target(outputs)), tf.float32)
        if offset:
            inputs, target = inputs[:, :-offset], target[:, offset:]
        likelihood = dists.Normal(self.predictor(inputs), 1.0, 1).log_prob(target)
        return -tf.reduce_sum(tf.reduce_mean(likelihood, [1, 2]))

    def intrinsic_reward(self, trajectory: world_model.Trajectory) -> tf.Tensor:
        """Returns the disagreement [H + 1, N] in imagined states."""
        return self.disagreement(trajectory.feat, trajectory.action, axis=0)

    def disagreement(
        self, feat: onehots.Latents, action: tf.Tensor, axis: int
    ) -> tf.Tensor:
        """Returns the ensemble's disagreement [...] along trajectories.

        Args:
          feat: States [..., F].
          action: Actions [..., A] that led to the states.
          axis: The axis of time.
        """
        found = self.predictor.disagreement(self._inputs(feat, action, axis))
        return tf.math.log(found) if self.config.disag_log else found

    def _target(self, outputs: world_model.Outputs) -> tf.Tensor:
        """Returns what the members predict [B, T, size]."""
        target = self.config.disag_target
        if target == "stoch":
            return self.model.rssm.flat_stoch(outputs.post)
        if target == "deter":
            return outputs.post["deter"]
        return outputs.embed if target == "embed" else outputs.feat.to_tensor()

    def _inputs(
        self, feat: onehots.Latents, action: tf.Tensor, axis: int
    ) -> onehots.Latents:
        """Returns what the members read: features and, if wanted, an action each."""
        if not self.config.disag_action_cond:
            return feat
        if self.config.disag_action_align == "next":
            # The action taken in a state is stored with the next one; the last state
            # of a trajectory has none and keeps its own.
            length = action.shape[axis]
            order = [*range(1, length), length - 1]
            action = tf.gather(action, order, axis=axis)
        return feat.concat(tf.cast(action, feat.dtype))


class ModelLoss(Intrinsic):
    """Seeks states in which a head predicts that the world model errs."""

    def build(self, rng: np.random.Generator) -> heads.MLP:
        """Makes the head.

        Raises:
          ValueError: If `expl_model_loss` names no loss of the world model.
        """
        decoder = self.model.heads["decoder"]
        known = {*decoder.cnn_keys, *decoder.mlp_keys, *self.model.heads}
        name = self.config.expl_model_loss
        _check_choice("expl_model_loss", name, {"kl", *known} - {"decoder"})
        size = self.model.rssm.feat_size
        return self.add("head", heads.MLP(rng, size, (), **self.config.expl_head))

    def predictor_loss(
        self, data: Mapping[str, tf.Tensor], outputs: world_model.Outputs
    ) -> tf.Tensor:
        """Returns the mean negative log-likelihood [] of the world model's loss."""
        del data
        name = self.config.expl_model_loss
        target = outputs.kl if name == "kl" else -outputs.log_probs[name]
        dist = self.predictor(outputs.feat.stop_gradient())
        return -tf.reduce_mean(dist.log_prob(tf.stop_gradient(target)))

    def intrinsic_reward(self, trajectory: world_model.Trajectory) -> tf.Tensor:
        """Returns the loss [H + 1, N] that the head expects in imagined states."""
        return self.predictor(trajectory.feat).mode()


BEHAVIOURS = {
    "greedy": None,  # the task behaviour explores
    "Random": Random,
    "Plan2Explore": Plan2Explore,
    "ModelLoss": ModelLoss,
}


def _check_choice(key: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ValueError(f"Unknown {key} {value!r}; choose from {sorted(choices)}.")
