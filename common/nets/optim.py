"""Gradient steps: clipping, weight decay, Adam and its relatives, loss scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from common.compute import replicas
from common.nets import layers

_BETA1, _BETA2 = 0.9, 0.999
_SLOTS = {"adam": 2, "nadam": 2, "adamax": 2, "sgd": 0, "momentum": 1}
_SCALE_START, _SCALE_MAX, _SCALE_PATIENCE = 2.0**15, 2.0**24, 2000


class Optimizer(layers.Module):
    """Updates a fixed list of weights from the gradient of a loss.

    Before each step the gradient's global norm is clipped to `clip` and every weight
    is multiplied by 1 - `wd` (not scaled by the learning rate). In float16 the loss is
    multiplied by a scale that halves when a gradient overflows, in which case the step
    is left out, and doubles after 2000 good steps (Micikevicius et al. 2018).

    With `l2` the loss gains `l2 * ||w - w*||^2` over the weights, w* being what they
    were at the last call of `anchor`; before the first it gains nothing. The gradient
    2 l2 (w - w*) enters before clipping.
    """

    def __init__(
        self,
        name: str,
        weights: Mapping[str, tf.Variable],
        *,
        opt: str,
        lr: float,
        eps: float,
        clip: float,
        wd: float,
        l2: float = 0.0,
        scale_loss: bool = False,
    ):
        """Makes moments of zero for every weight.

        Args:
          name: Prefix of the metrics.
          weights: Weights by name.
          opt: adam, nadam, adamax, sgd or momentum (0.9).
          lr: Learning rate.
          eps: Added to the root of the second moment.
          clip: Largest global norm of a gradient, 0 = no limit.
          wd: Weight decay of one step.
          l2: Strength of the pull towards the anchor; 0 keeps none.
          scale_loss: Whether gradients are float16 and the loss has to be scaled.

        Raises:
          ValueError: If the optimiser is unknown or the pull is negative.
        """
        super().__init__()
        if opt not in _SLOTS:
            raise ValueError(
                f"Unknown optimiser {opt!r} for {name}; choose from {sorted(_SLOTS)}."
            )
        if l2 < 0:
            raise ValueError(f"l2_scale is {l2}; it must be 0 (off) or more.")
        self._label = name
        self._opt, self._lr, self._eps, self._clip, self._wd = opt, lr, eps, clip, wd
        self._weights = list(weights.values())
        self._steps = self.add("steps", tf.Variable(0, dtype=tf.int64))
        self._slots = []
        for i in range(_SLOTS[opt]):
            slot = [tf.Variable(tf.zeros_like(w)) for w in self._weights]
            for key, value in zip(weights, slot, strict=True):
                self.add(f"slot{i}/{key}", value)
            self._slots.append(slot)
        self._l2 = None
        if l2:
            self._l2 = _Pull(l2, weights)
            self.add("l2", self._l2)
        self._scale = None
        if scale_loss:
            self._scale = self.add("scale", tf.Variable(_SCALE_START))
            self._good = self.add("good", tf.Variable(0, dtype=tf.int64))

    @property
    def weights(self) -> list[tf.Variable]:
        """The weights that this optimiser updates."""
        return self._weights

    @property
    def loss_scale(self) -> tf.Tensor | float:
        """What the loss is multiplied with so that float16 gradients do not vanish."""
        return 1.0 if self._scale is None else self._scale.read_value()

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns what to differentiate; call it inside the gradient tape."""
        return replicas.share(loss) * self.loss_scale

    def reset(self) -> None:
        """Forgets all moments, as a new optimiser would start."""
        for moment in (self._steps, *(m for slot in self._slots for m in slot)):
            moment.assign(tf.zeros_like(moment))
        if self._scale is not None:
            self._scale.assign(_SCALE_START)
            self._good.assign(0)

    def anchor(self) -> None:
        """Pulls the weights towards what they are now from here on, if `l2` is set."""
        if self._l2 is not None:
            self._l2.anchor()

    def apply(
        self, loss: tf.Tensor, grads: Sequence[tf.Tensor | None]
    ) -> dict[str, tf.Tensor]:
        """Takes one step.

        Args:
          loss: The unscaled loss, for the metrics.
          grads: Gradients of `scaled(loss)` in the order of the weights.

        Returns:
          `{name}_loss`, `{name}_grad_norm` (before clipping); with `l2` the part of
          the loss that it adds, `{name}_l2`; with loss scaling `{name}_loss_scale`.
        """
        grads = [
            tf.zeros_like(w) if g is None else tf.convert_to_tensor(g)
            for g, w in zip(grads, self._weights, strict=True)
        ]
        grads = replicas.total(grads)
        metrics = {f"{self._label}_loss": loss}
        if self._scale is not None:
            grads = [g / self._scale for g in grads]
            metrics[f"{self._label}_loss_scale"] = self._scale.read_value()
        if self._l2 is not None:
            penalty, pulls = self._l2()
            grads = [g + pull for g, pull in zip(grads, pulls, strict=True)]
            metrics[f"{self._label}_loss"] = loss + penalty
            metrics[f"{self._label}_l2"] = penalty
        norm = tf.linalg.global_norm(grads)
        metrics[f"{self._label}_grad_norm"] = norm
        if self._clip:
            factor = self._clip / tf.maximum(norm, self._clip)
            grads = [g * factor for g in grads]
        if self._scale is None:
            self._step(grads)
        else:
            finite = tf.math.is_finite(norm)
            tf.cond(finite, lambda: self._step(grads), lambda: None)
            self._adapt_scale(finite)
        return metrics

    def _step(self, grads: Sequence[tf.Tensor]) -> None:
        self._steps.assign_add(1)
        steps = tf.cast(self._steps, tf.float32)
        now = _Step(self._lr, self._eps, _BETA1**steps, _BETA2**steps)
        for i, (weight, grad) in enumerate(zip(self._weights, grads, strict=True)):
            if self._wd:
                with tf.control_dependencies([grad]):  # else it is early, and held
                    weight.assign(weight * (1 - self._wd))
            _RULES[self._opt](now, weight, grad, [slot[i] for slot in self._slots])

    def _adapt_scale(self, finite: tf.Tensor) -> None:
        good = tf.where(finite, self._good + 1, 0)
        grow = good >= _SCALE_PATIENCE
        scale = tf.where(grow, self._scale * 2, self._scale)
        scale = tf.where(finite, scale, self._scale / 2)
        self._scale.assign(tf.clip_by_value(scale, 1.0, _SCALE_MAX))
        self._good.assign(tf.where(grow, tf.zeros_like(good), good))


class _Pull(layers.Module):
    """The penalty strength * ||w - w*||^2 and its gradient."""

    def __init__(self, strength: float, weights: Mapping[str, tf.Variable]):
        super().__init__()
        self._strength = strength
        self._weights = list(weights.values())
        # Variables, so that a task switch changes numbers and not the graph.
        self._on = self.add("on", tf.Variable(0.0))
        self._anchor = [
            self.add(f"anchor/{name}", tf.Variable(tf.zeros_like(weight)))
            for name, weight in weights.items()
        ]

    def anchor(self) -> None:
        self._on.assign(1.0)
        for anchor, weight in zip(self._anchor, self._weights, strict=True):
            anchor.assign(weight)

    def __call__(self) -> tuple[tf.Tensor, list[tf.Tensor]]:
        pairs = zip(self._weights, self._anchor, strict=True)
        moved = [weight - anchor for weight, anchor in pairs]
        strength = self._on * self._strength
        penalty = strength * tf.add_n([tf.reduce_sum(x * x) for x in moved])
        return penalty, [2 * strength * x for x in moved]


class _Step(NamedTuple):
    """What all weights share in one step."""

    lr: float
    eps: float
    power1: tf.Tensor
    power2: tf.Tensor


def _adam(now, weight, grad, slots, nesterov=False):
    """Kingma & Ba 2015, section 2, last paragraph: eps outside the bias correction."""
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle,
        m=slots[0].handle,
        v=slots[1].handle,
        beta1_power=now.power1,
        beta2_power=now.power2,
        lr=now.lr,
        beta1=_BETA1,
        beta2=_BETA2,
        epsilon=now.eps,
        grad=grad,
        use_nesterov=nesterov,
    )


def _nadam(now, weight, grad, slots):
    """Adam with Nesterov's look-ahead (Dozat 2016)."""
    _adam(now, weight, grad, slots, nesterov=True)


def _adamax(now, weight, grad, slots):
    """Kingma & Ba 2015, algorithm 2."""
    tf.raw_ops.ResourceApplyAdaMax(
        var=weight.handle,
        m=slots[0].handle,
        v=slots[1].handle,
        beta1_power=now.power1,
        lr=now.lr,
        beta1=_BETA1,
        beta2=_BETA2,
        epsilon=now.eps,
        grad=grad,
    )


def _sgd(now, weight, grad, slots):
    del slots
    weight.assign_sub(now.lr * grad)


def _momentum(now, weight, grad, slots):
    slots[0].assign(0.9 * slots[0] + grad)
    weight.assign_sub(now.lr * slots[0])


_RULES: dict[str, Callable] = {
    "adam": _adam,
    "nadam": _nadam,
    "adamax": _adamax,
    "sgd": _sgd,
    "momentum": _momentum,
}
