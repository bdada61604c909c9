"""Laws of the schedule: which task at which step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamerv2.run import phases

STEPS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def tasks_by_step(steps, repeats):
    """The slow twin: the task of every single step of a run."""
    return [
        task
        for _ in range(repeats)
        for task, count in enumerate(steps)
        for _ in range(count)
    ]


@given(steps=STEPS, repeats=st.integers(1, 3))
def test_every_step_belongs_to_the_phase_of_its_task(steps, repeats):
    schedule = phases.Schedule(steps, repeats)
    twin = tasks_by_step(steps, repeats)
    assert schedule.total == len(twin)
    for step, task in enumerate(twin):
        phase = next(schedule.remaining(step))
        assert phase.start <= step < phase.end
        assert phase.task == task


@given(steps=STEPS, repeats=st.integers(1, 3))
def test_phases_follow_each_other_without_a_gap(steps, repeats):
    schedule = phases.Schedule(steps, repeats)
    assert len(schedule.phases) == len(steps) * repeats
    end = 0
    for index, phase in enumerate(schedule.phases):
        assert (phase.index, phase.start) == (index, end)
        assert phase.end - phase.start == steps[phase.task]
        end = phase.end


@given(steps=STEPS, repeats=st.integers(1, 3), data=st.data())
def test_what_remains_at_a_step_is_all_that_is_not_over(steps, repeats, data):
    schedule = phases.Schedule(steps, repeats)
    step = data.draw(st.integers(0, schedule.total + 2))
    remaining = list(schedule.remaining(step))
    assert remaining == [p for p in schedule.phases if p.end > step]
    assert bool(remaining) == (step < schedule.total)


def test_a_phase_that_was_overshot_is_over():
    # Two environments take the run to step 6 although the first phase ends at 5.
    schedule = phases.Schedule([5, 5])
    assert [phase.task for phase in schedule.remaining(6)] == [1]


@pytest.mark.parametrize(
    ("steps", "repeats"), [([], 1), ([0], 1), ([5, 0], 1), ([5, -3], 1), ([5], 0)]
)
def test_a_schedule_without_steps_is_refused(steps, repeats):
    with pytest.raises(ValueError, match="at least one step.*num_task_repeats"):
        phases.Schedule(steps, repeats)


def test_the_last_records_of_phases_are_at_frames_of_whole_steps():
    schedule = phases.Schedule([10, 7], 2)
    assert schedule.logged_ends(1, 1) == [(0, 10), (1, 17), (0, 27), (1, 34)]
    assert schedule.logged_ends(4, 2) == [(0, 24), (1, 40), (0, 56), (1, 72)]
    with pytest.raises(ValueError, match="envs is 0"):
        schedule.logged_ends(0, 1)
