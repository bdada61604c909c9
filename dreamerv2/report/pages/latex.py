"""The tables of a report for a paper: LaTeX, with the package booktabs."""

import re
from collections.abc import Iterator

from dreamerv2.report.pages import blocks

_HEAD = "% Needs \\usepackage{booktabs}. Input it, or copy the tables that you want."
_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"±": r"$\pm$", "→": r"$\rightarrow$", "↑": r"$\uparrow$"},
    **{"↓": r"$\downarrow$", "–": "--", "×": r"$\times$", "…": r"\dots{}"},
}
_COMMANDS = {"bold": "\\textbf", "emphasis": "\\emph", "code": "\\texttt"}


def render(text: str) -> str:
    """Returns all tables of a report, each with the headings and the text above it.

    Args:
      text: of report.md.
    """
    return "\n\n".join([_HEAD, *_tables(text)]) + "\n"


def escape(text: str) -> str:
    """Text as LaTeX shows it; bold, emphasis and code stay what they are."""
    done = []
    for span in blocks.spans(text):
        plain = _plain(span.text)
        command = _COMMANDS.get(span.kind)
        done.append(f"{command}{{{plain}}}" if command else plain)
    return "".join(done)


def _plain(text: str) -> str:
    text = "".join(_SIGNS.get(sign, sign) for sign in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", text)  # a minus, no hyphen


def _tables(text: str) -> Iterator[str]:
    headings: dict[int, str] = {}
    above = ""
    for block in blocks.parse(text):
        if isinstance(block, blocks.Heading):
            headings = {k: v for k, v in headings.items() if k < block.level}
            headings[block.level] = block.text
            above = ""
        elif isinstance(block, blocks.Text):
            above = block.text
        elif isinstance(block, blocks.Table):
            words = [text for level, text in headings.items() if level > 1]
            yield _table(block, ". ".join([*words, above.rstrip(":.")]).strip(". "))


def _table(table: blocks.Table, caption: str) -> str:
    columns = "".join("r" if right else "l" for right in table.right)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{escape(caption)}.}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            _row(table.head),
            r"    \midrule",
            *map(_row, table.rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def _row(cells: tuple[str, ...]) -> str:
    # A `[` after a line's end would be read as an argument of it.
    return f"    {{}}{' & '.join(map(escape, cells))} \\\\"
