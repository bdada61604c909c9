"""What the replay holds: its episodes, the two strategies that rule them, counters."""

import collections
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from common.replay import counts as counts_lib
from common.replay import episodes, strategies

MOST_LEFT = 2_000_000  # episodes, of which a strategy is told when a folder is opened


class Contents:
    """Episodes held together up to a capacity in steps.

    What is held and what left add up to all that ever arrived. An episode longer than
    the whole capacity is held only while there is no other: it neither drives all
    others out nor stays when the next one arrives.
    """

    def __init__(
        self,
        capacity: int,
        retention: strategies.Retention,
        sampling: strategies.Sampling,
    ) -> None:
        """Starts empty; the strategies must be new."""
        self.episodes: dict[int, episodes.Episode] = {}  # by index
        self.next_index = 0  # of the next episode to arrive
        self._capacity = capacity
        self._retention = retention
        self._sampling = sampling
        self._steps = 0
        self._tasks: collections.Counter[int] = collections.Counter()
        self._task_steps: collections.Counter[int] = collections.Counter()
        self._drawn = counts_lib.Counts()
        self._total_episodes = 0
        self._total_steps = 0

    def arrive(self, episode: episodes.Episode) -> list[episodes.Episode]:
        """Counts and admits a newcomer; returns what leaves."""
        self.next_index = episode.index + 1
        self._total_episodes += 1
        self._total_steps += episode.steps
        return self._admit(episode)

    def take_over(
        self, loaded: Sequence[episodes.Episode], others: Sequence[episodes.Name] = ()
    ) -> None:
        """Admits the episodes of a folder in their order.

        Args:
          loaded: The episodes found, ascending by index.
          others: Names of episodes that left earlier but are still known.

        Raises:
          ValueError: The numbers have gaps that no run leaves.
        """
        held = {episode.index: episode for episode in loaded}
        self.next_index = max({*held, *(name.index for name in others)}, default=-1) + 1
        if self.next_index - len(held) > MOST_LEFT:
            raise ValueError(
                f"An episode of the replay's folder has the number "
                f"{self.next_index - 1}, but {len(held)} are there, and no more than "
                f"{MOST_LEFT} can have left. Is it of another run? Number its file "
                "behind the others, or move it away."
            )
        self._total_episodes = len(loaded) + len(others)
        self._total_steps = sum(item.steps for item in [*loaded, *others])
        self._tasks.update({name.task: 0 for name in others})
        self._retention.recall(held, set(range(self.next_index)).difference(held))
        for episode in loaded:
            self._admit(episode)

    def draw(
        self, unfinished: Sequence[episodes.Episode] = (), counted: bool = True
    ) -> episodes.Episode:
        """One episode of those held and the unfinished ones; LookupError if none."""
        episode = self._sampling.draw(unfinished)
        if counted:
            index = episode.index if episode.index >= 0 else self.next_index
            self._drawn.add(episode.task, index)
        return episode

    def on_task_change(self, finished: int, next: int) -> None:
        """Tells both strategies of it."""
        self._retention.on_task_change(finished, next)
        self._sampling.on_task_change(finished, next)

    def stats(self) -> dict[str, int]:
        """The counters that `Replay.stats` describes."""
        counts = {
            "total_steps": self._total_steps,
            "total_episodes": self._total_episodes,
            "loaded_steps": self._steps,
            "loaded_episodes": len(self.episodes),
        }
        tasks = sorted(self._tasks.items())
        return counts | {f"er_task_{task}": count for task, count in tasks}

    def shares(self, arrival: bool = False) -> dict[str, int]:
        """The counters that `Replay.shares` describes."""
        held = {f"er_steps_{k}": self._task_steps[k] for k in sorted(self._tasks)}
        drawn = self._drawn.by_task()
        return held | drawn | (self._drawn.by_arrival() if arrival else {})

    def get_state(self) -> dict[str, Any]:
        """JSON-able state; the episodes by their names."""
        return {
            "held": [episode.name for episode in self.episodes.values()],
            "next_index": self.next_index,
            "total_episodes": self._total_episodes,
            "total_steps": self._total_steps,
            "tasks": sorted(self._tasks),
            "strategies": self._strategies(),
            "retention": self._retention.get_state(),
            "sampling": self._sampling.get_state(),
            "drawn": self._drawn.get_state(),
        }

    def set_state(
        self, state: Mapping[str, Any], available: Collection[episodes.Episode]
    ) -> None:
        """Restores a state from the available episodes.

        Missing ones are left out with a warning; what is beyond a capacity that has
        become smaller is evicted. ValueError if all are missing, or if the state
        belongs to other strategies.
        """
        if list(state["strategies"]) != self._strategies():
            raise ValueError(
                f"The saved replay used {state['strategies']}, this one uses "
                f"{self._strategies()}; resume with the same strategies."
            )
        by_name = {episode.name: episode for episode in available}
        missing = [name for name in state["held"] if name not in by_name]
        if missing:
            _report_missing(missing, of=len(state["held"]))
        self.episodes, self._steps = {}, 0
        self._tasks = collections.Counter({task: 0 for task in state["tasks"]})
        self._task_steps.clear()
        for name in state["held"]:
            if name in by_name:
                self._hold(by_name[name])
        self._retention.set_state(state["retention"], self.episodes)
        self._sampling.set_state(state["sampling"], self.episodes)
        self.next_index = state["next_index"]
        self._total_episodes = state["total_episodes"]
        self._total_steps = state["total_steps"]
        if "drawn" in state:  # not in those of older versions
            self._drawn.set_state(state["drawn"])
        self._shrink()

    def check_valid(self) -> None:
        """Raises AssertionError unless all counters are those of the episodes held."""
        held = self.episodes
        steps, tasks, task_steps = 0, collections.Counter(), collections.Counter()
        for index, episode in held.items():
            assert index == episode.index, f"{episode.name} is held as {index}"
            steps += episode.steps
            tasks[episode.task] += 1
            task_steps[episode.task] += episode.steps
        assert self._steps == steps, f"{self._steps} counted, {steps} steps held"
        assert self._tasks == tasks, f"{self._tasks} counted, {tasks} episodes held"
        assert self._task_steps == task_steps, f"{self._task_steps}, not {task_steps}"
        assert steps <= self._capacity or len(held) == 1, (
            f"{steps} steps in {len(held)} episodes, the capacity is {self._capacity}"
        )
        assert len(held) <= self._total_episodes <= self.next_index, (
            f"{len(held)} held of {self._total_episodes}, then {self.next_index}"
        )
        assert steps <= self._total_steps, f"{steps} held of {self._total_steps} steps"
        assert max(held, default=-1) < self.next_index, f"{held} < {self.next_index}"
        self._retention.check_valid(held)
        self._sampling.check_valid(held)
        self._drawn.check_valid()

    def _admit(self, episode: episodes.Episode) -> list[episodes.Episode]:
        """Holds a newcomer as far as it is let in; returns what leaves."""
        self._tasks.setdefault(episode.task, 0)
        left = []
        if self._steps > self._capacity:  # one alone, longer than the capacity
            (alone,) = self.episodes
            self._retention.remove(alone)
            left.append(self._forget(alone))
        too_long = episode.steps > self._capacity and self.episodes
        if too_long or not self._retention.add(episode):
            return [*left, episode]
        self._hold(episode)
        self._sampling.add(episode)
        return left + self._shrink()

    def _shrink(self) -> list[episodes.Episode]:
        """Lets go whom the retention releases, then evicts down to the capacity."""
        left = [self._forget(index) for index in self._retention.release()]
        while self._steps > self._capacity and len(self.episodes) > 1:
            left.append(self._forget(self._retention.evict()))
        return left

    def _hold(self, episode: episodes.Episode) -> None:
        self.episodes[episode.index] = episode
        self._steps += episode.steps
        self._tasks[episode.task] += 1
        self._task_steps[episode.task] += episode.steps

    def _forget(self, index: int) -> episodes.Episode:
        victim = self.episodes.pop(index)
        self._sampling.remove(index)
        self._steps -= victim.steps
        self._tasks[victim.task] -= 1
        self._task_steps[victim.task] -= victim.steps
        return victim

    def _strategies(self) -> list[str]:
        return [type(self._retention).__name__, type(self._sampling).__name__]


def _report_missing(missing: Sequence[str], of: int) -> None:
    if len(missing) == of:
        raise ValueError(
            f"None of the {of} episodes that the saved replay held is there, "
            f"{missing[0]} first. Was the folder deleted, or has this replay collected "
            "since it was opened? A state is restored right after opening the folder."
        )
    warnings.warn(
        f"{len(missing)} of {of} episodes that the saved replay held are missing, "
        f"{missing[0]} first; the run goes on without them.",
        stacklevel=4,
    )
