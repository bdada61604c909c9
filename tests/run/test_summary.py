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
    found = metrics(FIRST, 10, returns(0.4, 0.9))
    assert found["cl_performance"] == 0.4 and "cl_forgetting" not in found
    found = metrics(FIRST, 20, returns(0.8, 0.9))
    assert (found["cl_performance"], found["cl_forgetting"]) == (0.8, 0.0)
    found = metrics(SECOND, 30, returns(0.5, 0.1))
    assert found["cl_performance"] == pytest.approx(0.3)
    assert found["cl_forgetting"] == pytest.approx(0.3)
    found = metrics(SECOND, 40, returns(0.2, 0.6))
    assert found["cl_performance"] == pytest.approx(0.4)
    assert found["cl_forgetting"] == pytest.approx(0.3)


def test_the_best_value_so_far_and_the_worst_by_hand():
    metrics = summary.OnlineMetrics(SCHEDULE)
    found = metrics(FIRST, 10, returns(0.9, 0.0))
    assert found == {"cl_performance": 0.9, "cl_worst": 0.9}
    found = metrics(FIRST, 20, returns(0.8, 0.3))
    assert found["cl_max_forgetting"] == pytest.approx(0.1)
    assert found["cl_worst"] == 0.8 and "cl_worst_half" not in found
    found = metrics(SECOND, 30, returns(0.1, 0.0))  # the second is not learned yet
    assert found["cl_max_forgetting"] == pytest.approx(0.8)
    assert (found["cl_worst"], found["cl_worst_half"]) == (0.0, 0.1)
    found = metrics(SECOND, 40, returns(0.5, 0.2))
    assert found["cl_max_forgetting"] == pytest.approx(((0.9 - 0.5) + (0.3 - 0.2)) / 2)
    assert (found["cl_worst"], found["cl_worst_half"]) == (0.2, 0.1)


def test_success_counts_where_every_trained_task_tells_it():
    metrics = summary.OnlineMetrics(SCHEDULE)
    success = {"eval_success_0": 1.0}
    found = metrics(FIRST, 10, {**returns(0.4, 0.9), **success})
    assert found["cl_performance"] == 0.4
    success["eval_success_1"] = 0.0
    found = metrics(FIRST, 10, {**returns(0.4, 0.9), **success})
    assert found["cl_performance"] == 1.0


def test_a_task_that_is_not_evaluated_leaves_them_undefined():
    metrics = summary.OnlineMetrics(SCHEDULE)
    assert metrics(FIRST, 20, {"eval_return_0": 1.0}) == {}
    assert metrics(FIRST, 20, {}) == {}


def test_tasks_that_are_evaluated_only_do_not_count():
    metrics = summary.OnlineMetrics(phases.Schedule([20]))
    expected = {"cl_performance": 0.5, "cl_worst": 0.5}
    assert metrics(FIRST, 10, returns(0.5, 0.1)) == expected


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


@pytest.mark.parametrize("envs", [1, 4])
@pytest.mark.parametrize("repeats", [1, 2])
def test_at_the_end_they_are_what_the_whole_curves_say(repeats, envs):
    schedule = phases.Schedule([30, 20, 40], repeats)
    rounds = schedule.logged_ends(envs, 1)
    steps = np.unique([*range(8, rounds[-1][1], 8), *(end for _, end in rounds)])
    values = np.random.default_rng(0).random((3, len(steps)))
    metrics = summary.OnlineMetrics(schedule, envs)
    for column, step in enumerate(steps):
        phase = next(schedule.remaining(step - envs))
        found = metrics(phase, step, returns(*values[:, column]))
        again = summary.OnlineMetrics(schedule, envs)  # as if resumed after each
        again.set_state(json.loads(json.dumps(metrics.get_state())))
        metrics = again
    ends = dict(rounds)
    curves = [evaluations.Curve(steps, row) for row in values]
    expected = [ends[k] for k in range(3)]
    assert found == pytest.approx(
        {
            "cl_performance": continual.average_performance(curves, expected),
            "cl_forgetting": continual.average_forgetting(curves, expected),
            "cl_max_forgetting": continual.max_forgetting(curves, expected),
            "cl_worst": continual.worst_performance(curves, expected),
            "cl_worst_half": continual.worst_in_second_half(
                curves, [end for _, end in rounds]
            ),
        }
    )


def test_a_snapshot_of_an_older_version_knows_no_ends():
    metrics = summary.OnlineMetrics(SCHEDULE)
    metrics.set_state({})
    assert "cl_forgetting" not in metrics(SECOND, 30, returns(0.5, 0.1))


def test_what_an_older_version_did_not_note_is_not_made_up_later():
    metrics = summary.OnlineMetrics(SCHEDULE)
    metrics.set_state({"ends": [[0, 0.8]]})
    for _ in range(2):
        found = metrics(SECOND, 40, returns(0.5, 0.1))
        assert set(found) == {"cl_performance", "cl_forgetting", "cl_worst"}
        state = json.loads(json.dumps(metrics.get_state()))
        metrics = summary.OnlineMetrics(SCHEDULE)
        metrics.set_state(state)
