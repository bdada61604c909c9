"""What the pages say of the code is so: the figure, the files, the names."""

import importlib.util
import re

import PIL.Image
import pytest
import source

DRAW = source.ROOT / "docs" / "draw_architecture.py"
PAGES = (
    *("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/load.md"),
    *("docs/own_environment.md", "docs/recipes.md"),
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
