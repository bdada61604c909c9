"""What the observations and actions of an environment are taken for, a line each.

Shape and type alone decide whether an observation is an image, a vector or nothing. A
reading says what was decided, and doubts what looks as if something else was meant.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common import specs
from common.envs import gym_spaces

PICTURE = "log_image"  # an observation that is there for people to look at
KEYS = {"image": "cnn_keys", "vector": "mlp_keys"}  # settings that choose among them
_GRID = 64  # numbers of an array with rows and columns that may be a picture
_TINY = 16  # pixels a side below which an image may be one of symbols
_FEW = 32  # values of an image that may be one of symbols


class Reading(NamedTuple):
    """What one observation, or the action, is taken for."""

    key: str
    kind: str  # image, vector, ignored or actions
    text: str
    doubt: str = ""  # what may be wrong with it

    def __str__(self) -> str:
        return f"  {self.key:<10}  {self.kind}: {self.text}"


def of_spaces(
    env: Any, obs_specs: Mapping[str, specs.ArraySpec], act_spec: specs.ActionSpec
) -> tuple[Reading, ...]:
    """Returns the readings of an environment of Gymnasium or classic gym.

    Args:
      env: Has the spaces.
      obs_specs: What was made of its observations.
      act_spec: What was made of its actions.
    """
    found = []
    for key, space in gym_spaces.subspaces(env.observation_space).items():
        if key not in obs_specs:
            found.append(_ignored(key, space))
            continue
        spec = obs_specs[key]
        kind, text = _of_spec(spec)
        text = ", ".join(filter(None, (text, _range(space), _change(space, spec))))
        doubt = _doubt_image(space) if kind == "image" else _doubt_vector(space)
        found.append(Reading(key, kind, text, doubt and f"Observation {key!r} {doubt}"))
    found += _of_video(env, found)
    text, space = _of_actions(act_spec), env.action_space
    if act_spec.discrete and gym_spaces.kind(space) != "Discrete":
        text += f", each a combination of {space}"
    elif not act_spec.discrete:
        text += f", {_range(space)}, rescaled from -1 to 1"
    return (*found, Reading("action", "actions", text))


def of_env(env: Any) -> tuple[Reading, ...]:
    """Returns the readings of an Env; of one that has none, what its specs say."""
    known = getattr(env, "readings", None)
    if known is not None:
        return known
    seen = [Reading(key, *_of_spec(spec)) for key, spec in env.obs_specs.items()]
    return (*seen, Reading("action", "actions", _of_actions(env.act_spec)))


def tell(readings: Iterable[Reading], *networks: Mapping[str, Any]) -> None:
    """Prints the readings, and warns of what is doubtful.

    Args:
      readings: Of the environment.
      *networks: Settings of encoder and decoder, whose `cnn_keys` and `mlp_keys` leave
        observations out.
    """
    doubts = []
    print("What the agent sees and does:")
    for reading in readings:
        setting = KEYS.get(reading.kind)
        used = not (setting and networks) or any(
            re.match(each[setting], reading.key) for each in networks
        )
        print(reading if used else f"{reading}; ignored, as {setting} leaves it out")
        doubts += [reading.doubt] if used and reading.doubt else []
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=2)


def _of_spec(spec: specs.ArraySpec) -> tuple[str, str]:
    """Kind and shape."""
    if len(spec.shape) == 3:
        return "image", "x".join(map(str, spec.shape))
    return "vector", " x ".join(map(str, spec.shape)) or "1"


def _of_actions(spec: specs.ActionSpec) -> str:
    return f"one of {spec.size}" if spec.discrete else f"{spec.size} numbers"


def _range(space: Any) -> str:
    """Lowest and highest number of a Box."""
    if gym_spaces.kind(space) != "Box":
        return ""
    return f"{np.min(space.low):.3g} to {np.max(space.high):.3g}"


def _change(space: Any, spec: specs.ArraySpec) -> str:
    """What is done to an observation before the agent sees it."""
    if gym_spaces.kind(space) == "Discrete":
        return f"one-hot, of {space}"
    if len(spec.shape) == 3 and space.shape[:2] != spec.shape[:2]:
        return f"resized from {space.shape[0]}x{space.shape[1]}"
    if len(spec.shape) < 3 and len(space.shape) > 1:
        return f"flattened from {'x'.join(map(str, space.shape))}"
    return "as it is" if gym_spaces.kind(space) == "Box" else f"as it is, of {space}"


def _of_video(env: Any, found: Sequence[Reading]) -> list[Reading]:
    """Says what a video shows if the agent sees no image."""
    if any(each.kind == "image" or each.key == PICTURE for each in found):
        return []
    if getattr(env, "render_mode", None) == "rgb_array":
        return [Reading("video", "rendered", "the agent does not see it")]
    text = (
        "make the environment with render_mode='rgb_array', or add an observation "
        f"{PICTURE}, for evaluations to show something"
    )
    return [Reading("video", "none", text)]


def _ignored(key: str, space: Any) -> Reading:
    if key == PICTURE:
        return Reading(key, "ignored", "the agent does not see it, videos show it")
    if key.startswith("log_"):
        return Reading(key, "ignored", "the agent does not see it, it is for the log")
    if gym_spaces.kind(space) in gym_spaces.PARTS:
        text = "it holds no number"
        return Reading(key, "ignored", text, f"Observation {key!r} is ignored: {text}.")
    text = f"{type(space).__name__} is not numeric"
    doubt = (
        f"Observation {key!r} is ignored: {text}. If the agent needs it, give it as "
        "numbers, such as one-hot."
    )
    return Reading(key, "ignored", text, doubt)


def _doubt_image(space: Any) -> str:
    """What speaks against taking bytes [h, w] or [h, w, c] as they are for an image."""
    height, width, channels = (*space.shape, 1)[:3]
    if height <= 16 < min(width, channels):
        return (
            f"of shape {space.shape} looks like [channels, height, width], but is "
            f"taken for {height}x{width} pixels of {channels} channels. Move the axis: "
            "gymnasium.wrappers.TransformObservation(env, lambda x: x.transpose(1, 2, "
            "0), space)."
        )
    if np.max(space.high) < _FEW:
        return (
            f"ends at {np.max(space.high)}, but bytes of images are taken to end at "
            "255: the agent would hardly see it. Scale brightness up to 255; give "
            "symbols or ids one-hot, as a vector of floats."
        )
    if min(height, width) < _TINY:
        return (
            f"is an image of only {height}x{width}. If its numbers are symbols or ids, "
            "draw them, or give them one-hot as a vector of floats."
        )
    if channels not in (1, 3):
        return (
            f"is an image of {channels} channels, where grey has 1 and colour 3; all "
            "are learned from, and shown side by side. A stack of frames is not "
            "needed, as the model has a memory, and opacity tells nothing."
        )
    return ""


def _doubt_vector(space: Any) -> str:
    """What speaks against taking an array for a flat vector of amounts."""
    rows = len(getattr(space, "shape", None) or ()) > 1
    if not rows or int(np.prod(space.shape)) < _GRID:
        return ""
    flat = f"of shape {space.shape} is taken for a flat vector of numbers"
    if space.dtype == np.uint8:
        return (
            f"{flat}. If it is a stack of images, leave the stack out, as the model "
            "has a memory, or join it along the channels: uint8 [height, width, "
            "channels]."
        )
    if np.issubdtype(space.dtype, np.floating):
        return (
            f"{flat}. If it is an image, give it as bytes: uint8 [height, width, "
            "channels] from 0 to 255."
        )
    return (
        f"{flat}, that is of amounts. If they are ids, such as glyphs, draw them as an "
        "image or give them one-hot; if they are brightness from 0 to 255, give uint8 "
        "[height, width, channels]."
    )
