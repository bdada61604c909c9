"""The agent: world model, task behaviour and exploration behind five calls.

`policy` acts, `train` learns from a batch, `report` draws predictions, `assess` tells
the world model's losses, and `named_state` lists every tensor that a checkpoint has to
hold.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import schedules, specs
from common.compute import graphs, replicas
from common.config import plugins
from common.nets import layers as nn
from dreamerv2.algorithm import actor_critic, assessment, explore, rssm, world_model
from dreamerv2.algorithm import policy as policy_lib

Metrics = dict[str, tf.Tensor]

_REPLAY_KEYS = ("action", "reward", "is_first", "is_last", "is_terminal")
_STREAMS = ("weights", "train", "policy", "report", "evaluation")


class Agent(nn.Module):
    """DreamerV2 (Hafner et al. 2021) with an optional exploration behaviour."""

    def __init__(
        self,
        config: config_lib.Config,
        obs_specs: Mapping[str, specs.ArraySpec],
        act_spec: specs.ActionSpec,
    ):
        """Builds all networks; weights derive from `config.seed`.

        Raises:
          ValueError: If a configured name is unknown or does not fit the spaces, or the
            devices cannot share a batch.
        """
        super().__init__()
        _check_devices(config)
        self._config = config
        self.obs_specs, self.act_spec = dict(obs_specs), act_spec
        entropy = np.random.SeedSequence([config.seed, 0])
        streams = dict(zip(_STREAMS, entropy.spawn(len(_STREAMS)), strict=True))
        self._seeds = {k: int(v.generate_state(1)[0]) for k, v in streams.items()}
        self._calls = dict.fromkeys(_STREAMS, 0)
        shared = replicas.Replicas(config.devices)
        with shared.scope():
            self._build(np.random.default_rng(streams["weights"]))
        self._policy = policy_lib.Policy(
            model=self.model,
            task=self.task,
            expl=self.expl,
            config=config,
            copied=config.collect_during_update,
        )
        encoder, decoder = self.model.encoder, self.model.heads["decoder"]
        self._obs_keys = [*encoder.cnn_keys, *encoder.mlp_keys]
        self._data_keys = {*self._obs_keys, *decoder.cnn_keys, *decoder.mlp_keys}
        self._data_keys.update(_REPLAY_KEYS)
        self._assessment = assessment.Assessment(self.model, self._data_keys)
        self._schedules = {
            key: schedules.parse(config[key])
            for key in ("actor_ent", "actor_grad_mix", "expl_noise", "eval_noise")
        }
        graph = functools.partial(tf.function, autograph=False)
        update = shared.spread(self._train)
        self.train_graph = graph(update, jit_compile=config.jit_compile)
        self.policy_graph = self._policy.graph
        self._video_graph = graph(self.model.video)
        self._disagreement_graph = graph(self._disagreement)

    def _build(self, rng: np.random.Generator) -> None:
        config, act_spec = self._config, self.act_spec
        self.model = self.merge(
            world_model.WorldModel(config, self.obs_specs, act_spec, rng)
        )
        feat_size = self.model.rssm.feat_size
        self.task = self.merge(
            actor_critic.ActorCritic(config, act_spec, feat_size, rng)
        )
        key, name = "expl_behavior", config.expl_behavior
        kind = plugins.choose(key, name, explore.BEHAVIOURS)
        self.expl = None
        if kind is not None:
            fits = isinstance(kind, type) and issubclass(kind, nn.Module)
            what = "a class as dreamerv2.algorithm.behaviour.Behaviour describes"
            plugins.require(fits, key, name, what)
            self.expl = self.add("expl", kind(config, act_spec, self.model, rng))

    def policy(
        self,
        obs: Mapping[str, np.ndarray],
        state: policy_lib.State | None,
        *,
        step: int,
        exploring: np.ndarray,
        evaluate: bool = False,
    ) -> tuple[np.ndarray, policy_lib.State]:
        """Chooses an action for each environment, see `policy.Policy`.

        Args:
          obs: Observations [N, ...] with `is_first` [N].
          state: What the last call returned; None before the first.
          step: Environment steps so far, for schedules.
          exploring: [N] booleans, which rows follow the exploration behaviour.
          evaluate: Whether all rows take the task behaviour's most probable action,
            with `eval_noise` instead of `expl_noise`.

        Returns:
          Actions [N, A], and the state for the next call.
        """
        return self._policy(
            {key: obs[key] for key in (*self._obs_keys, "is_first")},
            state,
            self._next_seed("evaluation" if evaluate else "policy"),
            noise=self.noise(step, evaluate),
            exploring=exploring,
            evaluate=evaluate,
        )

    def noise(self, step: int, evaluate: bool) -> float:
        """Returns how much noise actions get at an environment step."""
        return self._schedules["eval_noise" if evaluate else "expl_noise"](step)

    def policy_stream(self, evaluate: bool) -> int:
        """Returns the first number of the seeds of `policy`; the other one counts."""
        return self._seeds["evaluation" if evaluate else "policy"] % 2**31

    def train(
        self, data: Mapping[str, np.ndarray], state: rssm.State | None, *, step: int
    ) -> tuple[rssm.State, Metrics]:
        """Takes one gradient step of every part (equations 2, 5 and 6).

        Args:
          data: Batch [B, T, ...] from replay.
          state: State in which the same rows ended in the last batch, or None.
          step: Environment steps so far, for schedules.

        Returns:
          The state that the next batch continues, and scalar metrics.
        """
        data = {k: tf.convert_to_tensor(data[k]) for k in self._data_keys}
        if state is None:
            state = self.model.initial(data["action"].shape[0])
        return self.train_graph(
            data, state, self.coefficients(step), self._next_seed("train")
        )

    def publish(self) -> None:
        """Lets the policy act with the present weights, if it reads copies of them."""
        self._policy.publish()

    def report(self, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns a video `openl_{key}` [T, 3 H, min(6, B) W, C] for every image."""
        data = {k: tf.convert_to_tensor(data[k]) for k in self._data_keys}
        data = self.model.preprocess(data)
        return {
            f"openl_{key}": self._video_graph(
                data, key, self._next_seed("report")
            ).numpy()
            for key in self.model.heads["decoder"].cnn_keys
        }

    def assess(
        self, windows: Sequence[Mapping[str, np.ndarray]], seed: int
    ) -> dict[str, float]:
        """Returns the world model's mean losses on episodes, see `Assessment`.

        Nothing is learned, and no stream of the agent's seeds is touched.
        """
        return self._assessment(windows, seed)

    def disagreement(self, episodes: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Returns how much Plan2Explore's ensemble disagrees, see `Plan2Explore`.

        Args:
          episodes: N dicts of arrays [T, ...], T differing.

        Returns:
          The mean disagreement [N] over the steps of each, with modes for latents.
        """
        lengths = np.array([len(episode["reward"]) for episode in episodes])
        # A few sizes for all episodes, so that few graphs are traced.
        rows = 1 << int(len(episodes) - 1).bit_length()
        steps = max(16, 1 << int(lengths.max() - 1).bit_length())
        data = {}
        for key in (*self._obs_keys, *_REPLAY_KEYS):
            first = episodes[0][key]
            data[key] = np.zeros([rows, steps, *first.shape[1:]], first.dtype)
            for row, episode in enumerate(episodes):
                data[key][row, : len(episode[key])] = episode[key]
        valid = (
            np.arange(steps) < np.append(lengths, [1] * (rows - len(lengths)))[:, None]
        )
        data = {key: tf.convert_to_tensor(value) for key, value in data.items()}
        means = self._disagreement_graph(data, tf.constant(valid, tf.float32))
        return means.numpy()[: len(episodes)]

    def coefficients(self, step: int) -> dict[str, tf.Tensor]:
        """Returns the actor's scheduled coefficients at an environment step."""
        return {
            key: tf.constant(self._schedules[key](step), tf.float32)
            for key in ("actor_ent", "actor_grad_mix")
        }

    def optimizers(self) -> dict[str, Any]:
        """Returns every optimiser by name."""
        result = {"model_opt": self.model.opt, **self.task.optimizers()}
        if self.expl is not None:
            below = self.expl.optimizers().items()
            result.update({f"expl/{key}": value for key, value in below})
        return result

    def on_task_change(self, finished: int, next: int) -> None:
        """Resets the optimisers if asked to, and anchors the weights for `l2_scale`.

        A behaviour that has `on_task_change` too is told after that.
        """
        for optimizer in self.optimizers().values():
            if self._config.reset_optimizer_on_task_change:
                optimizer.reset()
            optimizer.anchor()
        if hasattr(self.expl, "on_task_change"):
            self.expl.on_task_change(finished, next)

    def named_state(self) -> dict[str, tf.Variable]:
        """Returns all weights, moments and counters by name, for checkpoints."""
        state = self.named_weights()
        for name, opt in self.optimizers().items():
            below = opt.named_weights().items()
            state.update({f"{name}/{key}": value for key, value in below})
        return state

    def parameters(self) -> dict[str, int]:
        """Returns how many numbers each part learns, by its name for people."""
        parts = {"world model": [self.model.opt]}
        parts["actor and critic"] = self.task.optimizers().values()
        if self.expl is not None:
            parts["exploration"] = self.expl.optimizers().values()
        return {
            name: sum(math.prod(w.shape) for opt in opts for w in opt.weights)
            for name, opts in parts.items()
        }

    def get_state(self) -> dict[str, int]:
        """Returns the counters that random seeds derive from."""
        return dict(self._calls)

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continues the counters."""
        self._calls.update(state)

    def _next_seed(self, stream: str) -> tf.Tensor:
        """Returns a stateless seed [2]: the stream's own number and a count."""
        self._calls[stream] += 1
        return tf.constant([self._seeds[stream] % 2**31, self._calls[stream]], tf.int32)

    def _train(
        self,
        data: Mapping[str, tf.Tensor],
        state: rssm.State,
        coefficients: Mapping[str, tf.Tensor],
        seed: tf.Tensor | None,
    ) -> tuple[rssm.State, Metrics]:
        """One update: world model, then task behaviour, then exploration."""
        seeds = graphs.split_seed(seed, 3)
        data = self.model.preprocess(data)
        outputs, metrics = self.model.train(data, state, seeds[0])
        seeds[1] = graphs.not_before(metrics["model_grad_norm"], seeds[1])
        metrics.update(
            self.task.train(
                self.model,
                outputs.post,
                data["is_terminal"],
                lambda trajectory: (self.model.reward(trajectory.feat), {}),
                coefficients,
                seeds[1],
            )
        )
        if self.expl is not None:
            seeds[2] = graphs.not_before(metrics["critic_grad_norm"], seeds[2])
            more = self.expl.learn(data, outputs, coefficients, seeds[2])
            metrics.update(graphs.prefix(more, "expl"))
        return {k: v[:, -1] for k, v in outputs.post.items()}, metrics

    def _disagreement(
        self, data: Mapping[str, tf.Tensor], valid: tf.Tensor
    ) -> tf.Tensor:
        data = self.model.preprocess(data)
        post, _ = self.model.rssm.observe(
            self.model.encoder(data),
            data["action"],
            data["is_first"],
            self.model.initial(valid.shape[0]),
            None,
        )
        disagreement = self.expl.disagreement(
            self.model.rssm.feat(post), data["action"], axis=1
        )
        return tf.reduce_sum(disagreement * valid, 1) / tf.reduce_sum(valid, 1)


def _check_devices(config: config_lib.Config) -> None:
    """Raises ValueError if the devices cannot share the rows of a batch."""
    devices, rows = config.devices, config.dataset.batch
    if devices < 1 or rows % devices:
        shares = [n for n in range(1, rows + 1) if rows % n == 0]
        raise ValueError(
            f"devices is {devices}, which does not divide dataset.batch {rows} into "
            f"equal shares; choose from {shares}, or another --batch_size."
        )
    for key, reason in (
        ("jit_compile", "makes one program for one device"),
        ("collect_during_update", "copies networks on one device"),
    ):
        if devices > 1 and config[key]:
            raise ValueError(
                f"{key} {reason}, but devices is {devices}; leave one of them out."
            )
