"""Laws of intervals and numbers that change with the step count."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from common import schedules


def test_every_fires_at_its_first_call_then_once_for_each_interval():
    every = schedules.Every(10)
    fired = [step for step in range(3, 40) if every(step)]
    assert fired == [3, 13, 23, 33]
    every = schedules.Every(10)
    calls = [0, 35, 36, 39, 40, 49, 50]  # several intervals pass at once
    assert [step for step in calls if every(step)] == [0, 35, 40, 50]


@hypothesis.given(
    st.integers(1, 20), st.lists(st.integers(0, 30), min_size=1), st.integers(0, 9)
)
@hypothesis.settings(max_examples=100)
def test_every_equals_its_twin_that_walks_all_steps_also_over_a_resume(n, gaps, stop):
    steps = np.cumsum(gaps).tolist()
    every, fired = schedules.Every(n), []
    for index, step in enumerate(steps):
        if index == stop:
            state = every.get_state()
            every = schedules.Every(n)
            every.set_state(state)
        fired.append(every(step))
    passed = [
        any((t - steps[0]) % n == 0 for t in range(before + 1, now + 1))
        for before, now in zip(steps, steps[1:], strict=False)
    ]
    assert fired == [True, *passed]


def test_zero_means_never_for_every_and_always_for_until():
    assert not any(map(schedules.Every(0), range(50)))
    assert all(map(schedules.Until(0), range(50)))


def test_until_ends_at_its_limit():
    assert [step for step in range(9) if schedules.Until(3)(step)] == [0, 1, 2]


@pytest.mark.parametrize("value", [-1, 2.5, math.inf, math.nan])
@pytest.mark.parametrize("kind", [schedules.Every, schedules.Until])
def test_intervals_and_limits_are_whole_numbers(kind, value):
    with pytest.raises(ValueError, match=str(value)):
        kind(value)
    assert kind(1e3)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        (0.5, {0: 0.5, 1e9: 0.5}),
        ("2e-3", {0: 2e-3, 5: 2e-3}),
        ("-1", {7: -1.0}),
        ("linear(1, 0.2, 10)", {0: 1.0, 5: 0.6, 10: 0.2, 11: 0.2, 1e9: 0.2}),
        ("linear(0,-4,4)", {0: 0.0, 1: -1.0, 9: -4.0}),
        ("warmup(10,3)", {0: 0.0, 5: 1.5, 10: 3.0, 99: 3.0}),
        ("exp(5,1,100)", {0: 5.0, 100: 3.0, 200: 2.0, 1e6: 1.0}),
        ("horizon(10,100,1e3)", {0: 0.9, 500: 1 - 1 / 55, 1000: 0.99, 5000: 0.99}),
    ],
)
def test_schedules_have_the_values_worked_out_by_hand(expression, values):
    for step, value in values.items():
        assert schedules.parse(expression)(step) == pytest.approx(value, abs=1e-12)


def test_a_schedule_reads_what_it_writes():
    for expression in ("3", "linear(1,.1,1e8)", "warmup(7,2)", "horizon(5,9,1)"):
        schedule = schedules.parse(expression)
        assert schedules.parse(str(schedule)) == schedule


def test_a_bad_expression_is_named_along_with_the_known_forms():
    for expression in (
        *("", "fast", "1,2", "inf", "cosine(1,2,3)", "linear(1,2,3) + 1"),
        *("linear", "linear(1,2)", "linear(1,2,x)", "linear(1,2,0)"),
        *("warmup(-5,1)", "exp(1,0,0)", "exp(1,nan,5)", "horizon(0.5,2,3)"),
    ):
        with pytest.raises(ValueError) as error:
            schedules.parse(expression)
        assert repr(expression) in str(error.value)
        assert "warmup(w,v)" in str(error.value)
