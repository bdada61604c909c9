"""Distributions that are sampled from given noise.

Each class carries parameters in float32 and offers `sample(noise)`, `mode()`,
`log_prob(value)` and `entropy()`. The noise is drawn beforehand with `noise(...)`, for
all steps of a loop at once and statelessly, so that a run can be repeated exactly; a
noise of None takes the mode, which is how the reference numbers are defined. The
mathematics of densities comes from TensorFlow Probability.
"""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

_TINY = 1e-7  # keeps logarithms of uniform noise finite


def gumbel(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    """Returns Gumbel noise: argmax(logits + noise) is a categorical sample."""
    uniform = tf.random.stateless_uniform(shape, seed, minval=_TINY, maxval=1.0)
    return -tf.math.log(-tf.math.log(uniform))


@tf.custom_gradient
def _straight_through(sample: tf.Tensor, logits: tf.Tensor) -> tuple:
    """Returns the sample with the gradient of softmax(logits), if one is asked for."""

    def gradient(upstream: tf.Tensor) -> tuple[None, tf.Tensor]:
        probs = tf.nn.softmax(logits)
        mean = tf.reduce_sum(probs * upstream, -1, keepdims=True)
        return None, probs * (upstream - mean)

    return tf.identity(sample), gradient


@tf.custom_gradient
def _sum_squares(images: tf.Tensor) -> tuple:
    """Returns the sum of squares [...] of each image [..., height, width, channels]."""

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return (2 * upstream)[..., None, None, None] * images

    return tf.reduce_sum(tf.square(images), [-3, -2, -1]), gradient


class OneHot:
    """Categoricals as one-hot vectors with straight-through gradients.

    The event is the last `event_ndims` axes: one categorical, or a row of them.
    Hafner et al. 2021, Algorithm 1.
    """

    noise = staticmethod(gumbel)

    def __init__(self, logits: tf.Tensor, event_ndims: int = 1):
        """Takes logits [..., K]."""
        self.logits = tf.cast(logits, tf.float32)
        self._dist = tfd.Independent(
            tfd.OneHotCategorical(logits=self.logits), event_ndims - 1
        )

    def sample(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Returns one-hot vectors [..., K]; their gradient is that of the probs."""
        sample = tf.one_hot(self.choose(noise), self.logits.shape[-1])
        return _straight_through(sample, self.logits)

    def choose(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the classes [...] of a sample."""
        scores = self.logits if noise is None else self.logits + noise
        return tf.argmax(scores, -1, tf.int32)

    def mode(self) -> tf.Tensor:
        """Returns the most probable one-hot vectors [..., K], straight-through."""
        return self.sample(None)

    def log_prob(self, value: tf.Tensor) -> tf.Tensor:
        """Returns log-probabilities of one-hot vectors over the batch axes."""
        return self._dist.log_prob(tf.cast(value, tf.float32))

    def entropy(self) -> tf.Tensor:
        """Returns entropies in nats over the batch axes."""
        return self._dist.entropy()

    def kl(self, other: OneHot) -> tf.Tensor:
        """Returns KL(self || other) in nats over the batch axes."""
        return tfd.kl_divergence(self._dist, other._dist)


class Normal:
    """Independent normals; the event is the last `event_ndims` axes."""

    @staticmethod
    def noise(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        """Returns standard normal noise."""
        return tf.random.stateless_normal(shape, seed)

    def __init__(
        self, mean: tf.Tensor, std: tf.Tensor | float = 1.0, event_ndims: int = 1
    ):
        """Takes means [..., F] and standard deviations of the same shape, or one."""
        self.mean = tf.cast(mean, tf.float32)
        self.std = tf.cast(std, tf.float32)
        self._dist = tfd.Independent(tfd.Normal(self.mean, self.std), event_ndims)

    def sample(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Returns reparameterised samples; None gives the mean."""
        return self.mean if noise is None else self.mean + self.std * noise

    def mode(self) -> tf.Tensor:
        """Returns the mean."""
        return self.mean

    def log_prob(self, value: tf.Tensor) -> tf.Tensor:
        """Returns log-densities over the batch axes."""
        return self._dist.log_prob(tf.cast(value, tf.float32))

    def entropy(self) -> tf.Tensor:
        """Returns entropies in nats over the batch axes."""
        return self._dist.entropy()

    def kl(self, other: Normal) -> tf.Tensor:
        """Returns KL(self || other) in nats over the batch axes."""
        return tfd.kl_divergence(self._dist, other._dist)


def unit_constant(size: int) -> float:
    """Returns -ln p of `size` numbers at the means of normals of variance one."""
    return 0.5 * math.log(2 * math.pi) * size


class UnitNormalImage:
    """Pixels under normals of variance one: a squared error, without the overhead."""

    def __init__(self, mean: tf.Tensor):
        """Takes means [..., height, width, channels]."""
        self.mean = tf.cast(mean, tf.float32)

    def mode(self) -> tf.Tensor:
        """Returns the mean image."""
        return self.mean

    def log_prob(self, value: tf.Tensor) -> tf.Tensor:
        """Returns log-densities [...] of images [..., height, width, channels]."""
        error = tf.cast(value, tf.float32) - self.mean
        constant = unit_constant(math.prod(self.mean.shape[-3:]))
        return -0.5 * _sum_squares(error) - constant


class Bernoulli:
    """Independent coins from logits [...]; the label may be a probability."""

    def __init__(self, logits: tf.Tensor):
        """Takes logits [...]."""
        self.logits = tf.cast(logits, tf.float32)

    def mean(self) -> tf.Tensor:
        """Returns probabilities of one."""
        return tf.sigmoid(self.logits)

    def mode(self) -> tf.Tensor:
        """Returns 0 or 1, whichever is more probable."""
        return tf.cast(self.logits > 0, tf.float32)

    def log_prob(self, value: tf.Tensor) -> tf.Tensor:
        """Returns the negative cross entropy of labels in [0, 1]."""
        return tfd.Bernoulli(logits=self.logits).log_prob(tf.cast(value, tf.float32))


class TruncatedNormal:
    """Independent normals cut to [-1, 1]; the event is the last axis.

    Samples are the inverse distribution function of uniform noise, so gradients reach
    mean and standard deviation.
    """

    _EDGE = 1e-6  # samples keep this distance from the interval's ends

    @staticmethod
    def noise(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        """Returns uniform noise in (0, 1)."""
        return tf.random.stateless_uniform(shape, seed, minval=_TINY, maxval=1 - _TINY)

    def __init__(self, mean: tf.Tensor, std: tf.Tensor):
        """Takes locations [..., A] inside [-1, 1] and scales [..., A]."""
        self.mean = tf.cast(mean, tf.float32)
        self.std = tf.cast(std, tf.float32)
        self._dist = tfd.Independent(
            tfd.TruncatedNormal(self.mean, self.std, -1.0, 1.0), 1
        )

    def sample(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Returns samples [..., A] inside (-1, 1); None gives the location."""
        if noise is None:
            return self.mean
        full = tfd.Normal(self.mean, self.std)
        low, high = full.cdf(-1.0), full.cdf(1.0)
        value = self.mean + self.std * tf.math.ndtri(low + noise * (high - low))
        bounded = tf.clip_by_value(value, -1.0 + self._EDGE, 1.0 - self._EDGE)
        return value + tf.stop_gradient(bounded - value)

    def mode(self) -> tf.Tensor:
        """Returns the location, which lies inside the interval."""
        return self.mean

    def log_prob(self, value: tf.Tensor) -> tf.Tensor:
        """Returns log-densities [...] of actions [..., A]."""
        return self._dist.log_prob(tf.cast(value, tf.float32))

    def entropy(self) -> tf.Tensor:
        """Returns entropies [...] in nats."""
        return self._dist.entropy()


class Uniform:
    """Independent uniforms over [-1, 1]; the event is the last axis."""

    noise = staticmethod(TruncatedNormal.noise)

    def __init__(self, shape: list[int]):
        """Takes the shape [..., A]."""
        self._shape = shape

    def sample(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Returns samples [..., A]; None gives the middle."""
        return tf.zeros(self._shape) if noise is None else 2 * noise - 1

    def mode(self) -> tf.Tensor:
        """Returns the middle of the interval."""
        return tf.zeros(self._shape)
