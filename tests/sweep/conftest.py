"""The file of a sweep that takes a second: tests/dummy_benchmark.py is its script."""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORM = {
    "script": ROOT / "tests" / "dummy_benchmark.py",
    "logdir": "unused",
    "flags": "--cl --steps=60",
    "methods": '{fifo: "", reservoir: --reservoir_sampling}',
    "seeds": "[0, 1]",
}


@pytest.fixture
def write_sweep(tmp_path):
    """Writes FORM with changes to sweep.yaml, its path; None leaves a key out."""

    def write(**changes) -> pathlib.Path:
        form = {**FORM, **changes}
        lines = [f"{k}: {v}\n" for k, v in form.items() if v is not None]
        path = tmp_path / "sweep.yaml"
        path.write_text("".join(lines))
        return path

    return write
