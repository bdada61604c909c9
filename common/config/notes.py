"""What the comments of a file of blocks say about its keys.

# What the block is for.
defaults:
  # A heading, because the next key has a text of its own.
  steps: 100    # what the key means; the comment may go on
                # in the same column of the lines below
  # What the next key means.
  seed: 0
  replay:       # what a group of keys means
    capacity: 5 # and one of its keys
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

_KEY = re.compile(r" *(?P<key>[^\s#:]+):(?: |$)")
_BEHIND = re.compile(r"""(?:'[^']*'|"[^"]*"|[^'"\s]|\s(?!#))*\s(?P<comment>#.*)""")


class Notes(NamedTuple):
    """Texts for the page that `--help` prints.

    Attributes:
      help_texts: By dotted key or group of one block.
      headings: What is said above a key of that block, and not about it alone.
      block_texts: By name of a block.
    """

    help_texts: dict[str, str]
    headings: dict[str, str]
    block_texts: dict[str, str]


class _Entry(NamedTuple):
    path: tuple[str, ...]  # the block, then the parts of the key
    behind: str  # comment on the key's line, and those that continue it
    above: str  # comment lines directly above it


def read(path: str | os.PathLike, block: str = "defaults") -> Notes:
    """Reads the comments of a file that has one key a line."""
    notes = Notes({}, {}, {})
    lines = pathlib.Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    for (name, *parts), behind, above in _entries(lines):
        key = ".".join(parts)
        if not parts and (behind or above):
            notes.block_texts[name] = behind or above
        elif name == block and (behind or above):
            notes.help_texts[key] = behind or above
            if behind and above:
                notes.headings[key] = above
    return notes


def _entries(lines: list[str]) -> Iterator[_Entry]:
    """The keys of all blocks in their order, with the comments around them."""
    path: list[tuple[int, str]] = []  # (column, name), from the block inwards
    above: list[tuple[int, str]] = []  # (column, comment) since the last other line
    behind: list[str] = []
    column = -1  # of the comment behind the last key
    entry: _Entry | None = None
    for line in [*lines, ""]:
        indent, word = len(line) - len(line.lstrip()), line.strip()
        if word.startswith("#") and indent == column:
            behind.append(_text(word))
            continue
        if entry:
            yield entry._replace(behind=" ".join(behind))
            entry, column, behind = None, -1, []
        if word.startswith("#"):
            above.append((indent, _text(word)))
            continue
        if match := _KEY.match(line):
            path = [*(p for p in path if p[0] < indent), (indent, match["key"])]
            near = " ".join(text for place, text in above if place == indent)
            entry = _Entry(tuple(name for _, name in path), "", near)
            if comment := _BEHIND.fullmatch(line):
                column, behind = comment.start("comment"), [_text(comment["comment"])]
        above = []


def _text(comment: str) -> str:
    return comment.lstrip("# ").rstrip()
