"""Pictures of an environment for people to look at, of no use to the agent."""

from __future__ import annotations

import functools
import logging

import numpy as np

from common.envs import base, native

KEY = "log_image"  # under which they are shown
MOST = 256  # pixels a side; larger ones are made smaller

_LOG = logging.getLogger(__name__)


def of(env: base.Env) -> np.ndarray | None:
    """Returns a picture of the present state, uint8 [H, W, C], or None.

    A picture that fails is warned of once and left out: nothing is learned from it.
    """
    try:
        picture = base.render(env)
        return None if picture is None else _fit(picture)
    except Exception as error:  # whatever a user's render raises
        _warn(f"{type(error).__name__}: {error}")
        return None


@functools.cache  # once
def _warn(fault: str) -> None:
    _LOG.warning("A picture could not be drawn, and is left out: %s", fault)


def _fit(picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or not picture.size:
        raise ValueError(
            f"render returned {picture.dtype} {list(picture.shape)}, but must return "
            "uint8 [height, width, 3]."
        )
    height, width, channels = (*picture.shape, 1)[:3]
    share = min(1, MOST / max(height, width))
    rows, columns = (
        native.nearest_indices(side, max(1, round(side * share)))
        for side in (height, width)
    )
    return picture.reshape(height, width, channels)[rows][:, columns]
