"""The page that `--help` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from common.config import coerce, flags

_WIDTH = 100  # columns of the page
_COLUMN = 36  # where texts begin


def text(usage: str, vocabulary: flags.Vocabulary) -> str:
    """Every flag with its type and default, then aliases, switches and blocks."""
    lines = [usage.strip(), ""] if usage.strip() else []
    lines += ["Flags: --key value, --key=value, --list a b c, --boolean."]
    lines += _keys(vocabulary)
    texts = vocabulary.help_texts
    if vocabulary.aliases:
        lines += ["", "Other names of keys:", ""]
        for flag, key in vocabulary.aliases.items():
            lines += _row(f"--{flag}", f"--{key} {texts.get(flag, '')}")
    if vocabulary.switches:
        lines += ["", "Flags that set several keys:", ""]
        for flag, switch in vocabulary.switches.items():
            lines += _row(f"--{flag}", f"{_effect(switch)} {texts.get(flag, '')}")
    if vocabulary.blocks:
        lines += ["", "Blocks of keys, applied before the flags; later ones win:", ""]
        lines += ["  --configs NAME [NAME ...]", ""]
        for name in vocabulary.blocks:
            lines += _row(name, vocabulary.block_texts.get(name, ""))
    return "\n".join(lines)


def _keys(vocabulary: flags.Vocabulary) -> Iterator[str]:
    """The rows of all keys, under their headings and groups."""
    texts, headings = vocabulary.help_texts, vocabulary.headings
    begun: set[str] = set()  # keys and groups
    for key, value in vocabulary.flat.items():
        parts = key.split(".")
        for place in (".".join(parts[:n]) for n in range(1, len(parts) + 1)):
            if place in begun:
                continue
            if place in headings:
                yield from ("", *_wrap(headings[place], _WIDTH), "")
            elif not begun:
                yield ""
            if place != key and place in texts:
                yield from _row(f"--{place}.*", texts[place])
            begun.add(place)
        default = f"{coerce.kind(value)}, {coerce.show(value)}"
        yield from _row(f"--{key}  {default}", texts.get(key, ""))


def _row(name: str, words: str) -> Iterator[str]:
    """A name and a text beside it, or below it if the name is long."""
    head = f"  {name}"
    lines = _wrap(words, _WIDTH - _COLUMN)
    if lines and len(head) <= _COLUMN - 2:
        head = f"{head:<{_COLUMN}}{lines.pop(0)}"
    yield head
    yield from (f"{'':<{_COLUMN}}{line}" for line in lines)


def _wrap(words: str, width: int) -> list[str]:
    """Lines of words; `0 = none` is not torn apart."""
    lines = textwrap.wrap(
        words.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"),
        width,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _effect(switch: flags.Switch) -> str:
    if not isinstance(switch, Mapping):
        return "VALUE"
    items = [f"{key}={coerce.show(value)}" for key, value in switch.items()]
    return " ".join(items)
