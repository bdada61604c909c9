"""The networks that a policy reads: the agent's own, or copies of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from common.compute import graphs
from common.nets import coders
from common.nets import layers as nn
from dreamerv2.algorithm import rssm


class Acting:
    """Encoder, RSSM and actors.

    Attributes:
      encoder: Observations to embeddings.
      rssm: Filters embeddings.
      actor: The task's.
      explorer: That of the exploration behaviour, None without one.
    """

    def __init__(
        self,
        encoder: coders.Encoder,
        filtering: rssm.RSSM,
        actor: Any,
        explorer: Any | None,
        *,
        apart: bool,
    ):
        """Takes the networks that learn; `apart` reads copies of them, see `publish`.

        Args:
          encoder: See the class.
          filtering: The RSSM.
          actor: See the class.
          explorer: See the class; may be a function without weights.
          apart: Whether to copy, so that a policy can act while an update is under way.
        """
        learning = (encoder, filtering, actor, explorer)
        read = copy.deepcopy(learning) if apart else learning
        self.encoder, self.rssm, self.actor, self.explorer = read
        self._encode_one = graphs.fused(lambda obs: self.encoder(obs))
        self._pairs = [
            (weight, target.named_weights()[name])
            for source, target in zip(learning, read, strict=True)
            if apart and isinstance(source, nn.Module)
            for name, weight in source.named_weights().items()
        ]

    def encode(self, obs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the embeddings [N, E] of preprocessed observations [N, ...]."""
        # Without AVX-512 oneDNN takes twice as long for one image as XLA does.
        alone = self.encoder.cnn_keys and obs["is_first"].shape[0] == 1
        return (self._encode_one if alone else self.encoder)(obs)

    def publish(self) -> None:
        """Lets copies take the weights of the networks that learn."""
        for weight, copied in self._pairs:
            copied.assign(weight)
