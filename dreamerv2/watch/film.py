"""Frames of an episode: what was seen, what the model predicted, and the error.

The model sees the first `context` images of every `horizon` steps, and predicts the
others from the actions alone, starting from all that it has seen of the episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common.nets import coders
from common.records import video
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.algorithm import world_model

CONTEXT = world_model.CONTEXT

COLUMNS = ("truth", "model", "error (grey: none)")
SEES = (64, 132, 244)  # blue border: the model sees this image
PREDICTS = (244, 160, 0)  # orange: it does not
_PAPER, _INK = (24, 24, 24), (235, 235, 235)
_BORDER, _GAP = 4, 8  # pixels


class Predictor:
    """Predicts the images of whole episodes, a stretch of `horizon` steps at a time."""

    def __init__(
        self,
        agent: agent_lib.Agent,
        context: int = CONTEXT,
        horizon: int = 50,
        seed: int = 0,
    ):
        """Traces nothing before the first episode.

        Args:
          agent: Its world model predicts.
          context: Images that the model sees in a stretch, at least 1.
          horizon: Steps of a stretch, more than `context`.
          seed: Of the latents.

        Raises:
          ValueError: If the numbers do not fit.
        """
        if not 1 <= context < horizon:
            raise ValueError(
                f"context is {context} and horizon {horizon}; the model has to see at "
                "least 1 image and fewer than a stretch has."
            )
        self._model = agent.model
        self._keys = {*agent.obs_specs, "action", "is_first"}
        self._context, self._horizon, self._seed = context, horizon, seed
        self._graph = tf.function(self._look_ahead, autograph=False)

    def ahead(self, time: int) -> int:
        """Returns how many steps ago the model last saw an image; 0 if it sees it."""
        return max(0, time % self._horizon - self._context + 1)

    def __call__(self, transitions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns predicted images, uint8 [T, H, W, C] by key.

        Args:
          transitions: One episode [T, ...].
        """
        length, stretch = len(transitions["action"]), self._horizon
        stretches, state = [], self._model.initial(1)
        for number, start in enumerate(range(0, length, stretch)):
            data = {}
            for key in self._keys:
                part = transitions[key][start : start + stretch]
                rest = [(0, stretch - len(part))] + [(0, 0)] * (part.ndim - 1)
                data[key] = tf.constant(np.pad(part, rest, mode="edge")[None])
            seed = tf.constant([self._seed % 2**31, number], tf.int32)
            images, state = self._graph(data, state, seed)
            stretches.append({key: value[0].numpy() for key, value in images.items()})
        return {
            key: np.concatenate([images[key] for images in stretches])[:length]
            for key in stretches[0]
        }

    def _look_ahead(self, data: Any, state: Any, seed: tf.Tensor) -> tuple[Any, Any]:
        data = self._model.preprocess(data)
        images, state = self._model.look_ahead(data, state, self._context, seed)
        return {key: coders.to_bytes(value) for key, value in images.items()}, state


def frames(
    truth: np.ndarray,
    model: np.ndarray | None,
    ahead: Sequence[int],
    captions: Sequence[str],
    scale: int,
) -> Iterator[np.ndarray]:
    """Draws the frames of an episode.

    Args:
      truth: Images of the environment, uint8 [T, H, W, C].
      model: Those of the model, the same; None shows the truth alone.
      ahead: [T], steps since the model last saw an image; 0 where it does.
      captions: [T], lines below the images.
      scale: Pixels of the frame for one of an image.

    Yields:
      Frames, uint8 [H', W', 3].
    """
    truth = video.viewable(truth)
    model = None if model is None else video.viewable(model)
    for time, image in enumerate(truth):
        images = [image]
        if model is not None:
            error = (model[time].astype(int) - image + 255) // 2
            images += [model[time], error.astype(np.uint8)]
        panels = [_panel(each, scale) for each in images]
        colour = PREDICTS if ahead[time] else SEES
        yield _compose(panels, colour if model is not None else _PAPER, captions[time])


def _panel(image: np.ndarray, scale: int) -> np.ndarray:
    """A larger image of hard pixels, in three channels."""
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    return image.repeat(scale, 0).repeat(scale, 1)


def _compose(
    panels: Sequence[np.ndarray], colour: tuple[int, int, int], caption: str
) -> np.ndarray:
    """Panels side by side in borders of a colour, with their names and a caption."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = panels[0].shape[:2]
    size = int(np.clip(width // 16, 10, 24))  # of letters
    line = size + 6
    step = width + 2 * _BORDER + _GAP
    total = step * len(panels) + _GAP, height + 2 * _BORDER + 4 * line
    canvas = Image.new("RGB", total, _PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size)
    for column, panel in enumerate(panels):
        left, top = _GAP + column * step, line + _GAP // 2
        right, bottom = left + width + 2 * _BORDER, top + height + 2 * _BORDER
        draw.text((left, 3), COLUMNS[column], _INK, font)
        draw.rectangle((left, top, right - 1, bottom - 1), colour)
        canvas.paste(video.picture(panel), (left + _BORDER, top + _BORDER))
    draw.multiline_text((_GAP, bottom + 3), caption, _INK, font)
    return np.asarray(canvas)
