"""Runs the notebooks of docs/notebooks/ and writes what came out into them.

    pip install -e '.[plot,test]' -c constraints.txt
    python docs/run_notebooks.py                  # all, or the names of some

Each runs in a folder of its own that is deleted afterwards. What differs from one
machine to the next (messages of TensorFlow, times) is left out of the outputs.
tests/cli/test_notebooks.py runs them with smaller sizes.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import nbclient
import nbformat

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "notebooks"
SIZES = "parameters"  # the tag of the cell whose values may be replaced
# Lines that TensorFlow writes past Python's streams, and those that go on.
_TENSORFLOW = re.compile(r"(WARNING: All log messages before absl|[IWE]\d{4} )")


def main() -> None:
    """Runs the notebooks that the command line names, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(known)}")
    names = parser.parse_args().names or known
    if unknown := set(names) - set(known):
        parser.error(f"no notebook {', '.join(unknown)}; there are {', '.join(known)}")
    for name in names:
        path = FOLDER / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run(path, folder), path)
        print(f"Written: {path}")


def run(
    path: pathlib.Path,
    folder: str | os.PathLike,
    sizes: Mapping[str, Any] | None = None,
    timeout: int = 3600,
) -> nbformat.NotebookNode:
    """Runs a notebook in a kernel of this Python; returns it with its outputs.

    Args:
      path: The notebook, which is left as it is.
      folder: Where it runs, and writes its runs and figures.
      sizes: Values for names that its cell of sizes gives.
      timeout: Seconds that a cell may take.

    Raises:
      ValueError: If it gives no such name.
      CellExecutionError: If a cell fails.
    """
    book = nbformat.read(path, as_version=4)
    (place,) = [
        number
        for number, cell in enumerate(book.cells)
        if SIZES in cell.metadata.get("tags", ())
    ]
    given = re.findall(r"^(\w+) =", book.cells[place].source, re.MULTILINE)
    if unknown := set(sizes or {}) - set(given):
        raise ValueError(
            f"{path.name} gives no {', '.join(sorted(unknown))}; its sizes are "
            f"{', '.join(given)}."
        )
    lines = [f"{name} = {value!r}" for name, value in (sizes or {}).items()]
    smaller = [nbformat.v4.new_code_cell("\n".join(lines))] if lines else []
    book.cells[place + 1 : place + 1] = smaller
    client = nbclient.NotebookClient(
        book,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # they come in pieces, whose number varies
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=_environment())
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for one in cell.outputs for kept in _strip(one)]
    book.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    return book


def _environment() -> dict[str, str]:
    """That of the kernel, which imports this checkout and writes no progress."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def _strip(output: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """An output without what TensorFlow writes at its start; none if that was all."""
    if output.output_type != "stream" or output.name != "stderr":
        return [output]
    lines = [
        line
        for line in output.text.splitlines(keepends=True)
        if not _TENSORFLOW.match(line)
    ]
    output.text = "".join(lines)
    return [output] if output.text.strip() else []


if __name__ == "__main__":
    main()
