"""What an agent asks of an exploration behaviour, and a base of intrinsic ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import specs
from common.compute import onehots
from common.nets import layers as nn
from common.nets import optim
from dreamerv2.algorithm import actor_critic, world_model

Metrics = dict[str, tf.Tensor]


class Behaviour(Protocol):
    """What an agent asks of an exploration behaviour.

    It is made once, as `Class(config, act_spec, model, rng)` (see `Intrinsic`), and is
    a `layers.Module`, whose named weights are saved. While training, `learn` is called
    in every update, after the world model and the task behaviour have learned; while
    acting, `noise` and `actor` in every step, for all rows, of which those that explore
    take its actions. It may have `on_task_change(finished, next)`, see
    `training.Part`.
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


class Intrinsic(actor_critic.ActorCritic):
    """Actor and critic of an intrinsic reward, learned beside those of the task.

    A subclass says what is novel. In the order in which they are called:

    - `build(rng)`, once, makes the networks that novelty is predicted with;
    - `predictor_loss(data, outputs)`, in every update, is minimised with `expl_opt`;
    - `intrinsic_reward(trajectory)`, then, judges what the behaviour's own actor does
      in imagination; `expl_intr_scale` times it, plus `expl_extr_scale` times the
      task's reward, is what actor and critic learn from.

    For example, to seek states in which the reward is hard to predict:

        class RewardLoss(behaviour.Intrinsic):
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
