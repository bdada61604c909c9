"""How TensorFlow is loaded: the variables of the environment that it reads only once.

This module must be imported, and loads no TensorFlow, before anything that does.
"""

from __future__ import annotations

import os
import platform


def prepare() -> None:
    """Turns oneDNN on where TensorFlow would leave it off, unless somebody has chosen.

    On x86 CPUs without AVX512-VNNI an update takes 1.2 (full) to 1.7 times (small) as
    long without it.
    """
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def prepare_script() -> None:
    """The same for a process that is ours alone, which needs no Keras and few messages.

    TensorFlow's own messages at start name problems that are none, such as a missing
    GPU; what goes wrong later it raises, and ours say which device is used. TensorFlow
    Probability loads tf_keras, so that TensorFlow need not load Keras 3 beside it: a
    second and 40 MB less.
    """
    prepare()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
