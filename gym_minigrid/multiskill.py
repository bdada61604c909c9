"""MultiSkill: one level that asks for the skills of several MiniGrid tasks in turn."""

import functools
from collections.abc import Callable

from minigrid.core import grid, mission, world_object
from minigrid.minigrid_env import MiniGridEnv

ROOM = 9  # cells a side, both walls included
STRIDE = (8, 6)  # from a room to the next; they share one column of wall
MARGIN = 2  # cells left free around the staircase of rooms
STEPS_PER_ROOM = 400

Cell = tuple[int, int]


class MultiSkillEnv(MiniGridEnv):
    """A start room, N skill rooms and a goal room in a staircase to the lower right.

    A room is entered at the top of its left wall and left at the bottom of its right
    wall, through a gap: (x, y + 1) and (x + 8, y + 7) for the upper left corner (x, y).
    Each skill room is one of

    - DoorKey, at most once: a vertical wall with a locked yellow door, the yellow key
      on the entry side;
    - LavaCrossing: a river of lava at an even offset with one opening;
    - SimpleCrossing: the same with a wall for the river.

    The agent starts anywhere in the first room, the goal lies anywhere in the last.
    Reward and end of episode are those of every MiniGrid task.

    Attributes:
      rooms: The upper left corners of all rooms, from start to goal.
      skills: The kind of each skill room of this episode.
    """

    def __init__(self, skills: int = 2, max_steps: int | None = None, **kwargs):
        """Makes an environment with so many skill rooms.

        Args:
          skills: Skill rooms between the start and the goal room.
          max_steps: Steps before truncation; None for 400 a room.
          **kwargs: Arguments of MiniGridEnv, such as `render_mode`.
        """
        if skills < 1:
            raise ValueError(f"skills is {skills}, but must be at least 1.")
        self.rooms: list[Cell] = [
            (MARGIN + index * STRIDE[0], MARGIN + index * STRIDE[1])
            for index in range(skills + 2)
        ]
        self.skills: list[str] = []
        super().__init__(
            mission_space=mission.MissionSpace(mission_func=_mission),
            grid_size=2 * MARGIN + (skills + 1) * STRIDE[0] + ROOM,
            max_steps=max_steps or len(self.rooms) * STEPS_PER_ROOM,
            **kwargs,
        )

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = grid.Grid(width, height)
        for room in self.rooms:
            self.grid.wall_rect(*room, ROOM, ROOM)
        for x, y in self.rooms[1:]:
            self.grid.set(x, y + 1, None)
        self.skills = self._choose_skills(len(self.rooms) - 2)
        for room, skill in zip(self.rooms[1:-1], self.skills, strict=True):
            SKILLS[skill](self, room)
        self.place_agent(*_inside(self.rooms[0]))
        self.place_obj(world_object.Goal(), *_inside(self.rooms[-1]))
        self.mission = _mission()

    def _choose_skills(self, count: int) -> list[str]:
        chosen: list[str] = []
        for _ in range(count):
            free = [s for s in SKILLS if s != "doorkey" or s not in chosen]
            chosen.append(self._rand_elem(free))
        return chosen


def _mission() -> str:
    return "go through all rooms and get to the green goal square"


def _inside(room: Cell, columns: int = ROOM - 2) -> tuple[Cell, tuple[int, int]]:
    """Corner and size of a room's inside, where its gaps, empty as well, are not."""
    return (room[0] + 1, room[1] + 1), (columns, ROOM - 2)


def _fill_doorkey(env: MultiSkillEnv, room: Cell) -> None:
    x, y = room
    split = env._rand_int(2, ROOM - 2)
    env.grid.vert_wall(x + split, y, ROOM)
    door = world_object.Door("yellow", is_locked=True)
    env.put_obj(door, x + split, y + env._rand_int(1, ROOM - 2))
    env.place_obj(world_object.Key("yellow"), *_inside(room, split - 1))


def _fill_crossing(
    env: MultiSkillEnv, room: Cell, obstacle: Callable[[], world_object.WorldObj]
) -> None:
    vertical = env._rand_bool()
    river = env._rand_elem(range(2, ROOM - 2, 2))
    opening = env._rand_int(1, ROOM - 1)
    for along in range(1, ROOM - 1):
        if along != opening:
            dx, dy = (river, along) if vertical else (along, river)
            env.put_obj(obstacle(), room[0] + dx, room[1] + dy)


SKILLS: dict[str, Callable[[MultiSkillEnv, Cell], None]] = {
    "doorkey": _fill_doorkey,
    "lava": functools.partial(_fill_crossing, obstacle=world_object.Lava),
    "simple": functools.partial(_fill_crossing, obstacle=world_object.Wall),
}
