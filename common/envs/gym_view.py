"""An Env as a Gymnasium environment, for loops of one's own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from common import specs
from common.envs import base, native


class GymView(gymnasium.Env):
    """Observations are arrays of ours by key, actions are the environment's own.

    `info` has what the environment logs, such as `success`. A time limit truncates.
    """

    def __init__(self, env: base.Env):
        """Takes over an environment, which is closed with this one."""
        self._env, self._record = env, native.recorder(env.act_spec)
        spaces = {key: _box(spec) for key, spec in env.obs_specs.items()}
        self.observation_space = gymnasium.spaces.Dict(spaces)
        self.action_space = _action_space(native.of_action(env.act_spec), env.act_spec)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
        """Begins an episode; returns observations by key, and info."""
        super().reset(seed=seed)
        return self._observed(self._env.reset(seed))

    def step(self, action: Any) -> tuple:
        """Returns observations by key, reward, terminated, truncated and info."""
        tran = self._env.step(self._record(action))
        terminated = bool(tran["is_terminal"])
        truncated = bool(tran["is_last"]) and not terminated
        obs, info = self._observed(tran)
        return obs, float(tran["reward"]), terminated, truncated, info

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    def _observed(self, tran: base.Transition) -> tuple[dict, dict]:
        obs = {key: tran[key] for key in self._env.obs_specs}
        logs = {k: v for k, v in tran.items() if k.startswith("log_")}
        return obs, {key.removeprefix("log_"): value for key, value in logs.items()}


def _box(spec: specs.ArraySpec) -> gymnasium.Space:
    low, high = (0, 255) if spec.dtype == np.uint8 else (-np.inf, np.inf)
    return gymnasium.spaces.Box(low, high, spec.shape, spec.dtype.type)


def _action_space(written: specs.Native, spec: specs.ActionSpec) -> gymnasium.Space:
    if written.counts is not None:
        return gymnasium.spaces.MultiDiscrete(
            np.array(written.counts), written.dtype, start=np.array(written.low)
        )
    if written.start is not None:
        return gymnasium.spaces.Discrete(spec.size, start=written.start)
    return gymnasium.spaces.Box(
        *native.bounds(written), dtype=np.dtype(written.dtype).type
    )
