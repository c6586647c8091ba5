import errno
import os
import re
from html.parser import HTMLParser

import pytest

from headtail.errors import HeadtailError
from headtail.records import Query, Run
from headtail.report import html as report_html
from headtail.report.html import render_report, write_report
from headtail.report.results import Results
from headtail.report.tables import MeasureRow, measures_table

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "]]></style></title></svg><iframe src=https://evil.example>",
    "a\x00b\x1b[31m\x08",
    "\u202eright to left\u2066 open",
    "lone \ud800 surrogate \udfff",
    "{{ 7*7 }} {% raw %} {# x #}",
    "--><base href=//evil.example><meta http-equiv=refresh content='0;url=//evil.example'>",
    "javascript:alert(1) &lt;b&gt; &#x3c;b>",
    "x" * 5000,
    "مرحبا <b>עברית</b>",
]
ELEMENTS = (
    "html head meta link title style body a header h1 h2 h3 p bdi nav main section dl div dt dd table thead tbody tr th td span strong i "
    "select option dialog figure figcaption svg defs path clippath rect g use text ul ol li label input button kbd details summary mark footer script"
)
OURS = set(ELEMENTS.split())
VOID = {"meta", "link", "input", "img", "br", "hr", "base"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails where tags do not match."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.scripts, self.open, self.said = set(), [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.said).append(data)


def hostile_page():
    """Every hostile text in every place a text can come to."""
    ids = [text for text in HOSTILE if len(text) < 200]
    queries = {text: Query(text, text) for text in ids}
    runs = [Run({q: [(d, float(i)) for i, d in enumerate(ids)] for q in ids}, name) for name in ("bm25", HOSTILE[1])]
    texts = {d: f"{text} {d}" for d, text in zip(ids, reversed(HOSTILE), strict=False)}
    qrels = {q: {ids[0]: 1, HOSTILE[0] + "unseen": 2} for q in ids}
    values = {run.name: {text: dict.fromkeys(ids, 0.5) for text in ids[:3]} for run in runs}
    results = Results(runs, queries, dict.fromkeys(ids, HOSTILE[0]), qrels, 1, texts, values)
    all_of_it = " ".join(HOSTILE)
    rows = [MeasureRow(text, {(text, text): 0.5, (HOSTILE[0], "RR"): 0.1}, missing={text: 1}) for text in HOSTILE]
    ledger = [{"kind": "validation", "step": 1, "loss": 1.0, "measures": {text: 0.5}} for text in HOSTILE[:5]]
    return render_report(
        title=all_of_it, subtitle=all_of_it, facts=[(text, text) for text in HOSTILE], notes=HOSTILE,
        tables=[measures_table(rows, title=all_of_it, note=all_of_it, counts={HOSTILE[0]: 3})], ledger=ledger, results=results,
    )


@pytest.fixture(scope="module")
def page():
    return hostile_page()


def test_hostile_texts_open_no_element_and_set_no_attribute(page):
    parsed = Page(page)
    assert parsed.tags <= OURS
    assert not [attribute for attribute in parsed.attributes if attribute[1].startswith("on")]
    packed, script = parsed.scripts
    assert re.fullmatch(r"[A-Za-z0-9+/=\s]*", packed)    # what the systems returned holds no character that means anything in HTML
    assert "alert" not in script


def test_hostile_texts_are_still_readable_as_text(page):
    said = "".join(Page(page).said)
    assert "<script>alert(1)</script>" in said
    assert "{{ 7*7 }}" in said
    assert "49" not in re.findall(r"\b49\b", said)


def test_the_page_holds_no_control_character_and_is_utf8(page):
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", page)
    page.encode("utf-8")


def test_what_turns_the_writing_direction_stays_inside_its_element(page):
    for match in re.finditer("[\u202e\u2066]", page):
        before = page[: match.start()]
        assert before.rfind("<bdi>") > before.rfind("</bdi>"), page[match.start() - 80 : match.end()]


def test_nothing_is_loaded_from_anywhere(page):
    parsed = Page(page)
    for tag, name, value in parsed.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            assert value.startswith(("#", "data:,")), (tag, name, value)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    policy = next(value for tag, name, value in parsed.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy


def test_the_policy_allows_the_script_of_the_page_and_no_other(page):
    script = Page(page).scripts[1]
    assert f"script-src '{report_html._hash(script)}'" in page
    assert "unsafe-eval" not in page
    assert "script-src 'unsafe-inline'" not in page


def test_the_script_has_no_way_to_read_text_as_markup_or_as_code():
    script = report_html.page_script(report_html.page_environment())
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|document\.write|eval\(|new Function|setTimeout\(", script)
    assert "</script" not in script
    assert "<!--" not in script


def test_a_report_of_nothing_but_a_title_is_a_page(tmp_path):
    path = write_report(tmp_path / "new" / "report.html", title="Nothing yet")
    parsed = Page(path.read_text(encoding="utf-8"))
    assert "svg" not in parsed.tags
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_the_same_report_is_the_same_bytes(page):
    assert hostile_page() == page


def test_a_full_disk_is_one_line_and_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HeadtailError, match=r"no room on disk: .*report\.html was not written, what stood there is untouched"):
        write_report(path, title="new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_path_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HeadtailError, match=r"cannot write .*report\.html: .*/file is a file, not a folder"):
        write_report(tmp_path / "file" / "report.html", title="t")


def test_a_report_tells_the_advice_of_its_run_and_an_old_ledger_makes_a_page():
    from tests.ledgers import fake_run, old

    run = fake_run("over-fitting")
    said = "".join(Page(render_report(title="t", ledger=run)).said)
    assert "over-fitting: validation loss rose" in said
    recorded = [*run, {"kind": "advice", "step": 9, "about": "gap", "text": "<b>as it was said</b>"}]
    said = "".join(Page(render_report(title="t", ledger=recorded)).said)
    assert "<b>as it was said</b>" in said
    assert "over-fitting: validation" not in said
    assert Page(render_report(title="t", ledger=old(fake_run()))).tags >= {"svg"}
