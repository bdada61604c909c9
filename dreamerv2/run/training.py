"""What is done after each step, when it is due: learn, evaluate, log, save.

A run's state is that of its parts. A snapshot writes `state.json` with a key for each
part and the collector's own keys beside them, and is restored in this order:

1. the agent's weights and optimisers, and what the learner carries from batch to batch;
2. the folders of the replays are opened, of which nothing is deleted before the run
   goes on;
3. the parts, as `Training` lists them: the streams of learner and evaluator choose from
   episodes, so that they come after the replays;
4. the collector, which plays the episodes under way again, into the replay.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from common import config as config_lib
from common import replay, specs
from common.records import files, outputs, timing
from common.records import logger as logger_lib
from dreamerv2.algorithm import agent as agent_lib
from dreamerv2.run import build, checkpoint, phases, stopping, summary
from dreamerv2.run import learner as learner_lib
from dreamerv2.run.evaluation import evaluator as evaluator_lib
from dreamerv2.run.evaluation import set_aside as set_aside_lib
from dreamerv2.run.sources import collector as collector_lib

_LOG = logging.getLogger(__name__)


class Part(Protocol):
    """A part of a run that has a state of its own.

    A part may also have `on_task_change(finished: int, next: int)`. It is called with
    the numbers of two different tasks, after the last step of the one and its snapshot,
    when the environments of the other are made and before their first step; a run that
    goes on from the snapshot between them calls it once as well.

    A part that has files of its own may have `keep(states)`. It is called when a
    snapshot has come to the disk, and when a run goes on, with the part's states in all
    snapshots that are there: only what none of them needs may be deleted.
    """

    def get_state(self) -> Mapping[str, Any]:
        """Returns what a snapshot needs, fit for JSON."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from such a state; an empty one is of a version without the part."""


class Training:
    """A run: its parts, and the calls of the loop.

    Attributes:
      interrupted: Number of the phase in which a stop has interrupted an evaluation,
        which is to be made again; None if none has.
    """

    def __init__(
        self,
        *,
        agent: agent_lib.Agent,
        experience: replay.Replay,
        learner: learner_lib.Learner,
        evaluator: evaluator_lib.Evaluator,
        aside: set_aside_lib.SetAside,
        online: summary.OnlineMetrics,
        collector: collector_lib.Collector,
        logger: logger_lib.Logger,
        timer: timing.Timer,
        config: config_lib.Config,
    ):
        """Takes the parts, complete.

        Args:
          agent: What is trained.
          experience: What it learns from.
          learner: Trains it.
          evaluator: Plays all tasks with it.
          aside: Tells the world model's losses on episodes of all tasks.
          online: Performance and forgetting until now.
          collector: Fills the replay.
          logger: Takes in what is measured.
          timer: Measures the sections `evaluation` and `save`; shared with the parts.
          config: The run's configuration.
        """
        self._experience, self._learner = experience, learner
        self._evaluator, self._aside, self._online = evaluator, aside, online
        self._collector, self._due = collector, phases.Due(config)
        self._logger, self._timer, self._config = logger, timer, config
        self._progress = timing.Progress()
        self._agent = agent
        self._supply = learner_lib.Supply(experience, config)
        self._spaces = specs.Spaces(agent.obs_specs, agent.act_spec)
        self._folder: pathlib.Path | None = None  # as soon as it may be written
        self._identity: files.Identity | None = None  # of that folder
        self._is_saved = False  # whether a snapshot of the run is there
        self.interrupted: int | None = None
        self._parts: dict[str, Part] = {
            "agent": agent,
            "replay": experience,
            "learner": learner,
            "evaluator": evaluator,
            "online": online,
            "due": self._due,
        }

    @property
    def step(self) -> int:
        """Actions taken in all training environments."""
        return self._collector.step

    def enter(self, phase: phases.Phase) -> None:
        """Begins a phase, and tells the parts if the task is another one."""
        self._progress.update(self.step)
        finished = self._collector.enter(phase)
        if finished == phase.task:
            return
        for part in self._parts.values():
            if hasattr(part, "on_task_change"):
                part.on_task_change(finished, phase.task)

    def collect(self) -> None:
        """Takes one step in every environment of the present task."""
        self._collector.collect()

    def learn(self) -> None:
        """Updates the agent when that is due and there is something to learn from."""
        if self.step < self._config.prefill:
            return
        phase, ended = self._collector.phase, self._collector.ended
        begun = self._learner.updates > 0
        if not self._supply(self.step, phase, ended=ended, begun=begun):
            return
        if not begun:
            for _ in range(self._config.pretrain):
                self._learner.update(self.step)
        due = sum(self._due("train", step) for step in self._collector.last_steps)
        for _ in range(due * self._config.train_steps):
            self._learner.update(self.step)

    def evaluate(self, stop: stopping.StopRequest) -> None:
        """Evaluates on every task when due and when a phase ends; a stop undoes it."""
        self.interrupted = None
        if not self._learner.updates or not self._config.eval_every:
            return
        before = {"due": self._due.get_state(), "agent": self._agent.get_state()}
        due = self._due("eval", self.step)
        if not self._evaluator or not (due or self._collector.ended):
            return
        video = self._due("video", self.step)
        self._learner.wait()
        policy = stop.heeded_by(self._collector.evaluation_policy)
        try:
            with self._timer.section("evaluation"):
                metrics = self._evaluator(policy, video, self._collector.kept)
                metrics |= self._online(self._collector.phase, self.step, metrics)
                metrics |= self._aside()
                if video:
                    metrics |= self._learner.videos(self._evaluator.sample())
            self.write(metrics)
        except stopping.Interrupted:
            for name, state in before.items():
                self._parts[name].set_state(state)
            self.interrupted = self._collector.phase.index

    def log(self) -> None:
        """Writes losses, counters, speed and timers when that is due."""
        if not self._learner.updates:
            return
        ended = self._collector.ended
        if not self._due("log", self.step) and not ended:
            return
        self._progress.update(self.step)
        self.write(
            {
                "task": self._collector.phase.task,
                "updates": self._learner.updates,
                "replay_ratio": self._learner.transitions / self.step,
                "env_restarts": self._restarts,
                "fps": self._progress.fps * self._config.action_repeat,
                **summary.clocks(self._timer.take()),
                **self._experience.stats(),
                **self._experience.shares(arrival=ended),
                **self._learner.take_metrics(),
            }
        )

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Logs metrics at the present step, without pictures that cannot be shown."""
        shown = logger_lib.drawable(metrics)
        self._logger.write(self.step * self._config.action_repeat, shown)

    def save(self, snapshots: checkpoint.Checkpoints, needed: bool) -> None:
        """Writes a snapshot when that is due, and when a phase ends.

        One that is not `needed` may fail: that is reported, and tried again when the
        next is due. What the snapshots before it need stays.

        Raises:
          CheckpointError: If it is needed and cannot be written.
        """
        due = self._due.save(self.step)
        if not self._collector.ended and not (due and self._learner.updates):
            return
        try:
            self.write_snapshot(snapshots)
        except checkpoint.CheckpointError as error:
            if needed:
                raise
            _LOG.warning("%s", error)

    def write_snapshot(self, snapshots: checkpoint.Checkpoints) -> None:
        """Writes a snapshot of the present step, after what was logged before it.

        Raises:
          CheckpointError: If it cannot be written.
        """
        self._check_folder()
        self._logger.flush()
        tensors = {
            **self._agent.named_state(),
            **self._learner.tensors(),
            **self._collector.tensors(),
        }
        self._due.saved()
        told = outputs.timed(f"snapshot of step {self.step:,}")
        with self._timer.section("save"), told:
            try:
                parts = {name: part.get_state() for name, part in self._parts.items()}
            except replay.UnwrittenError as error:
                raise checkpoint.CheckpointError(
                    f"No snapshot of step {self.step} could be written: {error} Free "
                    "some space or make the folder writable; older snapshots stay."
                ) from error
            own = self._collector.get_state() | {
                "env_restarts": self._restarts,
                "spaces": self._spaces.to_state(),
            }
            if self.interrupted is not None:
                episode = self._collector.last_episode
                own |= {"interrupted": self.interrupted, "episode": episode}
            snapshots.save(self.step, tensors, own | parts)
            self._note_saved()
            self._keep(snapshots)

    def restore(
        self,
        path: pathlib.Path,
        snapshots: checkpoint.Checkpoints,
        folder: pathlib.Path,
    ) -> None:
        """Goes on from a snapshot, in the order that this module's head tells.

        Nothing is written or deleted before `begin`.

        Args:
          path: The snapshot.
          snapshots: All that are there, which keep what they need.
          folder: The run's folder.

        Raises:
          CheckpointError: If the snapshot does not fit the run.
          ValueError: If the replay does not, or the environment.
        """
        tensors = checkpoint.split_tensors(checkpoint.load_tensors(path))
        state = {"online": {}, "env_restarts": 0, **checkpoint.load_state(path)}
        self._spaces = build.known_spaces(path, state, self._spaces)
        checkpoint.assign(self._agent.named_state(), tensors.agent)
        self._learner.set_tensors(tensors.carry)
        with checkpoint.fitting(path):
            self._open(folder, state)
            for name, part in self._parts.items():
                part.set_state(state[name])
        self._collector.set_state(state, tensors.policy)
        self.interrupted = state.get("interrupted")
        self._keep(snapshots)
        self._is_saved = True

    def begin(self, folder: pathlib.Path, places: Sequence[logger_lib.Output]) -> None:
        """Begins to write: into the run's folder, and to outputs that it closes."""
        self._folder = folder
        self._identity = files.identity(folder)
        self._logger.connect(places)
        if not self._is_saved:
            self._open(folder, {})
            return
        # Records of an interrupted step itself may have come before or after it.
        again = self.interrupted is not None and self._collector.last_episode
        frames = self.step * self._config.action_repeat
        self._logger.rewind(frames - (self.interrupted is not None))
        if again:
            self.write(again)

    def set_aside(self, stop: stopping.StopRequest) -> None:
        """Plays the episodes that the world model is judged on; see `SetAside.play`."""
        self._aside.play(stop)

    def close(self) -> None:
        """Ends environments, threads and outputs."""
        with contextlib.ExitStack() as parts:  # each, whatever another one raises
            parts.callback(self._logger.close)
            parts.callback(self._experience.close)
            parts.callback(self._evaluator.close)
            parts.callback(self._collector.close)
            parts.callback(self._learner.close)

    @property
    def _restarts(self) -> int:
        """Environments that failed and were started anew, since the run began."""
        return self._collector.restarts + self._evaluator.restarts

    def _open(self, folder: pathlib.Path, state: Mapping[str, Any]) -> None:
        """Opens the folders of the replays, for a state that will be restored."""
        self._experience.open(folder / files.REPLAY, state.get("replay"))
        self._evaluator.open(folder / files.EVAL_REPLAY, state.get("evaluator"))

    def _keep(self, snapshots: checkpoint.Checkpoints) -> None:
        """Tells the parts what the snapshots on the disk need of them."""
        states = snapshots.states()
        for name, part in self._parts.items():
            if hasattr(part, "keep"):
                part.keep([state[name] for state in states if name in state])

    def _check_folder(self) -> None:
        """Makes sure that the folder is still there, for nobody misses a new one."""
        if self._folder is None or files.identity(self._folder) == self._identity:
            return
        raise checkpoint.CheckpointError(
            f"The logdir {self._folder} was removed or renamed while the run was under "
            f"way, and step {self.step} is not saved. What it held is whole where it "
            "is now: put it back, and the run or the same command goes on."
        )

    def _note_saved(self) -> None:
        """Notes once that there is a snapshot, so that it is missed if it is lost."""
        if self._is_saved or self._folder is None:
            return
        try:
            files.write_saved(self._folder, True)
            self._is_saved = True
        except OSError as error:  # the next snapshot tries again
            _LOG.warning("%s could not be written: %s", self._folder / files.RUN, error)
