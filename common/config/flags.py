"""Reads command-line words into overrides of a configuration.

Accepted: `--key value`, `--key=value`, `--list a b c`, `--boolean` (true),
`--configs block block`. Later flags win; blocks come before every other flag. The
typing of the values is left to `Config.update`.
"""

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from common.config import coerce

# A switch maps a flag to the overrides that it stands for: given as they are for a
# boolean flag, or as a function of the flag's one value.
Switch = Mapping[str, object] | Callable[[str], Mapping[str, object]]

_NUMBER = re.compile(r"-(\d|\.\d|inf\b)")


@dataclass(frozen=True)
class Vocabulary:
    """What may be said on the command line.

    Attributes:
      flat: dotted key -> present value.
      blocks: name -> overrides, chosen with `--configs`.
      aliases: flag -> key.
      switches: flag -> overrides, or a function of the value that returns them.
      help_texts: key, flag or group -> what it means.
      headings: key or group -> what is said above it in the help.
      block_texts: block -> what it is for.
    """

    flat: Mapping[str, object]
    blocks: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    switches: Mapping[str, Switch] = field(default_factory=dict)
    help_texts: Mapping[str, str] = field(default_factory=dict)
    headings: Mapping[str, str] = field(default_factory=dict)
    block_texts: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises `ConfigError` if an alias or a switch hides or misses a key."""
        for flag, key in self.aliases.items():
            if key not in self.flat:
                near = coerce.suggestion(key, self.flat)
                raise coerce.ConfigError(
                    f"Alias --{flag} of unknown key {key!r}. {near}"
                )
        for flag in (*self.aliases, *self.switches):
            if flag in self.flat or flag in ("configs", "help"):
                raise coerce.ConfigError(f"Flag --{flag} would hide the key {flag!r}.")

    def names(self) -> list[str]:
        """Every flag, without the dashes."""
        return ["configs", "help", *self.switches, *self.aliases, *self.flat]


class Flag(NamedTuple):
    """One flag and the words that belong to it."""

    name: str
    words: list[str]


def of_process(argv: Sequence[str]) -> list[str]:
    """Returns the words that somebody has typed behind a program's name.

    A notebook's kernel has words of its own, such as the file of its connection; nobody
    has typed them, and there are no others.

    Args:
      argv: As in sys.argv.
    """
    program = pathlib.PurePath(argv[0] if argv else "")
    kernel = "kernel_launcher" in program.name or "ipykernel" in program.parts
    return [] if kernel else list(argv[1:])


def split(argv: Sequence[str]) -> list[Flag]:
    """Groups words into flags; `-1` and `-.5` count as values.

    Raises:
      ConfigError: a word belongs to no flag, or a flag starts with one dash.
    """
    flags: list[Flag] = []
    closed = True  # no further word belongs to the last flag
    for word in argv:
        if word == "-h":
            flags.append(Flag("help", []))
            closed = False
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flags.append(Flag(name, [value] if equals else []))
            closed = bool(equals)
        elif word.startswith("-") and not _NUMBER.match(word):
            raise coerce.ConfigError(
                f"Unexpected {word!r}: flags start with two dashes; write a value "
                f"that starts with a dash as --key={word}."
            )
        elif closed:
            after = f" after --{flags[-1].name}={flags[-1].words[-1]}" if flags else ""
            raise coerce.ConfigError(
                f"Unexpected word {word!r}{after}; write --key value or --key=value."
            )
        else:
            flags[-1].words.append(word)
    return flags


def overrides(
    flags: Sequence[Flag], vocabulary: Vocabulary
) -> list[Mapping[str, object]]:
    """Turns flags into overrides, to be applied in this order: blocks, then flags.

    Raises:
      ConfigError: an unknown flag or block, or a wrong number of words.
    """
    chosen: list[Mapping[str, object]] = []
    settings: list[Mapping[str, object]] = []
    for flag in flags:
        if flag.name == "configs":
            chosen += _blocks(flag, vocabulary)
        elif flag.name in vocabulary.switches:
            settings.append(_switch(flag, vocabulary.switches[flag.name]))
        else:
            key = vocabulary.aliases.get(flag.name, flag.name)
            settings.append({key: _value(flag, key, vocabulary)})
    return chosen + settings


def _blocks(flag: Flag, vocabulary: Vocabulary) -> list[Mapping[str, object]]:
    names = [name for word in flag.words for name in word.split(",") if name]
    if not names:
        raise coerce.ConfigError(
            f"--configs needs a block: one of {', '.join(vocabulary.blocks) or 'none'}."
        )
    for name in names:
        if name not in vocabulary.blocks:
            near = coerce.suggestion(name, vocabulary.blocks)
            known = ", ".join(vocabulary.blocks) or "none"
            raise coerce.ConfigError(
                f"Unknown configuration block {name!r}. {near} Blocks: {known}."
            )
    return [vocabulary.blocks[name] for name in names]


def _switch(flag: Flag, switch: Switch) -> Mapping[str, object]:
    word = _single(flag)
    if isinstance(switch, Mapping):
        given = True if word is None else coerce.convert(f"--{flag.name}", False, word)
        return switch if given else {}
    if word is None:
        raise coerce.ConfigError(f"--{flag.name} needs a value.")
    try:
        return switch(word)
    except coerce.ConfigError:
        raise
    except ValueError as error:
        raise coerce.ConfigError(f"--{flag.name} {word}: {error}") from error


def _value(flag: Flag, key: str, vocabulary: Vocabulary) -> object:
    """The words of a flag as a value for `Config.update`."""
    pattern = not re.fullmatch(r"[\w.-]+", key)
    if key not in vocabulary.flat and not pattern:
        raise coerce.ConfigError(_unknown(flag.name, vocabulary))
    old = vocabulary.flat.get(key)
    if isinstance(old, tuple) and flag.words:
        return ",".join(flag.words)
    if pattern and len(flag.words) > 1:
        return flag.words
    word = _single(flag)
    if word is None and isinstance(old, bool):
        return True
    if word is None:
        raise coerce.ConfigError(f"--{flag.name} needs a value of type {_kind(old)}.")
    return word


def _unknown(name: str, vocabulary: Vocabulary) -> str:
    inside = [f"--{key}" for key in vocabulary.flat if key.startswith(f"{name}.")]
    if inside:
        return f"--{name} is a group of keys; set {', '.join(inside)}."
    near = coerce.suggestion(name, vocabulary.names(), prefix="--")
    return f"Unknown flag --{name}. {near}"


def _single(flag: Flag) -> str | None:
    if len(flag.words) > 1:
        raise coerce.ConfigError(
            f"Unexpected word {flag.words[1]!r} after --{flag.name} {flag.words[0]}: "
            "it takes one value."
        )
    return flag.words[0] if flag.words else None


def _kind(old: object) -> str:
    return "its key" if old is None else coerce.kind(old)
