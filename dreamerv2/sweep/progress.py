"""How far a trial is, read from its folder."""

from __future__ import annotations

import os
import pathlib

from common.records import files, jsonl
from dreamerv2.run import checkpoint


def saved_step(folder: pathlib.Path) -> int:
    """Returns the step of the newest snapshot, 0 if there is none.

    Cheap: whether its files are whole is not looked at.
    """
    paths = checkpoint.Checkpoints(folder / files.CHECKPOINTS).paths()
    return checkpoint.step_of(paths[-1]) if paths else 0


def is_finished(folder: pathlib.Path, total: int) -> bool:
    """Whether a run has a whole snapshot of its last step, `total`, or of a later one.

    That is what the run itself looks at when it is started again. One that was stopped
    in its last evaluation has yet to make that again.
    """
    paths = checkpoint.Checkpoints(folder / files.CHECKPOINTS).paths()
    return any(
        checkpoint.find_fault(path) is None
        and checkpoint.load_state(path).get("interrupted") is None
        for path in reversed(paths)
        if checkpoint.step_of(path) >= total
    )


def seen_step(folder: pathlib.Path, action_repeat: int = 1) -> int:
    """Returns the step of the last line in the metrics, or of the newest snapshot."""
    try:
        frame = jsonl.newest_step(folder / files.METRICS) or 0
    except OSError:  # not begun
        frame = 0
    return max(frame // action_repeat, saved_step(folder))


def log_end(path: pathlib.Path, lines: int = 15) -> str:
    """Returns the last lines of a log, '' if there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 200 * lines))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
