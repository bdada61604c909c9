"""ColorRoom: four tasks that can be told apart by sight and exclude each other.

A room with a red and a blue tile. Floor and walls have a colour that names the task
and is in view wherever the agent stands and looks. One of the tiles gives the reward,
the other ends the episode without one:

    task   room     right tile   keys for turning
    K1     green    red          left, right
    K2     yellow   blue         left, right
    K3     purple   red          exchanged
    K4     grey     blue         exchanged

K1 and K2 differ in the reward, as do K3 and K4; K1 and K3 in the dynamics, as do K2 and
K4; the other pairs in both. At the start both tiles are in view and neither lies
straight ahead, so that every way has a turn. An agent that goes the shortest way by the
rule of one task gets nothing in any other: where the other tile counts it walks into
the wrong one, where the keys are others it turns to and fro until the time is up.
"""

import functools
from typing import NamedTuple

from minigrid.core import actions, constants, grid, mission, world_object
from minigrid.minigrid_env import MiniGridEnv

SIZES = (5, 6)  # cells a side, walls included; then all that lies ahead is in view
TILES = ("red", "blue")
EXCHANGED = {
    int(actions.Actions.left): actions.Actions.right,
    int(actions.Actions.right): actions.Actions.left,
}

Cell = tuple[int, int]


class Task(NamedTuple):
    """What names a task, and what it names."""

    room: str  # colour of floor and walls
    right: str  # colour of the tile that gives the reward
    exchanged: bool  # whether each key for turning does the other's work


class Scene(NamedTuple):
    """How an episode begins."""

    start: Cell
    direction: int  # of the agent: right, down, left, up
    tiles: tuple[Cell, Cell]  # in the order of TILES


TASKS = (
    Task("green", "red", exchanged=False),
    Task("yellow", "blue", exchanged=False),
    Task("purple", "red", exchanged=True),
    Task("grey", "blue", exchanged=True),
)


class ColorRoomEnv(MiniGridEnv):
    """One of the four tasks; an episode begins with any of `scenes`, equally likely.

    The right tile gives the reward of MiniGrid's goal, 1 - 0.9 * steps / max_steps, the
    wrong one 0; both terminate. Other actions than left, right and forward do nothing.

    Attributes:
      task: What counts in this room.
    """

    def __init__(self, task: int = 1, size: int = 6, max_steps: int = 25, **kwargs):
        """Makes a task.

        Args:
          task: Number of the task, 1 to 4.
          size: Cells a side, walls included; 5 or 6.
          max_steps: Steps before truncation.
          **kwargs: Arguments of MiniGridEnv, such as `render_mode`.

        Raises:
          ValueError: If the task or the size is not one of these.
        """
        if task not in range(1, len(TASKS) + 1):
            raise ValueError(f"task is {task}; ColorRoom's are 1 to {len(TASKS)}.")
        _check_size(size)
        self.task = TASKS[task - 1]
        super().__init__(
            mission_space=mission.MissionSpace(mission_func=_mission),
            grid_size=size,
            max_steps=max_steps,
            **kwargs,
        )

    def step(self, action: int):
        """Steps, with the task's keys; only the right tile keeps its reward."""
        if self.task.exchanged:
            action = EXCHANGED.get(int(action), action)
        observation, reward, terminated, truncated, info = super().step(action)
        if terminated and self.grid.get(*self.agent_pos).color != self.task.right:
            reward = 0
        return observation, reward, terminated, truncated, info

    def _gen_grid(self, width: int, height: int) -> None:
        possible = scenes(width)
        scene = possible[self._rand_int(0, len(possible))]
        self.grid = grid.Grid(width, height)
        for x in range(width):
            for y in range(height):
                inside = 0 < x < width - 1 and 0 < y < height - 1
                kind = world_object.Floor if inside else world_object.Wall
                self.grid.set(x, y, kind(self.task.room))
        for color, cell in zip(TILES, scene.tiles, strict=True):
            tile = world_object.Goal()
            tile.color = color
            self.put_obj(tile, *cell)
        self.agent_pos, self.agent_dir = scene.start, scene.direction
        self.mission = _mission()


@functools.cache  # every episode asks for it
def scenes(size: int) -> tuple[Scene, ...]:
    """All beginnings with both tiles in view and neither straight ahead.

    Args:
      size: Cells a side, walls included; 5 or 6.

    Raises:
      ValueError: If the size is not one of these.
    """
    _check_size(size)
    cells = [(x, y) for x in range(1, size - 1) for y in range(1, size - 1)]
    return tuple(
        Scene(start, direction, (red, blue))
        for start in cells
        for direction in range(4)
        for red in cells
        for blue in cells
        if red != blue
        and all(_in_view_aside(start, direction, cell) for cell in (red, blue))
    )


def _in_view_aside(start: Cell, direction: int, cell: Cell) -> bool:
    """Whether a cell lies beside the agent or ahead to one side."""
    dx, dy = cell[0] - start[0], cell[1] - start[1]
    forward_x, forward_y = (int(c) for c in constants.DIR_TO_VEC[direction])
    ahead, aside = dx * forward_x + dy * forward_y, dx * forward_y - dy * forward_x
    return ahead >= 0 and aside != 0


def _mission() -> str:
    return "go to the tile that the colour of the room asks for"


def _check_size(size: int) -> None:
    if size not in SIZES:
        raise ValueError(
            f"The size of ColorRoom is {size}; it must be {SIZES[0]} or {SIZES[1]}, so "
            "that the agent sees both tiles at the start."
        )
