"""Exploration behaviours: random actions, Plan2Explore, seeking model loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import specs
from common.compute import devices, graphs, onehots
from common.nets import dists, heads, optim
from common.nets import layers as nn
from dreamerv2.algorithm import actor_critic, world_model

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

    def actor(self, feat: tf.Tensor) -> dists.OneHot | dists.Uniform:
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

    def optimizers(self) -> dict[str, Any]:
        """Returns no optimiser."""
        return {}


class _Seeker(actor_critic.ActorCritic):
    """Actor and critic of an intrinsic reward, learned beside those of the task."""

    def __init__(
        self,
        config: config_lib.Config,
        act_spec: specs.ActionSpec,
        model: world_model.WorldModel,
        rng: np.random.Generator,
    ):
        super().__init__(config, act_spec, model.rssm.feat_size, rng)
        self._model = model
        self._intr_norm = self.add(
            "intr_norm", actor_critic.StreamNorm(**config.expl_reward_norm)
        )
        self._extr_norm = self.add(
            "extr_norm", actor_critic.StreamNorm(**config.expl_reward_norm)
        )

    def learn(
        self,
        data: Mapping[str, tf.Tensor],
        outputs: world_model.Outputs,
        coefficients: Mapping[str, tf.Tensor],
        seed: tf.Tensor | None,
    ) -> Metrics:
        """Takes one gradient step of the novelty model, then of actor and critic.

        Args:
          data: Preprocessed batch [B, T, ...].
          outputs: What the world model found in it.
          coefficients: See `ActorCritic.train`.
          seed: Stateless seed [2]; None takes the modes.
        """
        metrics = self._train_novelty(data, outputs)
        more = self.train(
            self._model,
            outputs.post,
            data["is_terminal"],
            self.reward,
            coefficients,
            seed,
        )
        return {**metrics, **more}

    def intrinsic_reward(self, trajectory: world_model.Trajectory) -> tf.Tensor:
        """Returns the novelty [H + 1, N] of imagined states, before normalisation."""
        raise NotImplementedError

    def reward(self, trajectory: world_model.Trajectory) -> tuple[tf.Tensor, Metrics]:
        """Mixes intrinsic and task reward by `expl_intr_scale` and `_extr_scale`."""
        config = self._config
        intrinsic, _ = self._intr_norm(self.intrinsic_reward(trajectory))
        reward = config.expl_intr_scale * intrinsic
        if config.expl_extr_scale:
            extrinsic, _ = self._extr_norm(self._model.reward(trajectory.feat))
            reward += config.expl_extr_scale * extrinsic
        return reward, {}

    def optimizers(self) -> dict[str, Any]:
        """Returns the optimisers by name."""
        return {"expl_opt": self._opt, **super().optimizers()}

    def _train_novelty(
        self, data: Mapping[str, tf.Tensor], outputs: world_model.Outputs
    ) -> Metrics:
        raise NotImplementedError

    def _fit(self, loss_fn: Callable[[], tf.Tensor]) -> Metrics:
        """Takes one gradient step on `loss_fn()` for the optimiser's weights."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._opt.weights)
            loss = loss_fn()
            scaled = self._opt.scaled(loss)
        return self._opt.apply(loss, tape.gradient(scaled, self._opt.weights))


class Plan2Explore(_Seeker):
    """Seeks states whose next latent an ensemble disagrees about (Sekar et al. 2020).

    Each member predicts the target `disag_offset` steps ahead from the features and,
    with `disag_action_cond`, an action. The intrinsic reward is the standard deviation
    over members, averaged over the target's dimensions.
    """

    def __init__(
        self,
        config: config_lib.Config,
        act_spec: specs.ActionSpec,
        model: world_model.WorldModel,
        rng: np.random.Generator,
    ):
        """Builds the ensemble beside actor and critic.

        Raises:
          ValueError: If `disag_target` or `disag_action_align` is unknown, or
            `disag_offset` or `disag_models` out of range.
        """
        super().__init__(config, act_spec, model, rng)
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
        _check_choice(
            "disag_action_align", config.disag_action_align, ("previous", "next")
        )
        inputs = model.rssm.feat_size
        inputs += act_spec.size if config.disag_action_cond else 0
        self._ensemble = self.add(
            "ensemble",
            heads.EnsembleMLP(
                rng,
                config.disag_models,
                inputs,
                sizes[config.disag_target],
                **config.expl_head,
            ),
        )
        self._opt = _make_optimizer(self._ensemble, config)

    def intrinsic_reward(self, trajectory: world_model.Trajectory) -> tf.Tensor:
        """Returns the disagreement [H + 1, N] in imagined states."""
        return self.disagreement(trajectory.feat, trajectory.action, axis=0)

    def disagreement(
        self, feat: tf.Tensor | onehots.Sparse, action: tf.Tensor, axis: int
    ) -> tf.Tensor:
        """Returns the ensemble's disagreement [...] along trajectories.

        Args:
          feat: States [..., F].
          action: Actions [..., A] that led to the states.
          axis: The axis of time.
        """

        def judge(inputs: tf.Tensor | onehots.Sparse) -> tf.Tensor:
            return _spread(*self._ensemble.members(inputs))

        # Slice by slice: all predictions at once are half a gigabyte.
        disagreement = tf.map_fn(
            judge,
            self._inputs(feat, action, axis),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )
        return tf.math.log(disagreement) if self._config.disag_log else disagreement

    def _train_novelty(
        self, data: Mapping[str, tf.Tensor], outputs: world_model.Outputs
    ) -> Metrics:
        config = self._config
        target = {
            "stoch": self._model.rssm.flat_stoch(outputs.post),
            "deter": outputs.post["deter"],
            "feat": outputs.feat,
            "embed": outputs.embed,
        }[config.disag_target]
        inputs, offset = (
            self._inputs(outputs.feat, data["action"], 1),
            config.disag_offset,
        )
        if offset:
            inputs, target = inputs[:, :-offset], target[:, offset:]
        inputs = tf.stop_gradient(inputs)
        target = tf.cast(tf.stop_gradient(target), tf.float32)

        def loss() -> tf.Tensor:
            likelihood = dists.Normal(self._ensemble(inputs), 1.0, 1).log_prob(target)
            return -tf.reduce_sum(tf.reduce_mean(likelihood, [1, 2]))

        return self._fit(loss)

    def _inputs(
        self, feat: tf.Tensor | onehots.Sparse, action: tf.Tensor, axis: int
    ) -> tf.Tensor | onehots.Sparse:
        """Returns what the members read: features and, if wanted, an action each."""
        if not self._config.disag_action_cond:
            return feat
        if self._config.disag_action_align == "next":
            # The action taken in a state is stored with the next one; the last state
            # of a trajectory has none and keeps its own.
            length = action.shape[axis]
            order = [*range(1, length), length - 1]
            action = tf.gather(action, order, axis=axis)
        action = tf.cast(action, feat.dtype)
        if isinstance(feat, onehots.Sparse):
            return feat._replace(dense=tf.concat([feat.dense, action], -1))
        return tf.concat([feat, action], -1)


class ModelLoss(_Seeker):
    """Seeks states in which a head predicts that the world model errs."""

    def __init__(
        self,
        config: config_lib.Config,
        act_spec: specs.ActionSpec,
        model: world_model.WorldModel,
        rng: np.random.Generator,
    ):
        """Builds the head beside actor and critic.

        Raises:
          ValueError: If `expl_model_loss` names no loss of the world model.
        """
        super().__init__(config, act_spec, model, rng)
        decoder = model.heads["decoder"]
        known = {"kl", *decoder.cnn_keys, *decoder.mlp_keys, *model.heads} - {"decoder"}
        _check_choice("expl_model_loss", config.expl_model_loss, known)
        self._head = self.add(
            "head", heads.MLP(rng, model.rssm.feat_size, (), **config.expl_head)
        )
        self._opt = _make_optimizer(self._head, config)

    def intrinsic_reward(self, trajectory: world_model.Trajectory) -> tf.Tensor:
        """Returns the loss [H + 1, N] that the head expects in imagined states."""
        return self._head(trajectory.feat).mode()

    def _train_novelty(
        self, data: Mapping[str, tf.Tensor], outputs: world_model.Outputs
    ) -> Metrics:
        name = self._config.expl_model_loss
        target = outputs.kl if name == "kl" else -outputs.log_probs[name]
        feat = tf.stop_gradient(outputs.feat)
        target = tf.stop_gradient(target)
        return self._fit(lambda: -tf.reduce_mean(self._head(feat).log_prob(target)))


BEHAVIOURS = {"Random": Random, "Plan2Explore": Plan2Explore, "ModelLoss": ModelLoss}


@graphs.fused
def _spread(*predictions: tf.Tensor) -> tf.Tensor:
    """Returns the mean standard deviation [rows] of predictions [rows, size]."""
    return tf.reduce_mean(tf.math.reduce_std(tf.stack(predictions), 0), -1)


def _make_optimizer(part: nn.Module, config: config_lib.Config) -> optim.Optimizer:
    return optim.Optimizer(
        "expl",
        part.named_weights(),
        l2=config.l2_scale,
        scale_loss=devices.compute_dtype(config.precision) == tf.float16,
        **config.expl_opt,
    )


def _check_choice(key: str, value: str, choices: Any) -> None:
    if value not in choices:
        raise ValueError(f"Unknown {key} {value!r}; choose from {sorted(choices)}.")
