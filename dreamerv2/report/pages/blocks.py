"""Takes the Markdown of a report apart: headings, texts, lists, tables, pictures.

It knows what `dreamerv2.report.pages.text` writes, not Markdown at large; `spans` does
the same to what stands in a line.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple


class Heading(NamedTuple):
    """A heading of level 1 to 3."""

    level: int
    text: str


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Items(NamedTuple):
    """A list."""

    items: tuple[str, ...]


class Table(NamedTuple):
    """A table: its head, its rows, and which columns hold numbers, to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]


class Picture(NamedTuple):
    """A picture that lies beside the report."""

    name: str
    title: str


class Span(NamedTuple):
    """A part of a line.

    Attributes:
      kind: of `KINDS`, or empty: plain.
      text: what is shown.
      target: of a link, the heading that it leads to, as GitHub names it.
    """

    kind: str
    text: str
    target: str = ""


Block = Heading | Text | Items | Table | Picture
KINDS = ("bold", "emphasis", "code", "link")
_MARKS = re.compile(
    r"\*\*(?P<bold>.+?)\*\*|\*(?P<emphasis>.+?)\*|`(?P<code>.+?)`"
    r"|\[(?P<link>[^]]+)\]\(#(?P<target>[^)]+)\)"
)


def parse(text: str) -> Iterator[Block]:
    """Yields the blocks of a report in their order."""
    for part in text.strip().split("\n\n"):
        if found := re.fullmatch(r"(#+) (.*)", part):
            yield Heading(len(found[1]), found[2])
        elif found := re.fullmatch(r"!\[([^]]*)\]\(([^)]*)\)", part):
            yield Picture(found[2], found[1])
        elif part.startswith("| "):
            head, align, *rows = map(_cells, part.splitlines())
            yield Table(head, tuple(rows), tuple(each == "---:" for each in align))
        elif part.startswith("- "):
            yield Items(tuple(part.removeprefix("- ").split("\n- ")))
        else:
            yield Text(part)


def spans(text: str) -> Iterator[Span]:
    """Yields the parts of a line in their order, without the signs that mark them."""
    end = 0
    for found in _MARKS.finditer(text):
        if found.start() > end:
            yield Span("", text[end : found.start()])
        (kind,) = (each for each in KINDS if found[each])
        yield Span(kind, found[kind], found["target"] or "")
        end = found.end()
    if end < len(text):
        yield Span("", text[end:])


def _cells(line: str) -> tuple[str, ...]:
    """The cells of a row; a bar behind a backslash is no border."""
    cells = re.split(r"(?<!\\)\|", line)[1:-1]
    return tuple(cell.strip().replace("\\|", "|") for cell in cells)
