"""Updates of the agent from a stream of batches.

With a watch over the losses, and over what there is to learn from.
"""

from __future__ import annotations

import concurrent.futures
import logging
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common import config as config_lib
from common import replay
from common.records import logger, timing
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.algorithm import world_model
from dreamerv2.run import checkpoint, phases

_LOG = logging.getLogger(__name__)

PATIENCE = 1000  # steps that may go by without an episode, however short the prefill


def plan(config: config_lib.Config) -> str:
    """Returns a line that says how much a run is to train for what it collects.

    The replay ratio is that of transitions trained to steps collected: the transitions
    of a batch times the updates of a step. What comes before is told apart.
    """
    batch, length = config.dataset.batch, config.dataset.length
    often, every = config.train_steps, config.train_every
    ratio = f"{batch * length * often / every:g}" if every else "0"
    way = f"{batch} x {length} x {often} / {every}" if every else "train_every is 0"
    if config.offline:
        return (
            f"Replay ratio: {ratio} transitions trained for each step ({way}), in "
            f"which nothing is collected, after {config.pretrain:,} updates at once."
        )
    return (
        f"Replay ratio: {ratio} transitions trained for each step collected ({way}), "
        f"after {config.prefill:,} steps of prefill and {config.pretrain:,} updates at "
        "once."
    )


class NothingToLearnError(ValueError):
    """The environment gives no episode that could be learned from."""


class NonFiniteLossError(RuntimeError):
    """A loss has become NaN or infinite."""


class Learner:
    """Trains an agent on batches whose rows go on from one batch to the next."""

    def __init__(
        self,
        agent: agent_lib.Agent,
        experience: replay.Replay,
        timer: timing.Timer,
        folder: str | os.PathLike,
        *,
        batch: int,
        length: int,
        aside: bool = False,
    ):
        """Opens a stream of batches.

        Args:
          agent: What learns.
          experience: What it learns from.
          timer: Measures the sections `sample` and `update`.
          folder: Where a bad batch would be saved.
          batch: Rows of a batch.
          length: Transitions of a row.
          aside: Whether updates run in a thread of their own while the caller goes on.
            Then `update` returns once the one before is done, and the policy acts with
            what was learned when `wait` or the next call of `update` has returned.
        """
        self._agent, self._experience = agent, experience
        self._stream = experience.stream(batch, length, prefetch=True)
        # Videos have their own: the rows of the other one must not skip a batch.
        self._shown = experience.stream(world_model.VIDEOS, length, counted=False)
        self._timer = timer
        self._folder = pathlib.Path(folder)
        self._rows, self._size = batch, batch * length
        self._state: dict[str, tf.Tensor] | None = None
        self._means = logger.MeanBuffer()
        self._worker = concurrent.futures.ThreadPoolExecutor(1) if aside else None
        self._pending: concurrent.futures.Future | None = None
        self.updates = 0

    @property
    def transitions(self) -> int:
        """Transitions that were trained on so far, as often as they were drawn."""
        return self.updates * self._size

    def update(self, step: int) -> None:
        """Takes one gradient step, or begins one.

        Raises:
          NonFiniteLossError: If a loss is NaN or infinite. The batch is saved; the
            agent must not be.
        """
        self.wait()
        with self._timer.section("sample"):
            batch = self._stream.next()
        self.updates += 1
        if self._worker:
            self._pending = self._worker.submit(self._train, batch, step)
            return
        with self._timer.section("update"):
            self._means.add(self._train(batch, step))

    def wait(self) -> None:
        """Waits until the last update is done.

        Raises:
          NonFiniteLossError: See `update`.
        """
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        with self._timer.section("update"):
            self._means.add(pending.result())
        self._agent.publish()

    def close(self) -> None:
        """Ends the thread, after the update that is under way."""
        if self._worker:
            self._worker.shutdown()

    def take_metrics(self) -> dict[str, Any]:
        """Returns the mean metrics since the last call."""
        self.wait()
        return self._means.take()

    def videos(self, evaluated: Mapping[str, np.ndarray] | None) -> dict[str, Any]:
        """Returns open-loop predictions for a fresh batch, if there is one.

        Args:
          evaluated: A batch of evaluation episodes; if there is one, its predictions
            are added with `eval_` before their names.
        """
        self.wait()
        empty = self._experience.is_empty  # what was under way has ended with a phase
        videos = {} if empty else self._report(self._shown.next())
        if evaluated is not None:
            report = self._report(evaluated)
            videos |= {f"eval_{key}": video for key, video in report.items()}
        return videos

    def _report(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The agent's videos; no picture ends a run."""
        try:
            return self._agent.report(batch)
        except Exception as error:  # whatever there is to stumble over in drawing
            _LOG.warning("No videos are made: %s: %s", type(error).__name__, error)
            return {}

    def tensors(self) -> dict[str, tf.Tensor]:
        """Returns the carried state by name; empty before the first update."""
        self.wait()
        carried = self._state or {}
        return {f"{checkpoint.CARRY}{key}": value for key, value in carried.items()}

    def get_state(self) -> dict[str, Any]:
        """Returns what a snapshot needs besides tensors, fit for JSON."""
        self.wait()
        return {
            "updates": self.updates,
            "stream": self._stream.get_state(),
            "shown": self._shown.get_state(),
            "means": self._means.get_state(),
        }

    def set_tensors(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from the carried state of a snapshot, named as `tensors` does.

        That of another number of rows is of no use: all rows begin anew.
        """
        self._state = {
            name.removeprefix(checkpoint.CARRY): tf.constant(value)
            for name, value in arrays.items()
            if len(value) == self._rows
        } or None

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a snapshot; replay and agent must have been restored before."""
        self.updates = state["updates"]
        self._stream.set_state(state["stream"])
        self._shown.set_state(state["shown"])
        self._means.set_state(state["means"])
        if self._worker:
            self._agent.publish()

    def _train(
        self, batch: Mapping[str, np.ndarray], step: int
    ) -> dict[str, tf.Tensor]:
        """Returns the metrics of an update, which are finite."""
        self._state, metrics = self._agent.train(batch, self._state, step=step)
        watched = {k: float(metrics[k]) for k in metrics if _is_watched(k, metrics)}
        bad = {
            name: value for name, value in watched.items() if not math.isfinite(value)
        }
        if bad:
            raise NonFiniteLossError(self._describe(bad, step, batch))
        return metrics

    def _describe(
        self, bad: Mapping[str, float], step: int, batch: Mapping[str, np.ndarray]
    ) -> str:
        path = self._folder / f"bad_batch_{step:012d}.npz"
        try:
            np.savez_compressed(path, **batch)
            saved = f"The batch is saved as {path}."
        except OSError as error:
            saved = f"The batch could not be saved: {error}."
        values = ", ".join(f"{name} = {value}" for name, value in sorted(bad.items()))
        return (
            f"{values} at step {step} (update {self.updates}). {saved} The last "
            "snapshot is good: go on from it with --resume and a smaller learning "
            "rate, a smaller clip, or --precision 32."
        )


class Supply:
    """Watches that a run gets episodes to learn from, and says so when it does not."""

    def __init__(self, experience: replay.Replay, config: config_lib.Config):
        """Takes the replay, and the configuration for `prefill` and `replay.minlen`."""
        self._experience = experience
        self._minlen = config.replay.minlen
        self._patience = max(config.prefill, PATIENCE)
        self._phase: phases.Phase | None = None
        self._since = 0  # step at which the phase began, or the program went on with it
        self._before: Mapping[str, int] = {}  # the counters then
        self._collects = not config.offline
        self._watches = True  # whether the phase may still turn out to bring nothing

    def __call__(
        self, step: int, phase: phases.Phase, *, ended: bool, begun: bool
    ) -> bool:
        """Returns whether there is something to learn from after the prefill.

        Args:
          step: Of the run.
          phase: The phase under way.
          ended: Whether its steps are done.
          begun: Whether something has been learned before.

        Raises:
          NothingToLearnError: If there never was anything, and the phase ends or
            neither the prefill nor `PATIENCE` steps have brought an episode.
        """
        if phase != self._phase:
            self._phase, self._since = phase, step
            self._before, self._watches = self._experience.stats(), self._collects
        if self._experience.is_empty:
            if not begun and (ended or step >= self._patience):
                raise NothingToLearnError(
                    f"There is nothing to learn from after {step:,} steps: "
                    f"{self._reason({})}"
                )
            return False
        if self._watches and step - self._since >= self._patience:
            self._watches = False
            self._look_at(phase)
        return True

    def _look_at(self, phase: phases.Phase) -> None:
        """Warns if a phase has brought nothing while the replay has older episodes."""
        now = self._experience.stats()
        if now["total_episodes"] == self._before["total_episodes"]:
            _LOG.warning(
                "Nothing of task %d came to the replay in %d steps, only older "
                "episodes are learned from: %s",
                *(phase.task, self._patience, self._reason(self._before)),
            )

    def _reason(self, before: Mapping[str, int]) -> str:
        """Why no episode came to the replay since then, and the way out."""
        now = self._experience.stats()
        skipped = now["skipped_episodes"] - before.get("skipped_episodes", 0)
        if skipped:
            return (
                f"all {skipped:,} episodes were shorter than replay.minlen, "
                f"{self._minlen} steps, and were not stored. Lower --minlen."
            )
        return (
            "no episode has ended. Raise --prefill above their length, or cut them by "
            f"--time_limit, not below replay.minlen, {self._minlen} steps."
        )


def _is_watched(name: str, metrics: Mapping[str, Any]) -> bool:
    """Losses must be finite; gradients too, unless a loss scale copes with them."""
    if name.endswith("_grad_norm"):
        return name.replace("_grad_norm", "_loss_scale") not in metrics
    return name.endswith("_loss")
