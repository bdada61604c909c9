"""Laws of the figures: which panels and lines there are, what is written, bad input."""

import json
import pathlib
import subprocess
import sys

import fake_runs
import numpy as np
import pytest

from common.curves import bands, panels

pytest.importorskip("matplotlib")

from common import plot  # noqa: E402
from common.curves import drawing  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write_runs(root, tasks=("atari_pong", "atari_boxing"), methods=("one", "two")):
    for method in methods:
        for seed in range(2):
            for task in tasks:
                points = [{"step": s, "eval_return_0": s + seed} for s in (0, 5, 9)]
                fake_runs.write_log(root / task / method / str(seed), points)


def continual(tasks=3, length=100, every=10):
    return [
        {
            "step": step,
            "task": min(max(step - 1, 0) // length, tasks - 1),
            **{f"eval_success_{k}": float(step > k * length) for k in range(tasks)},
        }
        for step in range(0, tasks * length + 1, every)
    ]


@pytest.fixture
def show(tmp_path, monkeypatch):
    """Calls the script; returns its figure (not written as a picture) and its JSON."""

    def call(*words, metric="eval_return"):
        figures = []
        monkeypatch.setattr(
            drawing, "save", lambda figure, *_: figures.append(figure) or []
        )
        words = [*map(str, words), "--outdir", str(tmp_path), "--yaxis", metric]
        assert plot.main(words) == 0
        return figures[0], json.loads((tmp_path / f"{metric}.json").read_text())

    return call


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# Panels and lines.


def test_methods_share_panels_and_are_named_once_with_their_seeds(tmp_path, show):
    write_runs(tmp_path)
    fake_runs.write_log(
        tmp_path / "atari_pong/two/7", [{"step": 0, "eval_return_0": 3}]
    )
    figure, _ = show("--indir", tmp_path)
    assert titles(figure) == ["Boxing", "Pong"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert legend(figure)[:2] == ["one, 2 seeds", "two, 3 seeds"]
    colors = [[line.get_color() for line in axes.lines] for axes in figure.axes]
    assert colors[0] == colors[1] and len(set(colors[0])) == 2


def test_a_continual_run_has_a_panel_for_each_task_shaded_where_it_was_trained(
    tmp_path, show
):
    fake_runs.write_log(
        tmp_path / "a", continual(), "cl: true\ntasks: [MiniGrid-A-v0, B, C-2]\n"
    )
    figure, _ = show("--indir", tmp_path, metric="eval_success")
    assert titles(figure) == ["A", "B", "C 2"]
    for k, axes in enumerate(figure.axes):
        (shade,) = axes.patches
        assert (shade.get_x(), shade.get_width()) == (100 * k, 100)
        (line,) = axes.lines
        np.testing.assert_array_equal(line.get_ydata(), line.get_xdata() > 100 * k)
    assert "training on this task" in legend(figure)


def test_patterns_choose_tasks_and_methods_and_their_order(tmp_path, show):
    write_runs(tmp_path, ("a", "b", "c"), ("x", "y", "z"))
    words = ("--tasks", "c", "a", "--methods", "z", "y")
    figure, content = show("--indir", tmp_path, *words)
    assert titles(figure) == ["C", "A"]
    assert legend(figure)[:2] == ["z, 2 seeds", "y, 2 seeds"]
    assert {run["method"] for run in content["runs"]} == {"y", "z"}


def test_labels_are_pairs_as_the_ancestors_had_them_or_equations(tmp_path, show):
    write_runs(tmp_path)
    words = ("one", "First", "atari_pong", "PONG!")
    figure, _ = show("--indir", tmp_path, "--labels", *words)
    assert "PONG!" in titles(figure) and "First, 2 seeds" in legend(figure)
    figure, _ = show("--indir", tmp_path, "--labels", "two=2nd", "step=frames")
    assert "2nd, 2 seeds" in legend(figure)
    assert figure.axes[0].get_xlabel() == "frames"


def test_limits_sizes_columns_and_palette_are_kept(tmp_path, show):
    write_runs(tmp_path)
    words = ("--cols", 1, "--size", 6, 2, "--xlim", 0, 6, "--ylim", -3, 7)
    figure, content = show("--indir", tmp_path, *words, "--palette", "red", "#00ff00")
    assert figure.axes[0].get_xlim() == (0, 6) and figure.axes[0].get_ylim() == (-3, 7)
    assert [line.get_color() for line in figure.axes[0].lines] == ["red", "#00ff00"]
    assert content["runs"][0]["xs"] == [0, 5], "what is outside does not scale y"
    assert figure.get_figwidth() == 6
    assert figure.axes[0].get_position().x0 == figure.axes[1].get_position().x0


def test_many_methods_differ_in_colour_or_dashes(tmp_path, show):
    names = [f"m{chr(97 + i)}" for i in range(20)]
    write_runs(tmp_path, ("a",), names)
    figure, _ = show("--indir", tmp_path)
    lines = figure.axes[0].lines
    assert len({(x.get_color(), str(x._dash_pattern)) for x in lines}) == 20


def test_titles_are_for_people(tmp_path, show):
    names = {
        "atari_ms_pacman": "Ms Pacman",
        "dmc_walker_walk": "Walker Walk",
        "minigrid_MiniGrid-DoorKey-9x9-v0": "DoorKey 9x9",
        "MiniHack-Room-Random-15x15-v0": "Room Random 15x15",
        "gym_ALE/Pong-v5": "Pong",
        "crafter_reward": "Crafter Reward",
    }
    for k, task in enumerate(names):
        records = [{"step": 1, "eval_return": 2}]
        fake_runs.write_log(tmp_path / f"{k}", records, f"task: {task}\n")
    assert titles(show("--indir", tmp_path)[0]) == list(names.values())


def test_equal_titles_of_two_tasks_give_way_to_their_names(tmp_path, show):
    write_runs(tmp_path, ("gym_Pong-v5", "atari_pong"))
    assert set(titles(show("--indir", tmp_path)[0])) == {"gym_Pong-v5", "atari_pong"}


def test_ticks_are_short():
    texts = {2.5e6: "2.5M", 1e6: "1M", 5e4: "50k", 0.05: "0.05", 0: "0"}
    assert {value: drawing._short(value) for value in texts} == texts


def test_the_running_mean_equals_its_twin():
    values = np.random.default_rng(0).normal(size=50)
    twin = [values[max(0, i - 6) : i + 1].mean() for i in range(50)]
    np.testing.assert_allclose(bands.running_mean(values, 7), twin)


# Published curves, statistics, JSON.


def test_published_curves_stand_beside_own_runs_of_the_same_task_only(tmp_path, show):
    fake_runs.write_log(tmp_path / "atari_pong/me/1", [{"step": 5e6, "eval_return": 3}])
    fake_runs.write_log(tmp_path / "gym_x/me/1", [{"step": 5e6, "eval_return": 3}])
    words = ("--baselines", "published", "human_gamer", "random")
    figure, content = show("--indir", tmp_path, *words)
    assert titles(figure) == ["Pong", "X"]
    seeds = {(e["task"], e["method"]): e["seeds"] for e in content["bands"]}
    assert seeds[("atari_pong", "published")] == 8
    assert seeds[("atari_pong", "published_schedules")] == 4
    assert {method for task, method in seeds if task == "gym_x"} == {"me"}
    lines = {e["name"]: e["value"] for e in content["references"]}
    assert lines == {"human_gamer": 14.6, "random": -20.7}
    ends = [r["xs"][-1] for r in content["runs"] if r["method"] == "published"]
    assert max(ends) == 10e6, "as far as the run, but a 20th of it at least"


def test_limits_of_x_show_all_of_the_published_curves(tmp_path, show):
    fake_runs.write_log(tmp_path / "atari_pong/me/1", [{"step": 5e6, "eval_return": 3}])
    words = ("--baselines", "published$", "--xlim", 0, 5e7)
    _, content = show("--indir", tmp_path, *words)
    assert max(run["xs"][-1] for run in content["runs"]) == 5e7


def test_bins_longer_than_the_runs_are_a_warning(tmp_path, show, caplog):
    write_runs(tmp_path, ("a",), ("one",))
    _, content = show("--indir", tmp_path, "--bins", 1e6)
    assert content["bands"][0]["xs"] == [0, 9]
    assert "1e+06" in caplog.text and " 9." in caplog.text


def test_without_runs_the_published_curves_of_the_tasks_are_drawn(show):
    figure, content = show("--baselines", "published$", "--tasks", "dmc_walker")
    assert titles(figure) == ["Walker Run", "Walker Stand", "Walker Walk"]
    assert {run["method"] for run in content["runs"]} == {"published"}


def test_an_unknown_baseline_is_an_error_that_names_those_there_are(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        plot.main(["--outdir", str(tmp_path), "--baselines", "raindow"])
    assert "rainbow_sticky_2e8" in capsys.readouterr().err


def test_statistics_are_over_the_tasks_that_all_methods_have(tmp_path, show, caplog):
    write_runs(tmp_path, ("atari_pong", "atari_boxing", "gym_x"), ("one",))
    write_runs(tmp_path, ("atari_pong",), ("two",))
    figure, content = show("--indir", tmp_path, "--stats", "gamer_mean", "mean")
    assert titles(figure)[-2:] == ["Gamer Mean, 1 task", "Mean, 1 task"]
    for entry in content["statistics"]:
        assert entry["tasks"] == ["atari_pong"]
    (one,) = [e for e in content["statistics"] if e["statistic"] == "mean"][:1]
    assert (one["xs"], one["mid"]) == ([0, 5, 9], [0.5, 5.5, 9.5])
    assert "1 of 3 tasks" in caplog.text


def test_a_statistic_without_references_is_a_warning(tmp_path, show, caplog):
    write_runs(tmp_path, ("gym_x",))
    figure, _ = show("--indir", tmp_path, "--stats", "record_mean")
    assert titles(figure) == ["X"]
    assert "record_mean" in caplog.text


def test_the_json_has_what_is_drawn(tmp_path, show):
    write_runs(tmp_path, ("a",), ("one",))
    words = ("--agg", "median", "minmax", "--bins", 10)
    figure, content = show("--indir", tmp_path, *words)
    (line,) = figure.axes[0].lines
    (entry,) = content["bands"]
    assert line.get_xydata().T.tolist() == [entry["xs"], entry["mid"]]
    assert entry == {
        **{"task": "a", "method": "one", "seeds": 2, "xs": [0, 9]},
        **{"mid": [0.5, 7.5], "low": [0, 7], "high": [1, 8]},
    }
    assert content["runs"][1] == {
        **{"task": "a", "method": "one", "seed": "1"},
        **{"xs": [0, 5, 9], "ys": [1, 6, 10]},
    }
    asked = {"xaxis": "step", "yaxis": "eval_return", "bins": 10}
    assert content.items() >= {**asked, "center": "median", "band": "minmax"}.items()


def test_json_holds_no_nan():
    band = bands.Band(*np.array([[1.0, np.nan], [2.5, np.inf], [3, 4], [5, 6]]))
    panel = panels.Panel("a", {"m": []}, {"m": band})
    (entry,) = panels.to_json([panel])["bands"]
    assert (entry["xs"], entry["mid"]) == ([1, None], [2.5, None])


# The picture at the end of a run.


def test_the_picture_at_the_end_of_a_run_is_written(tmp_path):
    fake_runs.write_log(tmp_path / "run", continual(), tail='{"step": 400, "eval_')
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


# The script.


def script(*words, cwd):
    command = [sys.executable, str(ROOT / "common" / "plot.py"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.slow
def test_the_script_draws_good_runs_and_names_bad_ones(tmp_path):
    good = [{"step": s, "eval_return": s / 9, "bad": None} for s in range(9)]
    fake_runs.write_log(
        tmp_path / "in" / "pong" / "dreamerv2" / "1", good, tail='{"step": 9, "ev'
    )
    fake_runs.write_log(tmp_path / "in" / "pong" / "dreamerv2" / "2", [])
    done = script(
        *("--indir", tmp_path / "in", tmp_path / "none", "--outdir", tmp_path / "out"),
        *("--xaxis", "step", "--yaxis", "eval_return", "--bins", "1e6"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "eval_return.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "eval_return.json").exists()
    for part in ("1/metrics.jsonl: left out", "line 10", "2/metrics.jsonl", "none"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_says_which_metrics_there_are(tmp_path, caplog):
    fake_runs.write_log(tmp_path / "a", [{"step": 1, "loss": 2}])
    assert plot.main(["--indir", str(tmp_path), "--outdir", str(tmp_path / "o")]) == 1
    assert "loss, step" in caplog.text and "'eval_return'" in caplog.text
    assert not (tmp_path / "o").exists()


def test_a_bad_flag_is_one_line_that_says_what_is_possible(tmp_path, capsys):
    write_runs(tmp_path, ("a",))
    places = ["--indir", str(tmp_path), "--outdir", str(tmp_path)]
    for words, part in {
        "--agg meen": "median",
        "--stats gamer": "gamer_median",
        "--palette nocolor": "okabe",
        "--labels one": "pairs",
        "--tasks (": "--tasks",
        "--indirr x": "--indirr",
    }.items():
        with pytest.raises(SystemExit, match="2"):
            plot.main([*places, *words.split()])
        assert part in capsys.readouterr().err.splitlines()[-1]
