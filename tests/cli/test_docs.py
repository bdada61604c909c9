"""What the pages say of the code is so: the figure, files, names, blocks, messages."""

import ast
import importlib.util
import re

import pages
import PIL.Image
import pytest
import source

from dreamerv2 import settings

CODE = re.compile(r"`([^`\n]+)`")
FOLDERS = re.compile(
    r"(common|dreamerv2|gym_minigrid|tests|benchmarks|docs|sweeps|results)/[\w./]*"
)


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reads(path):
    return path.read_text() if path.exists() else None


def test_the_figure_shows_the_imports_of_today():
    draw = loaded(source.ROOT / "docs" / "draw_architecture.py")
    drawn = PIL.Image.open(draw.PICTURE).text["Description"]
    assert drawn == draw.text(draw.edges()), (
        "imports have changed; draw them anew: python docs/draw_architecture.py"
    )


def test_generated_pages_and_numbers_are_those_of_today():
    generate = loaded(source.ROOT / "docs" / "generate.py")
    stale = [
        path.name for path, text in generate.pages().items() if reads(path) != text
    ]
    assert not stale, f"{stale}: python docs/generate.py"


def test_the_readme_is_short():
    assert len(pages.TEXTS["README.md"].splitlines()) <= 250


@pytest.mark.parametrize("page", pages.TEXTS)
def test_the_files_and_links_of_a_page_exist(page):
    text = pages.TEXTS[page]
    named = {name for name in CODE.findall(text) if FOLDERS.fullmatch(name)}
    assert not [name for name in sorted(named) if not (source.ROOT / name).exists()]
    folder = (source.ROOT / page).parent
    for link in [
        *pages.LINK.findall(text),
        *(p for _, p in pages.PICTURE.findall(text)),
    ]:
        file, _, anchor = link.partition("#")
        if file.startswith(("http:", "https:")):
            continue
        target = (folder / file).resolve() if file else source.ROOT / page
        assert target.exists(), link
        if anchor:
            there = str(target.relative_to(source.ROOT))
            assert anchor in pages.anchors(there), link


@pytest.mark.parametrize("page", pages.TEXTS)
def test_a_picture_is_described_and_stands_beside_a_command(page):
    shown = pages.PICTURE.findall(pages.TEXTS[page])
    assert all(text for text, _ in shown)
    if shown and page != "docs/architecture.md":  # its command is in the text
        assert pages.blocks(page, "sh")


def test_every_page_is_found_from_the_readme():
    linked = set(pages.LINK.findall(pages.TEXTS["README.md"]))
    assert not {p for p in pages.TEXTS if p.startswith("docs/")} - linked


@pytest.mark.parametrize("page", pages.TEXTS)
def test_the_names_in_our_modules_that_a_page_gives_exist(page):
    text = pages.prose(page)
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
    text = pages.TEXTS["docs/concepts.md"].partition("\n## Blocks\n")[2]
    rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in CODE.findall(row)]
    assert sorted(named) == sorted(["defaults", *settings.configs])


@pytest.mark.parametrize("page", ["docs/concepts.md", "docs/faq.md"])
def test_the_dotted_keys_that_a_page_gives_are_settings(page):
    named = CODE.findall(pages.prose(page))
    groups = {key.partition(".")[0] for key in settings.defaults.flat if "." in key}
    keys = [n for n in named if n.partition(".")[0] in groups and "." in n]
    assert keys
    assert not [key for key in keys if key not in settings.defaults.flat]


def test_the_messages_that_the_questions_quote_are_those_of_the_program():
    headings = re.findall(r"^### (.*)", pages.TEXTS["docs/faq.md"], re.M)
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
