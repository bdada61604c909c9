"""How much memory and disk a full replay will take, told before a run starts.

Images of grid worlds compress well, and alike: 64x64x3 episodes of MiniGrid and
MiniHack took 56 to 146 bytes a frame in memory and 150 to 186 on disk (zstandard level
3 in chunks of 16, zip level 6), which is 1/84 of their size or less in memory and 1/66
on disk. Other images may need up to their full size, so both figures are given.
"""

import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

MEMORY_RATIO = 64  # bytes of grid-world images for each byte in memory, cautiously
DISK_RATIO = 50  # ... for each byte on disk
EPISODE_BYTES = 8  # for each step: objects, chunk headers, index
FLAGS_BYTES = 3 + 4  # is_first, is_last, is_terminal; reward


class Footprint(NamedTuple):
    """Bytes of a full replay.

    `memory` and `disk` hold for images of grid worlds; `plain` is the size without
    any compression, which other images may come near.
    """

    memory: int
    disk: int
    plain: int

    def __str__(self) -> str:
        """What is said at the start of a run."""
        memory, disk, plain = (f"{number / 1e9:.2f} GB" for number in self)
        if self.plain == self.memory:  # no images
            return f"about {memory} of memory and of disk"
        return (
            f"about {memory} of memory and {disk} of disk with images of grid worlds, "
            f"up to {plain} of each with others"
        )


def predict(specs: Mapping[str, Any], action_size: int, capacity: int) -> Footprint:
    """Predicts the size of a full replay.

    Args:
      specs: Observation, a `shape` and a `dtype` for each key; uint8 are images.
      action_size: Numbers of an action.
      capacity: Environment steps.
    """
    images, others = 0, FLAGS_BYTES + 4 * action_size
    for spec in specs.values():
        dtype = np.dtype(spec.dtype)
        size = int(np.prod(spec.shape, dtype=np.int64)) * dtype.itemsize
        if dtype == np.uint8:
            images += size
        else:
            others += size
    memory = images / MEMORY_RATIO + others + EPISODE_BYTES
    disk = images / DISK_RATIO + others + EPISODE_BYTES
    if not images:
        return Footprint(*3 * [int((others + EPISODE_BYTES) * capacity)])
    return Footprint(
        memory=int(memory * capacity),
        disk=int(disk * capacity),
        plain=(images + others) * int(capacity),
    )


def check(footprint: Footprint, directory: pathlib.Path) -> None:
    """Raises ValueError if the replay cannot fit into memory or on the disk.

    What the folder already holds counts as taken. The message says how to go on.
    """
    memory, disk = available_memory(), available_disk(directory)
    for need, have, where in (
        (footprint.memory, memory, "of memory"),
        (footprint.disk, disk, f"on the disk of {directory}"),
    ):
        if need > have:
            raise ValueError(
                f"The replay will take about {need / 1e9:.2f} GB {where}, where "
                f"{have / 1e9:.2f} GB are left; lower replay.capacity, make room, or "
                "try it nevertheless with --force."
            )


def available_memory() -> int:
    """Bytes of memory that this process may still take."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free = 1024 * int(line.split()[1])
    limit = _read("/sys/fs/cgroup/memory.max").strip()  # of a container
    if limit.isdigit():
        used = int(_read("/sys/fs/cgroup/memory.current") or 0)
        free = min(free, int(limit) - used)
    return free


def available_disk(directory: pathlib.Path) -> int:
    """Bytes that the files of the folder may take, those it holds included."""
    held = sum(path.stat().st_size for path in directory.glob("*.npz"))
    existing = directory
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free + held


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
