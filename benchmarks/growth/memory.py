"""Memory of a process and of all below it, while something is measured."""

import contextlib
import os
import pathlib
import threading

WATCHED = 0.2  # seconds between two looks


class Memory:
    """The most bytes that a process and those below it have held together."""

    def __init__(self, pid: int | None = None) -> None:
        """Takes the process to watch, this one by default."""
        self.most, self._pid = 0, pid or os.getpid()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, sum(map(resident, family(self._pid))))
            if self._ended.wait(WATCHED):
                return


def family(pid: int) -> list[int]:
    """Returns a process and all that descend from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in pathlib.Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def resident(pid: int) -> int:
    """Returns the bytes of a process, of shared pages its part; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
