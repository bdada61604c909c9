"""How well the world model explains episodes that it does not learn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from dreamerv2.algorithm import rssm, world_model


class Assessment:
    """The terms of equation 2 (Hafner et al. 2021) as readings, each on its own."""

    def __init__(self, model: world_model.WorldModel, keys: Iterable[str]):
        """Takes a world model and the keys of what it learns from."""
        self._model, self._keys = model, sorted(keys)
        self._graph = tf.function(self._sums, autograph=False)

    def __call__(
        self, windows: Sequence[Mapping[str, np.ndarray]], seed: int
    ) -> dict[str, float]:
        """Returns mean losses over the steps of some episodes.

        Args:
          windows: One or more batches [B, T, ...]; a row of each goes on in the next.
            `valid` [B, T] tells which steps count; those of a row that do not come
            last.
          seed: Decides the noise of the latents, which are samples as in training.

        Returns:
          -ln p by head or observation key, and `kl`, the divergence of the posterior
          from the prior; in nats, without scales, balance and free nats.
        """
        state = self._model.initial(len(windows[0]["valid"]))
        totals: dict[str, float] = {}
        steps = 0
        for number, window in enumerate(windows):
            data = {key: tf.convert_to_tensor(window[key]) for key in self._keys}
            valid = tf.convert_to_tensor(window["valid"])
            noise = tf.constant([seed, number], tf.int32)
            state, sums = self._graph(data, valid, state, noise)
            for key, value in sums.items():
                totals[key] = totals.get(key, 0.0) + float(value)
            steps += int(window["valid"].sum())
        return {key: total / steps for key, total in totals.items()}

    def _sums(
        self,
        data: Mapping[str, tf.Tensor],
        valid: tf.Tensor,
        state: rssm.State,
        seed: tf.Tensor,
    ) -> tuple[rssm.State, dict[str, tf.Tensor]]:
        """Returns the rows' last states, and the sum [] of each loss over all steps."""
        _, outputs, _ = self._model.loss(self._model.preprocess(data), state, seed)
        values = {key: -value for key, value in outputs.log_probs.items()}
        values["kl"] = outputs.kl
        sums = {
            key: tf.reduce_sum(tf.where(valid, tf.cast(value, tf.float32), 0.0))
            for key, value in values.items()
        }
        return {k: v[:, -1] for k, v in outputs.post.items()}, sums
