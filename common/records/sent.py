"""What has been sent to a service that cannot take anything back."""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple


class Sent(NamedTuple):
    """What a wandb run has been sent, by all programs that have worked on it.

    Attributes:
      rows: How many; a row's number is its `_step`, in which nothing may be twice.
      step: The step of the last.
      count: How many of that step.
    """

    rows: int = 0
    step: int = -1
    count: int = 0

    def read(self, path: pathlib.Path) -> Sent:
        """Returns what a file says; this one if it is not there or damaged."""
        try:
            return Sent(*map(int, path.read_text().split()))
        except (OSError, ValueError, TypeError):
            return self

    def write(self, path: pathlib.Path) -> None:
        """Writes the file, in one piece that has the same length each time."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, "{:15d} {:15d} {:9d}\n".format(*self).encode())
        finally:
            os.close(descriptor)

    def plus(self, step: int) -> Sent:
        """Returns it with one more row, of this step."""
        return Sent(self.rows + 1, step, self.count + 1 if step == self.step else 1)
