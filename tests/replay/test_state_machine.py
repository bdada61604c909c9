"""A machine does to a replay whatever a run may do, beside a slow twin."""

import contextlib
import copy
import functools
import json
import pathlib
import tempfile

import numpy as np
import pytest
import replays
from hypothesis import HealthCheck, Phase, settings, stateful
from hypothesis import strategies as st

from common.replay import store
from common.replay.strategies import retention, sampling

CAPACITY, MINLEN, ROWS, LENGTH = 30, 3, 2, 5
SPACING = 1000  # between the first counts of two episodes

TASKS = st.integers(0, 2)
LONGEST = CAPACITY + 5
STEPS = st.integers(1, 20) | st.just(LONGEST)
ACTIONS = st.lists(  # worker, task, steps of an episode, steps now, batches drawn then
    st.tuples(st.integers(0, 2), TASKS, STEPS, st.integers(1, 60), st.integers(0, 2)),
    min_size=1,
    max_size=6,
)


class Twin:
    """What has happened, slowly: raw transitions in lists."""

    def __init__(self):
        self.begun = []  # the transitions so far of every episode
        self.under_way = {}  # by worker: task, steps when it ends, number in `begun`
        self.arrived = {}  # by index: task, number in `begun`
        self.skipped = 0
        self.last = [None] * ROWS  # count drawn last in each row of the stream

    def step(self, worker, task, steps):
        """The next transition of a worker and its task; a new episode if none."""
        if worker not in self.under_way:
            self.under_way[worker] = task, steps, len(self.begun)
            self.begun.append([])
        task, steps, number = self.under_way[worker]
        rows = self.begun[number]
        count = SPACING * number + len(rows)
        rows.append(replays.transition(count, len(rows), steps))
        if rows[-1]["is_last"]:
            del self.under_way[worker]
            self.skipped += steps < MINLEN
            if steps >= MINLEN:
                self.arrived[max(self.arrived, default=-1) + 1] = task, number
        return rows[-1], task

    def steps(self, index):
        return len(self.begun[self.arrived[index][1]]) - 1

    def stats(self, held):
        """The counters, of everything anew."""
        tasks = [task for task, _ in self.arrived.values()]
        held_tasks = [self.arrived[index][0] for index in held]
        return {
            "total_episodes": len(tasks),
            "total_steps": sum(map(self.steps, self.arrived)),
            "loaded_episodes": len(held),
            "loaded_steps": sum(map(self.steps, held)),
            "skipped_episodes": self.skipped,
            **{f"er_task_{k}": held_tasks.count(k) for k in set(tasks)},
        }

    def check_batch(self, batch):
        """Rows are made of transitions that were, and jump only where they say so."""
        for row, counts in enumerate(batch["count"]):
            for time, count in enumerate(counts.tolist()):
                made = self.begun[count // SPACING][count % SPACING]
                first = bool(batch["is_first"][row, time])
                assert first or count - 1 == self.last[row], f"a jump to {count}"
                assert first or not made["is_first"]
                self.last[row] = count
                for key in set(batch) - {"is_first"}:
                    np.testing.assert_array_equal(batch[key][row, time], made[key])


class Snapshot:
    """What was saved, and what has been done since then."""

    def __init__(self, target, stream, twin):
        state = {"replay": target.get_state(), "stream": stream.get_state()}
        self.state = json.loads(json.dumps(state))
        self.twin = copy.deepcopy(twin)
        self.seen = look_at(target)
        self.journal = []  # (name, arguments, outcome)

    @property
    def needed(self):
        return {*self.state["replay"]["held"], *self.state["replay"]["in_use"]}


def look_at(target):
    unsteady = ("unwritten_episodes", "corrupt_files")
    counts = {k: n for k, n in target.stats().items() if k not in unsteady}
    return counts, target.shares(arrival=True), replays.first_counts(target)


class Machine(stateful.RuleBasedStateMachine):
    """Runs through steps, draws, snapshots, deaths and resumes."""

    def __init__(self, keep, draws):
        super().__init__()
        self.keep, self.draws = keep, draws
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)
        self.twin, self.saved = Twin(), []

    @stateful.initialize(
        draw=st.sampled_from(list(sampling.SAMPLING)),
        ongoing=st.sampled_from([False, False, False, True]),
        prefetch=st.booleans(),
        keep_evicted=st.booleans(),
    )
    def begin(self, draw, ongoing, prefetch, keep_evicted):
        self.draws.add(draw)
        self.pair = self.keep, draw
        self.ongoing, self.prefetch = ongoing, prefetch
        self.keep_evicted = keep_evicted
        self.open()

    def open(self, state=None):
        self.target = replays.make(
            None,
            *self.pair,
            **{"capacity": CAPACITY, "minlen": MINLEN, "maxlen": 10},
            ongoing=self.ongoing,
            keep_evicted=self.keep_evicted,
            cache_bytes=2000,
        )
        self.target.open(self.path, state)
        self.stream = self.target.stream(ROWS, LENGTH, prefetch=self.prefetch)

    def do(self, name, *arguments):
        outcome = getattr(self, name)(*arguments), look_at(self.target)
        for snapshot in self.saved:
            snapshot.journal.append((name, arguments, outcome))

    # What a run does.

    @stateful.rule(actions=ACTIONS)
    def go_on(self, actions):
        for worker, task, steps, count, batches in actions:
            self.do("_add", worker, task, steps, count)
            if replays.held(self.target):
                self.do("_draw", batches)

    def _add(self, worker, task, steps, count):
        indices = []
        for _ in range(count):
            transition, number = self.twin.step(worker, task, steps)
            indices.append(self.target.add_step(transition, worker, number))
        return indices

    def _draw(self, count):
        batches = [self.stream.next() for _ in range(count)]
        for batch in batches:
            self.twin.check_batch(batch)
        return [batch["count"].tolist() for batch in batches]

    @stateful.rule(actions=ACTIONS, fails=st.booleans())
    def go_on_all_or_none(self, actions, fails):
        self.do("_add_all_or_none", actions, fails)

    def _add_all_or_none(self, actions, fails):
        before, seen = copy.deepcopy(self.twin), look_at(self.target)
        with contextlib.suppress(InterruptedError), self.target.all_or_none():
            for worker, task, steps, count, _ in actions:
                self._add(worker, task, steps, count)
            assert look_at(self.target) == seen, "taken in too early"
            if fails:
                raise InterruptedError
        if fails:
            self.twin = before
            self.twin.under_way.clear()

    @stateful.rule(next=TASKS)
    def change_task(self, next):
        self.do("_change_task", next)

    def _change_task(self, next):
        self.target.drop_ongoing()
        self.target.on_task_change(0, next)
        self.twin.under_way.clear()

    # What becomes of it.

    @stateful.rule()
    def snapshot(self):
        self.saved.append(Snapshot(self.target, self.stream, self.twin))
        del self.saved[:-2]
        self.target.keep([each.state["replay"] for each in self.saved])
        self.target.flush()
        opened = {e.name for e in self.target._archive.opened.values()}
        needed = opened.union(*(snapshot.needed for snapshot in self.saved))
        there = set(replays.names(self.path))
        assert there >= needed and (there == needed or not self.saved[1:])

    @stateful.rule(closed=st.booleans(), last=st.booleans(), known=st.booleans())
    @stateful.precondition(lambda self: self.saved)
    def resume(self, closed, last, known):
        """From any state that is there, known or not when the folder is opened."""
        snapshot = self.saved[-1 if last else 0]
        self.target.close() if closed else self.die()
        self.open(snapshot.state["replay"] if known else None)
        if replays.held(self.target):
            self.target.stream(1, LENGTH).next()  # leaves no trace
        self.target.set_state(snapshot.state["replay"])
        self.stream.set_state(snapshot.state["stream"])
        self.twin = copy.deepcopy(snapshot.twin)
        again = Snapshot(self.target, self.stream, self.twin)
        assert again.seen == snapshot.seen
        assert again.state == snapshot.state or self.ongoing
        for worker, (task, _, number) in self.twin.under_way.items():
            for transition in self.twin.begun[number]:  # as a driver does
                self.target.add_step(transition, worker, task)
        journal, self.saved = snapshot.journal, []
        if not self.ongoing:  # else rows under way begin anew
            for name, arguments, expected in journal:
                outcome = getattr(self, name)(*arguments), look_at(self.target)
                assert outcome == expected, name
        else:
            snapshot.journal = []
        self.saved = [snapshot]

    @stateful.rule(actions=ACTIONS, closed=st.booleans(), known=st.booleans())
    def resume_after_some_actions(self, actions, closed, known):
        self.go_on(actions)
        self.snapshot()
        self.go_on(actions[::-1])
        self.resume(closed, True, known)

    @stateful.rule()
    def open_again(self):
        """Without a state, after a newcomer: before it nothing is tidied up."""
        self.go_on([(0, 0, MINLEN, LONGEST, 0), (0, 0, MINLEN, MINLEN + 1, 0)])
        self.target.close()
        held = {episode.name for episode in replays.held(self.target).values()}
        needed = held.union(*(snapshot.needed for snapshot in self.saved))
        assert set(replays.names(self.path)) == needed
        self.open()
        folders = [self.path, self.path / store.EVICTED]
        there = {index for folder in folders for index in replays.numbers(folder)}
        arrived = {i: self.twin.arrived[i] for i in self.twin.arrived if i in there}
        assert there == set(arrived), "a file of no episode"
        self.twin.arrived, self.twin.skipped, self.saved = arrived, 0, []
        self.twin.under_way, self.twin.last = {}, [None] * ROWS

    def die(self):
        self.target.flush()
        self.stream.close()
        self.target._archive._folder.close()

    @stateful.invariant()
    def the_counters_are_those_of_what_arrived(self):
        self.target.check_valid()
        held = replays.held(self.target)
        assert look_at(self.target)[0] == self.twin.stats(held)

    @stateful.invariant()
    def what_is_held_is_what_arrived(self):
        for index, episode in replays.held(self.target).items():
            task, number = self.twin.arrived[index]
            assert episode.task == task
            made = replays.stack(self.twin.begun[number])
            replays.assert_same(episode.arrays(), made)

    def teardown(self):
        if hasattr(self, "target"):
            self.target.close()
        self.folder.cleanup()


@pytest.mark.slow
@pytest.mark.filterwarnings(replays.LONG)
@pytest.mark.parametrize("keep", list(retention.RETENTION))
def test_a_replay_stays_valid_and_resumable_whatever_a_run_does(keep):
    draws = set()
    stateful.run_state_machine_as_test(
        functools.partial(Machine, keep, draws),
        settings=settings(
            max_examples=8,
            stateful_step_count=20,
            phases=[Phase.generate],  # a failure is told at once, not minimised
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert draws == set(sampling.SAMPLING)
