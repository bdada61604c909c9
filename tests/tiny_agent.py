"""Agents small enough to trace in about a second, and batches for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from common import specs
from common.compute import devices
from dreamerv2 import settings as settings_lib
from dreamerv2.algorithm import agent as agent_lib

BATCH, LENGTH, ACTIONS = 2, 4, 3
IMAGE, VECTOR, SCALAR = "image", "vector", "scalar"
SHAPES = {IMAGE: (10, 10, 3), VECTOR: (5,), SCALAR: ()}

_HEAD = {"layers": 1, "units": 8}
_CODER = {"cnn_depth": 2, "cnn_kernels": [4, 4], "mlp_layers": [8]}
CONFIG = settings_lib.defaults.update(
    {
        "encoder": _CODER,
        "decoder": _CODER,
        "rssm": {"deter": 8, "hidden": 8, "stoch": 3, "discrete": 4},
        "reward_head": _HEAD,
        "discount_head": _HEAD,
        "actor": _HEAD,
        "critic": _HEAD,
        "expl_head": _HEAD,
        "disag_models": 2,
        "imag_horizon": 3,
        r".*_opt\.lr": 1e-2,
        r".*_opt\.wd": 0.0,  # a weight changes only if it has a gradient
    }
)


@contextlib.contextmanager
def running(*, eagerly: bool) -> Iterator[None]:
    """Runs graphs, or their Python code, which for a few calls is much faster."""
    before = tf.config.functions_run_eagerly()
    devices.setup(jit=not eagerly)
    yield
    tf.config.run_functions_eagerly(before)


def obs_specs(*keys: str) -> dict[str, specs.ArraySpec]:
    """Returns the named observations; images are bytes, all else is float32."""
    kinds = {key: np.uint8 if key == IMAGE else np.float32 for key in keys}
    return {key: specs.ArraySpec(SHAPES[key], np.dtype(kinds[key])) for key in keys}


def make(*keys: str, discrete: bool = True, **settings: Any) -> agent_lib.Agent:
    """Builds an agent that sees the named observations (by default the vector)."""
    config = CONFIG.update({k.replace("__", "."): v for k, v in settings.items()})
    act_spec = specs.ActionSpec(ACTIONS, discrete)
    return agent_lib.Agent(config, obs_specs(*(keys or (VECTOR,))), act_spec)


def batch(
    *keys: str,
    discrete: bool = True,
    rows: int = BATCH,
    length: int = LENGTH,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Draws a batch [B, T, ...] whose first row has an episode's end in the middle."""
    rng = np.random.default_rng(seed)
    lead = (rows, length)
    data = {
        k: rng.normal(size=lead + SHAPES[k]).astype(np.float32)
        for k in keys or (VECTOR,)
    }
    if IMAGE in keys:
        data[IMAGE] = rng.integers(0, 256, lead + SHAPES[IMAGE], np.uint8)
    if discrete:
        data["action"] = np.eye(ACTIONS, dtype=np.float32)[
            rng.integers(0, ACTIONS, lead)
        ]
    else:
        data["action"] = rng.uniform(-1, 1, (*lead, ACTIONS)).astype(np.float32)
    data["reward"] = rng.normal(size=lead).astype(np.float32)
    for key in ("is_first", "is_last", "is_terminal"):
        data[key] = np.zeros(lead, bool)
    data["is_first"][:, 0] = True
    data["is_first"][0, 2] = True
    data["is_last"][0, 1] = data["is_terminal"][0, 1] = True
    return data


def snapshot(agent: agent_lib.Agent) -> dict[str, np.ndarray]:
    """Copies every tensor of an agent."""
    return {name: value.numpy() for name, value in agent.named_state().items()}


def assert_same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    """Compares bit by bit."""
    assert set(one) == set(two)
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)
