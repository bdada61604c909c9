"""Wrappers around any Env."""

import numpy as np

from common.envs import base


class TimeLimit(base.Wrapper):
    """Ends the episode after so many steps, without calling that terminal.

    Outside of an action repeat, where it belongs, it counts the agent's actions.
    """

    def __init__(self, env: base.Env, steps: int):
        """Args: env: the environment; steps: its longest episode, at least 1."""
        _check_positive("steps", steps)
        super().__init__(env)
        self._steps = steps
        self._step = 0

    def reset(self, seed: int | None = None) -> base.Transition:
        """Resets the environment and the count."""
        self._step = 0
        return self.env.reset(seed)

    def step(self, action: np.ndarray) -> base.Transition:
        """Steps; the last step allowed has is_last."""
        tran = self.env.step(action)
        self._step += 1
        if self._step >= self._steps:
            tran["is_last"] = np.bool_(True)
        return tran


class ActionRepeat(base.Wrapper):
    """Holds each action for so many frames and sums their rewards.

    The observation and the `log_` values are those of the last frame. An episode that
    ends in between is not stepped further.
    """

    def __init__(self, env: base.Env, repeat: int):
        """Args: env: the environment; repeat: frames an action is held, at least 1."""
        _check_positive("repeat", repeat)
        super().__init__(env)
        self._repeat = repeat

    def step(self, action: np.ndarray) -> base.Transition:
        """Takes the action up to `repeat` times."""
        reward = np.float32(0)
        for _ in range(self._repeat):
            tran = self.env.step(action)
            reward += tran["reward"]
            if tran["is_last"]:
                break
        tran["reward"] = reward
        return tran


class SuccessAtEnd(base.Wrapper):
    """Leaves `log_success` at the last step of an episode alone.

    It belongs outside of a time limit. An environment of one's own may tell at each
    step whether it stands in its goal; what counts is where an episode has ended.
    """

    def step(self, action: np.ndarray) -> base.Transition:
        """Steps; success is told if the episode ends."""
        tran = self.env.step(action)
        if not tran["is_last"]:
            tran.pop("log_success", None)
        return tran


def limit(env: base.Env, *, action_repeat: int = 1, time_limit: int = 0) -> base.Env:
    """Holds actions for so many frames, then cuts episodes after so many steps.

    Args:
      env: The environment.
      action_repeat: Frames of a step.
      time_limit: Steps after which an episode is cut, 0 for never.
    """
    env = ActionRepeat(env, action_repeat) if action_repeat > 1 else env
    return TimeLimit(env, time_limit) if time_limit else env


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value}, but must be at least 1.")
