"""Laws of what goes into a paper: formats of pictures, names, tables for LaTeX."""

import re

import fake_runs
import pytest

from common.curves import paper
from dreamerv2 import report, success
from dreamerv2.report import __main__ as command
from dreamerv2.report import writer
from dreamerv2.report.pages import blocks, latex

pytest.importorskip("matplotlib")

import matplotlib.figure  # noqa: E402

from common import plot  # noqa: E402
from common.curves import drawing  # noqa: E402

STARTS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


def two_methods(folder):
    for seed in range(2):
        fake_runs.write(folder, f"rs_s{seed}", seed, value=lambda *_, v=seed: v / 2)
        key = {"replay__retention": "reservoir"}
        fake_runs.write(folder, f"fifo_s{seed}", seed, value=lambda *_: 0.5, **key)


def kinds(folder):
    """Endings of the pictures there, each of which is what its ending says."""
    found = [path for path in folder.iterdir() if path.suffix[1:] in STARTS]
    for path in found:
        assert path.read_bytes().startswith(STARTS[path.suffix[1:]])
    return {path.suffix[1:] for path in found}


def test_a_picture_is_what_its_ending_says_and_png_without_a_known_one(tmp_path):
    figure = matplotlib.figure.Figure()
    figure.subplots().plot([1, 2])
    for kind, start in STARTS.items():
        drawing.save(figure, tmp_path / f"a.b.{kind}")
        assert (tmp_path / f"a.b.{kind}").read_bytes().startswith(start)
    drawing.save(figure, tmp_path / "log.0")
    assert (tmp_path / "log.0").read_bytes().startswith(STARTS["png"])
    written = drawing.save(figure, tmp_path / "log.0", ["pdf", "svg"])
    assert written == [tmp_path / "log.0.pdf", tmp_path / "log.0.svg"]


def test_the_same_figure_is_the_same_file_in_every_format(tmp_path):
    for name in ("one", "two"):
        figure = matplotlib.figure.Figure()
        figure.subplots().plot([1, 2])
        drawing.save(figure, tmp_path / name, paper.FORMATS)
    for kind in paper.FORMATS:
        one, two = ((tmp_path / f"{n}.{kind}").read_bytes() for n in ("one", "two"))
        assert one == two


@pytest.mark.slow
def test_plot_report_and_success_write_every_format_that_is_asked_for(tmp_path):
    two_methods(tmp_path / "logs")
    folder, asked = str(tmp_path / "logs"), ["--format", "png", "pdf", "svg"]
    out = [tmp_path / name for name in ("plot", "report", "success")]
    words = ["--indir", folder, "--outdir", str(out[0]), "--yaxis", "eval_success"]
    assert plot.main([*words, *asked]) == 0
    command.main(["--indir", folder, "--outdir", str(out[1]), *asked])
    picture = str(out[2] / "a.png")
    assert success.main(["--indir", folder, "--out", picture, *asked]) == 0
    assert [kinds(each) for each in out] == [set(STARTS)] * 3
    assert "curves_1.png" in (out[1] / "report.md").read_text()


def test_labels_are_pairs_or_name_and_label_and_anything_else_is_an_error():
    expected = {"rs (kl=1)": "Reservoir", "fifo": "FIFO"}
    assert paper.labels(["rs (kl=1)=Reservoir", "fifo=FIFO"]) == expected
    assert paper.labels(["rs (kl=1)", "Reservoir", "fifo", "FIFO"]) == expected
    with pytest.raises(ValueError, match="no label for 'fifo'"):
        paper.labels(["rs", "Reservoir", "fifo"])


def test_a_label_of_no_method_and_one_of_two_are_errors_before_anything_is_written(
    tmp_path, capsys
):
    two_methods(tmp_path / "logs")
    out = tmp_path / "out"
    for labels, words in (
        ({"rs2": "A"}, "'rs2'.*there are: .*rs"),
        ({"rs": "fifo"}, "both 'fifo'"),
    ):
        with pytest.raises(ValueError, match=words):
            report.write([tmp_path / "logs"], out, labels=labels)
        flags = [f"{name}={label}" for name, label in labels.items()]
        indir = ["--indir", str(tmp_path / "logs")]
        with pytest.raises(SystemExit):
            success.main([*indir, "--out", str(out / "a.png"), "--labels", *flags])
        assert re.search(words, " ".join(capsys.readouterr().err.split()))
    assert not out.exists()


def test_labels_name_the_methods_in_page_and_data(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_draw", lambda *_: {})
    two_methods(tmp_path / "logs")
    path = report.write([tmp_path / "logs"], tmp_path, labels={"rs": "Reservoir"})
    assert "| Reservoir | 2 |" in path.read_text()
    assert "| rs |" not in path.read_text()
    assert ",Reservoir," in (tmp_path / "table.csv").read_text()


def test_the_report_is_taken_apart_into_its_blocks():
    text = (
        "# A\n\nSome text.\n\n| m | x \\| y |\n| --- | ---: |\n| a | 1 |\n\n"
        "- one\n- two\n\n![T](t_1.png)\n"
    )
    assert [*blocks.parse(text)] == [
        blocks.Heading(1, "A"),
        blocks.Text("Some text."),
        blocks.Table(("m", "x | y"), (("a", "1"),), (False, True)),
        blocks.Items(("one", "two")),
        blocks.Picture("t_1.png", "T"),
    ]


def test_latex_has_every_table_of_the_report_with_all_of_its_rows(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(writer, "_draw", lambda *_: {})
    two_methods(tmp_path / "logs")
    path = report.write([tmp_path / "logs"], tmp_path, latex=True)
    found = [*blocks.parse(path.read_text())]
    tables = [block for block in found if isinstance(block, blocks.Table)]
    written = (tmp_path / "report.tex").read_text()
    assert written.count("\\toprule") == written.count("\\bottomrule") == len(tables)
    rows = [line for line in written.splitlines() if line.endswith(r"\\")]
    assert len(rows) == sum(1 + len(table.rows) for table in tables)
    assert r"{}rs & 2 & 0.25 $\pm$ 0.35" in written
    assert r"sample standard deviation (n - 1)" in written


def test_latex_escapes_what_would_be_a_command_and_keeps_emphasis():
    assert latex.escape("a_b & 5% \\ {x}") == r"a\_b \& 5\% \textbackslash{} \{x\}"
    assert (
        latex.escape("*published: x*, `a_b`") == r"\emph{published: x}, \texttt{a\_b}"
    )
    assert latex.escape("-0.3 ± 0.1 [-1, 2], x-4") == (
        r"$-$0.3 $\pm$ 0.1 [$-$1, 2], x-4"
    )
    assert latex.escape("↑") == r"$\uparrow$"
