"""DreamerV2 and Continual-Dreamer in TensorFlow 2.

`algorithm` is the paper, `run` trains with it, `watch` and `report` look at what came
out, `sweep` runs many; `api` is what users import (`import dreamerv2.api as dv2`).
"""

import os
import pathlib
import platform

import common

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_FOUND = pathlib.Path(next(iter(common.__path__))).resolve()
if _FOUND.parent != _ROOT:
    raise ImportError(
        f"dreamerv2 needs its own package `common` in {_ROOT}, but Python finds "
        f"another one first, {_FOUND}. Rename that one, or move it behind {_ROOT} "
        "on the import path."
    )

# Before TensorFlow is loaded, which asks only once. On x86 CPUs without AVX512-VNNI it
# leaves oneDNN off, and an update takes 1.2 (full) to 1.7 times (small) as long.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
