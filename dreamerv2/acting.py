"""The networks that a policy reads: the agent's own, or copies of them."""

from __future__ import annotations

import copy
from typing import Any

from common import layers as nn
from common import perception
from dreamerv2 import rssm


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
        encoder: perception.Encoder,
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
        parts = (encoder, filtering, actor, explorer)
        self._learning = [part for part in parts if isinstance(part, nn.Module)]
        self.encoder, self.rssm, self.actor, self.explorer = parts
        self._copies = []
        if apart:
            copies = {id(part): copy.deepcopy(part) for part in self._learning}
            self._copies = list(copies.values())
            self.encoder, self.rssm, self.actor, self.explorer = (
                copies.get(id(part), part) for part in parts
            )

    def publish(self) -> None:
        """Lets copies take the weights of the networks that learn."""
        for source, target in zip(self._learning, self._copies, strict=False):
            weights = source.named_weights()
            for name, weight in target.named_weights().items():
                weight.assign(weights[name])
