"""FourRooms of any odd size, and pairs of tasks that differ in the goal alone."""

import functools
from typing import NamedTuple

import numpy as np
from minigrid.core import constants, grid, world_object
from minigrid.envs import fourrooms

SMALLEST = 7  # cells a side: rooms of 2 x 2
VIEW = 7  # cells that the agent sees ahead, its own among them, and from side to side

Cell = tuple[int, int]


class Layout(NamedTuple):
    """What the two tasks of a pair have in common, and their goals."""

    gaps: tuple[Cell, ...]  # one in each of the four walls between rooms
    start: Cell
    direction: int  # of the agent: right, down, left, up
    goals: tuple[Cell, Cell]
    ways: tuple[int, int]  # cells from the start to each goal


@functools.cache  # every environment of a pair asks for it
def layout(env_seed: int, size: int) -> Layout:
    """Draws the layout that belongs to a seed.

    The agent starts in one room, and the goals lie in the two rooms next to it, each
    behind a gap of its own: the way to one is a detour to the other. Neither is in view
    at the start, so that nothing tells the tasks apart before one has been tried.
    Neither way is longer than size // 2 cells. Random actions find goals at that
    distance in 0.4 % of the episodes with 19 cells a side, and almost never at twice of
    it.

    Args:
      env_seed: 0 or more; each gives another layout.
      size: Cells a side, outer walls included; odd, 7 or more.

    Raises:
      ValueError: If the seed or the size is not valid.
    """
    _check_size(size)
    if env_seed < 0:
        raise ValueError(f"env_seed is {env_seed}; it must be 0 or more.")
    rng = np.random.default_rng(env_seed)
    while True:
        drawn = _draw(rng, size // 2)
        near = all(length <= size // 2 for length in drawn.ways)
        if near and not any(_in_view(drawn, goal) for goal in drawn.goals):
            return drawn


def _draw(rng: np.random.Generator, wall: int) -> Layout:
    """Any layout whose inner walls lie at `wall`."""

    def inside(half: int) -> int:
        return int(rng.integers(1, wall)) + half * wall

    across = [(wall, inside(half)) for half in (0, 1)]  # from left to right, by row
    along = [(inside(half), wall) for half in (0, 1)]  # from top to bottom, by column
    x, y = (int(half) for half in rng.integers(2, size=2))
    start, direction = (inside(x), inside(y)), int(rng.integers(4))
    goals = [(inside(1 - x), inside(y)), (inside(x), inside(1 - y))]
    ways = [
        _distance(start, gap) + _distance(gap, goal)
        for gap, goal in zip((across[y], along[x]), goals, strict=True)
    ]
    order = slice(None, None, int(rng.choice((1, -1))))
    return Layout(
        (*across, *along), start, direction, tuple(goals[order]), tuple(ways[order])
    )


def _distance(a: Cell, b: Cell) -> int:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _in_view(drawn: Layout, cell: Cell) -> bool:
    """Whether the agent would see a cell at the start if there were no walls."""
    dx, dy = cell[0] - drawn.start[0], cell[1] - drawn.start[1]
    forward_x, forward_y = (int(c) for c in constants.DIR_TO_VEC[drawn.direction])
    ahead, aside = dx * forward_x + dy * forward_y, dx * forward_y - dy * forward_x
    return 0 <= ahead < VIEW and abs(aside) <= VIEW // 2


class FourRoomsEnv(fourrooms.FourRoomsEnv):
    """minigrid's FourRooms with the size as a parameter; each episode is another.

    With 19 cells a side the episodes are those of `MiniGrid-FourRooms-v0`.
    """

    def __init__(self, size: int = 19, **kwargs):
        """Makes the environment.

        Args:
          size: Cells a side, outer walls included; odd, 7 or more.
          **kwargs: Arguments of minigrid's FourRoomsEnv, such as `max_steps` (100).

        Raises:
          ValueError: If the size is even or below 7.
        """
        _check_size(size)
        super().__init__(**kwargs)
        self.size = self.width = self.height = size


class FixedFourRoomsEnv(FourRoomsEnv):
    """One task of a pair: every episode has the same walls, start and goal.

    Attributes:
      layout: Where everything is; equal for both tasks of one `env_seed` and size.
    """

    def __init__(self, goal: int = 1, env_seed: int = 0, size: int = 19, **kwargs):
        """Makes a task.

        Args:
          goal: Number of the task, 1 or 2.
          env_seed: Decides walls, start and both goals; an episode's seed does not.
          size: Cells a side, outer walls included; odd, 7 or more.
          **kwargs: Arguments of minigrid's FourRoomsEnv, such as `max_steps` (100).

        Raises:
          ValueError: If an argument is not valid.
        """
        if goal not in (1, 2):
            raise ValueError(f"goal is {goal}; the tasks of a pair are 1 and 2.")
        super().__init__(size, **kwargs)
        self.layout = layout(env_seed, size)
        self._goal = goal

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = grid.Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        self.grid.horz_wall(0, height // 2)
        self.grid.vert_wall(width // 2, 0)
        for gap in self.layout.gaps:
            self.grid.set(*gap, None)
        self.agent_pos, self.agent_dir = self.layout.start, self.layout.direction
        self.put_obj(world_object.Goal(), *self.layout.goals[self._goal - 1])


def _check_size(size: int) -> None:
    if size < SMALLEST or size % 2 == 0:
        raise ValueError(
            f"The size of FourRooms is {size}; it must be odd, so that the rooms are "
            f"alike, and at least {SMALLEST}."
        )
