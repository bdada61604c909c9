"""The site of these pages.

    python -m sphinx -W -c docs -b html . site

The pages are written for GitHub; here they get a search, and the navigation of
docs/index.md. Warnings are errors: a link that leads nowhere does not build.
"""

import re

project = "dreamerv2"
author = "The dreamerv2 authors"
extensions = ["myst_nb"]
root_doc = "docs/index"
include_patterns = [
    *("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/notebooks/*.ipynb"),
    *("results/*/*.md", "common/curves/published/README.md"),
]
exclude_patterns = ["**/.ipynb_checkpoints"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the tests execute them
# Reports and papers' pages stand in no navigation; code blocks may be of anything.
suppress_warnings = ["toc.not_included", "misc.highlighting_failure", "myst.header"]

html_theme = "furo"
html_title = "dreamerv2"
html_extra_path = ["site"]  # index.html, which leads to the first page
html_show_sourcelink = False
html_copy_source = False


def _navigation(app, docname, source):
    """Adds to the first page a hidden list of all pages, by its headings."""
    if docname != root_doc:
        return
    for title, body in re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", source[0], re.M):
        links = re.findall(r"\]\(([\w./]+)\.(?:md|ipynb)\)", body)
        listed = "\n".join(links)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{listed}\n```\n"


def setup(app):
    """Connects the navigation."""
    app.connect("source-read", _navigation)
