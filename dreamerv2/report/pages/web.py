"""A report as one web page that holds its pictures and loads nothing from elsewhere."""

import base64
import hashlib
import html
import pathlib
import re
from collections.abc import Iterator, Sequence

import PIL.Image

from dreamerv2.report.pages import blocks

KINDS = {"svg": "image/svg+xml", "png": "image/png"}  # that browsers show, best first
_FOLDER = pathlib.Path(__file__).parent
_TAGS = {"bold": "strong", "emphasis": "em", "code": "code"}
_NUMBER = re.compile(r"-?[\d,]*\.?\d+")
_BEST_FIRST = {"↑": "descending", "↓": "ascending"}  # at the end of a column's head
_DOTS = 96  # CSS pixels in an inch


def render(text: str, folder: pathlib.Path, kind: str = "png") -> str:
    """Returns the page.

    Args:
      text: of report.md.
      folder: where its pictures lie.
      kind: of `KINDS`, the ending of those that the page holds.

    Raises:
      OSError: a picture cannot be read.
    """
    found = [*blocks.parse(text)]
    ids = _Ids()
    names = [ids.new(b.text) if isinstance(b, blocks.Heading) else "" for b in found]
    headings = [(b, n) for b, n in zip(found, names, strict=True) if n]
    style, script = ((_FOLDER / f"web.{end}").read_text() for end in ("css", "js"))
    allowed = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}"
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{allowed}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(headings[0][0].text)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            *_contents(headings),
            "<main>",
            *_main(found, names, folder, kind, ids),
            "</main>",
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


class _Ids:
    """Names of places in the page, none twice; those of headings are GitHub's."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, text: str) -> str:
        base = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") or "part"
        name, count = base, 0
        while name in self._taken:
            count += 1
            name = f"{base}-{count}"
        self._taken.add(name)
        return name


def _hash(text: str) -> str:
    """What a browser compares text with before it obeys it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _contents(headings: Sequence[tuple[blocks.Heading, str]]) -> list[str]:
    """Links to the headings of level 2, and below each those of level 3."""
    lines, depth = ['<nav aria-label="Contents">'], 1
    for heading, name in headings:
        if heading.level > 1:
            while depth > heading.level:
                lines.append("</li></ul>")
                depth -= 1
            lines.append("<ul>" * (heading.level - depth) or "</li>")
            depth = heading.level
            lines.append(f'<li><a href="#{name}">{_inline(heading.text)}</a>')
    return [*lines, "</li></ul>" * (depth - 1), "</nav>"]


def _main(
    found: Sequence[blocks.Block],
    names: Sequence[str],
    folder: pathlib.Path,
    kind: str,
    ids: _Ids,
) -> Iterator[str]:
    """The blocks; the text above a table or a picture becomes its caption."""
    caption, label = "", ""
    for block, name, after in zip(found, names, [*found[1:], None], strict=True):
        if isinstance(block, blocks.Heading):
            yield f'<h{block.level} id="{name}">{_inline(block.text)}</h{block.level}>'
            label = name
        elif isinstance(block, blocks.Text):
            if isinstance(after, blocks.Table | blocks.Picture):
                caption = block.text
            else:
                yield f"<p>{_inline(block.text)}</p>"
        elif isinstance(block, blocks.Items):
            items = (f"<li>{_inline(item)}</li>" for item in block.items)
            yield "\n".join(["<ul>", *items, "</ul>"])
        else:
            if caption:
                label = ids.new("caption")
            inner = (
                _table(block)
                if isinstance(block, blocks.Table)
                else _picture(block, (folder / block.name).with_suffix(f".{kind}"))
            )
            yield _figure(inner, caption, label)
            caption = ""


def _figure(inner: str, caption: str, label: str) -> str:
    """A table or a picture in a box of its own, which scrolls if it is too wide.

    Args:
      inner: the table or the picture.
      caption: above it; none if empty.
      label: where in the page its name is: the caption, or the heading above.
    """
    above = f'<figcaption id="{label}">{_inline(caption)}</figcaption>\n'
    return (
        f"<figure>\n{above if caption else ''}"
        f'<div class="wide" role="region" aria-labelledby="{label}" tabindex="0">\n'
        f"{inner}\n</div>\n</figure>"
    )


def _table(table: blocks.Table) -> str:
    pairs = [*zip(table.head, table.right, strict=True)]
    return "\n".join(
        [
            "<table>",
            f"<thead><tr>{''.join(_head(*pair) for pair in pairs)}</tr></thead>",
            "<tbody>",
            *(f"<tr>{_cells(row, table.right)}</tr>" for row in table.rows),
            "</tbody>",
            "</table>",
        ]
    )


def _head(text: str, is_number: bool) -> str:
    """A head that sorts; the first click puts the best first, or the least."""
    first = _BEST_FIRST.get(text[-1:], "ascending")
    kind = ' class="number"' if is_number else ""
    text = re.sub(" ([↑↓])$", "\N{NO-BREAK SPACE}\\1", text)
    return (
        f'<th scope="col"{kind} aria-sort="none" data-first="{first}">'
        f'<button type="button">{_inline(text)}</button></th>'
    )


def _cells(row: Sequence[str], right: Sequence[bool]) -> str:
    """The cells of a row, the first as its head, numbers with what sorts them."""
    cells = [f'<th scope="row">{_inline(row[0])}</th>']
    for text, is_number in zip(row[1:], right[1:], strict=True):
        if is_number:
            found = _NUMBER.match(text)
            number = found[0].replace(",", "") if found else ""
            opening = f'<td class="number" data-number="{number}">'
        else:
            opening = "<td>"
        cells.append(f"{opening}{_inline(text)}</td>")
    return "".join(cells)


def _picture(picture: blocks.Picture, path: pathlib.Path) -> str:
    content = path.read_bytes()
    width, height = _size(path)
    data = base64.b64encode(content).decode()
    return (
        f'<img alt="{html.escape(picture.title)}" width="{width}" height="{height}" '
        f'src="data:{KINDS[path.suffix[1:]]};base64,{data}">'
    )


def _size(path: pathlib.Path) -> tuple[int, int]:
    """Width and height of a picture as it was drawn, in CSS pixels."""
    if path.suffix == ".svg":
        sizes = r'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"'
        (points,) = re.findall(sizes, path.read_text())
        width, height = (round(float(each) / 72 * _DOTS) for each in points)
        return width, height
    with PIL.Image.open(path) as image:
        across, down = image.info.get("dpi", (_DOTS, _DOTS))
        return round(image.width / across * _DOTS), round(image.height / down * _DOTS)


def _inline(text: str) -> str:
    """A line, escaped, with its emphasis, code and links."""
    done = []
    for span in blocks.spans(text):
        shown = html.escape(span.text)
        if span.kind == "link":
            shown = f'<a href="#{html.escape(span.target)}">{shown}</a>'
        elif span.kind:
            shown = f"<{_TAGS[span.kind]}>{shown}</{_TAGS[span.kind]}>"
        done.append(shown)
    return "".join(done)
