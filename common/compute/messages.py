"""TensorFlow's messages while it is loaded: those that say nothing are filtered out.

It writes them before it reads `TF_CPP_MIN_LOG_LEVEL`. The filter is a small process,
this file as a script, between TensorFlow and the error output: whatever else is written
comes through at once, even if loading crashes. It imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # least severity that is shown: 0 all, 3 what is fatal

_NOISE = (
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called",
    rb".*\] oneDNN custom operations are on\.",
    rb".*\] This TensorFlow binary is optimized to use available CPU instructions",
    rb"To enable the following instructions: .* rebuild TensorFlow with",
    rb".*\] Unable to register cu(DNN|FFT|BLAS) factory: .* already been registered",
    rb".*\] computation placer already registered\.",
)
_NO_DRIVER = rb".*\] Could not find cuda drivers on your machine"
_PATIENCE = 5  # seconds, for a process of somebody else that holds the output open
_DRIVER = pathlib.Path("/proc/driver/nvidia/version")  # also in a container


def has_driver() -> bool:
    """Whether this machine has an NVIDIA driver, whatever TensorFlow makes of it."""
    return _DRIVER.exists()


@contextlib.contextmanager
def filtered() -> Iterator[None]:
    """Keeps messages that say nothing from the error output (file descriptor 2).

    That no driver was found says something where there is one. Nothing is filtered with
    `TF_CPP_MIN_LOG_LEVEL=0`, or where no process can be started.
    """
    filter_ = None if os.environ.get(LEVEL) == "0" else _start()
    if filter_ is None:
        yield
        return
    process, kept = filter_
    try:
        yield
    finally:
        os.dup2(kept, 2)  # the last that held the pipe open
        os.close(kept)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)


def _start() -> tuple[subprocess.Popen, int] | None:
    """Puts a filter before the error output; returns it, and where that output is."""
    with contextlib.suppress(OSError, ValueError):
        kept = os.dup(2)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, *["driver"] * has_driver()],
                stdin=subprocess.PIPE,
                stdout=kept,
                start_new_session=True,  # Ctrl-C is not for it
            )
        except BaseException:
            os.close(kept)
            raise
        os.dup2(process.stdin.fileno(), 2)
        process.stdin.close()
        return process, kept
    return None


def _main() -> None:
    """Passes lines on, as they come, without those that say nothing."""
    known = _NOISE if sys.argv[1:] == ["driver"] else (*_NOISE, _NO_DRIVER)
    noise = re.compile(b"|".join(known))
    for line in sys.stdin.buffer:
        if not noise.match(line):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
