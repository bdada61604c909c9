"""A trained agent in a program's hands: it acts, and tells what its model imagines.

Everything is NumPy. Shapes: N rows of a batch, B sequences, T steps, A action, D deter,
S(, K) stoch. Observations and actions are those of the environment, see `forms`.
A state of the agent is a dict of `deter` [..., D] and `stoch` [..., S(, K)].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common import specs
from dreamerv2.run import tasks as tasks_lib
from dreamerv2.trained import forms, inside, player, tasks, weights
from dreamerv2.trained import snapshot as snapshot_lib

Array = np.ndarray
State = dict[str, np.ndarray]


class Agent:
    """A trained agent.

    Attributes:
      config: The run's configuration, on one device, with the seed in use.
      task_names: Of the run's tasks, by number; empty if it did not note them.
      step: Environment steps that it was trained for.
      spaces: What it observes and does; `native` of each is the environment's form.
    """

    def __init__(
        self,
        snapshot: snapshot_lib.Snapshot,
        spaces: specs.Spaces,
        seed: int | None = None,
    ):
        """Builds the networks.

        Args:
          snapshot: The agent.
          spaces: What it observes and does.
          seed: Decides all that is drawn at random; the run's seed if None.

        Raises:
          ValueError: If the seed is negative.
          CheckpointError: If the weights do not fit.
        """
        self.config = weights.config_of(snapshot, seed)
        self.task_names, self.step = snapshot.task_names, snapshot.step
        self.spaces = spaces
        self._snapshot = snapshot
        self._agent = weights.build(snapshot, self.config, spaces)
        self._inside = inside.Inside(self._agent)
        encoder = self._agent.model.encoder
        keys = [*encoder.cnn_keys, *encoder.mlp_keys]
        self._forms = forms.Forms(spaces, keys)
        zero = self._agent.model.initial(1)
        self._shapes = {key: tuple(zero[key].shape[1:]) for key in ("deter", "stoch")}
        self._dtype, self._asked = zero["deter"].dtype, 0

    # Acting.

    def act(
        self,
        obs: Any,
        state: State | None = None,
        mode: str = "mode",
        is_first: Any = None,
    ) -> tuple[Any, State]:
        """Chooses an action for one observation, or one for each of a batch.

        Args:
          obs: Arrays by key, or the only one; each [*shape] or [N, *shape].
          state: What the last call of the episode returned; None at its beginning.
          mode: `mode` (the most probable action of the task behaviour), `sample` (a
            sample of it), `explore` (what the exploration behaviour does) or `run` (as
            the run evaluates). Latents are samples, unless `eval_state_mean`.
          is_first: [N], in which rows an episode begins; by default in none, in all
            without a state, or as `obs["is_first"]` says.

        Returns:
          The action as the environment takes it: an int of a Discrete, an array
          [*shape] of a Box; with an axis N before that for a batch. And the state for
          the next call: `deter`, `stoch`, and `chosen`, our float32 [A].

        Raises:
          ValueError: If the mode is unknown, the run had no exploration behaviour, or
            the observation or the state does not fit.
        """
        player.check_policy(mode, self.config)
        data, lead = self._forms.observations(obs, (0, 1))
        rows = len(next(iter(data.values()))) if lead else 1
        data = {k: v.reshape(rows, *v.shape[len(lead) :]) for k, v in data.items()}
        default = np.full(lead, state is None)
        data["is_first"] = forms.begins(obs, is_first, default).reshape(rows)
        options = player.policy_options(mode, self.config, self.step, rows)
        ours, (latent, chosen) = self._agent.policy(
            data, self._carried(state, lead), step=self.step, **options
        )
        after = _arrays({**latent, "chosen": chosen}, lead)
        return self._forms.to_actions(ours.reshape(*lead, -1)), after

    def reset(self) -> None:
        """Begins all that is drawn at random anew, as after loading."""
        self._agent.set_state(dict.fromkeys(self._agent.get_state(), 0))
        self._asked = 0

    def make_env(self, task: int | str = 0) -> Any:
        """Makes the environment in which the run evaluates a task, of Gymnasium's kind.

        Raises:
          ValueError: If there is no such task, or only a program can make it.
        """
        from common.envs import gym_view

        every = tasks.of_run(self._snapshot)
        (chosen,) = tasks.choose(every, [task]).values()
        return gym_view.GymView((chosen.make_eval or chosen.make)())

    def seeds(self, episodes: int, task: int | str = 0) -> list[int]:
        """Returns the seeds with which an evaluation resets a task's first episodes.

        Raises:
          ValueError: If there is no such task.
        """
        (number,) = tasks.numbers(self.task_names or ["task"], [task])
        seed_of = tasks_lib.seeds(self.config.seed, "eval", number)
        return [seed_of(0, episode) for episode in range(episodes)]

    # Looking inside.

    def observe(
        self,
        obs: Any,
        actions: Any,
        state: State | None = None,
        is_first: Any = None,
        sample: bool = True,
    ) -> State:
        """Filters sequences of observations into states (equation 1).

        Args:
          obs: As in `act`, with axes [T] or [B, T] before those of one.
          actions: [T, *] or [B, T, *], each the one that led to the observation; of no
            account where an episode begins.
          state: That before the sequences, [*] or [B, *]; None at the beginning.
          is_first: [T] or [B, T], where episodes begin; by default as
            `obs["is_first"]` says, or at the first step if there is no state.
          sample: Whether latents are samples; else modes.

        Returns:
          States [T, *] or [B, T, *], with the `action` that led to each.

        Raises:
          ValueError: If something does not fit.
        """
        data, lead = self._forms.observations(obs, (1, 2))
        ours = self._forms.from_actions(actions, lead)
        default = np.zeros(lead, bool)
        default[..., 0] = state is None
        begins = forms.begins(obs, is_first, default)
        data = {**data, "action": ours, "is_first": begins}
        if len(lead) == 1:
            data = {key: value[None] for key, value in data.items()}
        start = None if state is None else self._start(state, lead[:-1])
        found = self._inside.observe(_tensors(data), start, self._seed(sample))
        result = _arrays(found, lead, axes=2)
        return {**result, "action": self._forms.to_actions(ours)}

    def imagine(
        self,
        state: State,
        actions: Any = None,
        horizon: int = 15,
        mode: str = "mode",
        sample: bool = True,
    ) -> State:
        """Predicts states without looking, for given actions or those of the policy.

        Args:
          state: Where it begins, [*] or [N, *].
          actions: [T, *] or [N, T, *]; None lets the policy act.
          horizon: T, if the policy acts.
          mode: What the policy does, see `act`.
          sample: Whether latents are samples; else modes.

        Returns:
          States [T, *] or [N, T, *], with the `action` that led to each; the given
          state is not among them.

        Raises:
          ValueError: If something does not fit.
        """
        rows, lead = forms.rows_of(state, self._shapes)
        forms.check_axes("imagine", lead, (0, 1))
        start = _tensors(rows)
        if actions is None:
            found = self._act_ahead(start, horizon, mode, sample)
        else:
            steps = np.shape(actions)[len(lead) : len(lead) + 1]
            ours = self._forms.from_actions(actions, (*lead, *steps))
            ours = ours.reshape(len(rows["deter"]), *steps, -1)
            found = self._inside.predict(
                start, tf.convert_to_tensor(ours), self._seed(sample)
            )
            found = {**found, "action": tf.convert_to_tensor(ours)}
        result = _arrays(found, lead)
        return {**result, "action": self._forms.to_actions(result["action"])}

    def decode(self, state: State) -> dict[str, Array]:
        """Returns what the model sees in states [...]: observations [..., *] by key.

        Images are uint8, vectors float32, in our form (`spaces.obs_specs`).
        """
        rows, lead = forms.rows_of(state, self._shapes)
        return _arrays(self._inside.decode(_tensors(rows)), lead)

    def reward(self, state: State) -> Array:
        """Returns the rewards [...] that the model predicts in states [...].

        They are what it was trained on, after `clip_rewards`.
        """
        return self._scalar(self._inside.reward, state)

    def value(self, state: State) -> Array:
        """Returns what the task's critic expects from states [...] on: [...]."""
        return self._scalar(self._inside.value, state)

    def disagreement(self, state: State) -> Array:
        """Returns how much Plan2Explore's ensemble disagrees along sequences.

        Args:
          state: States [T, *] or [B, T, *] with the `action` that led to each, as
            `observe` and `imagine` return them.

        Returns:
          [T] or [B, T].

        Raises:
          ValueError: If the run had no such ensemble, or something does not fit.
        """
        if not hasattr(self._agent.expl, "disagreement"):
            raise ValueError(
                "disagreement needs the ensemble of a run with Plan2Explore, but its "
                f"expl_behavior is {self.config.expl_behavior}; train with "
                "--plan2explore."
            )
        rows, lead = forms.rows_of(state, self._shapes)
        forms.check_axes("disagreement", lead, (1, 2))
        if "action" not in state:
            raise ValueError(
                "The states have no action; give those that observe or imagine return."
            )
        ours = self._forms.from_actions(state["action"], lead)
        shape = (1, *lead)[-2:]
        sequences = {k: v.reshape(*shape, *v.shape[1:]) for k, v in rows.items()}
        found = self._inside.disagreement(
            _tensors(sequences), tf.convert_to_tensor(ours.reshape(*shape, -1))
        )
        return found.numpy().reshape(lead)

    def _act_ahead(
        self, start: Mapping[str, tf.Tensor], horizon: int, mode: str, sample: bool
    ) -> dict[str, tf.Tensor]:
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}; give at least 1.")
        player.check_policy(mode, self.config)
        options = player.policy_options(mode, self.config, self.step)
        explores = bool(options["exploring"][0]) and self._agent.expl is not None
        seeds = self._seed(not options["evaluate"]), self._seed(sample)
        return self._inside.imagine(
            start,
            seeds,
            horizon=horizon,
            explores=explores and not options["evaluate"],
        )

    def _scalar(self, question: inside.Question, state: State) -> Array:
        rows, lead = forms.rows_of(state, self._shapes)
        return question(_tensors(rows)).numpy().reshape(lead)

    def _carried(self, state: State | None, lead: forms.Lead) -> Any:
        """A state as the policy takes it."""
        if state is None:
            return None
        start = self._start(state, lead)
        size = self.spaces.act_spec.size
        rows, _ = forms.rows_of(state, {**self._shapes, "chosen": (size,)})
        return start, tf.convert_to_tensor(rows["chosen"])

    def _start(self, state: State, lead: forms.Lead) -> dict[str, tf.Tensor]:
        rows, found = forms.rows_of(state, self._shapes)
        if found != lead:
            raise ValueError(
                f"The state is of the axes {list(found)}, the observations of "
                f"{list(lead)}; give the state of the same rows."
            )
        return {k: tf.cast(v, self._dtype) for k, v in _tensors(rows).items()}

    def _seed(self, sample: bool) -> tf.Tensor | None:
        """A stateless seed [2] of the next question; None takes modes."""
        if not sample:
            return None
        self._asked += 1
        return tf.constant([self.config.seed % 2**31, self._asked], tf.int32)


def _arrays(
    tensors: Mapping[str, tf.Tensor], lead: forms.Lead, axes: int = 1
) -> dict[str, Array]:
    """Returns arrays with other leading axes; numbers of any precision are float32."""
    result = {}
    for key, tensor in tensors.items():
        tensor = tf.cast(tensor, tf.float32) if tensor.dtype.is_floating else tensor
        result[key] = tensor.numpy().reshape(*lead, *tensor.shape[axes:])
    return result


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {key: tf.convert_to_tensor(value) for key, value in arrays.items()}
