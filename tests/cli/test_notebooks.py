"""The notebooks of docs/notebooks/: they run, and what is committed can be read."""

import ast
import importlib.util
import re
import subprocess
import sys

import nbformat
import pytest
import source

SPEC = importlib.util.spec_from_file_location(
    "run_notebooks", source.ROOT / "docs" / "run_notebooks.py"
)
runner = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(runner)

PATHS = sorted(runner.FOLDER.glob("*.ipynb"))
SMALL = {
    "own_environment": dict(STEPS=80, PREFILL=40, PRETRAIN=1, EVERY=40, EPISODES=2),
    "inside_the_model": dict(STEPS=120, PREFILL=50, PRETRAIN=1, EARLY=60),
    "from_runs_to_a_figure": dict(
        SEEDS=[1], STEPS=40, PREFILL=20, PRETRAIN=1, EVERY=20, EPISODES=5
    ),
}
PUBLIC = {"dreamerv2.api", "dreamerv2.report", "common.plot", "gym_minigrid"}
MOST_BYTES = 400_000
OF_A_MACHINE = re.compile(
    r"(?<![\w.])/(home|root|tmp|usr|opt|work|var|mnt|Users)/|[A-Z]:\\"
    r"|\d+ fps|WARN|\b0x[0-9a-f]{6}"
)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def code_of(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def texts(book) -> list[str]:
    """All that its outputs say, pictures left out."""
    outputs = [output for cell in code_of(book) for output in cell.outputs]
    shown = [output.get("text", "") for output in outputs]
    return shown + [
        str(value)
        for output in outputs
        for kind, value in output.get("data", {}).items()
        if kind.startswith("text/")
    ]


def figures(book) -> int:
    """How many pictures its outputs show."""
    return sum(
        "image/png" in output.get("data", {})
        for cell in code_of(book)
        for output in cell.outputs
    )


def tree(book) -> ast.Module:
    """Its code, without the magic words that IPython reads."""
    lines = "\n".join(cell.source for cell in code_of(book)).splitlines()
    return ast.parse("\n".join(line for line in lines if not line.startswith("%")))


def test_there_is_a_small_size_for_every_notebook():
    assert set(SMALL) == {path.stem for path in PATHS}


@pytest.mark.tf
@pytest.mark.slow
@every_notebook
def test_a_notebook_runs_with_small_sizes_and_shows_all_its_figures(path, tmp_path):
    ran = runner.run(path, tmp_path, SMALL[path.stem], timeout=300)
    committed = nbformat.read(path, as_version=4)
    assert figures(ran) == figures(committed) > 0
    assert all(OF_A_MACHINE.search(text) is None for text in texts(ran))


def test_a_size_that_a_notebook_does_not_give_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="gives no STEP; its sizes are STEPS, PREFILL"):
        runner.run(runner.FOLDER / "own_environment.ipynb", tmp_path, {"STEP": 1})


@every_notebook
def test_what_is_committed_was_run_from_top_to_bottom_without_an_error(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    counts = [cell.execution_count for cell in code_of(book)]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in code_of(book) for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    assert "stderr" not in {output.get("name") for output in outputs}


@every_notebook
def test_what_is_committed_tells_nothing_of_the_machine(path):
    assert path.stat().st_size <= MOST_BYTES
    book = nbformat.read(path, as_version=4)
    found = [text for text in texts(book) if OF_A_MACHINE.search(text)]
    assert not found
    assert book.metadata.kernelspec.name == "python3"
    assert not [cell.metadata for cell in book.cells if "execution" in cell.metadata]


def test_the_code_of_notebooks_is_formatted():
    command = [sys.executable, "-m", "ruff", "format", "--check", runner.FOLDER]
    told = subprocess.run(command, cwd=source.ROOT, capture_output=True, text=True)
    assert f"{len(PATHS)} files already formatted" in told.stdout, told.stdout


@every_notebook
def test_a_notebook_uses_what_is_public_alone(path):
    code = tree(nbformat.read(path, as_version=4))
    ours = {
        name
        for name in source.imported(code)
        if name.partition(".")[0] in {*source.PACKAGES, *source.SCRIPTS}
    }
    private = [
        ast.unparse(node)
        for node in ast.walk(code)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and ast.unparse(node.value) != "self"
    ]
    assert "dreamerv2.api" in ours or "common.plot" in ours
    assert ours <= PUBLIC
    assert not private


@every_notebook
def test_the_links_of_a_notebook_lead_to_files(path):
    book = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in book.cells if cell.cell_type != "code")
    assert not [
        link for link in LINK.findall(text) if not (path.parent / link).exists()
    ]
