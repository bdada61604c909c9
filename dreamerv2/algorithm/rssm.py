"""The recurrent state-space model: a deterministic and a stochastic latent state.

Hafner et al. 2021, section 2.1. Shapes: B batch, T time, A action, D deter,
S x K stoch (S Gaussians or S categoricals of K classes), E embedding, F = S K + D
feature. States are dicts: `deter` [B, D], `stoch` [B, S(, K)] and the parameters of
the distribution that `stoch` was drawn from: `logit` [B, S, K], or `mean` and `std`
[B, S]. Where no gradient flows, `stoch` may be kept in another form, see `constant`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common.compute import graphs, onehots, replicas, scans
from common.nets import dists
from common.nets import layers as nn

State = dict[str, tf.Tensor]

STD_ACTIVATIONS = {
    "softplus": tf.nn.softplus,
    "sigmoid": tf.sigmoid,
    "sigmoid2": lambda x: 2 * tf.sigmoid(x / 2),
}


class Draw(NamedTuple):
    """Randomness drawn before a loop over time."""

    noise: tf.Tensor  # [..., B, S(, K)], of the latents; zeros take the mode
    member: tf.Tensor  # [...], which prior of the ensemble


class RSSM(nn.Module):
    """Filters observations into states, and predicts states without (equation 1)."""

    def __init__(
        self,
        rng: np.random.Generator,
        embed_size: int,
        action_size: int,
        *,
        ensemble: int,
        hidden: int,
        deter: int,
        stoch: int,
        discrete: int,
        act: str,
        norm: str,
        std_act: str,
        min_std: float,
        unroll: bool = False,
    ):
        """Builds the recurrent cell, `ensemble` priors and the posterior.

        Args:
          rng: Source of the initial weights.
          embed_size: E.
          action_size: A.
          ensemble: Number of priors, one of which is drawn at each step.
          hidden: Units of the layers before and after the cell.
          deter: D.
          stoch: S.
          discrete: K classes of each categorical, 0 = Gaussian latents.
          act: Activation of the hidden layers.
          norm: none or layer.
          std_act: softplus, sigmoid or sigmoid2.
          min_std: Added to the Gaussians' standard deviations.
          unroll: Whether to unroll loops over time.

        Raises:
          ValueError: If `std_act` is unknown or there is no prior.
        """
        super().__init__()
        if std_act not in STD_ACTIVATIONS:
            raise ValueError(
                f"Unknown rssm.std_act {std_act!r}; choose from "
                f"{sorted(STD_ACTIVATIONS)}."
            )
        if ensemble < 1:
            raise ValueError(f"rssm.ensemble is {ensemble}; give at least one prior.")
        self._deter, self._stoch, self._discrete = deter, stoch, discrete
        self._std_act, self._min_std = STD_ACTIVATIONS[std_act], min_std
        self._embed_size, self._action_size = embed_size, action_size
        self._unroll = unroll
        self.stoch_size = stoch * (discrete or 1)
        self.feat_size = self.stoch_size + deter
        stats = stoch * (discrete or 2)
        self._img_in = self.add(
            "img_in", nn.Dense(rng, self.stoch_size + action_size, hidden, act, norm)
        )
        self._img_out, self._img_dist = [], []
        for k in range(ensemble):
            out = nn.Dense(rng, deter, hidden, act, norm)
            self._img_out.append(self.add(f"img_out_{k}", out))
            dist = nn.Dense(rng, hidden, stats)
            self._img_dist.append(self.add(f"img_dist_{k}", dist))
        self._obs_out = self.add(
            "obs_out", nn.SplitDense(rng, deter, embed_size, hidden, act, norm)
        )
        self._obs_dist = self.add("obs_dist", nn.Dense(rng, hidden, stats))
        self._cell = self.add("gru", nn.GRUCell(rng, hidden, deter))

    def initial(self, batch: int, dtype: tf.DType) -> State:
        """Returns the zero state of `batch` rows; latents are in `dtype`."""
        deter = tf.zeros([batch, self._deter], dtype)
        if self._discrete:
            shape = [batch, self._stoch, self._discrete]
            stats = {"logit": tf.zeros(shape)}
        else:
            shape = [batch, self._stoch]
            stats = {"mean": tf.zeros(shape), "std": tf.zeros(shape)}
        return {"deter": deter, "stoch": tf.zeros(shape, dtype), **stats}

    def draws(self, steps: int, batch: int, seed: tf.Tensor | None) -> Draw:
        """Draws the randomness of `steps` steps of `batch` rows, time first.

        A seed of None gives what takes the mode of every latent and the first prior.
        """
        event = [self._stoch, self._discrete] if self._discrete else [self._stoch]
        shape = [steps, batch, *event]
        if seed is None:
            return Draw(tf.zeros(shape), tf.zeros([steps], tf.int32))
        kind = dists.OneHot if self._discrete else dists.Normal
        seed1, seed2 = graphs.split_seed(seed, 2)
        member = tf.random.stateless_uniform(
            [steps], seed2, 0, len(self._img_out), dtype=tf.int32
        )
        noise = replicas.own_rows(lambda x: kind.noise(x, seed1), shape, axis=1)
        return Draw(noise, member)

    def observe(
        self,
        embed: tf.Tensor,
        action: tf.Tensor,
        is_first: tf.Tensor,
        state: State,
        seed: tf.Tensor | None,
    ) -> tuple[State, State]:
        """Filters a batch of sequences.

        Args:
          embed: [B, T, E].
          action: [B, T, A], the actions that led to the observations.
          is_first: [B, T], where state and action before are taken as zero.
          state: State [B, ...] before the sequences.
          seed: Stateless seed [2]; None takes the mode of every latent.

        Returns:
          Posteriors [B, T, ...] and priors [B, T, ...]; nobody needs a sample of the
          priors, so they have no `stoch`.
        """
        batch, steps = action.shape[:2]
        graphs.check_shape("embed", embed, B=batch, T=steps, E=self._embed_size)
        graphs.check_shape("action", action, B=batch, T=steps, A=self._action_size)
        draw = self.draws(steps, batch, seed)
        embed = self._obs_out.ahead(embed)  # [B, T, E] -> [B, T, hidden]

        def step(state: State, now: tuple) -> State:
            embed, action, is_first, noise = now
            deter = self._advance(*_mask(state, action, is_first))
            return self._posterior(deter, embed, noise)

        posts = scans.lifted(
            step,
            (*graphs.swap_time((embed, action, is_first)), draw.noise),
            state,
            (self._img_in, self._cell, self._obs_out, self._obs_dist),
            dtype=embed.dtype,
            unroll=self._unroll,
        )
        posts = graphs.swap_time(posts)  # [T, B, ...] -> [B, T, ...]
        priors = self._prior(posts["deter"], draw.member)
        return posts, {"deter": posts["deter"], **priors}

    def obs_step(
        self,
        state: State,
        action: tf.Tensor,
        embed: tf.Tensor,
        is_first: tf.Tensor,
        seed: tf.Tensor | None,
    ) -> State:
        """Filters one observation [B, E] into the next state [B, ...] (equation 1)."""
        noise = self.draws(1, embed.shape[0], seed).noise[0]
        deter = self._advance(*_mask(state, action, is_first))
        return self._posterior(deter, self._obs_out.ahead(embed), noise)

    def img_step(self, state: State, action: tf.Tensor, draw: Draw) -> State:
        """Predicts the next state [B, ...] that an action [B, A] leads to (equation 1).

        The next `stoch` is of the same form as the given one.

        Args:
          state: State [B, ...].
          action: [B, A].
          draw: Randomness of this step: one slice of `draws`.
        """
        deter = self._advance(state, action)
        stats = self._prior(deter, draw.member)
        stoch = onehots.sample_like(state["stoch"], self.dist(stats), draw.noise)
        return {"deter": deter, "stoch": stoch, **stats}

    def imagine(self, action: tf.Tensor, state: State, seed: tf.Tensor | None) -> State:
        """Predicts the states [B, T, ...] of actions [B, T, A], one `img_step` each."""
        draw = self.draws(action.shape[1], action.shape[0], seed)
        states = scans.scan(
            lambda state, now: self.img_step(state, now[0], now[1]),
            (graphs.swap_time(action), draw),
            state,
            unroll=self._unroll,
        )
        return graphs.swap_time(states)

    def feat(self, state: State) -> onehots.Latents:
        """Returns concat(z_t, h_t) [..., F], what all heads read (equation 1)."""
        return onehots.join(state["stoch"], state["deter"], self.stoch_size)

    def constant(self, state: State) -> State:
        """Returns a state that takes no gradient, in the form quickest to compute with.

        `img_step` keeps the form; only `feat` and `img_step` can read it.
        """
        state = tf.nest.map_structure(tf.stop_gradient, state)
        stoch = state["stoch"]
        return {**state, "stoch": onehots.compact(stoch) if self._discrete else stoch}

    def flat_stoch(self, state: State) -> tf.Tensor:
        """Returns the stochastic latent as one vector [..., S K]."""
        stoch = state["stoch"]
        if not self._discrete:
            return stoch
        return tf.reshape(stoch, [*stoch.shape[:-2], self.stoch_size])

    def dist(self, stats: Mapping[str, tf.Tensor]) -> dists.OneHot | dists.Normal:
        """Returns the distribution of `stoch`, q or p of equation 1, as one event."""
        if self._discrete:
            return dists.OneHot(stats["logit"], 2)
        return dists.Normal(stats["mean"], stats["std"], 1)

    def _advance(self, state: State, action: tf.Tensor) -> tf.Tensor:
        """Returns the next deterministic state [B, D], h_t = f(h_t-1, z_t-1, a_t-1)."""
        deter = state["deter"]
        action = tf.cast(action, deter.dtype)
        x = self._img_in(onehots.join(state["stoch"], action, self.stoch_size))
        return self._cell(x, deter)

    def _prior(self, deter: tf.Tensor, member: tf.Tensor) -> State:
        """Returns the prior's parameters [..., S(, K)].

        Args:
          deter: [B, D] or [B, T, D].
          member: Which prior of the ensemble: [] or [T].
        """
        pairs = zip(self._img_out, self._img_dist, strict=True)
        stats = [self._stats(dist(out(deter))) for out, dist in pairs]
        if len(stats) == 1:
            return stats[0]
        axis = len(deter.shape) - 1
        index = tf.broadcast_to(member, deter.shape[:-1])

        def choose(*members: tf.Tensor) -> tf.Tensor:
            stacked = tf.stack(members, axis)  # [..., N, S(, K)]
            return tf.gather(stacked, index, axis=axis, batch_dims=axis)

        return tf.nest.map_structure(choose, *stats)

    def _posterior(self, deter: tf.Tensor, embed: tf.Tensor, noise: tf.Tensor) -> State:
        """Returns the state [B, ...], z_t drawn from q(z_t | h_t, x_t).

        Args:
          deter: [B, D].
          embed: The embedding's share of the first layer's product [B, hidden].
          noise: Noise of the latents [B, S(, K)].
        """
        stats = self._stats(self._obs_dist(self._obs_out(deter, embed)))
        stoch = self.dist(stats).sample(noise)
        return {"deter": deter, "stoch": tf.cast(stoch, deter.dtype), **stats}

    def _stats(self, x: tf.Tensor) -> State:
        """Splits the output of a layer into parameters, in float32."""
        x = tf.cast(x, tf.float32)
        if self._discrete:
            shape = [*x.shape[:-1], self._stoch, self._discrete]
            return {"logit": tf.reshape(x, shape)}
        mean, std = tf.split(x, 2, -1)
        return {"mean": mean, "std": self._std_act(std) + self._min_std}


def carried(state: Mapping[str, tf.Tensor]) -> State:
    """Returns the part of a state that the next one depends on."""
    return {key: state[key] for key in ("deter", "stoch")}


def _mask(
    state: State, action: tf.Tensor, is_first: tf.Tensor
) -> tuple[State, tf.Tensor]:
    """Zeroes states and actions of rows in which an episode begins."""

    def mask(x: tf.Tensor) -> tf.Tensor:
        keep = 1 - tf.cast(is_first, x.dtype)
        return x * tf.reshape(keep, [-1] + [1] * (len(x.shape) - 1))

    return tf.nest.map_structure(mask, state), mask(action)
