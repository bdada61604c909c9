"""Laws of what a report says beyond each method's values: who is better, and why."""

import csv
import math

import fake_runs
import pytest

from dreamerv2 import report
from dreamerv2.report import figures, improvement, model, results, writer
from dreamerv2.report import runs as runs_lib
from dreamerv2.report.pages import text


def evaluate(folder):
    return results.evaluate(runs_lib.load([folder])[0])


def constant(value):
    return lambda *_: value


def three_methods(folder):
    """Two seeds of each; the first is better than the others, but for one tie."""
    for name, values in {"a": (0.9, 0.5), "b": (0.5, 0.2), "c": (0.1, 0.3)}.items():
        for seed, value in enumerate(values):
            fake_runs.write(folder, f"{name}_s{seed}", seed, value=constant(value))


def rows(page, start):
    """Cells of the table rows whose first cell begins so."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {start} ")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


# Probability of improvement.


def test_every_pair_of_methods_is_compared_by_hand(tmp_path):
    three_methods(tmp_path)
    (benchmark,) = evaluate(tmp_path)
    found = {(p.method, p.other): p for p in improvement.compare(benchmark, "success")}
    points = {pair: each.point for pair, each in found.items()}
    expected = {("a", "b"): 3.5 / 4, ("a", "c"): 1.0, ("b", "c"): 3 / 4}
    expected |= {(two, one): 1 - value for (one, two), value in expected.items()}
    assert points == pytest.approx(expected)
    assert expected["b", "c"] == 3 / 4  # 0.5 beats both, 0.2 beats 0.1 alone
    for (one, two), pair in found.items():
        other = found[two, one]
        assert (pair.low, pair.high) == pytest.approx((1 - other.high, 1 - other.low))
        assert pair.low <= pair.point <= pair.high
    assert found["a", "c"].low == 1.0


def test_a_single_run_has_a_probability_but_no_interval(tmp_path):
    fake_runs.write(tmp_path, "a_s0", value=constant(0.5))
    for seed in range(2):
        fake_runs.write(tmp_path, f"b_s{seed}", seed, value=constant(0.4 + 0.2 * seed))
    (benchmark,) = evaluate(tmp_path)
    pair, _ = improvement.compare(benchmark, "success")
    assert pair.point == 0.5 and math.isnan(pair.low) and math.isnan(pair.high)


def test_of_many_methods_each_is_compared_with_the_first(tmp_path):
    for number in range(improvement.MOST + 1):
        fake_runs.write(tmp_path, f"m{number}_s0", value=constant(number))
    (benchmark,) = evaluate(tmp_path)
    pairs = improvement.compare(benchmark, "return")
    assert [(p.method, p.other) for p in pairs] == [
        (f"m{number}", "m0") for number in range(1, improvement.MOST + 1)
    ]
    assert {pair.point for pair in pairs} == {1.0}


def test_one_method_is_compared_with_nothing(tmp_path):
    fake_runs.write(tmp_path, "a_s0")
    (benchmark,) = evaluate(tmp_path)
    assert improvement.compare(benchmark, "success") == []
    page = text.render([benchmark], {}, {}, False)
    assert "Probability of improvement" not in page


def test_page_and_files_have_the_matrix_of_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_draw", lambda *_: {})
    three_methods(tmp_path / "logs")
    page = report.write([tmp_path / "logs"], tmp_path / "out").read_text()
    success = page[page.index("Probability of improvement") :]
    a, b, *_ = (rows(success, name)[0] for name in "abc")
    assert a[1] == b[2] == "–" and a[3] == "1.00 [1.00, 1.00]"
    assert a[2].startswith("0.88 [") and b[1].startswith("0.12 [")
    with (tmp_path / "out" / "improvement.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == 2 * 6  # both signals
    assert {row["point"] for row in found if row["other"] == "a"} == {"0.125", "0.0"}


# Forgetting since the best value, and the worst.


def test_measures_of_the_whole_curve_by_hand(tmp_path):
    def value(task, step):
        if step == 60:  # the best of the first task, before its end
            return 0.8 - task
        return {100: 0.6, 150: 0.1, 200: 0.5}.get(step, 0.3) + 0.1 * task

    fake_runs.write(tmp_path, "a_s0", value=value)
    (benchmark,) = evaluate(tmp_path)
    table = benchmark.methods["a"].table["success"]
    assert table["forgetting"].mean == pytest.approx((0.6 - 0.5) / 2)
    assert table["max_forgetting"].mean == pytest.approx((0.3 + (0.7 - 0.6)) / 2)
    assert table["worst"].mean == 0.5
    assert table["worst_half"].mean == 0.1


# The world model.


def loss(task, step):
    """10 more on the first task while the second is trained, of which 4 go again."""
    gone = 0 if task or step <= 100 else 10 if step < 200 else 6
    return 100.0 + 50 * task + gone


def test_losses_at_the_end_and_their_rise_by_hand(tmp_path):
    for seed in range(2):
        fake_runs.write(
            tmp_path, f"a_s{seed}", seed, model=lambda *at, s=seed: loss(*at) + s
        )
    (benchmark,) = evaluate(tmp_path)
    assert model.losses([benchmark]) == ["image", "reward", "discount", "kl"]
    found = model.of_method(benchmark.methods["a"])
    assert found["image"].end.tolist() == [[106, 150], [107, 151]]
    assert found["image"].rise.tolist() == [[6, 0], [6, 0]]
    assert found["kl"].end == pytest.approx(found["image"].end / 10)
    page = text.render([benchmark], {}, {}, False)
    (row,) = rows(page[page.index("### World model") :], "a")
    assert row[1:4] == ["2", "128.5 ± 0.71", "3.00 ± 0.00"]


def test_runs_that_tell_no_losses_are_reported_as_before(tmp_path):
    fake_runs.write(tmp_path / "logs", "a_s0")
    fake_runs.write(tmp_path / "logs", "b_s0", replay=False)
    path = report.write([tmp_path / "logs"], tmp_path / "out")
    assert "World model" not in path.read_text()
    names = {each.name for each in path.parent.iterdir()}
    assert "model.csv" not in names and not any("model" in name for name in names)


def test_beside_runs_that_tell_none_those_that_do_have_their_row(tmp_path):
    fake_runs.write(tmp_path, "a_s0")
    fake_runs.write(tmp_path, "b_s0", model=loss)
    fake_runs.write(
        tmp_path, "c_s0", model=lambda k, t: loss(k, t) if t > 100 else None
    )
    (benchmark,) = evaluate(tmp_path)
    page = text.render([benchmark], {}, {}, False)
    page = page[page.index("### World model") :]
    assert not rows(page, "a") and not rows(page, "c")  # c not at the first end
    assert rows(page, "b")[0][1:4] == ["1", "128.0", "3.00"]


@pytest.mark.slow
def test_every_loss_has_a_picture_and_every_term_a_line_in_the_file(tmp_path):
    for name in "ab":
        fake_runs.write(tmp_path / "logs", f"{name}_s0", model=loss)
    path = report.write([tmp_path / "logs"], tmp_path / "out")
    page = path.read_text()
    (benchmark,) = evaluate(tmp_path / "logs")
    figure = figures.evaluation_curves([benchmark], "eval_model_kl", "kl loss (nats)")
    assert figure.get_supylabel() == "kl loss (nats)"
    for name in ("image", "reward", "discount", "kl"):
        assert f"](model_{name}_1.png)" in page
        assert (path.parent / f"model_{name}_1.png").stat().st_size > 5000
    with (path.parent / "model.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == 2 * 4 * 2
    wanted = {"run": "logs/a_s0", "loss": "image", "task": "1"}
    (first,) = (row for row in found if wanted.items() <= row.items())
    assert (first["end"], first["rise"]) == ("106.0", "6.0")
