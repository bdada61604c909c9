"""Writes what the pages hold of the code and of measurements.

    python docs/generate.py

docs/flags.md comes from configs.yaml, docs/api.md from docstrings. In any page what
stands between `<!-- begin NAME -->` and `<!-- end -->` comes from a file in results/,
so that a number that stands on two pages cannot differ. tests/cli/test_docs.py compares
all of them with what is written here.
"""

import ast
import inspect
import pathlib
import re
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import measured  # noqa: E402

from common.config import coerce, notes  # noqa: E402
from common.config import flags as flags_lib  # noqa: E402
from dreamerv2 import settings  # noqa: E402

MARKED = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
# What one may rely on: module -> names, in the order shown.
PUBLIC = {
    "dreamerv2.api": (
        *("train", "cl_train_loop", "check_env", "load", "evaluate", "watch"),
        *("Agent", "Config", "ConfigError"),
    ),
    "dreamerv2.trained.loaded": ("Agent",),
    "dreamerv2.report": ("write",),
    "common.config.tree": ("Config",),
    "common.envs.base": ("Env",),
    "common.envs.registry": ("Suite", "register"),
    "common.replay.strategies.base": ("Retention", "Sampling"),
    "common.replay.episodes": ("Episode",),
    "dreamerv2.algorithm.behaviour": ("Behaviour", "Intrinsic"),
    "common.nets.optim": ("Rule",),
    "common.records.logger": ("Output", "Record"),
}
# What stands above the names of a module.
ABOUT = {
    "dreamerv2.api": "`import dreamerv2.api as dv2`. `dv2.defaults` is the "
    "configuration with all defaults, `dv2.configs` the blocks of configs.yaml.",
    "dreamerv2.trained.loaded": "What `dv2.load` returns; see "
    "[A trained agent in a program](load.md).",
    "dreamerv2.report": "`from dreamerv2 import report`",
    "common.config.tree": "What `dv2.defaults` is, and what `update` returns.",
    "common.envs.base": "An environment; see [A suite](own_method.md#a-suite).",
    "common.replay.strategies.base": "The bases of replay strategies of your own.",
    "common.replay.episodes": "What a replay strategy is shown.",
    "dreamerv2.algorithm.behaviour": "The bases of exploration behaviours of your own.",
    "common.nets.optim": "An optimiser of your own.",
    "common.records.logger": "An output of your own.",
}


def flags() -> str:
    """Returns docs/flags.md."""
    known = flags_lib.Vocabulary(
        flat=settings.defaults.flat,
        blocks=settings.configs,
        aliases=settings.ALIASES,
        switches=settings.SWITCHES,
        **notes.read(settings.config_path())._asdict(),
    )
    lines = [
        "# Flags",
        "",
        "Every key of `configs.yaml` is a flag of every script, `--key value`; in a",
        'program it is `config.update({"key": value})`. Other forms are `--key=value`,',
        "`--list a b c` and `--boolean`. Defaults are those of `dv2.defaults`; a",
        "script starts from its block. `--help` prints the same, and beside",
        "`--configs NAME` the values that a run with that block has. This page is",
        "written by `python docs/generate.py`.",
        "",
        "[Short names](#short-names) · [Flags that set several keys]"
        "(#flags-that-set-several-keys) · [Blocks](#blocks) · [Keys](#keys)",
        *("", "## Short names", "", "| flag | key |", "|---|---|"),
        *(f"| `--{name}` | `{key}` |" for name, key in known.aliases.items()),
        *("", "## Flags that set several keys", "", "| flag | sets |", "|---|---|"),
    ]
    for name, switch in known.switches.items():
        if isinstance(switch, dict):
            sets = "; ".join(f"`{key}: {value}`" for key, value in switch.items())
        else:
            sets = "what its value says, see [The replay](replay.md)"
        lines += [f"| `--{name}` | {sets} |"]
    lines += ["", "## Blocks", "", "`--configs NAME ...` applies them in order."]
    lines += ["", "| block | what it is for |", "|---|---|"]
    lines += [
        f"| `{name}` | {_cell(known.block_texts.get(name, ''))} |"
        for name in known.blocks
    ]
    return "\n".join([*lines, "", "## Keys", *_keys(known)]) + "\n"


def _keys(known: flags_lib.Vocabulary) -> Iterator[str]:
    """Yields the rows of all keys, in tables under their headings."""
    begun: set[str] = set()
    head = ("", "| key | default | meaning |", "|---|---|---|")
    if next(iter(known.flat)) not in known.headings:
        yield from head
    for key, value in known.flat.items():
        parts = key.split(".")
        for place in (".".join(parts[:n]) for n in range(1, len(parts) + 1)):
            if place in begun:
                continue
            begun.add(place)
            if place in known.headings:
                yield from ("", _prose(known.headings[place]), *head)
            if place != key and place in known.help_texts:
                yield f"| `{place}.*` | | {_cell(known.help_texts[place])} |"
        shown = f"{coerce.show(value)}, {coerce.kind(value)}"
        yield f"| `{key}` | {_cell(shown)} | {_cell(known.help_texts.get(key, ''))} |"


def _prose(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", r"\*")


def _cell(text: str) -> str:
    return _prose(text).replace("|", r"\|").replace("\n", " ").strip()


def api() -> str:
    """Returns docs/api.md."""
    lines = [
        "# Python",
        "",
        "What programs may rely on, from the docstrings; written by "
        "`python docs/generate.py`.",
        "",
        " · ".join(f"[{module}](#{_anchor(module)})" for module in PUBLIC),
    ]
    for module, names in PUBLIC.items():
        lines += ["", f"## {module}", ""]
        lines += [ABOUT[module], ""] if module in ABOUT else []
        tree = ast.parse(_source(module))
        found = {n.name: n for n in tree.body if hasattr(n, "name")}
        for name in names:
            if name in found:
                lines += _described(found[name], name, 3)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _source(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text()


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _described(node: ast.AST, name: str, level: int) -> Iterator[str]:
    """Yields a function or class with its public methods."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, kinds):
        yield from (
            f"{'#' * level} {name}",
            "",
            "```python",
            _signature(node),
            "```",
            "",
        )
        yield from (*_docstring(node), "")
        return
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield from (f"{'#' * level} {name}", "")
    yield from ("```python", f"class {name}({bases})" if bases else f"class {name}")
    made = [n for n in node.body if isinstance(n, kinds) and n.name == "__init__"]
    if made:
        yield _signature(made[0], skip=1).replace("__init__", name, 1)
    yield from ("```", "", *_docstring(node), "")
    if made:
        yield from (*_docstring(made[0]), "")
    for member in node.body:
        if isinstance(member, kinds) and not member.name.startswith("_"):
            yield from _described(member, f"{node.name}.{member.name}", level + 1)


def _signature(node: ast.FunctionDef, skip: int = 0) -> str:
    decorated = {ast.unparse(d) for d in node.decorator_list}
    if "property" in decorated:
        return f"{node.name}  # -> {ast.unparse(node.returns)}"
    args = ast.unparse(node.args)
    args = re.sub(r"^(self|cls)(, )?", "", args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and not skip else ""
    line = f"{node.name}({args}){returns}"
    if len(line) <= 88:
        return line
    inner = ",\n    ".join(_arguments(args))
    return f"{node.name}(\n    {inner},\n){returns}"


def _arguments(text: str) -> list[str]:
    """Splits arguments at the commas that lie in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _docstring(node: ast.AST) -> Iterator[str]:
    """Yields a docstring in Markdown: its sections become lists."""
    text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
    section = None
    for line in text.splitlines():
        if match := re.fullmatch(r"(Args|Returns|Raises|Yields|Attributes):", line):
            section = match[1]
            yield from (f"**{section}**", "")
        elif section is None:
            yield line.replace("<", "&lt;") if not line.startswith("    ") else line
        elif not line.startswith("  "):
            section = None
            yield from ("", line)
        elif entry := re.fullmatch(r"  (\*{0,2}\w[\w, ]*): (.*)", line):
            yield f"- `{entry[1]}`: {entry[2]}"
        elif line.startswith("    "):
            yield f"  {line.strip()}"
        else:
            yield line.strip()


def filled(text: str) -> str:
    """Returns a page with what stands between its marks written anew."""
    return MARKED.sub(lambda m: f"{m[1]}{measured.NUMBERS[m[2]]()}\n{m[3]}", text)


def pages() -> dict[pathlib.Path, str]:
    """Returns all pages that hold something of this, and what they should hold."""
    made = {ROOT / "docs/flags.md": flags(), ROOT / "docs/api.md": api()}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        if path not in made and MARKED.search(text := path.read_text()):
            made[path] = filled(text)
    return made


def main() -> None:
    """Writes them."""
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
