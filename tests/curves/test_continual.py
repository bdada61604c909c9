"""Hand-worked examples and laws of the continual-learning metrics."""

import fake_runs
import numpy as np
import pytest

from common.curves import continual as cm
from common.curves import evaluations

# Two tasks of 100 steps each, evaluated every 50 steps (and before the first one).
STEPS = [0, 50, 100, 150, 200]
FIRST = evaluations.Curve(STEPS, [0.0, 0.4, 0.8, 0.6, 0.2])
SECOND = evaluations.Curve(STEPS, [-0.1, 0.0, 0.2, 0.5, 0.9])
ENDS = [100, 200]
# Runs on one task alone.
SINGLE = [
    evaluations.Curve([0, 50, 100], [0.0, 0.2, 0.6]),
    evaluations.Curve([0, 50, 100], [0.0, 0.1, 0.3]),
]


def test_a_curve_has_the_value_of_the_last_evaluation_at_or_before_a_step():
    assert [FIRST.at(step) for step in (0, 49, 50, 99.9, 100, 1e9)] == [
        *(0.0, 0.0, 0.4, 0.4, 0.8, 0.2)
    ]
    with pytest.raises(ValueError, match="before step 5"):
        evaluations.Curve([10], [1.0]).at(5)


def test_the_area_counts_the_end_of_an_interval_but_not_its_start():
    assert FIRST.mean(0, 100) == pytest.approx((0.4 + 0.8) / 2)
    assert FIRST.mean(100, 200) == pytest.approx((0.6 + 0.2) / 2)
    with pytest.raises(ValueError, match="No evaluation"):
        FIRST.mean(110, 140)


def test_average_performance_by_hand():
    assert cm.average_performance([FIRST, SECOND], ENDS) == pytest.approx(0.55)


def test_average_forgetting_by_hand():
    # (0.8 - 0.2) for the first task, 0 for the last.
    assert cm.average_forgetting([FIRST, SECOND], ENDS) == pytest.approx(0.3)


def test_max_forgetting_counts_from_the_best_evaluation_by_hand():
    late = evaluations.Curve(STEPS, [0.0, 0.0, 0.2, 0.9, 0.5])  # best after its end
    # 0.8 - 0.2, and nothing for a task that is best at the end; 0.9 - 0.5.
    assert cm.max_forgetting([FIRST, SECOND], ENDS) == pytest.approx(0.3)
    assert cm.max_forgetting([late, SECOND], ENDS) == pytest.approx(0.2)
    assert cm.average_forgetting([late, SECOND], ENDS) == pytest.approx(-0.15)


def test_max_forgetting_looks_at_nothing_after_the_end():
    beyond = evaluations.Curve([*STEPS, 250], [0.0, 0.4, 0.8, 0.6, 0.2, 5.0])
    assert cm.max_forgetting([beyond, SECOND], ENDS) == pytest.approx(0.3)


def test_the_worst_task_at_the_end_by_hand():
    assert cm.worst_performance([FIRST, SECOND], ENDS) == 0.2
    assert cm.worst_performance([SECOND, FIRST], ENDS) == 0.2


def test_the_worst_value_of_the_second_half_is_of_tasks_that_were_learned():
    # In (100, 200] the first task has 0.6 and 0.2; of the second only 0.9 counts.
    assert cm.worst_in_second_half([FIRST, SECOND], ENDS) == 0.2
    late = evaluations.Curve(STEPS, [0.0, 0.0, 0.0, 0.1, 0.9])
    assert cm.worst_in_second_half([FIRST, late], ENDS) == 0.2
    dip = evaluations.Curve(STEPS, [0.0, 0.1, 0.05, 0.3, 0.7])
    assert cm.worst_in_second_half([dip, SECOND], ENDS) == 0.3
    # In a second round a task counts from the end of its first training on.
    rounds = [50, 100, 150, 200]
    assert cm.worst_in_second_half([dip, SECOND], rounds) == 0.3
    assert cm.worst_in_second_half([dip.clipped(), FIRST], rounds) == 0.2


def test_negative_values_of_the_second_half_count_as_zero_if_asked():
    curve = evaluations.Curve([50, 100, 150, 200], [0.0, 0.0, -0.5, 0.0])
    assert cm.worst_in_second_half([curve, SECOND], ENDS) == -0.5
    assert cm.worst_in_second_half([curve, SECOND], ENDS, clip_negative=True) == 0.0
    with pytest.raises(ValueError, match="2 curves for 1 ends"):
        cm.worst_in_second_half([curve, SECOND], [100])
    with pytest.raises(ValueError, match="No evaluation in"):
        cm.worst_in_second_half([evaluations.Curve([10], [1.0])], [100])


def test_forward_transfer_by_hand():
    # AUC 0.6 and 0.7, references 0.4 and 0.2.
    expected = ((0.6 - 0.4) / (1 - 0.4) + (0.7 - 0.2) / (1 - 0.2)) / 2
    assert cm.forward_transfer([FIRST, SECOND], ENDS, SINGLE) == pytest.approx(expected)


def test_the_released_forward_transfer_divides_by_the_runs_own_area():
    expected = ((0.6 - 0.4) / (1 - 0.6) + (0.7 - 0.2) / (1 - 0.7)) / 2
    assert cm.forward_transfer_reference(
        [FIRST, SECOND], ENDS, SINGLE
    ) == pytest.approx(expected)


def test_intervals_of_unequal_length_use_as_much_of_the_reference():
    curve = evaluations.Curve([50, 100, 200, 300], [0.5, 0.5, 0.2, 0.4])
    single = evaluations.Curve([50, 100, 200, 300], [0.1, 0.3, 0.4, 0.9])
    value = cm.forward_transfer([curve, curve], [100, 300], [single, single])
    expected = ((0.5 - 0.2) / 0.8 + (0.3 - (0.1 + 0.3 + 0.4) / 3) / (1 - 0.8 / 3)) / 2
    assert value == pytest.approx(expected)


def test_a_perfect_reference_makes_transfer_undefined():
    perfect = evaluations.Curve([100], [1.0])
    assert np.isnan(cm.forward_transfer([FIRST], [100], [perfect]))


def test_negative_values_count_as_zero_if_asked():
    curves = [
        evaluations.Curve([0, 10, 20], [0.5, 0.5, -0.3]),
        evaluations.Curve([20], [-0.1]),
    ]
    ends = [10, 20]
    assert cm.average_performance(curves, ends) == pytest.approx(-0.2)
    assert cm.average_performance(curves, ends, clip_negative=True) == 0.0
    assert cm.average_forgetting(curves, ends) == pytest.approx(0.4)
    assert cm.average_forgetting(curves, ends, True) == pytest.approx(0.25)
    single = [evaluations.Curve([10], [-1.0]), evaluations.Curve([10], [0.5])]
    assert cm.forward_transfer(curves, ends, single, True) == pytest.approx(
        (0.5 / 1 + -0.5 / 0.5) / 2
    )


def test_several_references_of_a_task_are_seeds_whose_areas_are_averaged():
    other = evaluations.Curve([50, 100], [0.6, 1.0])  # AUC 0.8, beside 0.4
    value = cm.forward_transfer([FIRST, SECOND], ENDS, [[SINGLE[0], other], SINGLE[1]])
    expected = ((0.6 - 0.6) / (1 - 0.6) + (0.7 - 0.2) / (1 - 0.2)) / 2
    assert value == pytest.approx(expected)
    with pytest.raises(ValueError, match="1 references for 2 ends"):
        cm.forward_transfer([FIRST, SECOND], ENDS, SINGLE[:1])


def test_the_terms_by_task_add_up_to_the_averages():
    assert cm.task_performance([FIRST, SECOND], ENDS).tolist() == [0.2, 0.9]
    assert cm.task_forgetting([FIRST, SECOND], ENDS) == pytest.approx([0.6, 0.0])
    terms = cm.task_forward_transfer([FIRST, SECOND], ENDS, SINGLE)
    assert terms == pytest.approx([0.2 / 0.6, 0.5 / 0.8])
    terms = cm.task_forward_transfer_reference([FIRST, SECOND], ENDS, SINGLE)
    assert terms == pytest.approx([0.2 / 0.4, 0.5 / 0.3])


def test_the_matrix_has_every_task_before_and_after_the_training_on_each():
    matrix = cm.task_matrix([FIRST, SECOND], ENDS)
    assert matrix.tolist() == [[0.0, -0.1], [0.8, 0.2], [0.2, 0.9]]
    clipped = cm.task_matrix([FIRST, SECOND], ENDS, clip_negative=True)
    assert clipped[0].tolist() == [0.0, 0.0]


def test_the_matrix_takes_further_tasks_and_further_rounds():
    curve = evaluations.Curve([10, 20, 30, 40], [0.1, 0.2, 0.3, 0.4])
    late = evaluations.Curve([30], [0.7])
    matrix = cm.task_matrix([curve, curve, late], [15, 25, 30, 40])
    assert matrix[:, 0].tolist() == [0.1, 0.1, 0.2, 0.3, 0.4]
    np.testing.assert_array_equal(matrix[:, 2], [np.nan, np.nan, np.nan, 0.7, 0.7])
    at_the_end = cm.task_matrix([late], [30, 40])
    assert np.isnan(at_the_end[0, 0])  # its first evaluation is after all training
    with pytest.raises(ValueError, match="ends"):
        cm.task_matrix([curve], [20, 20])


def test_zero_shot_transfer_by_hand():
    matrix = [[0.1, 0.2, 0.0], [0.9, 0.5, 0.3], [0.4, 0.8, 0.6], [0.3, 0.7, 1.0]]
    value = cm.zero_shot_transfer(np.array(matrix))
    assert value == pytest.approx(((0.5 - 0.2) + (0.6 - 0.0)) / 2)
    assert np.isnan(cm.zero_shot_transfer(np.array([[0.1], [0.9]])))  # one task
    matrix[0][1] = np.nan
    assert np.isnan(cm.zero_shot_transfer(np.array(matrix)))


def test_performance_plus_forgetting_is_what_was_once_known():
    rng = np.random.default_rng(0)
    curves = [evaluations.Curve(range(0, 500, 10), rng.random(50)) for _ in range(4)]
    ends = [100, 250, 260, 490]
    known = np.mean([c.at(end) for c, end in zip(curves, ends, strict=True)])
    total = cm.average_performance(curves, ends) + cm.average_forgetting(curves, ends)
    assert total == pytest.approx(known)


def test_counts_and_order_of_ends_are_checked():
    both = [FIRST, SECOND]
    for curves, ends in (
        (both[:1], ENDS),
        ([], []),
        (both, ENDS[::-1]),
        ([FIRST], [0]),
    ):
        with pytest.raises(ValueError, match="ends"):
            cm.average_performance(curves, ends)


def test_a_curve_needs_increasing_steps_and_as_many_values():
    for steps, values, words in (
        ([0, 1], [1.0], "as many steps"),
        ([], [], "at least one"),
        ([1, 1], [0, 0], "have to increase"),
        ([2, 1], [0, 0], "have to increase"),
    ):
        with pytest.raises(ValueError, match=words):
            evaluations.Curve(steps, values)


def test_evaluations_are_read_from_json_lines(tmp_path, caplog):
    records = [
        {"step": 10, "eval_return_0": 0.5, "eval_success_0": 1, "loss": 3.0},
        {"step": 10, "eval_return_11": 0.1},
        {"step": 0, "eval_return_0": 0.0, "eval_return_11": None},
        {"step": 10, "eval_return_0": 0.75},
        {"step": 20, "eval_return_0_old": 9.0, "xeval_return_0": 9.0},
    ]
    tail = '[1]\n\n{"step": 30, "eval_return_0": 0'
    path = fake_runs.write_log(tmp_path, records, tail=tail)
    curves = evaluations.read(path)
    assert list(curves) == [0, 11]
    assert curves[0].steps.tolist() == [0, 10]
    assert curves[0].values.tolist() == [0.0, 0.75]
    assert curves[11].values.tolist() == [0.1]
    assert "3 lines" in caplog.text
    assert evaluations.read(path, "eval_success")[0].values.tolist() == [1.0]
    assert evaluations.read(path, "nothing") == {}
