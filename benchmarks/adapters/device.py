"""Adapter of this repository on one device: `ours`, and the memory of that device.

A case has two entries more than those of `benchmarks.turns.cases`: `rehearse`, whether
a CPU shall build the graphs that a GPU gets, and `devices`, how many share an update.
"""

from typing import Any
from unittest import mock

import tensorflow as tf

from benchmarks.adapters import ours
from common.compute import graphs

NAME = "device"


def prepare(case: dict[str, Any]) -> None:
    """Does for a process what has to be done before its first tensor.

    A rehearsal shows graphs what they find on a GPU, so that what XLA cannot compile
    there is found here; and it divides the CPU where devices share an update.
    """
    if not case["rehearse"]:
        return
    mock.patch.object(graphs, "fuses", lambda: False).start()
    if case["devices"] > 1:
        parts = [tf.config.LogicalDeviceConfiguration()] * case["devices"]
        cpus = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpus[0], parts)


def peak_memory() -> int | None:
    """Returns the most bytes that the first GPU has held; None without a GPU."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


class Update(ours.Update):
    """Updates an agent with one batch; `info` has the device's memory too."""

    def __init__(self, case: dict[str, Any]):
        """Prepares the process and builds the agent."""
        prepare(case)
        super().__init__(case)

    def __call__(self) -> None:
        """Takes one gradient step of every part, and waits for the loss."""
        super().__call__()
        self.info["device memory"] = peak_memory()


def make_policy(case: dict[str, Any]) -> ours.Policy:
    """Chooses actions for `rows` environments."""
    prepare(case)
    return ours.Policy(case)


make_update = Update
