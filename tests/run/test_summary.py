"""Laws of performance and forgetting while a run is under way."""

import json

import numpy as np
import pytest

from common.curves import continual, evaluations
from dreamerv2.run import phases, summary

SCHEDULE = phases.Schedule([20, 20])
FIRST, SECOND = SCHEDULE.phases


def returns(*values):
    return {f"eval_return_{k}": value for k, value in enumerate(values)}


def test_performance_is_over_tasks_begun_and_forgetting_over_tasks_ended():
    metrics = summary.OnlineMetrics(SCHEDULE)
    assert metrics(FIRST, 10, returns(0.4, 0.9)) == {"cl_performance": 0.4}
    ended = {"cl_performance": 0.8, "cl_forgetting": 0.0}
    assert metrics(FIRST, 20, returns(0.8, 0.9)) == ended
    found = metrics(SECOND, 30, returns(0.5, 0.1))
    assert found == pytest.approx({"cl_performance": 0.3, "cl_forgetting": 0.3})
    found = metrics(SECOND, 40, returns(0.2, 0.6))
    assert found == pytest.approx({"cl_performance": 0.4, "cl_forgetting": 0.3})


def test_success_counts_where_every_trained_task_tells_it():
    metrics = summary.OnlineMetrics(SCHEDULE)
    success = {"eval_success_0": 1.0}
    found = metrics(FIRST, 10, {**returns(0.4, 0.9), **success})
    assert found == {"cl_performance": 0.4}
    success["eval_success_1"] = 0.0
    found = metrics(FIRST, 10, {**returns(0.4, 0.9), **success})
    assert found == {"cl_performance": 1.0}


def test_a_task_that_is_not_evaluated_leaves_them_undefined():
    metrics = summary.OnlineMetrics(SCHEDULE)
    assert metrics(FIRST, 20, {"eval_return_0": 1.0}) == {}
    assert metrics(FIRST, 20, {}) == {}


def test_tasks_that_are_evaluated_only_do_not_count():
    metrics = summary.OnlineMetrics(phases.Schedule([20]))
    assert metrics(FIRST, 10, returns(0.5, 0.9)) == {"cl_performance": 0.5}


def test_in_a_second_round_a_task_is_measured_from_its_last_end():
    schedule = phases.Schedule([20, 20], 2)
    metrics = summary.OnlineMetrics(schedule)
    for phase, value in zip(schedule.phases, (0.2, 0.4, 0.8, 0.5), strict=True):
        found = metrics(phase, phase.end, returns(value, 0.4))
    # The first task ended at 0.8 and is at 0.5 now; the second at 0.4 both times.
    assert found["cl_forgetting"] == pytest.approx((0.8 - 0.5) / 2)


def test_several_environments_may_step_beyond_the_end_of_a_task():
    metrics = summary.OnlineMetrics(phases.Schedule([10, 10]))
    first, second = phases.Schedule([10, 10]).phases
    assert metrics(first, 12, returns(0.5, 0.7))["cl_performance"] == 0.5
    assert metrics(second, 16, returns(0.5, 0.7))["cl_performance"] == 0.6


@pytest.mark.parametrize("repeats", [1, 2])
def test_at_the_end_they_are_what_the_whole_curves_say(repeats):
    schedule = phases.Schedule([30, 20, 40], repeats)
    values = np.random.default_rng(0).random((3, schedule.total // 10))
    steps = np.arange(1, schedule.total // 10 + 1) * 10
    metrics = summary.OnlineMetrics(schedule)
    for column, step in enumerate(steps):
        phase = next(schedule.remaining(step - 1))
        found = metrics(phase, step, returns(*values[:, column]))
        again = summary.OnlineMetrics(schedule)  # as if resumed after each
        again.set_state(json.loads(json.dumps(metrics.get_state())))
        metrics = again
    ends = dict(schedule.logged_ends(1, 1))
    curves = [evaluations.Curve(steps, row) for row in values]
    expected = [ends[k] for k in range(3)]
    assert found == pytest.approx(
        {
            "cl_performance": continual.average_performance(curves, expected),
            "cl_forgetting": continual.average_forgetting(curves, expected),
        }
    )


def test_a_snapshot_of_an_older_version_knows_no_ends():
    metrics = summary.OnlineMetrics(SCHEDULE)
    metrics.set_state({})
    assert "cl_forgetting" not in metrics(SECOND, 30, returns(0.5, 0.1))
