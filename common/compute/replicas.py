"""Data parallelism: several devices share the rows of one batch.

Every device (replica) has a copy of all weights, computes the gradient of its own rows
and takes the same step with the sum of all gradients, so the copies stay equal. The
numbers are those of one device up to the rounding of sums, because whatever is more
than a mean over rows asks here: `own_rows` for noise, `mean` and `std` for statistics
of the whole batch that a loss bends (such as free nats) or divides by, `share` and
`total` for gradients. On one device these functions do nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf


def find_devices(count: int) -> list[str]:
    """Returns the names of the first `count` GPUs, or CPUs where there is no GPU.

    Raises:
      ValueError: If there are fewer, or `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"devices is {count}; at least 1 is needed.")
    gpus = tf.config.list_logical_devices("GPU")
    found = gpus or tf.config.list_logical_devices("CPU")
    if count > len(found):
        kind = "GPU(s)" if gpus else "CPU device(s) and no GPU"
        hidden = ", or see that CUDA_VISIBLE_DEVICES names more" if gpus else ""
        raise ValueError(
            f"devices is {count}, but TensorFlow sees {len(found)} {kind}; give "
            f"--devices {len(found)}{hidden}."
        )
    return [device.name for device in found[:count]]


class Replicas:
    """The devices that share each update of an agent; with one it stays out of it."""

    def __init__(self, count: int):
        """Takes the first `count` devices.

        Raises:
          ValueError: See `find_devices`.
        """
        self._strategy = None
        if count != 1:
            names = find_devices(count)
            # The default numbers its reductions anew in each strategy of a process, and
            # those of two agents would meet.
            reduction = tf.distribute.ReductionToOneDevice()
            if "GPU" in names[0]:
                reduction = tf.distribute.NcclAllReduce()
            self._strategy = tf.distribute.MirroredStrategy(names, reduction)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Makes every variable created inside a copy on each device.

        Inside of an update each device reads and assigns its own copy. Outside, the
        first is read and all are assigned.
        """
        if self._strategy is None:
            yield
            return
        with self._strategy.scope(), tf.variable_creator_scope(_create_copies):
            yield

    def spread(self, update: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
        """Lets all devices take an update together.

        Args:
          update: Function of two nests of tensors [B, ...] and further arguments to a
            nest of tensors [B, ...] and a nest of scalars that are means over rows.

        Returns:
          The same function, which splits the rows of its first two arguments over the
          devices, joins those of the result, and averages the scalars.
        """
        if self._strategy is None:
            return update
        strategy = self._strategy

        def whole(data: Any, state: Any, *shared: Any) -> tuple[Any, Any]:
            parts = _split((data, state), strategy.num_replicas_in_sync)
            results = strategy.run(lambda: update(*parts[_index()], *shared))
            states, scalars = zip(
                *strategy.experimental_local_results(results), strict=True
            )
            return (
                tf.nest.map_structure(lambda *xs: tf.concat(xs, 0), *states),
                tf.nest.map_structure(lambda *xs: tf.add_n(xs) / len(xs), *scalars),
            )

        return whole


def own_rows(
    draw: Callable[[list[int]], tf.Tensor], shape: Sequence[int], axis: int
) -> tf.Tensor:
    """Returns this device's rows of what one device would draw for the whole batch.

    Args:
      draw: Function of a shape to noise.
      shape: Shape of the result.
      axis: The axis of the rows.
    """
    count = _count()
    if count == 1:
        return draw(list(shape))
    whole, begin = list(shape), [0] * len(shape)
    whole[axis] *= count
    begin[axis] = _index() * shape[axis]
    return tf.slice(draw(whole), begin, shape)


def mean(tree: Any) -> Any:
    """Averages a nest of tensors, each a mean over a device's rows, over all devices.

    Gradients are averaged likewise: what depends on the result in any device counts.
    """
    if _count() == 1:
        return tree
    return tf.distribute.get_replica_context().all_reduce("MEAN", tree)


def std(x: tf.Tensor) -> tf.Tensor:
    """Returns the standard deviation [] of a tensor over the rows of all devices."""
    if _count() == 1:
        return tf.math.reduce_std(x)
    centred = x - mean(tf.reduce_mean(x))
    return tf.sqrt(mean(tf.reduce_mean(tf.square(centred))))


def share(loss: tf.Tensor) -> tf.Tensor:
    """Returns a device's part of a mean over rows, so that the parts add up to it."""
    count = _count()
    return loss if count == 1 else loss / count


def total(tree: Any) -> Any:
    """Adds a nest of tensors up over all devices."""
    if _count() == 1:
        return tree
    return tf.distribute.get_replica_context().all_reduce("SUM", tree)


def _count() -> int:
    """How many devices take part here: 1 outside of an update."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def _index() -> int:
    """Which of them this is."""
    context = tf.distribute.get_replica_context()
    return int(tf.get_static_value(context.replica_id_in_sync_group))


def _split(tree: Any, count: int) -> list[Any]:
    """Splits the first axis of every tensor: `count` nests of the same structure."""
    flat = [tf.split(x, count) for x in tf.nest.flatten(tree)]
    return [
        tf.nest.pack_sequence_as(tree, list(part)) for part in zip(*flat, strict=True)
    ]


def _create_copies(create: Callable[..., tf.Variable], **options: Any) -> tf.Variable:
    """Makes copies that TensorFlow leaves to us: no assignment waits for the others.

    It calls them not trainable, which says nothing here, as tapes name their weights.
    """
    options.update(
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
    return create(**options)
