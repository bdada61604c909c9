"""MiniGrid under the names of its ancestor, built on Farama's ``minigrid``.

Importing the package registers its environments (``registration``) with Gymnasium
and, where it is installed, with ``gym``, and brings ``gym_minigrid.wrappers`` along:

    registration   ids, and the bridge to ``gym.make``
    multiskill     MultiSkill-N{2,3,4}: rooms that ask for the skills of MiniGrid-3
    fourrooms      FourRooms of any size, and pairs that differ in the goal alone
    colorroom      ColorRoom-K{1,2,3,4}: rooms whose colour says which tile is right
    rendering      the agent's view as pixels, drawn from cached tiles
    wrappers       RGBImgPartialObsWrapper, StateBonus and minigrid's own wrappers
    classic        a ``gym`` wrapper seen as a Gymnasium environment
"""

from gym_minigrid import registration, wrappers

__all__ = ["registration", "wrappers"]

registration.register_all()
