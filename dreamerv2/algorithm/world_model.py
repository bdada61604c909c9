"""The world model: encoder, RSSM, and heads that predict what is observed.

Hafner et al. 2021, section 2.1 and equation 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import specs
from common.compute import devices, graphs, onehots, scans
from common.nets import coders, heads, optim
from common.nets import layers as nn
from dreamerv2.algorithm import losses, rssm

CLIP_REWARDS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "identity": tf.identity,
    "sign": tf.sign,
    "tanh": tf.tanh,
}
CONTEXT = 5  # steps that a video prediction observes before it imagines
VIDEOS = 6  # sequences in a video


class Outputs(NamedTuple):
    """What the world model found in a batch; all [B, T, ...]."""

    embed: tf.Tensor
    feat: onehots.Latents
    post: rssm.State
    prior: rssm.State
    kl: tf.Tensor  # [B, T] nats
    log_probs: dict[str, tf.Tensor]  # [B, T] by head or observation key


class Trajectory(NamedTuple):
    """Imagined states 0..H of N rows, time first."""

    feat: onehots.Latents  # [H + 1, N, F]
    action: tf.Tensor  # [H + 1, N, A], the actions that led to the states
    discount: tf.Tensor  # [H + 1, N]
    weight: tf.Tensor  # [H + 1, N], chance that the state is reached


class WorldModel(nn.Module):
    """Learns to compress observations and to predict them ahead (section 2.1)."""

    def __init__(
        self,
        config: config_lib.Config,
        obs_specs: Mapping[str, specs.ArraySpec],
        act_spec: specs.ActionSpec,
        rng: np.random.Generator,
    ):
        """Builds the networks and their optimiser.

        Args:
          config: The run's configuration.
          obs_specs: Observations by key.
          act_spec: Size and kind of the actions.
          rng: Source of the initial weights.

        Raises:
          ValueError: If a configured name is unknown or no observation is used.
        """
        super().__init__()
        if config.clip_rewards not in CLIP_REWARDS:
            raise ValueError(
                f"Unknown clip_rewards {config.clip_rewards!r}; choose from "
                f"{sorted(CLIP_REWARDS)}."
            )
        heads.check_dist("reward_head.dist", config.reward_head.dist, ("mse", "binary"))
        heads.check_dist("discount_head.dist", config.discount_head.dist, ("binary",))
        self._config = config
        self._action_size = act_spec.size
        self._dtype = devices.compute_dtype(config.precision)
        shapes = {key: spec.shape for key, spec in obs_specs.items()}
        self.encoder = self.add(
            "encoder",
            coders.Encoder(rng, shapes, **config.encoder, dtype=self._dtype),
        )
        self.rssm = self.add(
            "rssm",
            rssm.RSSM(
                rng,
                self.encoder.size,
                act_spec.size,
                **config.rssm,
                unroll=config.unroll,
            ),
        )
        feat, scales = self.rssm.feat_size, config.loss_scales
        loss_scale = optim.LossScale(self._dtype)
        decoder = coders.Decoder(
            rng, feat, shapes, **config.decoder, scales=scales, loss_scale=loss_scale
        )
        self._images = {*self.encoder.cnn_keys, *decoder.cnn_keys}
        self.heads: dict[str, coders.Decoder | heads.Head] = {"decoder": decoder}
        for name in ("reward", "discount") if config.pred_discount else ("reward",):
            self.heads[name] = heads.Head(
                rng,
                feat,
                name,
                scale=scales.get(name, 1.0),
                **config[f"{name}_head"],
            )
        for name, head in self.heads.items():
            self.add(f"heads/{name}", head)
        unknown = set(config.grad_heads) - set(self.heads)
        if unknown:
            raise ValueError(
                f"grad_heads names {sorted(unknown)}, but the heads are "
                f"{sorted(self.heads)} (pred_discount is {config.pred_discount})."
            )
        self.opt = optim.Optimizer(
            "model",
            self.named_weights(),
            l2=config.l2_scale,
            loss_scale=loss_scale,
            **config.model_opt,
        )

    def preprocess(self, data: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Prepares what comes from the replay: numbers in one type, rewards clipped.

        Images stay the bytes that they are; encoder and decoder scale them. Adds
        `discount`, the true discount after each step: 0 where the episode terminated,
        the configured discount elsewhere (gamma_t in equation 2).
        """
        result = {}
        for key, value in data.items():
            bytes_ = value.dtype == tf.uint8 and key not in self._images
            if bytes_ or (value.dtype.is_floating and key != "reward"):
                value = coders.to_numbers(value, self._dtype)
            result[key] = value
        if "reward" in result:
            clip = CLIP_REWARDS[self._config.clip_rewards]
            result["reward"] = clip(tf.cast(result["reward"], tf.float32))
        if "is_terminal" in result:
            alive = 1.0 - tf.cast(result["is_terminal"], tf.float32)
            result["discount"] = alive * self._config.discount
        return result

    def initial(self, batch: int) -> rssm.State:
        """Returns the zero state of `batch` rows."""
        return self.rssm.initial(batch, self._dtype)

    def train(
        self,
        data: Mapping[str, tf.Tensor],
        state: rssm.State,
        seed: tf.Tensor | None,
    ) -> tuple[Outputs, dict[str, tf.Tensor]]:
        """Takes one gradient step on preprocessed data [B, T, ...] (equation 2)."""

        def loss() -> tuple[tf.Tensor, tuple[Outputs, dict[str, tf.Tensor]]]:
            total, *others = self.loss(data, state, seed)
            return total, others

        (outputs, metrics), more = self.opt.minimize(loss)
        return outputs, {**metrics, **more}

    def loss(
        self,
        data: Mapping[str, tf.Tensor],
        state: rssm.State,
        seed: tf.Tensor | None,
    ) -> tuple[tf.Tensor, Outputs, dict[str, tf.Tensor]]:
        """Returns the total loss, what was computed on the way, and metrics.

        Equation 2: -ln p(x | h, z) - ln p(r | h, z) - ln p(g | h, z) + beta KL[q || p],
        each with its scale, the divergence balanced (Algorithm 2).

        Args:
          data: Preprocessed batch [B, T, ...].
          state: State [B, ...] that the sequences continue.
          seed: Stateless seed [2]; None takes the modes.
        """
        embed = self.encoder(data)  # e_t, [B, T, E]
        post, prior = self.rssm.observe(
            embed, data["action"], data["is_first"], state, seed
        )
        feat = self.rssm.feat(post)  # [B, T, F]
        kl = losses.kl_balance(
            _stats(post), _stats(prior), self.rssm.dist, **self._config.kl
        )
        batch, steps = data["action"].shape[:2]
        total, log_probs = 0.0, {}
        for name, head in self.heads.items():
            loss, by_key = head.loss(self._head_input(name, feat), data)
            total += loss
            log_probs |= by_key
        for key, value in {**log_probs, "kl": kl.value}.items():
            graphs.check_shape(f"the loss of {key}", value, B=batch, T=steps)
        total += self._config.loss_scales.kl * kl.loss
        parts = {"kl": kl.loss} | {k: -tf.reduce_mean(v) for k, v in log_probs.items()}
        metrics = {f"{key}_loss": value for key, value in parts.items()}
        metrics["model_error"] = total - sum(h.constant for h in self.heads.values())
        metrics["model_kl"] = tf.reduce_mean(kl.value)
        metrics["prior_ent"] = tf.reduce_mean(self.rssm.dist(prior).entropy())
        metrics["post_ent"] = tf.reduce_mean(self.rssm.dist(post).entropy())
        outputs = Outputs(embed, feat, post, prior, kl.value, log_probs)
        return total, outputs, metrics

    def imagine(
        self,
        policy: Callable[[onehots.Latents, tf.Tensor | None], tf.Tensor],
        action_noise: tf.Tensor | None,
        start: rssm.State,
        is_terminal: tf.Tensor,
        horizon: int,
        seed: tf.Tensor | None,
        differentiable: bool = True,
    ) -> Trajectory:
        """Lets a policy act inside the model (Hafner et al. 2021, section 2.2).

        Args:
          policy: Function of features [N, F] and action noise to actions [N, A].
          action_noise: Noise of the actions [H, N, ...]; None takes the modes.
          start: States [B, T, ...], flattened to N = B T rows.
          is_terminal: [B, T], whether the episode has ended in these states.
          horizon: H.
          seed: Stateless seed [2] of the latents; None takes the modes.
          differentiable: Whether gradients flow through the trajectory.
        """
        start = rssm.carried(start)
        if not differentiable:
            start = self.rssm.constant(start)
        start = graphs.flatten_time(start)  # [B, T, ...] -> [N, ...]
        states = self.rollout(policy, action_noise, start, horizon, seed)
        feat = self.rssm.feat(states)  # [H + 1, N, F]
        rows = start["deter"].shape[0]
        discount = self._discounts(feat, tf.reshape(is_terminal, [rows]))
        weight = losses.discount_weights(discount)
        return Trajectory(feat, states["action"], discount, weight)

    def rollout(
        self,
        policy: Callable[[onehots.Latents, tf.Tensor | None], tf.Tensor],
        action_noise: tf.Tensor | None,
        start: rssm.State,
        horizon: int,
        seed: tf.Tensor | None,
    ) -> rssm.State:
        """Returns the states [H + 1, N, ...] that a policy imagines, the first given.

        Each has the `action` that led to it, the first one zeros. See `imagine`.
        """
        rows = start["deter"].shape[0]
        seeds = None if seed is None else tf.random.split(seed, horizon)

        def step(now: rssm.State, t: tf.Tensor) -> rssm.State:
            # The latents' noise is large: it is drawn when it is needed.
            draws = self.rssm.draws(1, rows, None if seed is None else seeds[t])
            feat = self.rssm.feat(now).stop_gradient()
            action = policy(feat, None if action_noise is None else action_noise[t])
            graphs.check_shape("action", action, N=rows, A=self._action_size)
            draw = tf.nest.map_structure(lambda x: x[0], draws)
            state = self.rssm.img_step(now, action, draw)
            return {"deter": state["deter"], "stoch": state["stoch"], "action": action}

        start = {**start, "action": tf.zeros([rows, self._action_size])}
        states = scans.scan(step, tf.range(horizon), start, unroll=self._config.unroll)
        return tf.nest.map_structure(
            lambda first, rest: tf.concat([first[None], rest], 0), start, states
        )

    def reward(self, feat: tf.Tensor | onehots.Latents) -> tf.Tensor:
        """Returns the modes [...] of p(r_t | h_t, z_t), given features [..., F]."""
        return self.heads["reward"](feat).mode()

    def video(
        self, data: Mapping[str, tf.Tensor], key: str, seed: tf.Tensor
    ) -> tf.Tensor:
        """Predicts images ahead without looking.

        Args:
          data: Preprocessed batch [B, T, ...].
          key: Image key.
          seed: Stateless seed [2].

        Returns:
          Video [T, 3 H, W B, C] in [0, 1]: truth, model and error from top to bottom,
          sequences side by side. The model sees the first five images, or all but
          one of a shorter batch.
        """
        data = {k: v[:VIDEOS] for k, v in data.items()}
        truth = coders.to_numbers(data[key], tf.float32) + 0.5
        seen = min(CONTEXT, truth.shape[1] - 1)
        images, _ = self.look_ahead(data, self.initial(truth.shape[0]), seen, seed)
        model = images[key]
        error = (model - truth + 1) / 2
        video = tf.concat([truth, model, error], 2)  # [B, T, 3 H, W, C]
        batch, time, height, width, channels = video.shape
        video = tf.transpose(video, [1, 2, 0, 3, 4])
        video = tf.reshape(video, [time, height, batch * width, channels])
        return tf.clip_by_value(video, 0.0, 1.0)

    def look_ahead(
        self,
        data: Mapping[str, tf.Tensor],
        state: rssm.State,
        seen: int,
        seed: tf.Tensor,
    ) -> tuple[dict[str, tf.Tensor], rssm.State]:
        """Predicts images from the first few and all actions.

        Args:
          data: Preprocessed batch [B, T, ...].
          state: State [B, ...] before it.
          seen: How many images the model sees; from 1 to T - 1.
          seed: Stateless seed [2].

        Returns:
          Images [B, T, H, W, C] around [0, 1] by key, the first `seen` reconstructed
          and the others predicted; and the state [B, ...] after all were seen.
        """
        seed1, seed2 = graphs.split_seed(seed, 2)
        embed, action = self.encoder(data), data["action"]
        post, _ = self.rssm.observe(embed, action, data["is_first"], state, seed1)
        start = {k: v[:, seen - 1] for k, v in post.items()}
        ahead = self.rssm.imagine(action[:, seen:], start, seed2)
        feat = self.rssm.feat({k: v[:, :seen] for k, v in post.items()})
        feat = tf.concat([feat.to_tensor(), self.rssm.feat(ahead).to_tensor()], 1)
        dists = self.heads["decoder"](feat)
        keys = self.heads["decoder"].cnn_keys
        images = {k: tf.cast(dists[k].mode(), tf.float32) + 0.5 for k in keys}
        return images, {k: v[:, -1] for k, v in post.items()}

    def _head_input(self, name: str, feat: onehots.Latents) -> onehots.Latents:
        """Returns the features, without gradient if the head shall not shape them."""
        return feat if name in self._config.grad_heads else feat.stop_gradient()

    def _discounts(self, feat: onehots.Latents, is_terminal: tf.Tensor) -> tf.Tensor:
        """Returns discounts [H + 1, N]; the first is the true one from replay."""
        if "discount" not in self.heads:
            return self._config.discount * tf.ones(feat.shape[:-1])
        discount = self.heads["discount"](feat[1:]).mean()
        first = (1.0 - tf.cast(is_terminal, tf.float32)) * self._config.discount
        return tf.concat([first[None], discount], 0)


def _stats(state: rssm.State) -> rssm.State:
    """Returns only the parameters of the latent distribution."""
    return {k: v for k, v in state.items() if k not in ("deter", "stoch")}
