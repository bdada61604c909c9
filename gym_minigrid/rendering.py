"""What the agent sees, as pixels: minigrid's picture at a fraction of its cost.

minigrid computes the view twice a step (once in symbols, once for the picture) by
copying and turning grids cell by cell. Here the cells are looked up where they lie, the
visible ones are found a row at a time in a table, and the picture is one gather from
minigrid's own tiles. Pixels are equal to those of ``MiniGridEnv.get_frame``.
"""

import functools
from typing import Any

import numpy as np
from gymnasium import spaces
from minigrid.core import constants, world_object
from minigrid.core.grid import Grid
from minigrid.minigrid_env import MiniGridEnv

UP = 3  # the direction in which the agent is drawn: its view turns with it
OUTSIDE = world_object.Wall()


class PartialView:
    """Draws the part of the grid in front of the agent, V x V cells.

    Cells of the view are named (column, row); the agent stands in the middle of the
    last row and looks up.
    """

    def __init__(self, view_size: int = 7, tile_size: int = 8):
        """Args: view_size: V, odd; tile_size: pixels a cell."""
        self.shape = (view_size * tile_size, view_size * tile_size, 3)
        self._view = view_size
        self._tile = tile_size
        self._offsets = [_world_offsets(view_size, d) for d in range(4)]
        self._codes: dict[tuple, int] = {}
        self._tiles = np.empty((0, tile_size, tile_size, 3), np.uint8)
        self._hidden = self._code_of(None, visible=False)
        self._empty = self._code_of(None)

    def draw(self, env: MiniGridEnv) -> np.ndarray:
        """The view of the agent of `env`, uint8 [V * tile, V * tile, 3]."""
        view, tile = self._view, self._tile
        codes = self._look(env)  # May add to the table.
        tiles = self._tiles[codes]  # [V * V, tile, tile, 3]
        image = tiles.reshape(view, view, tile, tile, 3).swapaxes(1, 2)
        return image.reshape(self.shape)

    def _look(self, env: MiniGridEnv) -> list[int]:
        """The tile of every cell of the view, row by row from the top, V * V."""
        view = self._view
        cells, width, height = env.grid.grid, env.grid.width, env.grid.height
        agent_x, agent_y = int(env.agent_pos[0]), int(env.agent_pos[1])
        codes = [self._hidden] * (view * view)
        seen = 1 << view // 2  # bit i: column i of this row is visible
        for row in range(view - 1, -1, -1):
            clear = 0
            objects = []
            for column, (dx, dy) in enumerate(self._offsets[env.agent_dir][row]):
                x, y = agent_x + dx, agent_y + dy
                inside = 0 <= x < width and 0 <= y < height
                obj = cells[y * width + x] if inside else OUTSIDE
                objects.append(obj)
                if obj is None or obj.see_behind():
                    clear |= 1 << column
            if env.see_through_walls:
                seen = above = (1 << view) - 1
            else:
                seen, above = spread(seen, clear, view)
            for column, obj in enumerate(objects):
                if seen >> column & 1:
                    code = self._empty if obj is None else self._code_of(obj)
                    codes[row * view + column] = code
            seen = above
            if not seen:
                break
        codes[view * view - 1 - view // 2] = self._code_of(env.carrying, agent=True)
        return codes

    def _code_of(
        self,
        obj: world_object.WorldObj | None,
        agent: bool = False,
        visible: bool = True,
    ) -> int:
        """The row of the tile table that shows this object, added when it is new."""
        key = (obj and obj.encode(), agent, visible)
        code = self._codes.get(key)
        if code is None:
            tile = Grid.render_tile(
                obj, UP if agent else None, highlight=visible, tile_size=self._tile
            )
            code = self._codes[key] = len(self._tiles)
            self._tiles = np.concatenate([self._tiles, tile[None].astype(np.uint8)])
        return code


class PixelView:
    """Mixin over a MiniGridEnv class: pixels are all that it observes.

    A wrapper can only add the picture to the symbolic view, which costs more than the
    rest of the step; a subclass never computes it.
    """

    def __init__(self, *args, view_tile_size: int = 8, **kwargs):
        """Args: view_tile_size: pixels a cell; the rest goes to the environment."""
        super().__init__(*args, **kwargs)
        self._partial_view = PartialView(self.agent_view_size, view_tile_size)
        self.observation_space = spaces.Dict({"image": image_space(self._partial_view)})

    def gen_obs(self) -> dict[str, np.ndarray]:
        """The observation: `image` alone."""
        return {"image": self._partial_view.draw(self)}


def image_space(view: PartialView) -> spaces.Box:
    """The space of the pictures that `view` draws."""
    return spaces.Box(0, 255, view.shape, np.uint8)


def can_draw(maker: Any) -> bool:
    """Whether PartialView draws what `maker`, a class, shows: MiniGridEnv's view."""
    names = "gen_obs_grid", "get_pov_render", "get_frame"
    is_minigrid = isinstance(maker, type) and issubclass(maker, MiniGridEnv)
    return is_minigrid and all(
        getattr(maker, name) is getattr(MiniGridEnv, name) for name in names
    )


@functools.lru_cache(maxsize=2**14)
def spread(seen: int, clear: int, view: int) -> tuple[int, int]:
    """Light spreads sideways in one row and up into the next (Grid.process_vis).

    Args:
      seen: Bit i says that column i is lit from the row below.
      clear: Bit i says that one can see through the cell in column i.
      view: Columns.

    Returns:
      The lit columns of this row and those of the row above.
    """
    above = 0
    columns = range(view)
    for order, step in ((columns[:-1], 1), (columns[:0:-1], -1)):
        for column in order:
            if seen & clear & 1 << column:
                seen |= 1 << column + step
                above |= 1 << column | 1 << column + step
    return seen, above


def _world_offsets(view: int, direction: int) -> list[list[tuple[int, int]]]:
    """[row][column] of the view -> (dx, dy) in the grid, relative to the agent."""
    forward_x, forward_y = (int(c) for c in constants.DIR_TO_VEC[direction])
    right_x, right_y = -forward_y, forward_x
    middle = view // 2
    return [
        [
            (
                forward_x * (view - 1 - row) + right_x * (column - middle),
                forward_y * (view - 1 - row) + right_y * (column - middle),
            )
            for column in range(view)
        ]
        for row in range(view)
    ]
