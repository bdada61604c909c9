"""What a paper asks of figures and tables: file formats, and names of one's own."""

import argparse
from collections.abc import Iterable, Sequence

FORMATS = ("png", "pdf", "svg")


def add_flags(parser: argparse._ActionsContainer) -> None:
    """Gives a command `--format` and `--labels`."""
    text = f"file formats of the pictures: {', '.join(FORMATS)} (default: png)"
    parser.add_argument(
        "--format", nargs="+", choices=FORMATS, default=[], metavar="FORMAT", help=text
    )
    text = "what to call a method, NAME=LABEL or pairs; plot also a task or metric"
    parser.add_argument("--labels", nargs="+", default=[], help=text)


def labels(words: Sequence[str]) -> dict[str, str]:
    """Reads `--labels`: name -> label.

    Args:
      words: pairs of a name and a label, or NAME=LABEL each. The last `=` parts them,
        as names of methods may hold some.

    Raises:
      ValueError: a name has no label.
    """
    if not all("=" in word for word in words):
        if len(words) % 2:
            raise ValueError(
                f"--labels has no label for {words[-1]!r}; it takes pairs of a name "
                "and a label, or NAME=LABEL."
            )
        return dict(zip(words[::2], words[1::2], strict=True))
    return dict(word.rsplit("=", 1) for word in words)


def check_methods(labels: dict[str, str], methods: Iterable[str]) -> None:
    """Makes sure that labels name methods that are there, and keep them apart.

    Raises:
      ValueError: a name is of no method, or two methods would be called the same.
    """
    known = dict.fromkeys(methods)
    for name in labels:
        if name not in known:
            raise ValueError(
                f"--labels names {name!r}, but no run is of this method; there are: "
                f"{', '.join(known) or 'none'}."
            )
    shown: dict[str, str] = {}
    for name in known:
        label = labels.get(name, name)
        if label in shown:
            raise ValueError(
                f"--labels calls {shown[label]!r} and {name!r} both {label!r}, which "
                "would join their runs; give each a label of its own."
            )
        shown[label] = name
