"""What the networks of an agent say of latent states: one graph for each question.

Shapes: N rows, B sequences, T steps, A action, D deter, S(, K) stoch. States are dicts
of `deter` [N, D] and `stoch` [N, S(, K)].
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from common.nets import coders
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.algorithm import rssm

State = dict[str, tf.Tensor]
Question = Callable[[State], tf.Tensor]


class Inside:
    """The questions; each is traced anew for other shapes."""

    def __init__(self, agent: agent_lib.Agent):
        """Traces nothing yet."""
        self._agent, self._model = agent, agent.model
        graph = functools.partial(tf.function, autograph=False)
        self.observe = graph(self._observe)
        self.predict = graph(self._predict)
        self.imagine = graph(self._imagine)
        self.decode = graph(self._decode)
        self.reward = graph(lambda state: self._model.reward(self._feat(state)))
        self.value = graph(lambda state: agent.task.critic(self._feat(state)).mode())
        self.disagreement = graph(self._disagreement)

    def _observe(
        self,
        data: Mapping[str, tf.Tensor],
        start: State | None,
        seed: tf.Tensor | None,
    ) -> State:
        """Filters sequences [B, T, ...] into states [B, T, ...]."""
        data = self._model.preprocess(data)
        rows = data["action"].shape[0]
        state = self._whole(start) if start else self._model.initial(rows)
        post, _ = self._model.rssm.observe(
            self._model.encoder(data), data["action"], data["is_first"], state, seed
        )
        return rssm.carried(post)

    def _predict(
        self, start: State, action: tf.Tensor, seed: tf.Tensor | None
    ) -> State:
        """Predicts the states [N, T, ...] that actions [N, T, A] lead to."""
        states = self._model.rssm.imagine(action, self._whole(start), seed)
        return rssm.carried(states)

    def _imagine(
        self,
        start: State,
        seeds: tuple[tf.Tensor | None, tf.Tensor | None],
        *,
        horizon: int,
        explores: bool,
    ) -> State:
        """Lets a behaviour act: states and actions [N, T, ...], the start left out.

        Args:
          start: States [N, ...].
          seeds: Of the actions and of the latents; None takes the modes.
          horizon: T.
          explores: Whether the exploration behaviour acts, not that of the task.
        """
        behaviour = self._agent.expl if explores else self._agent.task
        rows = start["deter"].shape[0]
        states = self._model.rollout(
            lambda feat, noise: behaviour.actor(feat).sample(noise),
            behaviour.noise([horizon, rows], seeds[0]),
            self._cast(start),
            horizon,
            seeds[1],
        )
        return {key: _rows_first(value[1:]) for key, value in states.items()}

    def _decode(self, state: State) -> dict[str, tf.Tensor]:
        """Returns images, uint8 [N, H, W, C], and vectors [N, n] by key."""
        decoder = self._model.heads["decoder"]
        drawn = decoder(self._feat(state))
        images = {k: coders.to_bytes(drawn[k].mode() + 0.5) for k in decoder.cnn_keys}
        return {**images, **{key: drawn[key].mode() for key in decoder.mlp_keys}}

    def _disagreement(self, state: State, action: tf.Tensor) -> tf.Tensor:
        """Returns the ensemble's disagreement [B, T] along sequences."""
        feat = self._model.rssm.feat(self._cast(state))
        return self._agent.expl.disagreement(feat, action, axis=1)

    def _feat(self, state: State) -> Any:
        return self._model.rssm.feat(self._cast(state))

    def _whole(self, state: State) -> State:
        """Adds the parameters of a distribution, which nobody reads."""
        rows = state["deter"].shape[0]
        return {**self._model.initial(rows), **self._cast(state)}

    def _cast(self, state: State) -> State:
        dtype = self._model.initial(1)["deter"].dtype
        return {key: tf.cast(value, dtype) for key, value in state.items()}


def _rows_first(x: tf.Tensor) -> tf.Tensor:
    """Exchanges the two leading axes: [T, N, ...] -> [N, T, ...]."""
    return tf.transpose(x, [1, 0, *range(2, len(x.shape))])
