"""Which folders of the tests need TensorFlow."""

import pathlib

TESTS = pathlib.Path(__file__).resolve().parent
# At any depth; whatever lies in them is marked `tf` and is not imported without it.
# Elsewhere a test that needs TensorFlow imports it inside, and has the mark itself.
TENSORFLOW = {"algorithm", "nets", "tf"}


def need_tensorflow(path: pathlib.Path) -> bool:
    """Whether a folder or file of the tests is in one of them, or is one."""
    return not TENSORFLOW.isdisjoint(path.relative_to(TESTS).parts)
