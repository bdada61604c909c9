"""Laws of the figures: what is read, how seeds are joined, what is written."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

plot = pytest.importorskip("common.plot", reason="needs matplotlib")
ROOT = pathlib.Path(__file__).parent.parent


def write(folder, records, config="", tail=""):
    folder.mkdir(parents=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(text + tail)
    if config:
        (folder / "config.yaml").write_text(config)


def continual(tasks=3, length=100, every=10):
    return [
        {
            "step": step,
            "task": min(max(step - 1, 0) // length, tasks - 1),
            **{f"eval_success_{k}": float(step > k * length) for k in range(tasks)},
        }
        for step in range(0, tasks * length + 1, every)
    ]


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_runs_are_named_by_their_folders_and_their_configuration(tmp_path):
    points = [{"step": 1, "eval_return": 2.0}]
    write(tmp_path / "atari_pong" / "dreamerv2" / "3", points)
    write(tmp_path / "rs_s3_1M", points, "task: gym_x\ntasks: [A-v0, 'B']\nseed: 3\n")
    write(tmp_path / "p2e0.9_seed4", points, "tasks: []\n")
    write(tmp_path / "steps_s", points)
    runs = {run.path.parent.name: run for run in plot.load_runs([tmp_path])}
    assert (runs["3"].task, runs["3"].method) == ("atari_pong", "dreamerv2")
    assert (runs["rs_s3_1M"].task, runs["rs_s3_1M"].method) == ("gym_x", "rs_1M")
    assert runs["rs_s3_1M"].task_names == ("A-v0", "B")
    assert runs["p2e0.9_seed4"].method == "p2e0.9"
    assert runs["p2e0.9_seed4"].task_names == ()
    assert runs["steps_s"].method == "steps_s"


def test_seeds_are_joined_to_mean_and_deviation_where_they_have_values():
    one = np.array([[0, 1.0], [10, 2.0], [20, 3.0]])
    two = np.array([[0, 3.0], [10, 6.0], [20, 3.0]])
    xs, mean, std = plot.aggregate([one, two])
    assert xs.tolist() == [0, 10, 20]
    assert mean.tolist() == [2, 4, 3]
    assert std.tolist() == [1, 2, 0]
    xs, mean, std = plot.aggregate([one, two[:2]], bins=10)
    assert mean.tolist() == [2, 4, 3]


def test_bins_average_what_lies_before_their_end():
    points = np.array([[0, 8.0], [1, 1.0], [10, 3.0], [11, 5.0], [40, 7.0]])
    xs, mean, _ = plot.aggregate([points], bins=10)
    assert xs.tolist() == [0, 10, 20, 40]
    assert mean.tolist() == [8, 2, 5, 7]


def test_seeds_at_different_steps_share_bins_of_their_own_accord():
    rng = np.random.default_rng(0)
    seeds = [
        np.stack([np.sort(rng.uniform(0, 1e6, 500)), rng.normal(size=500)], axis=1)
        for _ in range(3)
    ]
    xs, _, std = plot.aggregate(seeds)
    assert 40 <= len(xs) <= 51
    assert (std > 0).all()


def test_the_running_mean_equals_its_twin():
    values = np.random.default_rng(0).normal(size=50)
    twin = [values[max(0, i - 6) : i + 1].mean() for i in range(50)]
    np.testing.assert_allclose(plot.running_mean(values, 7), twin)


def test_training_intervals_follow_the_task_of_the_records(tmp_path):
    write(tmp_path / "a", continual() + [{"step": 310, "task": 0}])
    (run,) = plot.load_runs([tmp_path])
    assert run.intervals("step") == [
        *((0, 0.0, 100.0), (1, 100.0, 200.0), (2, 200.0, 300.0), (0, 300.0, 310.0))
    ]


def test_a_continual_run_has_a_panel_for_each_task_shaded_where_it_was_trained(
    tmp_path,
):
    write(tmp_path / "a", continual())
    runs = plot.load_runs([tmp_path])
    figure = plot.draw(runs, "step", "eval_success")
    assert titles(figure) == ["Task 1", "Task 2", "Task 3"]
    for k, axes in enumerate(figure.axes):
        (shade,) = axes.patches
        assert (shade.get_x(), shade.get_width()) == (100 * k, 100)
        (line,) = axes.lines
        np.testing.assert_array_equal(line.get_ydata(), line.get_xdata() > 100 * k)


def test_methods_share_panels_and_are_named_once_with_their_seeds(tmp_path):
    for method in ("one", "two"):
        for seed in range(2):
            for task in ("pong", "boxing"):
                points = [{"step": s, "eval_return_0": s + seed} for s in (0, 5, 9)]
                write(tmp_path / task / method / str(seed), points)
    write(tmp_path / "pong" / "two" / "7", [{"step": 0, "eval_return_0": 3}])
    figure = plot.draw(plot.load_runs([tmp_path]), "step", "eval_return")
    assert titles(figure) == ["boxing", "pong"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "one (2 seeds)",
        "two (3 seeds)",
    ]


def test_the_picture_at_the_end_of_a_run_is_written(tmp_path):
    write(tmp_path / "run", continual(), tail='{"step": 400, "eval_')
    out = tmp_path / "new" / "curves.png"
    assert plot.plot_continual(tmp_path / "run" / "metrics.jsonl", out, ["A", "B", "C"])
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("content", [None, "", '{"step": 1, "loss": 2}\n', '{"st'])
def test_nothing_to_draw_is_a_warning_with_the_name_of_the_file(
    tmp_path, caplog, content
):
    path = tmp_path / "metrics.jsonl"
    if content is not None:
        path.write_text(content)
    assert not plot.plot_continual(path, tmp_path / "x.png", ["A"])
    assert not (tmp_path / "x.png").exists()
    assert str(path) in caplog.text


def script(*words, cwd):
    command = [sys.executable, str(ROOT / "common" / "plot.py"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_the_script_draws_good_runs_and_names_bad_ones(tmp_path):
    good = [{"step": s, "eval_return": s / 9, "bad": None} for s in range(9)]
    write(tmp_path / "in" / "pong" / "dreamerv2" / "1", good, tail='{"step": 9, "ev')
    write(tmp_path / "in" / "pong" / "dreamerv2" / "2", [])
    done = script(
        *("--indir", tmp_path / "in", tmp_path / "none", "--outdir", tmp_path / "out"),
        *("--xaxis", "step", "--yaxis", "eval_return", "--bins", "1e6"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "eval_return.png").read_bytes().startswith(b"\x89PNG")
    for part in ("dreamerv2/1/metrics.jsonl", "dreamerv2/2/metrics.jsonl", "none"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_says_which_metrics_there_are(tmp_path):
    write(tmp_path / "a", [{"step": 1, "loss": 2}])
    assert plot.main(["--indir", str(tmp_path), "--outdir", str(tmp_path / "o")]) == 1
    done = script("--indir", tmp_path, "--outdir", tmp_path / "o", cwd=tmp_path)
    assert done.returncode == 1
    assert "loss, step" in done.stderr and "'eval_return'" in done.stderr
