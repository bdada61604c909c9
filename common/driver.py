"""Steps environments with a policy and tells the listeners what happened."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Transition = dict[str, np.ndarray]
# (stacked observations [N, ...], policy state) -> (actions [N, A], policy state)
Policy = Callable[[dict[str, np.ndarray], Any], tuple[np.ndarray, Any]]
SeedOf = Callable[[int, int], int]
StepListener = Callable[[Transition, int], None]
EpisodeListener = Callable[[dict[str, Any], int], None]


class Driver:
    """N environments advanced together, one policy call a step.

    A transition holds the observation, the action that led to it, `reward`,
    `is_first`, `is_last` and `is_terminal` (common.envs.base.Env). Keys that begin with
    `log_` go to neither policy nor step listeners: they are gathered over the episode
    and handed to the episode listeners.

    Attributes:
      episodes: Episodes started, for each environment.
      cut: Episodes that `longest` has cut, for each environment.
      policy_state: What the policy returned last, None before the first step.
    """

    def __init__(self, envs: Sequence[Any], seed_of: SeedOf, longest: int = 0):
        """Makes a driver; nothing is reset before the first step.

        Args:
          envs: Environments of one observation and action space (common.envs.base.Env).
            Those that offer `step_async` and `reset_async` work at the same time.
          seed_of: (environment, episode) -> the seed that this episode is reset with.
          longest: Steps after which an episode is cut, which is not terminal; 0 for
            never.
        """
        if not envs:
            raise ValueError("envs is empty; a driver needs at least one environment.")
        self.episodes = [0] * len(envs)
        self.cut = [0] * len(envs)
        self._envs = list(envs)
        self._seed_of, self._longest = seed_of, longest
        self._step_listeners: list[StepListener] = []
        self._episode_listeners: list[EpisodeListener] = []
        self._reset_fns = [_asynchronous(env, "reset") for env in envs]
        self._step_fns = [_asynchronous(env, "step") for env in envs]
        self._zero_action = np.zeros(envs[0].act_spec.size, np.float32)
        self._last: list[Transition | None] = [None] * len(envs)
        self._sums = [_Sums() for _ in envs]
        self._starts: list[Any] = [{} for _ in envs]  # states when episodes began
        self._actions: list[list[np.ndarray]] = [[] for _ in envs]  # since then
        self.policy_state: Any = None

    def on_step(self, listener: StepListener) -> None:
        """Calls `listener(transition, env)` for each transition, resets included."""
        self._step_listeners.append(listener)

    def on_episode(self, listener: EpisodeListener) -> None:
        """Calls `listener(summary, env)` after the last transition of an episode.

        The summary: `return` (sum of rewards), `length` (steps, the reset not counted),
        `is_terminal`, `reward_last`, `worker` (the environment's index) and `log`, the
        values of every `log_` key over the steps, [length, ...].
        """
        self._episode_listeners.append(listener)

    def run(self, policy: Policy, steps: int) -> None:
        """Steps until so many environment steps are reached.

        All environments take the last step, so that it may be up to N - 1 more.
        """
        while steps > 0:
            self.step(policy)
            steps -= len(self._envs)

    def play(self, policy: Policy, episodes: Sequence[int]) -> None:
        """Finishes so many episodes [N] of each environment, no more and no fewer.

        Which episodes are played is thus known beforehand, however long they are. An
        environment that has played its own, or has none to play, stands still: the
        policy goes on seeing its last observation, what it answers is not done.

        Raises:
          ValueError: If the counts are not one for each environment, or one that has
            not been reset has none to play.
        """
        least = [0 if tran else 1 for tran in self._last]
        if len(episodes) != len(least) or any(map(operator.lt, episodes, least)):
            raise ValueError(
                f"episodes is {list(episodes)}; each of the {len(self._envs)} "
                "environments must play at least one, or none if it has been reset."
            )
        left = list(episodes)
        while any(left):
            active = [index for index, count in enumerate(left) if count]
            for index in self._step(policy, active):
                left[index] -= 1

    def step(self, policy: Policy) -> None:
        """Steps every environment once.

        Environments that have not begun or whose episode has ended are reset first.
        The order of events: resets, one call of the policy, steps; each in the order of
        the environments.
        """
        self._step(policy, range(len(self._envs)))

    def _step(self, policy: Policy, active: Sequence[int]) -> list[int]:
        """Steps some environments; returns those whose episode that finished."""
        last = self._last
        self._begin([i for i in active if last[i] is None or last[i]["is_last"]])
        observations = _stack([_without_logs(tran) for tran in last])
        actions, self.policy_state = policy(observations, self.policy_state)
        actions = np.array(actions, np.float32)  # [N, A], a copy: listeners keep rows
        pending = [(index, self._step_fns[index](actions[index])) for index in active]
        finished = []
        for index, result in pending:
            self._take_in(result(), actions[index], index)
            if last[index]["is_last"]:
                finished.append(index)
                self._tell_episode(index)
        return finished

    def reset(self) -> None:
        """Forgets the current episodes: the next step resets every environment."""
        self._last = [None] * len(self._envs)
        self.policy_state = None

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs to stand in the same episodes again, for JSON.

        An episode under way is kept as the actions since its reset. What environments
        keep over episodes, such as visit counts, is kept as of the episode's start.
        """
        states = []
        for index, env in enumerate(self._envs):
            tran = self._last[index]
            if tran is None or tran["is_last"]:
                states.append({"env": _state_of(env), "actions": None})
            else:
                actions = [action.tolist() for action in self._actions[index]]
                states.append({"env": self._starts[index], "actions": actions})
        return {"episodes": list(self.episodes), "envs": states}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a state that get_state returned.

        Episodes that were under way are played again with the same seeds and actions;
        the step listeners hear of it, as they forgot those steps with the process.
        `policy_state` is for the caller to restore. From a state of another number of
        environments all begin a new episode.
        """
        self.reset()
        same = len(state["episodes"]) == len(self._envs)
        self.episodes = [*state["episodes"], *self.episodes][: len(self._envs)]
        for index, saved in enumerate(state["envs"][: len(self._envs)]):
            if saved["env"]:
                self._envs[index].set_state(saved["env"])
            if same and saved["actions"] is not None:
                self.episodes[index] -= 1
                self._begin([index])
                for action in saved["actions"]:
                    if self._last[index]["is_last"]:
                        break  # A supervised environment has failed on the way.
                    action = np.array(action, np.float32)
                    self._take_in(self._step_fns[index](action)(), action, index)

    def check_valid(self) -> None:
        """Raises AssertionError unless each episode is as long as its actions."""
        for index, tran in enumerate(self._last):
            if tran is None:
                continue
            steps, actions = self._sums[index].steps, self._actions[index]
            where = f"environment {index}, episode {self.episodes[index]}"
            assert self.episodes[index] > 0, f"{where} has begun but does not count"
            assert steps == len(actions), f"{where}: {steps} steps, {len(actions)} acts"
            assert bool(tran["is_first"]) == (not steps), f"{where}: {steps} steps"
            shape = self._zero_action.shape
            assert tran["action"].shape == shape, f"{where}: {tran['action']}"

    def _take_in(self, tran: Transition, action: np.ndarray, index: int) -> None:
        """Puts the result of a step in place and tells of it."""
        tran["action"] = action
        self._last[index] = tran
        self._actions[index].append(action)
        self._sums[index].add(tran)
        if self._sums[index].steps == self._longest and not tran["is_last"]:
            tran["is_last"] = np.bool_(True)
            self.cut[index] += 1
        self._tell_step(tran, index)

    def _begin(self, ended: Sequence[int]) -> None:
        """Resets environments whose episode has ended, or that have none."""
        for index in ended:
            self._starts[index] = _state_of(self._envs[index])
            self._actions[index] = []
        seeds = [self._seed_of(index, self.episodes[index]) for index in ended]
        pending = [self._reset_fns[i](s) for i, s in zip(ended, seeds, strict=True)]
        for index, result in zip(ended, pending, strict=True):
            tran = result()
            tran["action"] = self._zero_action.copy()
            self.episodes[index] += 1
            self._last[index] = tran
            self._sums[index] = _Sums()
            self._tell_step(tran, index)

    def _tell_step(self, tran: Transition, index: int) -> None:
        shown = _without_logs(tran)
        for listener in self._step_listeners:
            listener(shown, index)

    def _tell_episode(self, index: int) -> None:
        summary = self._sums[index].summary()
        summary["worker"] = index
        for listener in self._episode_listeners:
            listener(summary, index)


class _Sums:
    """Sums up the steps of one episode."""

    def __init__(self):
        self._rewards: list[float] = []
        self._logs: dict[str, list[np.ndarray]] = {}
        self._is_terminal = False

    @property
    def steps(self) -> int:
        return len(self._rewards)

    def add(self, tran: Transition) -> None:
        self._rewards.append(float(tran["reward"]))
        self._is_terminal = bool(tran["is_terminal"])
        for key in tran:
            if key.startswith("log_"):
                self._logs.setdefault(key, []).append(tran[key])

    def summary(self) -> dict[str, Any]:
        return {
            "return": sum(self._rewards),
            "length": len(self._rewards),
            "is_terminal": self._is_terminal,
            "reward_last": self._rewards[-1],
            "log": {key: np.array(values) for key, values in self._logs.items()},
        }


def _state_of(env: Any) -> dict[str, Any]:
    """What the environment keeps over episodes, if it says so."""
    return getattr(env, "get_state", dict)()


def _asynchronous(env: Any, method: str) -> Callable[[Any], Callable[[], Transition]]:
    """env.step_async or env.reset_async, or the like of it around the plain method."""
    if hasattr(env, f"{method}_async"):
        return getattr(env, f"{method}_async")
    call = getattr(env, method)

    def at_once(argument):
        result = call(argument)
        return lambda: result

    return at_once


def _without_logs(tran: Transition) -> Transition:
    return {k: v for k, v in tran.items() if not k.startswith("log_")}


def _stack(transitions: list[Transition]) -> dict[str, np.ndarray]:
    """[{key: [...]}] * N -> {key: [N, ...]}, a view without a copy if N is 1."""
    if len(transitions) == 1:
        return {k: np.asarray(v)[None] for k, v in transitions[0].items()}
    keys = transitions[0]
    return {k: np.stack([tran[k] for tran in transitions]) for k in keys}
