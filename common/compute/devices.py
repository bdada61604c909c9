"""Precision, and the set-up of the devices that TensorFlow computes on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib

import tensorflow as tf

from common.compute import messages, replicas

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h

PRECISIONS = {"32": tf.float32, "16": tf.float16, "bfloat16": tf.bfloat16}


def compute_dtype(precision: str) -> tf.DType:
    """Returns the type in which activations are computed; weights stay float32.

    Raises:
      ValueError: If the precision is not one of 32, 16, bfloat16.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"Unknown precision {precision!r}; choose from {sorted(PRECISIONS)}."
        )
    return PRECISIONS[precision]


def choose_precision(precision: str) -> str:
    """Returns the precision; for `auto` 16 if there is a GPU, else 32, and says so."""
    if precision != "auto":
        return precision
    chosen = "16" if tf.config.list_physical_devices("GPU") else "32"
    reason = "on a GPU" if chosen == "16" else "without a GPU"
    print(f"Precision: {chosen}, the default {reason}; --precision overrides.")
    return chosen


def setup(*, jit: bool = True, deterministic: bool = False, devices: int = 1) -> str:
    """Prepares devices once, before the first tensor is made.

    A GPU is used when TensorFlow sees one, with memory growth, so that several runs
    can share it. On the CPU deterministic kernels cost nothing and are always used.

    Args:
      jit: Whether graph functions are graphs; False runs them eagerly.
      deterministic: Whether to use deterministic kernels on a GPU too.
      devices: How many devices share each update.

    Returns:
      One line that names what is used and why it was chosen.

    Raises:
      ValueError: If there are not that many devices.
    """
    tf.config.run_functions_eagerly(not jit)
    _share_heaps()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):  # TensorFlow is in use already
            tf.config.experimental.set_memory_growth(gpu, True)
    if deterministic or not gpus:
        tf.config.experimental.enable_op_determinism()
    if devices != 1:
        replicas.find_devices(devices)
    return _describe_device(len(gpus), devices)


def _share_heaps() -> None:
    """Lets threads share two heaps, as MALLOC_ARENA_MAX=2 would, unless that is set.

    With a heap for each, what one thread has freed after compiling is lost to others.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


def _describe_device(gpus: int, devices: int) -> str:
    reason = f"because devices is {devices}"
    if gpus > 1:
        chosen = "the first" if devices == 1 else devices
        return f"Device: {chosen} of {gpus} GPUs, {reason}; memory grows on demand."
    if gpus:
        return "Device: GPU, because TensorFlow sees one; memory grows on demand."
    if devices > 1:
        return f"Device: {devices} CPU devices, {reason} and TensorFlow sees no GPU."
    if tf.test.is_built_with_cuda():
        return f"Device: CPU, because TensorFlow sees no GPU{_reason()}."
    return "Device: CPU, because this TensorFlow is built without CUDA."


def _reason() -> str:
    """Why there may be no GPU, to follow the words that there is none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ": CUDA_VISIBLE_DEVICES hides all"
    if _in_docker() and not _gpu_files():
        return " (docker run needs --gpus all)"
    if messages.has_driver():
        return (
            ", although there is an NVIDIA driver. With TF_CPP_MIN_LOG_LEVEL=0 before "
            "the command TensorFlow tells why: a driver that is too old, or libraries "
            "that are missing (pip install 'dreamerv2[gpu]')"
        )
    return ""


def _gpu_files() -> list[pathlib.Path]:
    return list(pathlib.Path("/dev").glob("nvidia[0-9]*"))


def _in_docker() -> bool:
    return pathlib.Path("/.dockerenv").exists()
