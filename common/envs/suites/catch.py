"""Catch with a cue: three tasks that can be told apart by sight and exclude each other.

A ball falls one row a step from a random column, a paddle in the lowest row moves left,
stays or moves right, and the episode ends when the ball is down. A cue names the task:

    plain   the paddle must stand under the ball
    swap    as plain, but the keys for left and right are exchanged (other dynamics)
    shift   the paddle must stand two columns to the right of the ball, beyond the edge
            from the left again (another reward)

An agent that plays one task's rule in all of them gets, with five columns, 0.2 or 0
where another rule counts, as much as random actions or less: what is forgotten shows.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from common import config as config_lib
from common.config import coerce
from common.envs import base, gym_adapter, wrappers

NAMES = ("plain", "swap", "shift")
SHIFT = 2  # columns, in the task of that name

_BACKGROUND = np.array([(0, 0, 96), (0, 96, 0), (96, 0, 0)], np.uint8)  # of each task
_BALL = np.array([(255, 255, 0), (255, 0, 255), (0, 255, 255)], np.uint8)
_PADDLE = np.array((255, 255, 255), np.uint8)


def make(
    name: str,
    *,
    action_repeat: int = 1,
    time_limit: int = 0,
    size: Sequence[int] = (64, 64),
    rows: int = 10,
    columns: int = 5,
    pixels: bool = True,
) -> base.Env:
    """Makes a task.

    Observation: `image`, uint8 [*size, 3], whose colours are the cue; or, without
    `pixels`, the float32 vectors `ball` [rows * columns] and `paddle` [columns], one at
    the place and zero elsewhere, and `cue` [3], one at the task's number. Actions: 3,
    left, stay, right. Every episode has rows - 1 steps and ends terminally, with a
    reward and `log_success` of 1 if the paddle is where the task wants it, else of 0.

    Args:
      name: `plain`, `swap` or `shift`.
      action_repeat: Frames for which an action is held.
      time_limit: Steps after which an episode is cut, 0 for never.
      size: Height and width of the image in pixels.
      rows: Of the board.
      columns: Of the board.
      pixels: Whether the board is seen as an image, not as vectors.

    Raises:
      ValueError: An unknown name, or a board that is too small, too low for the paddle
        to come to the edge in time, or too fine for the image.
    """
    check_id(name)
    shape = (int(size[0]), int(size[1])) if pixels else None
    _check_board(rows, columns, shape)
    board = Board(NAMES.index(name), rows, columns, shape)
    env = gym_adapter.GymAdapter(board, size=None, log_info=("success",))
    return wrappers.limit(env, action_repeat=action_repeat, time_limit=time_limit)


def options(config: config_lib.Config, training: bool) -> dict[str, Any]:
    """Returns what `make` takes besides what every suite does."""
    return {
        "rows": config.catch_rows,
        "columns": config.catch_columns,
        "pixels": config.catch_pixels,
    }


def check_id(name: str) -> None:
    """Raises ValueError unless the name is one of NAMES."""
    if name not in NAMES:
        near = coerce.nearest(name, NAMES)
        raise ValueError(
            f"Unknown Catch task {name!r}; choose from {', '.join(NAMES)}."
            + (f" Did you mean {near[0]}?" if near else "")
        )


class Board(gymnasium.Env):
    """The game with the interface of Gymnasium."""

    def __init__(
        self, task: int, rows: int, columns: int, size: tuple[int, int] | None
    ):
        """Sets up the spaces.

        Args:
          task: Index in NAMES.
          rows: Of the board.
          columns: Of the board.
          size: Height and width of the image in pixels; None for vectors.
        """
        self._task, self._rows, self._columns, self._size = task, rows, columns, size
        self._row = self._ball = self._paddle = 0
        self.action_space = gymnasium.spaces.Discrete(3)
        if size is None:
            widths = {"ball": rows * columns, "paddle": columns, "cue": len(NAMES)}
            spaces = {
                key: gymnasium.spaces.Box(0, 1, (width,), np.float32)
                for key, width in widths.items()
            }
        else:
            spaces = {"image": gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8)}
        self.observation_space = gymnasium.spaces.Dict(spaces)

    @property
    def wanted(self) -> int:
        """The column in which the paddle must stand in the end."""
        shift = SHIFT if NAMES[self._task] == "shift" else 0
        return (self._ball + shift) % self._columns

    def reset(self, *, seed: int | None = None, options: Any = None):
        """Begins with a ball in a random column and the paddle in the middle."""
        super().reset(seed=seed)
        self._row, self._paddle = 0, self._columns // 2
        self._ball = int(self.np_random.integers(self._columns))
        return self._observation(), {}

    def step(self, action: int):
        """Moves the paddle, then the ball."""
        move = int(action) - 1
        move = -move if NAMES[self._task] == "swap" else move
        self._paddle = min(max(self._paddle + move, 0), self._columns - 1)
        self._row += 1
        down = self._row == self._rows - 1
        reward = float(down and self._paddle == self.wanted)
        return self._observation(), reward, down, False, {"success": reward}

    def _observation(self) -> dict[str, np.ndarray]:
        if self._size is None:
            return {
                "ball": _one_hot(
                    self._row * self._columns + self._ball, self._rows * self._columns
                ),
                "paddle": _one_hot(self._paddle, self._columns),
                "cue": _one_hot(self._task, len(NAMES)),
            }
        cells = np.empty((self._rows, self._columns, 3), np.uint8)
        cells[:] = _BACKGROUND[self._task]
        cells[-1, self._paddle] = _PADDLE
        cells[self._row, self._ball] = _BALL[self._task]
        height, width = self._size
        rows = np.arange(height) * self._rows // height
        columns = np.arange(width) * self._columns // width
        return {"image": cells[rows][:, columns]}


def _one_hot(index: int, size: int) -> np.ndarray:
    vector = np.zeros(size, np.float32)
    vector[index] = 1
    return vector


def _check_board(rows: int, columns: int, size: tuple[int, int] | None) -> None:
    if columns <= SHIFT:
        raise ValueError(
            f"catch_columns is {columns}, but plain and shift differ only from "
            f"{SHIFT + 1} columns on; give {SHIFT + 1} or more."
        )
    if rows <= columns // 2:
        raise ValueError(
            f"catch_rows is {rows}, too few for the paddle to come from the middle of "
            f"{columns} columns to the edge; give {columns // 2 + 1} or more."
        )
    if size is not None and (rows > size[0] or columns > size[1]):
        raise ValueError(
            f"A board of {rows} rows and {columns} columns does not fit into an image "
            f"of {size[0]} x {size[1]} pixels; give a smaller board, a larger "
            "render_size or --catch_pixels False."
        )
