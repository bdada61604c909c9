"""DreamerV2 and Continual-Dreamer in TensorFlow 2.

`algorithm` is the paper, `run` trains with it, `watch` and `report` look at what came
out, `sweep` runs many; `api` is what users import (`import dreamerv2.api as dv2`).
"""

import pathlib

import common

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_FOUND = pathlib.Path(next(iter(common.__path__))).resolve()
if _FOUND.parent != _ROOT:
    raise ImportError(
        f"dreamerv2 needs its own package `common` in {_ROOT}, but Python finds "
        f"another one first, {_FOUND}. Rename that one, or move it behind {_ROOT} "
        "on the import path."
    )

from common.compute import loading  # noqa: E402  of the right package

loading.prepare()
