"""Any Gymnasium environment, or classic gym one, as an Env."""

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from common.envs import base, gym_spaces, statistics


class Keeper(Protocol):
    """Something inside of an environment whose state outlives an episode."""

    def get_state(self) -> dict[str, Any]:
        """The state, fit for JSON."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what get_state returned."""


class GymAdapter:
    """An Env over an environment with the interface of Gymnasium or gym.

    Both signatures of step (terminated and truncated, or one done flag with
    info['TimeLimit.truncated']) and both of reset are understood; an episode that is
    truncated and not terminated is not terminal. How spaces become arrays is told in
    `gym_spaces`.
    """

    def __init__(
        self,
        env: Any,
        size: Sequence[int] | None = (64, 64),
        log_info: Sequence[str] = (),
        keeper: Keeper | None = None,
    ):
        """Wraps an environment.

        Args:
          env: The environment; neither library is imported for it.
          size: Height and width that images are resized to by nearest neighbour; None
            leaves them as they are.
          log_info: Keys of the step's info given out as `log_{key}`, float32, 0 where
            they are missing.
          keeper: A part of `env` whose state belongs into checkpoints.

        Raises:
          ValueError: An observation or action space that is not supported.
        """
        self._env = env
        self._log_info = tuple(log_info)
        self._keeper = keeper
        self._wrappers = statistics.Wrappers(list(_layers(env)))
        self._is_dict = gym_spaces.kind(env.observation_space) == "Dict"
        self._parts = gym_spaces.observation_parts(
            env.observation_space,
            None if size is None else (int(size[0]), int(size[1])),
        )
        self.obs_specs = {
            k: p.spec for k, p in self._parts.items() if not k.startswith("log_")
        }
        self.act_spec, self._to_action = gym_spaces.action_part(env.action_space)
        self._seeds_in_reset = all(map(_reset_takes_seed, _layers(env)))
        if not self._seeds_in_reset and not hasattr(env, "seed"):
            warnings.warn(
                f"{env!r} cannot be seeded: its reset takes no seed and it has no "
                "seed(); runs with it are not reproducible.",
                stacklevel=2,
            )

    def reset(self, seed: int | None = None) -> base.Transition:
        """Begins an episode; without a seed it goes on with its own randomness.

        Raises:
          ValueError: The observation does not fit the observation space.
        """
        result = self._reset(None if seed is None else int(seed))
        # Gymnasium returns (observation, info); no supported observation is a tuple.
        observation = result[0] if isinstance(result, tuple) else result
        return self._transition(observation, 0.0, first=True)

    def step(self, action: np.ndarray) -> base.Transition:
        """Takes an action, float32 [A].

        Raises:
          ValueError: The observation does not fit the observation space, or
            observation or reward are not finite.
        """
        result = self._env.step(self._to_action(action))
        if not isinstance(result, tuple | list):
            raise ValueError(f"step returned {result!r}, but must return 5 values.")
        if len(result) == 5:
            observation, reward, terminated, truncated, info = result
            last = terminated or truncated
        elif len(result) == 4:
            observation, reward, last, info = result
            terminated = last and not info.get("TimeLimit.truncated", False)
        else:
            raise ValueError(
                f"step returned {len(result)} values, but must return 5 (Gymnasium) "
                "or 4 (classic gym)."
            )
        return self._transition(observation, reward, False, last, terminated, info)

    def close(self) -> None:
        """Closes the environment, if it can be closed."""
        if hasattr(self._env, "close"):
            self._env.close()

    def get_state(self) -> dict[str, Any]:
        """The state of the keeper, and of the wrappers that keep something."""
        state = self._keeper.get_state() if self._keeper else {}
        if self._wrappers:
            state = {**state, statistics.KEY: self._wrappers.get_state()}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the keeper and the wrappers, those of them that it is about.

        Raises:
          ValueError: If it is of other wrappers.
        """
        if statistics.KEY in state:
            self._wrappers.set_state(state[statistics.KEY])
        rest = {k: value for k, value in state.items() if k != statistics.KEY}
        if self._keeper and rest:
            self._keeper.set_state(rest)

    def _reset(self, seed: int | None) -> Any:
        if seed is None:
            return self._env.reset()
        if self._seeds_in_reset:
            return self._env.reset(seed=seed)
        if hasattr(self._env, "seed"):
            self._env.seed(seed)
        return self._env.reset()

    def _transition(
        self,
        observation: Any,
        reward: Any,
        first: bool,
        last: bool = False,
        terminal: bool = False,
        info: Mapping[str, Any] | None = None,
    ) -> base.Transition:
        tran = {}
        for key, part in self._parts.items():
            if self._is_dict and key not in observation:
                raise ValueError(f"Observation lacks {key!r}; got {list(observation)}.")
            raw = observation[key] if self._is_dict else observation
            tran[key] = _convert(key, part, np.asarray(raw))
        tran["reward"] = np.float32(reward)
        if not np.isfinite(tran["reward"]):
            raise ValueError(f"The reward is {reward}, but must be finite.")
        tran["is_first"] = np.bool_(first)
        tran["is_last"] = np.bool_(last)
        tran["is_terminal"] = np.bool_(terminal)
        for key in self._log_info:
            tran[f"log_{key}"] = np.float32(info.get(key, 0) if info else 0)
        return tran


def _convert(key: str, part: gym_spaces.ObservationPart, raw: np.ndarray) -> np.ndarray:
    if raw.shape != part.raw_shape:
        raise ValueError(
            f"Observation {key!r} has shape {raw.shape}, expected {part.raw_shape} as "
            "its space says; shapes must not change."
        )
    if part.spec.dtype == np.uint8:
        if raw.dtype != np.uint8:
            raise ValueError(f"Observation {key!r} is {raw.dtype}, expected uint8.")
    elif raw.dtype.kind == "f" and not np.isfinite(raw).all():
        raise ValueError(
            f"Observation {key!r} holds NaN or infinity: got {raw}, expected finite "
            "numbers."
        )
    return part.convert(raw)


def _layers(env: Any) -> Iterator[Any]:
    """The environment and what it wraps, from the outside to the inside."""
    while True:
        yield env
        inner = getattr(env, "env", None)
        if inner is None or inner is env:
            return
        env = inner


def _reset_takes_seed(env: Any) -> bool:
    parameters = inspect.signature(env.reset).parameters
    return "seed" in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )
