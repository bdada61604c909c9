"""What the pages say of the code is so: the figure, files, names, blocks, messages."""

import ast
import importlib.util
import re

import PIL.Image
import pytest
import source

from dreamerv2 import settings

DRAW = source.ROOT / "docs" / "draw_architecture.py"
PAGES = (
    *("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/load.md"),
    *("docs/own_environment.md", "docs/concepts.md", "docs/faq.md"),
)
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
FOLDERS = re.compile(
    r"(common|dreamerv2|gym_minigrid|tests|benchmarks|docs|sweeps|results)/[\w./]*"
)


def test_the_figure_shows_the_imports_of_today():
    spec = importlib.util.spec_from_file_location("draw_architecture", DRAW)
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    drawn = PIL.Image.open(draw.PICTURE).text["Description"]
    assert drawn == draw.text(draw.edges()), (
        "imports have changed; draw them anew: python docs/draw_architecture.py"
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_exist(page):
    text = (source.ROOT / page).read_text()
    named = {name for name in CODE.findall(text) if FOLDERS.fullmatch(name)}
    links = {(source.ROOT / page).parent / link for link in LINK.findall(text)}
    assert named
    assert not [name for name in sorted(named) if not (source.ROOT / name).exists()]
    assert not [str(path) for path in sorted(links) if not path.exists()]


@pytest.mark.parametrize("page", PAGES)
def test_the_names_in_our_modules_that_a_page_gives_exist(page):
    text = FENCE.sub("", (source.ROOT / page).read_text())
    ours = [n for n in CODE.findall(text) if n.startswith(("common.", "dreamerv2."))]
    assert not [name for name in ours if not known(name)]


def known(name: str) -> bool:
    """Whether a dotted name is a module of ours, or something that one defines."""
    if name in source.MODULES:
        return True
    module, _, attribute = name.rpartition(".")
    return module in source.TREES and bool(
        re.search(
            rf"^(class |def )?{attribute}\b", source.MODULES[module].read_text(), re.M
        )
    )


def test_the_concepts_tell_what_each_block_is_for_and_name_no_other():
    text = (source.ROOT / "docs/concepts.md").read_text().partition("\n## Blocks\n")[2]
    rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in CODE.findall(row)]
    assert sorted(named) == sorted(["defaults", *settings.configs])


@pytest.mark.parametrize("page", ["docs/concepts.md", "docs/faq.md"])
def test_the_dotted_keys_that_a_page_gives_are_settings(page):
    named = CODE.findall(FENCE.sub("", (source.ROOT / page).read_text()))
    groups = {key.partition(".")[0] for key in settings.defaults.flat if "." in key}
    keys = [n for n in named if n.partition(".")[0] in groups and "." in n]
    assert keys
    assert not [key for key in keys if key not in settings.defaults.flat]


def test_the_messages_that_the_questions_quote_are_those_of_the_program():
    headings = re.findall(r"^### (.*)", (source.ROOT / "docs/faq.md").read_text(), re.M)
    quoted = [text for line in headings for text in CODE.findall(line) if " " in text]
    parts = {part.strip() for text in quoted for part in text.split("...")} - {""}
    written = "\n".join(
        node.value
        for tree in source.TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert parts
    assert not [part for part in sorted(parts) if part not in written]
