"""Gradient steps: clipping, weight decay, Adam and its relatives, loss scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from common.compute import replicas
from common.config import plugins
from common.nets import layers

_BETA1, _BETA2 = 0.9, 0.999
_SCALE_START, _SCALE_MAX, _SCALE_PATIENCE = 2.0**15, 2.0**24, 2000


class LossScale(layers.Module):
    """What losses are multiplied with so that float16 gradients do not vanish.

    It halves when a gradient overflows, and doubles after 2000 good steps
    (Micikevicius et al. 2018, section 3.2). In other types it is always 1.
    """

    def __init__(self, dtype: tf.DType):
        """Takes the type that activations are computed in."""
        super().__init__()
        self.active = dtype == tf.float16
        if self.active:
            self._scale = self.add("scale", tf.Variable(_SCALE_START))
            self._good = self.add("good", tf.Variable(0, dtype=tf.int64))

    @property
    def value(self) -> tf.Tensor | float:
        """The scale [] now."""
        return self._scale.read_value() if self.active else 1.0

    def reset(self) -> None:
        """Starts anew."""
        if self.active:
            self._scale.assign(_SCALE_START)
            self._good.assign(0)

    def adapt(self, finite: tf.Tensor) -> None:
        """Takes in whether the gradients of a step were finite []."""
        good = tf.where(finite, self._good + 1, 0)
        grow = good >= _SCALE_PATIENCE
        scale = tf.where(grow, self._scale * 2, self._scale)
        scale = tf.where(finite, scale, self._scale / 2)
        self._scale.assign(tf.clip_by_value(scale, 1.0, _SCALE_MAX))
        self._good.assign(tf.where(grow, tf.zeros_like(good), good))


class Optimizer(layers.Module):
    """Updates a fixed list of weights from the gradient of a loss.

    Before each step the gradient's global norm is clipped to `clip` and every weight
    is multiplied by 1 - `wd` (not scaled by the learning rate). A step whose gradient
    overflows in float16 is left out, see `LossScale`.

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
        loss_scale: LossScale | None = None,
    ):
        """Makes moments of zero for every weight.

        Args:
          name: Prefix of the metrics.
          weights: Weights by name.
          opt: adam, nadam, adamax, sgd or momentum (0.9), or a `Rule` of one's own as
            module:NAME.
          lr: Learning rate.
          eps: Added to the root of the second moment.
          clip: Largest global norm of a gradient, 0 = no limit.
          wd: Weight decay of one step.
          l2: Strength of the pull towards the anchor; 0 keeps none.
          loss_scale: What the loss is multiplied with; None for 1.

        Raises:
          ValueError: If the optimiser is unknown or the pull is negative.
        """
        super().__init__()
        key = f"{name}_opt.opt"
        self._rule = plugins.choose(key, opt, OPTIMIZERS)
        fits = isinstance(self._rule, Rule)
        plugins.require(fits, key, opt, "a common.nets.optim.Rule")
        if l2 < 0:
            raise ValueError(f"l2_scale is {l2}; it must be 0 (off) or more.")
        self._label = name
        self._lr, self._eps, self._clip, self._wd = lr, eps, clip, wd
        self._weights = list(weights.values())
        self._steps = self.add("steps", tf.Variable(0, dtype=tf.int64))
        self._slots = []
        for i in range(self._rule.slots):
            slot = [tf.Variable(tf.zeros_like(w)) for w in self._weights]
            for key, value in zip(weights, slot, strict=True):
                self.add(f"slot{i}/{key}", value)
            self._slots.append(slot)
        self._l2 = None
        if l2:
            self._l2 = _Pull(l2, weights)
            self.add("l2", self._l2)
        self._scale = self.merge(loss_scale or LossScale(tf.float32))

    @property
    def weights(self) -> list[tf.Variable]:
        """The weights that this optimiser updates."""
        return self._weights

    def minimize(
        self, loss_fn: Callable[[], tuple[tf.Tensor, Any]]
    ) -> tuple[Any, dict[str, tf.Tensor]]:
        """Takes one step that makes a loss smaller.

        Args:
          loss_fn: Returns the loss [] and whatever else was computed on the way. The
            gradient is taken for the optimiser's weights alone.

        Returns:
          What else was computed, and metrics, see `apply`.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._weights)
            loss, others = loss_fn()
            scaled = self.scaled(loss)
        return others, self.apply(loss, tape.gradient(scaled, self._weights))

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns what is differentiated: this device's share, times the loss scale."""
        return replicas.share(loss) * self._scale.value

    def reset(self) -> None:
        """Forgets all moments, as a new optimiser would start."""
        for moment in (self._steps, *(m for slot in self._slots for m in slot)):
            moment.assign(tf.zeros_like(moment))
        self._scale.reset()

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
        if self._scale.active:
            scale = self._scale.value
            grads = [g / scale for g in grads]
            metrics[f"{self._label}_loss_scale"] = scale
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
        if self._scale.active:
            finite = tf.math.is_finite(norm)
            tf.cond(finite, lambda: self._step(grads), lambda: None)
            self._scale.adapt(finite)
        else:
            self._step(grads)
        return metrics

    def _step(self, grads: Sequence[tf.Tensor]) -> None:
        self._steps.assign_add(1)
        steps = tf.cast(self._steps, tf.float32)
        now = Step(self._lr, self._eps, _BETA1**steps, _BETA2**steps)
        for i, (weight, grad) in enumerate(zip(self._weights, grads, strict=True)):
            if self._wd:
                with tf.control_dependencies([grad]):  # else it is early, and held
                    weight.assign(weight * (1 - self._wd))
            self._rule.update(now, weight, grad, [slot[i] for slot in self._slots])


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


class Step(NamedTuple):
    """What all weights share in one step."""

    lr: float
    eps: float
    power1: tf.Tensor  # [], 0.9 to the power of the step
    power2: tf.Tensor  # [], 0.999 to the power of the step


class Rule(NamedTuple):
    """How an optimiser changes a weight.

    Attributes:
      slots: How many moments of a weight's shape it keeps, zero at first.
      update: Function of a `Step`, a weight, its gradient and the list of its moments
        that assigns to the weight and the moments.
    """

    slots: int
    update: Callable[
        [Step, tf.Variable, tf.Tensor, Sequence[tf.Variable]], tf.Tensor | None
    ]


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


OPTIMIZERS = {
    "adam": Rule(2, _adam),
    "nadam": Rule(2, _nadam),
    "adamax": Rule(2, _adamax),
    "sgd": Rule(0, _sgd),
    "momentum": Rule(1, _momentum),
}
