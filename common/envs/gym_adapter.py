"""Any Gymnasium environment, or classic gym one, as an Env."""

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from common.envs import base, gym_spaces, statistics
from common.envs.meaning import readings, returns

SUCCESS = ("success", "is_success")  # keys of info that tell it


class Keeper(Protocol):
    """Something inside of an environment whose state outlives an episode."""

    def get_state(self) -> dict[str, Any]:
        """The state, fit for JSON."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what get_state returned."""


class GymAdapter:
    """An Env over an environment with the interface of Gymnasium or gym.

    Both signatures of step (terminated and truncated, or one done flag with
    info['TimeLimit.truncated']) and both of reset are understood, see `returns`; an
    episode that is truncated and not terminated is not terminal. How spaces become
    arrays is told in `gym_spaces`. Where info has `success` or `is_success`, it is
    given out as `log_success`.

    Attributes:
      readings: What observations and actions are taken for.
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
        self._wrappers = statistics.Wrappers(list(layers(env)))
        self._is_dict = gym_spaces.kind(env.observation_space) == "Dict"
        self._parts = gym_spaces.observation_parts(
            env.observation_space, None if size is None else base.check_size(size)
        )
        self.obs_specs = {
            k: p.spec for k, p in self._parts.items() if not k.startswith("log_")
        }
        self.act_spec, self._to_action = gym_spaces.action_part(env.action_space)
        self.readings = readings.of_spaces(env, self.obs_specs, self.act_spec)
        images = [k for k, p in self._parts.items() if p.spec.dtype == np.uint8]
        self._shows, self._shown = readings.PICTURE in images, None
        self._renders = not images and getattr(env, "render_mode", "") == "rgb_array"
        self._seeds_in_reset = all(map(_reset_takes_seed, layers(env)))
        if not self._seeds_in_reset and not hasattr(env, "seed"):
            warnings.warn(
                f"{env!r} cannot be seeded: its reset takes no seed and it has no "
                "seed(); runs with it are not reproducible.",
                stacklevel=2,
            )

    def reset(self, seed: int | None = None) -> base.Transition:
        """Begins an episode; without a seed it goes on with its own randomness.

        Raises:
          ValueError: Nothing is returned, or the observation does not fit the
            observation space.
        """
        result = self._reset(None if seed is None else int(seed))
        tran = self._observe(returns.of_reset(result))
        tran["reward"] = np.float32(0)
        tran["is_first"] = np.bool_(True)
        tran["is_last"] = tran["is_terminal"] = np.bool_(False)
        tran.update({f"log_{key}": np.float32(0) for key in self._log_info})
        return tran

    def step(self, action: np.ndarray) -> base.Transition:
        """Takes an action, float32 [A].

        Raises:
          ValueError: What step returns is not clear, the observation does not fit the
            observation space, or observation or reward are not finite.
        """
        step = returns.of_step(self._env.step(self._to_action(action)))
        tran = self._observe(step.observation)
        tran["reward"] = step.reward
        tran["is_first"] = np.bool_(False)
        tran["is_last"] = np.bool_(step.last)
        tran["is_terminal"] = np.bool_(step.terminal)
        for key in self._log_info:
            tran[f"log_{key}"] = _logged(key, step.info.get(key, 0))
        self._tell_success(tran, step.info)
        return tran

    def render(self) -> np.ndarray | None:
        """A picture of the present state to look at, uint8 [H, W, C]; None without.

        It is the observation `log_image`, or what the environment renders if nobody
        sees an image anyway and its `render_mode` is `rgb_array`.
        """
        if self._shown is not None or not self._renders:
            return self._shown
        return np.asarray(self._env.render())

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

    def _observe(self, observation: Any) -> base.Transition:
        if self._is_dict and not isinstance(observation, Mapping):
            raise ValueError(
                f"The observation is of type {type(observation).__name__}, but its "
                f"space is a Dict of {', '.join(self._parts)}."
            )
        tran = {}
        for key, part in self._parts.items():
            if self._is_dict and key not in observation:
                raise ValueError(f"Observation lacks {key!r}; got {list(observation)}.")
            raw = observation[key] if self._is_dict else observation
            tran[key] = returns.of_key(key, part, raw)
        self._shown = tran.get(readings.PICTURE) if self._shows else None
        return tran

    def _tell_success(self, tran: base.Transition, info: Mapping[str, Any]) -> None:
        """Notes whether the step has succeeded, if the environment says so."""
        for key in () if "success" in self._log_info else SUCCESS:
            if key in info:
                tran["log_success"] = _logged(key, info[key])
                return


def _logged(key: str, value: Any) -> np.float32:
    """A value of info, None being nothing."""
    name = f"info[{key!r}]"
    return np.float32(returns.number(name, 0 if value is None else value))


def layers(env: Any) -> Iterator[Any]:
    """The environment and what it wraps, from the outside to the inside.

    What only happens to be called `env`, such as a simulator that an environment
    drives, is none of its layers: it is one below a wrapper of the libraries, or below
    a reset that passes on whatever it is given.
    """
    while True:
        yield env
        inner = getattr(env, "env", None)
        if not hasattr(inner, "reset") or inner is env:
            return
        if not is_wrapper(env) and not _passes_on(env.reset):
            return
        env = inner


def is_wrapper(env: Any) -> bool:
    """Whether an environment is a wrapper of Gymnasium or classic gym."""
    return any(
        cls.__name__ == "Wrapper"
        and cls.__module__.partition(".")[0] in ("gym", "gymnasium")
        for cls in type(env).__mro__
    )


def _reset_takes_seed(env: Any) -> bool:
    return "seed" in inspect.signature(env.reset).parameters or _passes_on(env.reset)


def _passes_on(reset: Any) -> bool:
    """Whether a method takes any keyword, as those that pass them on do."""
    parameters = inspect.signature(reset).parameters.values()
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
