"""The policy as a module that TensorFlow can save: raw observations in, actions out.

Everything is a tensor of N rows, N being fixed. What the environment writes goes in and
comes out (`specs.Native`); the state is part of both.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common import specs
from common.envs import native
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.algorithm import rssm

OBS, STATE = "obs_", "state_"  # what the names of tensors begin with
ACTING = ("encoder/", "rssm/", "actor/", "expl/")  # the weights that acting needs

Tensors = dict[str, tf.Tensor]


class Policy:
    """The policy of an agent in graphs.

    Attributes:
      graphs: By the name of what they do: `mode`, `sample`, `explore`, `initial`.
      module: Has the weights that they read, and no others.
    """

    def __init__(self, agent: agent_lib.Agent, step: int, rows: int):
        """Traces the graphs.

        Args:
          agent: What acts.
          step: Environment steps that it was trained for, for schedules.
          rows: N.
        """
        self._agent, self._step, self._rows = agent, step, rows
        encoder = agent.model.encoder
        keys = [*encoder.cnn_keys, *encoder.mlp_keys]
        self._specs = {key: agent.obs_specs[key] for key in keys}
        self.module = tf.Module()
        self.module.weights = {
            name: weight
            for name, weight in agent.named_weights().items()
            if name.startswith(ACTING)
        }
        modes = ["mode", "sample", *(["explore"] if agent.expl is not None else [])]
        inputs = {**self._inputs(), **self._states()}
        self.graphs = {
            mode: tf.function(
                functools.partial(self._act, mode), autograph=False
            ).get_concrete_function(**inputs)
            for mode in modes
        }
        first = tf.function(self._initial, autograph=False)
        self.graphs["initial"] = first.get_concrete_function()

    def describe(self) -> dict[str, Any]:
        """Returns names, shapes and types of what goes in and comes out."""
        return {
            mode: {
                "inputs": _described(graph.structured_input_signature[1]),
                "outputs": _described(graph.structured_outputs),
            }
            for mode, graph in self.graphs.items()
        }

    def _inputs(self) -> dict[str, tf.TensorSpec]:
        result = {}
        for key, spec in self._specs.items():
            written = native.of_array(spec)
            shape = (self._rows, *written.shape)
            result[OBS + key] = tf.TensorSpec(shape, written.dtype, OBS + key)
        result["is_first"] = tf.TensorSpec([self._rows], tf.bool, "is_first")
        return result

    def _states(self) -> dict[str, tf.TensorSpec]:
        first = self._initial()
        return {k: tf.TensorSpec(v.shape, v.dtype, k) for k, v in first.items()}

    def _initial(self) -> Tensors:
        """The state before an episode; `state_count` of a process that begins."""
        latent = rssm.carried(self._agent.model.initial(self._rows))
        chosen = tf.zeros([self._rows, self._agent.act_spec.size])
        return _named(latent, chosen, tf.constant(0))

    def _act(self, mode: str, **inputs: tf.Tensor) -> Tensors:
        """Actions of the environment, and the state for the next call."""
        evaluate, agent = mode == "mode", self._agent
        obs = {k: read(inputs[OBS + k], spec) for k, spec in self._specs.items()}
        obs["is_first"] = inputs["is_first"]
        latent = {key: inputs[STATE + key] for key in ("deter", "stoch")}
        count = inputs[STATE + "count"] + 1
        noise = agent.noise(self._step, evaluate)
        exploring = tf.fill([self._rows], mode == "explore")
        chosen, (latent, _) = agent.policy_graph(
            (mode, "exported"),
            obs,
            (latent, inputs[STATE + "chosen"]),
            tf.stack([agent.policy_stream(evaluate), count]),
            tf.constant(noise, tf.float32) if noise else None,
            exploring if agent.expl is not None and not evaluate else None,
            evaluate=evaluate,
        )
        action = write(chosen, agent.act_spec)
        return {"action": action, **_named(latent, chosen, count)}


def read(raw: tf.Tensor, spec: specs.ArraySpec) -> tf.Tensor:
    """Returns our observations [N, *], as `native.observer` of each row does."""
    written = native.of_array(spec)
    if written.start is not None:
        return tf.one_hot(raw - written.start, spec.shape[0])
    if spec.dtype == np.uint8:
        rows, columns = native.pixels(spec)
        raw = tf.gather(tf.gather(raw, rows, axis=1), columns, axis=2)
    return tf.reshape(tf.cast(raw, spec.dtype), [raw.shape[0], *spec.shape])


def write(ours: tf.Tensor, spec: specs.ActionSpec) -> tf.Tensor:
    """Returns the environment's actions [N, *], as `native.actor` of each row does."""
    written = native.of_action(spec)
    if written.counts is not None:
        return tf.gather(native.choices(written), tf.argmax(ours, -1))
    if written.start is not None:
        return tf.argmax(ours, -1) + written.start
    low, high = native.bounds(written)
    wide = np.result_type(np.float32, low.dtype)
    unit = tf.cast((tf.reshape(ours, [-1, *written.shape]) + 1) / 2, wide)
    low, high, width = (x.astype(wide) for x in (low, high, high - low))
    return tf.cast(tf.clip_by_value(low + unit * width, low, high), written.dtype)


def _named(latent: Mapping[str, tf.Tensor], chosen: tf.Tensor, count: Any) -> Tensors:
    state = {**latent, "chosen": chosen, "count": count}
    return {STATE + key: value for key, value in state.items()}


def _described(tensors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: {"shape": tensor.shape.as_list(), "dtype": tensor.dtype.name}
        for name, tensor in sorted(tensors.items())
    }
