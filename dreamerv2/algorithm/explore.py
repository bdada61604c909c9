"""Exploration behaviours: random actions, Plan2Explore, seeking model loss.

One of one's own is a class in a module of one's own, named by `expl_behavior:
module:Class`: a `behaviour.Behaviour`, most easily a `behaviour.Intrinsic`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import specs
from common.compute import onehots
from common.nets import dists, heads, optim
from common.nets import layers as nn
from dreamerv2.algorithm import behaviour, world_model

Metrics = dict[str, tf.Tensor]


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


class Plan2Explore(behaviour.Intrinsic):
    """Seeks states whose next latent an ensemble disagrees about (Sekar et al. 2020).

    Each member predicts the target `disag_offset` steps ahead from the features and,
    with `disag_action_cond`, an action. The intrinsic reward is the standard deviation
    over members, averaged over the target's dimensions.
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


class ModelLoss(behaviour.Intrinsic):
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
