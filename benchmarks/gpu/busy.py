"""How much of the time a GPU computes, as its driver tells it."""

import contextlib
import os
import subprocess

EVERY = 100  # milliseconds between two samples
PATIENCE = 10  # seconds in which the sampler has to end


class Sampler:
    """Samples a GPU's utilisation while a block runs.

    nvidia-smi comes with the driver, so nothing has to be installed. What it calls
    utilisation is the share of the last sixth of a second to second in which a kernel
    was at work, of whatever process: the block should last for some seconds, and
    nothing else should use the GPU.

    Attributes:
      share: Mean of the samples, in %; None without any.
    """

    share: float | None = None

    def __enter__(self) -> "Sampler":
        """Begins to sample, where there is nvidia-smi."""
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
        command = ["nvidia-smi", f"--id={first}", f"--loop-ms={EVERY}"]
        command += ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        self._process = None
        with contextlib.suppress(OSError):  # there is none
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the sampler, and reads what it has said."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            text, _ = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            text, _ = self._process.communicate()
        samples = [float(line) for line in text.split() if line.isdigit()]
        if samples:
            self.share = sum(samples) / len(samples)
