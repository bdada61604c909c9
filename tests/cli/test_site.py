"""The pages as a site: it builds without a warning, has its navigation and a search."""

import re
import subprocess
import sys

import pages
import pytest


@pytest.mark.slow
def test_the_site_builds_and_leads_to_every_page(tmp_path):
    words = ["-W", "--keep-going", "-q", "-c", "docs", "-d", str(tmp_path / "trees")]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            *words,
            "-b",
            "html",
            ".",
            str(tmp_path / "site"),
        ],
        cwd=pages.ROOT,
        check=True,
    )
    site = tmp_path / "site"
    first = (site / "docs" / "index.html").read_text()
    tree = re.search(r'<div class="sidebar-tree">.*?</div>', first, re.DOTALL)[0]
    written = {page for page in pages.TEXTS if page.startswith("docs/")}
    for page in written - {"docs/index.md"}:
        name = page.removeprefix("docs/").removesuffix(".md")
        assert f'href="{name}.html"' in tree, page
    assert "docs/index.html" in (site / "index.html").read_text()
    assert "reservoir" in (site / "searchindex.js").read_text()
