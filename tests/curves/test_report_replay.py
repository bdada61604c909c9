"""Laws of what a report says of replays, and of its pictures."""

import dataclasses

import fake_runs
import numpy as np
import pytest

from common.replay import counts as counts_lib
from dreamerv2.report import figures, replay, results
from dreamerv2.report import runs as runs_lib

A, B = fake_runs.TASKS


def runs_of(tmp_path, *logs, steps=10, tasks=(A, B), **settings):
    """Runs whose metrics.jsonl are these lists of records."""
    for seed, records in enumerate(logs):
        folder = fake_runs.write(
            tmp_path, f"a_s{seed}", seed, steps=steps, tasks=tasks, **settings
        )
        fake_runs.write_log(folder, records)
    return runs_lib.load([tmp_path])[0]


def test_shares_held_are_means_over_runs_at_each_moment(tmp_path):
    one = [
        {"step": 4, "er_steps_0": 4},
        {"step": 12, "er_steps_0": 6, "er_steps_1": 2},
    ]
    two = [{"step": 12, "er_steps_0": 0, "er_steps_1": 5}]
    found = replay.held(runs_of(tmp_path, one, two))
    assert found.unit == "steps" and found.xs[-1] == 20
    at = dict(zip(found.xs.tolist(), found.shares.T.tolist(), strict=True))
    assert np.isnan(at[2.0]).all()  # nothing yet
    assert at[4.0] == [1.0, 0.0]  # the second run holds nothing yet
    assert at[12.0] == at[20.0] == [pytest.approx(0.375), pytest.approx(0.625)]


def test_older_runs_tell_the_episodes_held(tmp_path):
    records = [{"step": x, "return": 0, "er_task_0": x, "er_task_1": x} for x in (5, 9)]
    found = replay.held(runs_of(tmp_path, records))
    assert found.unit == "episodes"
    assert found.shares[:, -1].tolist() == [0.5, 0.5]
    assert replay.drawn(runs_of(tmp_path, records)) is None
    assert replay.arrivals(runs_of(tmp_path, records)) is None


def test_shares_drawn_are_of_what_was_drawn_in_between(tmp_path):
    records = [
        {"step": 10, "drawn_task_0": 40},
        {"step": 15, "drawn_task_0": 50, "drawn_task_1": 10},
        {"step": 20, "drawn_task_0": 50, "drawn_task_1": 40},
    ]
    found = replay.drawn(runs_of(tmp_path, records))
    # A third of the run each: nothing, up to 13.3 the first task alone, then both.
    assert found.xs == pytest.approx([20 / 3, 40 / 3, 20])
    before, first, both = found.shares.T.tolist()
    assert np.isnan(before).all() and first == [1.0, 0.0]
    assert both == pytest.approx([(50 - 140 / 3) / (90 - 140 / 3), 40 / (90 - 140 / 3)])


def counters(step, arrived, draws):
    """What a run logs at the end of a phase after these draws."""
    counts = counts_lib.Counts()
    for index in draws:
        counts.add(0, index)
    return {"step": step, "total_episodes": arrived, **counts.by_arrival()}


def test_the_histogram_tells_which_episodes_were_drawn_in_which_phase(tmp_path):
    first = [0, 0, 1, 2]
    second = [2, 3, 3, 3, 4]
    log = [counters(10, 3, first), counters(20, 5, first + second)]
    found = replay.arrivals(runs_of(tmp_path, log))
    assert found.edges.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.windows.tolist() == [[2, 1, 1, 0, 0], [0, 0, 1, 3, 1]]
    assert found.ends.tolist() == [3, 5]


def test_histograms_of_different_width_are_joined_at_the_widest(tmp_path):
    # The first run has bins of 1, then 2 episodes; the second has bins of 4.
    early, late = [0, 1, 1, 31], [40, 63]
    one = [counters(10, 32, early), counters(20, 64, early + late)]
    two = [counters(10, 60, [59]), counters(20, 100, [59, 99])]
    runs = runs_of(tmp_path, one, two)
    found = replay.arrivals(runs[:1])
    assert np.diff(found.edges).tolist() == [2.0] * 32
    assert (found.windows.sum(axis=1) * 2).tolist() == [4, 2]
    assert found.windows[0, 0] == 1.5  # three windows of two episodes
    found = replay.arrivals(runs)
    assert np.diff(found.edges).tolist() == [4.0] * 25
    assert found.windows[0, 0] == (3 / 4 + 0) / 2
    assert found.windows[1, 24] == 1 / 4  # the first run has no such episodes
    assert found.ends.tolist() == [46, 82]


# Pictures.


def benchmark_of(tmp_path, methods=1, **options):
    for k in range(methods):
        fake_runs.write(tmp_path, f"m{k:02d}_s0", value=lambda *_: 0.3, **options)
    return results.evaluate(runs_lib.load([tmp_path])[0])[0]


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]


@pytest.mark.slow
def test_there_is_a_matrix_a_column_and_a_histogram_for_each_method(tmp_path):
    benchmark = benchmark_of(tmp_path, methods=5)
    names = [f"m{k:02d}" for k in range(5)]
    assert titles(figures.matrices(benchmark, "success")) == names
    assert titles(figures.arrivals(benchmark)) == names
    figure = figures.replay(benchmark)
    assert [title for title in titles(figure) if title] == names
    held, drawn = figure.axes[0], figure.axes[4]
    assert held.get_ylabel().startswith("share held")
    assert drawn.get_ylabel().startswith("share drawn")
    assert len(held.collections) == len(drawn.collections) == 2  # tasks


def test_cells_of_a_matrix_are_numbers_and_the_line_runs_between_tasks(tmp_path):
    benchmark = benchmark_of(tmp_path, extra=["MiniGrid-C-v0"])
    (axes,) = figures.matrices(benchmark, "success").axes
    assert [text.get_text() for text in axes.texts] == ["0.30"] * 9
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["1 A", "2 B", "3 C"]
    (line,) = axes.lines
    corners = list(zip(*line.get_data(), strict=True))
    assert (0.5, 1.5) in corners and (0.5, 0.5) in corners  # under and over "after 1"
    assert (1.5, 1.5) in corners and (1.5, 2.5) in corners


def test_unfinished_runs_have_lines_of_their_own(tmp_path):
    fake_runs.write(tmp_path, "a_s0")
    fake_runs.write(tmp_path, "a_s1", 1, until=120)
    benchmark, *_ = results.evaluate(runs_lib.load([tmp_path])[0])
    figure = figures.evaluation_curves([benchmark], "eval_success")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "a, 1 seed" in labels and "a (unfinished), 1 seed" in labels


def test_what_no_run_tells_has_no_picture(tmp_path):
    benchmark = benchmark_of(tmp_path, replay=False, success=False)
    assert figures.replay(benchmark) is None
    assert figures.arrivals(benchmark) is None
    assert figures.matrices(benchmark, "success") is None
    assert figures.evaluation_curves([benchmark], "eval_success") is None
    empty = dataclasses.replace(benchmark, methods={})
    assert figures.replay(empty) is None
