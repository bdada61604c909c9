"""Laws of report.html: all that report.md shows, in one file, for any reader."""

import base64
import hashlib
import html.parser
import re
import shutil
import subprocess

import fake_runs
import pytest

from dreamerv2 import report
from dreamerv2.report import __main__ as command
from dreamerv2.report import writer
from dreamerv2.report.pages import blocks, web

A, B = fake_runs.TASKS
NASTY = '<script>alert("&")</script>'
EMPTY = {"meta", "img"}  # elements without an end
BROWSER = shutil.which("chromium")
TABLE = "# R\n\n## T\n\n| method | p ↑ |\n| --- | ---: |\n"


class Page(html.parser.HTMLParser):
    """What a page holds, read without a browser."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.tables, self.headings = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs))
        self.found.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
        elif tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")
        elif {"h1", "h2", "h3"} & set(self.open):
            self.headings[-1] += data

    def each(self, name, tag=None):
        """The values of an attribute, of elements of one kind or of any."""
        return [a[name] for t, a in self.found if name in a and tag in (None, t)]


def write(tmp_path, **options):
    """The text of report.md, and report.html twice: as text and read."""
    path = report.write([tmp_path / "logs"], tmp_path / "out", html=True, **options)
    text = (tmp_path / "out" / "report.html").read_text()
    return path.read_text(), text, Page(text)


@pytest.fixture
def two_benchmarks(tmp_path):
    """Two benchmarks, references and a run under way, below tmp_path/logs."""
    for seed in range(2):
        fake_runs.write(tmp_path / "logs", f"a_s{seed}", seed, value=lambda *_: 0.5)
        key = {"replay__retention": "reservoir"}
        fake_runs.write(tmp_path / "logs", f"b_s{seed}", seed, **key)
    fake_runs.write(tmp_path / "logs", "c_s0", steps=50)
    fake_runs.write(tmp_path / "logs", "c_s1", 1, steps=50, until=30)
    fake_runs.write(tmp_path / "logs", "one_s0", tasks=[A])
    return tmp_path


@pytest.fixture
def without_pictures(monkeypatch):
    """Pictures take long, and most tests do not need them."""
    monkeypatch.setattr(writer, "_draw", lambda *_: {})


def plain(text):
    return "".join(span.text for span in blocks.spans(text))


def pictures(page):
    """(caption, kind, content) of each picture."""
    found = zip(page.each("alt"), page.each("src"), strict=True)
    parts = [(alt, re.fullmatch(r"data:(.+);base64,(.+)", src)) for alt, src in found]
    return [(alt, each[1], base64.b64decode(each[2])) for alt, each in parts]


@pytest.mark.slow
def test_the_page_has_every_heading_table_and_picture_of_the_report(two_benchmarks):
    pytest.importorskip("matplotlib")
    text, _, page = write(two_benchmarks)
    found = [*blocks.parse(text)]
    heads = [plain(b.text) for b in found if isinstance(b, blocks.Heading)]
    assert page.headings == heads and len(heads) > 6
    tables = [b for b in found if isinstance(b, blocks.Table)]
    rows = [[b.head, *b.rows] for b in tables]
    expected = [[[plain(cell) for cell in row] for row in table] for table in rows]
    assert page.tables == expected and len(tables) > 5
    shown = [b for b in found if isinstance(b, blocks.Picture)]
    files = [(two_benchmarks / "out" / b.name).read_bytes() for b in shown]
    assert pictures(page) == [
        (b.title, "image/png", content) for b, content in zip(shown, files, strict=True)
    ]
    assert len(shown) > 4


def test_texts_and_lists_of_the_report_are_in_the_page(
    two_benchmarks, without_pictures
):
    text, page, _ = write(two_benchmarks)
    for block in blocks.parse(text):
        lines = getattr(block, "items", ()) or [getattr(block, "text", "")]
        for span in (span for line in lines for span in blocks.spans(line)):
            assert html.escape(span.text) in page


def test_names_of_places_are_unique_and_links_lead_to_one(
    two_benchmarks, without_pictures
):
    text, _, page = write(two_benchmarks)
    assert text.count("### Success") > 1  # which would take one name
    names = page.each("id")
    assert len(names) == len(set(names))
    links = page.each("href")
    assert "#not-in-the-numbers" in links
    assert {link.removeprefix("#") for link in links} <= set(names)
    assert set(page.each("aria-labelledby")) <= set(names)
    listed = [b.text for b in blocks.parse(text) if isinstance(b, blocks.Heading)]
    assert len(page.each("href", "a")) == len(listed)  # all but the title, and one


def test_names_that_would_be_html_are_shown_as_they_are(tmp_path, without_pictures):
    task = 'A&amp;<b a="'
    for seed in range(2):
        fake_runs.write(tmp_path / "logs", f"a_s{seed}", seed, tasks=[task, B])
    _, text, page = write(tmp_path, labels={"a": NASTY})
    assert NASTY not in text
    assert page.tables[0][1][0] == NASTY
    assert any(heading.startswith(f"{task} → ") for heading in page.headings)
    assert [tag for tag, _ in page.found].count("script") == 1


def test_a_caption_that_would_end_its_attribute_does_not(tmp_path):
    (tmp_path / "a_1.svg").write_text('<svg width="72pt" height="36.0pt"></svg>')
    text = '# R\n\n![loss of "><b>](a_1.svg)\n'
    page = Page(web.render(text, tmp_path, "svg"))
    assert page.each("alt") == ['loss of "><b>']
    assert (page.each("width"), page.each("height")) == (["96"], ["48"])


def test_nothing_is_loaded_from_elsewhere_and_no_other_script_is_obeyed(
    two_benchmarks, without_pictures
):
    _, text, page = write(two_benchmarks)
    assert not re.search(r"https?:|url\(|@import|=\"//", text)
    assert all(each.startswith("data:") for each in page.each("src"))
    assert all(each.startswith("#") for each in page.each("href"))
    (rule,) = page.each("content", "meta")[:1]
    assert rule.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        inner = re.search(rf"<{tag}>(.*)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in rule


def test_heads_are_buttons_that_say_how_the_table_is_sorted(tmp_path):
    text = "# R\n\n| method | p ↑ | f ↓ |\n| --- | ---: | ---: |\n| a | 1 | 2 |\n"
    page = Page(web.render(text, tmp_path))
    heads = [attrs for tag, attrs in page.found if tag == "th"][:3]
    assert [head["aria-sort"] for head in heads] == ["none"] * 3
    first = ["ascending", "descending", "ascending"]  # the best of p is the highest
    assert [head["data-first"] for head in heads] == first
    assert page.each("type", "button") == ["button"] * 3


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        *(("0.50 ± 0.14", "0.50"), ("-0.64 [-0.7, 0.1]", "-0.64"), ("–", "")),
        *(("not defined", ""), ("1 of 2", "1"), ("750,000", "750000"), ("75%", "75")),
        ("", ""),
    ],
)
def test_a_number_is_sorted_by_its_mean_alone(tmp_path, cell, number):
    page = Page(web.render(f"{TABLE}| a 3 | {cell} |\n", tmp_path))
    assert page.each("data-number") == [number]


@pytest.mark.slow
def test_the_page_holds_svg_where_asked_for_and_png_where_browsers_need_it(tmp_path):
    pytest.importorskip("matplotlib")
    fake_runs.write(tmp_path / "logs", "one_s0", tasks=[A])
    for formats, kind in (
        (["png", "svg"], "image/svg+xml"),
        (["svg"], "image/svg+xml"),
        (["pdf", "png"], "image/png"),
        (["pdf"], "image/png"),
    ):
        _, _, page = write(tmp_path, formats=formats)
        ((_, found, _),) = pictures(page)
        assert found == kind
        (size,) = zip(page.each("width"), page.each("height"), strict=True)
        assert size == ("442", "278")  # in CSS pixels, whatever the format


def test_the_page_is_written_where_asked_for_alone(tmp_path, without_pictures, capsys):
    fake_runs.write(tmp_path / "logs", "one_s0", tasks=[A])
    words = ["--indir", str(tmp_path / "logs"), "--outdir", str(tmp_path)]
    command.main(words)
    assert not (tmp_path / "report.html").exists()
    command.main([*words, "--html"])
    assert f"Written: {tmp_path / 'report.html'}" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_clicks_in_a_browser_sort_by_number_and_leave_what_is_none_last(tmp_path):
    rows = ["b | –", "a10 | 9.00 ± 1.00", "a9 | -1.00 ± 7.00", "c | 10.00 ± 0.00"]
    text = TABLE + "".join(f"| {row} |\n" for row in rows)
    page = web.render(text, tmp_path)
    click = "<script>for (const i of {}) document.querySelectorAll('th > button')[i]"
    for clicks, order, said in (
        ([], ["b", "a10", "a9", "c"], ["none", "none"]),
        ([1], ["c", "a10", "a9", "b"], ["none", "descending"]),
        ([1, 1], ["a9", "a10", "c", "b"], ["none", "ascending"]),
        ([1, 0], ["a9", "a10", "b", "c"], ["ascending", "none"]),
        ([0, 0], ["c", "b", "a10", "a9"], ["descending", "none"]),
    ):
        altered = re.sub("<meta http-equiv[^>]*>", "", page)  # it obeys no script else
        altered = altered.replace(
            "</body>", f"{click.format(clicks)}.click()</script></body>"
        )
        (tmp_path / "page.html").write_text(altered)
        flags = ["--headless", "--no-sandbox", f"--user-data-dir={tmp_path / 'user'}"]
        done = subprocess.run(
            [BROWSER, *flags, "--dump-dom", f"file://{tmp_path / 'page.html'}"],
            **{"capture_output": True, "text": True, "timeout": 120, "check": True},
        )
        seen = Page(done.stdout)
        assert [row[0] for row in seen.tables[0][1:]] == order, clicks
        assert seen.each("aria-sort") == said
