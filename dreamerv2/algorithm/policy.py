"""Acting: what is observed is filtered into a state, and an actor chooses an action."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common.compute import graphs
from common.nets import layers as nn
from dreamerv2.algorithm import actor_critic, behaviour, rssm, world_model

State = tuple[rssm.State, tf.Tensor]  # carried latent, last action [N, A]


class Policy:
    """The way from observations to actions (Hafner et al. 2021, section 2.2).

    It reads encoder, RSSM and the actors of an agent, or copies of them.
    """

    def __init__(
        self,
        *,
        model: world_model.WorldModel,
        task: actor_critic.ActorCritic,
        expl: behaviour.Behaviour | None,
        config: config_lib.Config,
        copied: bool,
    ):
        """Takes the networks that learn.

        Args:
          model: The world model.
          task: The task behaviour.
          expl: The exploration behaviour, None without one.
          config: Gives `eval_state_mean`.
          copied: Whether to read copies, which take the weights of the networks that
            learn at `publish`: so it can act while an update is under way.
        """
        self._model, self._task, self._expl = model, task, expl
        self._mean = config.eval_state_mean
        learning = (
            *(model.encoder, model.rssm, task.actor),
            expl.actor if expl else None,
        )
        read = copy.deepcopy(learning) if copied else learning
        self._encoder, self._rssm, self._actor, self._explorer = read
        self._encode_one = graphs.fused(lambda obs: self._encoder(obs))
        self._pairs = [
            (weight, target.named_weights()[name])
            for source, target in zip(learning, read, strict=True)
            if copied and isinstance(source, nn.Module)
            for name, weight in source.named_weights().items()
        ]
        self.graph = graphs.Traced(self._act)

    def publish(self) -> None:
        """Lets copies take the weights of the networks that learn."""
        for weight, copied in self._pairs:
            copied.assign(weight)

    def __call__(
        self,
        obs: Mapping[str, np.ndarray],
        state: State | None,
        seed: tf.Tensor,
        *,
        noise: float,
        exploring: np.ndarray,
        evaluate: bool,
    ) -> tuple[np.ndarray, State]:
        """Chooses an action for each environment.

        Args:
          obs: Observations [N, ...] that the encoder reads, with `is_first` [N].
          state: What the last call returned; None before the first.
          seed: Stateless seed [2].
          noise: Chance (discrete) or standard deviation (continuous) of action noise.
          exploring: [N] booleans, which rows follow the exploration behaviour.
          evaluate: Whether all rows take the task behaviour's most probable action.

        Returns:
          Actions [N, A], and the state for the next call.
        """
        data = {key: tf.convert_to_tensor(value) for key, value in obs.items()}
        if state is None:
            rows = len(obs["is_first"])
            zero = tf.zeros([rows, self._task.act_spec.size])
            state = (self._model.initial(rows), zero)
        latent, action = state
        explores = self._expl is not None and not evaluate
        # With few rows each input and each operation counts: none without a use.
        action, state = self.graph(
            (evaluate, bool(noise), *((k, v.shape, v.dtype) for k, v in obs.items())),
            data,
            (rssm.carried(latent), action),
            seed,
            tf.constant(noise, tf.float32) if noise else None,
            tf.convert_to_tensor(exploring) if explores else None,
            evaluate=evaluate,
        )
        return action.numpy(), state

    def encode(self, obs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns what q(z_t | h_t, x_t) reads of observations [N, ...]: [N, E]."""
        # Without AVX-512 oneDNN takes twice as long for one image as XLA does.
        alone = self._encoder.cnn_keys and obs["is_first"].shape[0] == 1
        return (self._encode_one if alone else self._encoder)(obs)

    def _act(
        self,
        obs: Mapping[str, tf.Tensor],
        state: State,
        seed: tf.Tensor,
        noise: tf.Tensor | None,
        exploring: tf.Tensor | None,
        *,
        evaluate: bool,
    ) -> tuple[tf.Tensor, State]:
        latent, action = state
        seeds = graphs.split_seed(seed, 5)
        obs = self._model.preprocess(obs)
        embed = self.encode(obs)
        mean = evaluate and self._mean
        latent = self._rssm.obs_step(
            latent, action, embed, obs["is_first"], None if mean else seeds[0]
        )
        feat = self._rssm.feat(latent)  # [N, F]
        rows = [embed.shape[0]]
        task_noise = self._task.noise(rows, None if evaluate else seeds[1])
        action = self._actor(feat).sample(task_noise)  # [N, A]
        if exploring is not None:
            other = self._explorer(feat).sample(self._expl.noise(rows, seeds[2]))
            action = tf.where(exploring[:, None], other, action)
        if noise is not None:
            action = _disturb(action, noise, self._task.act_spec.discrete, seeds[3:])
        return action, (rssm.carried(latent), action)


def _disturb(
    action: tf.Tensor, amount: tf.Tensor, discrete: bool, seeds: list[tf.Tensor]
) -> tf.Tensor:
    """Replaces discrete actions [N, A] with chance `amount`, or adds normal noise."""
    if discrete:
        rows, size = action.shape
        uniform = tf.random.stateless_uniform([rows], seeds[0])
        index = tf.random.stateless_uniform([rows], seeds[1], 0, size, tf.int32)
        other = tf.one_hot(index, size)
        return tf.where(uniform[:, None] < amount, other, action)
    noise = tf.random.stateless_normal(action.shape, seeds[0])
    return tf.clip_by_value(action + amount * noise, -1.0, 1.0)
