"""How TensorFlow is loaded: the variables of the environment that it reads only once.

This module must be imported, and loads no TensorFlow, before anything that does.
"""

from __future__ import annotations

import importlib.machinery
import os
import platform
import sys
from collections.abc import Sequence
from types import ModuleType

from common.compute import messages


def prepare() -> None:
    """Turns oneDNN on where TensorFlow would leave it off, unless somebody has chosen.

    On x86 CPUs without AVX512-VNNI an update takes 1.2 (full) to 1.7 times (small) as
    long without it. When TensorFlow is loaded, it does so without the messages that say
    nothing, see `messages`.
    """
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def prepare_script() -> None:
    """The same for a process that is ours alone, which needs no Keras and few messages.

    TensorFlow's own messages at start name problems that are none, such as a missing
    GPU; what goes wrong later it raises, and ours say which device is used. Where there
    is a driver, what it calls errors is shown: CUDA may be broken. TensorFlow
    Probability loads tf_keras, so that TensorFlow need not load Keras 3 beside it: a
    second and 40 MB less.
    """
    prepare()
    os.environ.setdefault(messages.LEVEL, "2" if messages.has_driver() else "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


class _Finder:
    """Finds TensorFlow, whoever imports it, with a loader of ours."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Loader(spec.name, spec.origin)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module without the messages that say nothing."""

    def exec_module(self, module: ModuleType) -> None:
        with messages.filtered():
            super().exec_module(module)
