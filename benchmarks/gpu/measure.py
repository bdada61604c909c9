"""Measures one cell: python -m benchmarks.gpu.measure, started by `results.run`.

The cell arrives on stdin as JSON, `kind` and `case`; its figures leave as JSON in the
file that is named, or `error`, what went wrong. Updates and policies are processes
below this one (benchmarks/turns/inturn.py), the rest is measured here.
"""

import json
import math
import os
import pathlib
import statistics
import sys
import time
import traceback
from typing import Any

from benchmarks import policy, update
from benchmarks.gpu import busy
from benchmarks.turns import cases, inturn

DEVICE = inturn.Source(inturn.ADAPTERS / "device.py")
GOLDEN = inturn.ROOT / "tests" / "golden"
STRETCH = 5.0  # seconds of updates over which the GPU is watched
STEPS = 500  # of an environment
Figures = dict[str, Any]


def device(case: cases.Case) -> Figures:
    """What TensorFlow computes on: the devices' names, versions, their number."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    build = tf.sysconfig.get_build_info()
    return {
        "gpus": [found.get("device_name", "unknown") for found in details],
        "tensorflow": tf.__version__,
        "cuda": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
    }


def verify(case: cases.Case) -> Figures:
    """Compares with the reference numbers as `python -m dreamerv2.verify` does."""
    from benchmarks.adapters import device as adapter
    from common.compute import devices
    from dreamerv2.verify import __main__ as verify_lib
    from dreamerv2.verify import case as case_lib
    from dreamerv2.verify import entries

    adapter.prepare(case | {"devices": 1})
    devices.setup()
    rows = []
    for name in case["folders"]:
        switches = {key: case[key] for key in ("precision", "jit_compile")}
        found = case_lib.load_case(GOLDEN / name, **switches)
        rows += verify_lib.compare(
            found.expected, entries.compute(found), case["scale"]
        )
    wrong = [row.name for row in rows if not row.passed]
    return {
        "entries": len(rows),
        "out of tolerance": len(wrong),
        "which": wrong,
        "tolerances times": case["scale"],
        "largest relative error": max(row.error for row in rows),
    }


def environment(case: cases.Case) -> Figures:
    """Times steps with random actions, the resets between them included."""
    import numpy as np

    from common.envs import registry
    from dreamerv2 import settings

    config = settings.defaults.update(settings.configs[case["suite"]])
    env = registry.constructor(case["task"], config, training=True)()
    eye = np.eye(env.act_spec.size, dtype=np.float32)
    rng, steps = np.random.default_rng(0), 20 if case["tiny"] else STEPS
    env.reset(0)
    start = time.perf_counter()
    for number in range(steps):
        if env.step(eye[rng.integers(len(eye))])["is_last"]:
            env.reset(number + 1)
    seconds = time.perf_counter() - start
    env.close()
    return {"ms a step": 1e3 * seconds / steps}


def policy_steps(case: cases.Case) -> Figures:
    """Times steps of the policy for 1, 4 and 16 environments, see `policy`."""
    from benchmarks.gpu import grid

    variant = cases.Variant(DEVICE, case, "")
    batches = [n for n in grid.BATCHES if n <= case["batch"] * case["length"]]
    lines = policy.measure([variant], batches, case["rounds"])
    (below,) = lines.values()
    return {
        f"{key}, {figure}": line.figures(line, line)[figure]
        for key, line in below.items()
        for figure in ("median ms", "least ms")
    }


def updates(case: cases.Case) -> Figures:
    """Times updates, see `update`; then watches the device over some more of them."""
    with inturn.Worker(DEVICE) as worker:
        column = update.start(worker, case)
        for _ in range(case["rounds"]):
            column.update()
        median = statistics.median(column.wall)
        count = 1 if case["tiny"] else math.ceil(STRETCH / median)
        with busy.Sampler() as sampler:
            reply = worker.run(count)
    share, memory = sampler.share, reply["info"]["device memory"]
    if memory is None:  # the device is the CPU
        share = 100 * reply["cpu"] / sum(reply["wall"]) / os.cpu_count()
    return {
        **column.figures,
        "wall": column.wall,
        "device memory, GB": memory and memory / 1e9,
        "device busy, %": share,
    }


def loop(case: cases.Case) -> Figures:
    """Trains on MiniGrid's tasks and tells steps a second, see `benchmarks.loop`."""
    from benchmarks import loop as loop_lib
    from benchmarks.adapters import device as adapter
    from benchmarks.adapters import ours

    adapter.prepare(case)
    settings, steps = ours.settings(case), 100
    if case["tiny"]:
        steps, small = 20, {"replay.minlen": 2, "replay.maxlen": case["length"]}
        settings |= small | {"prefill": 60, "time_limit": 10}
    rounds = loop_lib.run("minigrid", case["size"], settings, steps, case["rounds"])
    found = loop_lib.summarize(rounds, steps)
    memory = adapter.peak_memory()
    return {**found, "device memory, GB": memory and memory / 1e9}


KINDS = dict(device=device, verify=verify, environment=environment)
KINDS |= dict(policy=policy_steps, update=updates, loop=loop)


def first_line(error: BaseException) -> str:
    """Returns the first line of what an exception says, with its kind."""
    text = str(error) if isinstance(error, SystemExit) else ""
    text = text or "".join(traceback.format_exception_only(type(error), error))
    return text.strip().splitlines()[0]


def main(path: str) -> None:
    """Measures the cell on stdin, and writes the file."""
    cell = json.load(sys.stdin)
    try:
        result = {"figures": KINDS[cell["kind"]](cell["case"])}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        result = {"error": first_line(error)}
    pathlib.Path(path).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
