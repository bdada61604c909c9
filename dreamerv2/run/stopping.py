"""Stops a run between two steps when the system or the user asks for it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from common import driver as driver_lib

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """A stop was asked for in the middle of something that can be done again."""


class StopRequest:
    """Remembers a signal, so that the run can finish its step and save.

    As a context manager it takes over SIGTERM and SIGINT; a second signal stops the
    program at once, by KeyboardInterrupt. Outside of the main thread, where Python
    delivers no signals, it does nothing.
    """

    def __init__(self):
        """Has heard of nothing yet."""
        self.name = ""  # of the signal
        self._before: dict[int, object] = {}

    def __bool__(self) -> bool:
        return bool(self.name)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._hear) for s in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def heeded_by(self, policy: driver_lib.Policy) -> driver_lib.Policy:
        """Returns a policy that raises Interrupted in place of a step after a stop."""

        def heeding(obs: dict[str, Any], state: Any) -> tuple[Any, Any]:
            if self:
                raise Interrupted
            return policy(obs, state)

        return heeding

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.name:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
        print(f"{self.name}: finishing the step and saving. Once more stops at once.")
