r"""Immutable nested configuration: typed updates, YAML files, command-line flags.

    config = Config(load_blocks("configs.yaml")["defaults"])
    config = config.update({"rssm.deter": 200, r".*\.norm": "layer"})
    config = config.parse_flags(["--steps", "1e6"])
    config.rssm.deter, config["rssm.deter"], Dense(**config.reward_head)

The type rules of values are in `common.config.coerce`.
"""

import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.config import coerce, files, flags, help_page

ConfigError = coerce.ConfigError

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


class Config(Mapping):
    """A read-only tree of settings; a mapping over its direct children.

    A node is a Config; a leaf is a bool, int, float, str, or a tuple of these (lists
    are kept as tuples). Two Configs are equal if they hold the same keys and values.
    """

    __slots__ = ("_children", "_flat")

    def __init__(self, settings: Mapping[str, Any]) -> None:
        r"""Builds the tree from nested or dotted keys, or a mixture.

        Raises:
          ConfigError: a name that is not made of letters, digits, `_`, `-`, or that is
            the name of a method; a key that is also a group; an empty group; a value
            that cannot be kept, such as None.
        """
        flat: dict[str, Any] = {}
        for key, value in _walk(settings):
            if key in flat:
                raise ConfigError(f"Key {key!r} is given twice.")
            flat[key] = coerce.check(key, value)
        object.__setattr__(self, "_flat", flat)
        object.__setattr__(self, "_children", _children(flat))

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Config":
        """Reads a file that `save` wrote.

        Raises:
          ConfigError: the file is missing, not YAML, or not a mapping.
        """
        return cls(files.load(path))

    @property
    def flat(self) -> dict[str, Any]:
        """All leaves by dotted key, in the order in which they were defined."""
        return dict(self._flat)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a protocol that Config does not take part in
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(*error.args) from None

    def __getitem__(self, key: str) -> Any:
        if key in self._flat:
            return self._flat[key]
        node = self
        for part in key.split("."):
            if not isinstance(node, Config) or part not in node._children:
                near = coerce.suggestion(key, self._flat)
                raise KeyError(f"Unknown configuration key {key!r}. {near}")
            node = node._children[part]
        return node

    def __iter__(self) -> Iterator[str]:
        return iter(self._children)

    def __len__(self) -> int:
        return len(self._children)

    def __eq__(self, other: object) -> bool:
        return self._flat == other._flat if isinstance(other, Config) else False

    def __hash__(self) -> int:
        return hash(frozenset(self._flat.items()))

    def __repr__(self) -> str:
        return files.dump(_plain(self)).rstrip()

    def __setattr__(self, name: str, value: object) -> None:
        raise ConfigError(
            f"A Config cannot be altered; use config.update({{{name!r}: {value!r}}})."
        )

    def __delattr__(self, name: str) -> None:
        raise ConfigError(f"A Config cannot be altered; {name!r} has to stay.")

    def __reduce__(self) -> tuple:
        return type(self), (self.flat,)

    def update(self, *mappings: Mapping[str, Any], **settings: Any) -> "Config":
        r"""Returns a copy with other values, each in the type of the present one.

        Args:
          *mappings: nested or dotted keys; later ones win. A key with characters other
            than letters, digits, `_`, `.`, `-` is a regular expression and sets every
            dotted key that it matches in full: `{r".*\.norm": "layer"}`.
          **settings: the same as keywords.

        Raises:
          ConfigError: an unknown key (names the nearest), a pattern without a match, or
            a value that does not fit the type.
        """
        flat = dict(self._flat)
        for mapping in (*mappings, settings):
            for key, value in self._overrides(mapping):
                flat[key] = coerce.convert(key, flat[key], value)
        return type(self)(flat)

    def parse_flags(
        self,
        argv: Sequence[str] | None = None,
        *,
        blocks: Mapping[str, Mapping[str, Any]] | None = None,
        aliases: Mapping[str, str] | None = None,
        switches: Mapping[str, flags.Switch] | None = None,
        help_texts: Mapping[str, str] | None = None,
        headings: Mapping[str, str] | None = None,
        block_texts: Mapping[str, str] | None = None,
        usage: str = "",
    ) -> "Config":
        """Returns a copy with the settings of the command line.

        Args:
          argv: the words; those of the process if None, of which a notebook has none.
          blocks: overrides by name, chosen with `--configs NAME ...`; they are applied
            in the order given and before every other flag.
          aliases: further flags: flag -> key.
          switches: boolean flags that set several keys: flag -> overrides; or flags
            with one value: flag -> function of the word that returns the overrides.
          help_texts: what a key, flag or group means, for `--help`.
          headings: what stands above a key or group there.
          block_texts: what a block is for.
          usage: the head of the page that `--help` prints.

        Raises:
          ConfigError: unknown flag, key or block; a stray word; a bad value.
          SystemExit: with code 0, after `--help` has printed every key, with the
            values that the blocks give it.
        """
        words = flags.split(flags.of_process(sys.argv) if argv is None else argv)
        vocabulary = flags.Vocabulary(
            flat=self._flat,
            blocks=blocks or {},
            aliases=aliases or {},
            switches=switches or {},
            help_texts=help_texts or {},
            headings=headings or {},
            block_texts=block_texts or {},
        )
        vocabulary.check()
        if any(flag.name == "help" for flag in words):
            blocks = [flag for flag in words if flag.name == "configs"]
            shown = self.update(*flags.overrides(blocks, vocabulary))
            print(
                help_page.text(usage, dataclasses.replace(vocabulary, flat=shown.flat))
            )
            raise SystemExit(0)
        return self.update(*flags.overrides(words, vocabulary))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the settings as YAML, all or nothing; makes the folder."""
        files.save(path, _plain(self))

    def _overrides(self, mapping: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, value in _walk(mapping):
            if key in self._flat:
                yield key, value
            elif _PLAIN.fullmatch(key):
                raise ConfigError(self._missing(key))
            else:
                for match in self._matches(key):
                    yield match, value

    def _matches(self, pattern: str) -> list[str]:
        try:
            matches = [key for key in self._flat if re.fullmatch(pattern, key)]
        except re.error as error:
            raise ConfigError(
                f"{pattern!r} is no regular expression: {error}."
            ) from None
        if not matches:
            raise ConfigError(f"The pattern {pattern!r} matches no configuration key.")
        return matches

    def _missing(self, key: str) -> str:
        inside = [known for known in self._flat if known.startswith(f"{key}.")]
        if inside:
            return f"{key!r} is a group; give a mapping, or set {', '.join(inside)}."
        parent = key.rpartition(".")[0]
        if parent in self._flat:
            return f"{parent!r} is a value, not a group; it has no key {key!r}."
        return (
            f"Unknown configuration key {key!r}. {coerce.suggestion(key, self._flat)}"
        )


def parse_named(
    argv: Sequence[str], known: Mapping[str, tuple[Any, str]], usage: str, missing: str
) -> tuple[str, Config]:
    """Returns the first word, which names what a command is about, and its flags.

    Args:
      argv: The words after the command.
      known: {flag: (default, help)}, among them `out`, which must be given.
      usage: What `--help` begins with.
      missing: What to say if the word or `out` is missing.

    Raises:
      ValueError: If a flag is not valid, or the word or `out` is missing.
      SystemExit: After `--help`.
    """
    words = list(argv)
    name = words.pop(0) if words and not words[0].startswith("-") else ""
    config = Config({key: value for key, (value, _) in known.items()})
    helps = {key: text for key, (_, text) in known.items()}
    config = config.parse_flags(words, help_texts=helps, usage=usage)
    if not name or not config.out:
        raise ValueError(missing)
    return name, config


def _walk(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of a nested mapping by dotted key."""
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"Settings have to be a mapping of keys to values, not {settings!r}."
        )
    for key, value in settings.items():
        if not isinstance(key, str):
            raise ConfigError(
                f"{prefix}{key!r}: a key has to be text; put it in quotes."
            )
        if not isinstance(value, Mapping):
            yield prefix + key, value
        elif value:
            yield from _walk(value, f"{prefix}{key}.")
        else:
            raise ConfigError(f"The group {prefix}{key} is empty; leave it out.")


def _children(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Direct children by name, in order; groups as Configs."""
    groups: dict[str, Any] = {}
    for key, value in flat.items():
        name, dot, rest = key.partition(".")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(
                f"Key {key!r}: a name is made of letters, digits, _ and -, and dots "
                "join names."
            )
        if hasattr(Config, name):
            raise ConfigError(
                f"Key {key!r}: {name!r} is a method of Config; rename it."
            )
        group = groups.setdefault(name, {} if dot else value)
        if bool(dot) != isinstance(group, dict):
            raise ConfigError(f"Key {name!r} is a value and a group of keys at once.")
        if dot:
            group[rest] = value
    return {
        name: Config(value) if isinstance(value, dict) else value
        for name, value in groups.items()
    }


def differences(a: Config, b: Config) -> list[tuple[str, Any, Any]]:
    """Keys whose values differ, with both values; None where a key is missing."""
    keys = dict.fromkeys((*a.flat, *b.flat))
    pairs = [(key, a.flat.get(key), b.flat.get(key)) for key in keys]
    return [(key, left, right) for key, left, right in pairs if left != right]


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return {key: _plain(child) for key, child in value.items()}
    return list(value) if isinstance(value, tuple) else value
