"""The page in a real browser: it opens fast, does what its keys and controls say, and lets no text of a collection act."""

import itertools
import time
from urllib.parse import quote

import pytest
from tests.report.browser import Seen, launch
from tests.report.rankings import BM25, OURS, QUERIES, small
from tests.report.test_payload import WORDS, large

from headtail.records import Query, Run
from headtail.report.html import write_report
from headtail.report.results import Results
from headtail.report.tables import MeasureRow, measures_table


@pytest.fixture(scope="module")
def browser():
    yield from launch()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def report(folder):
    rows = [MeasureRow("bm25", {("question", "RR@10"): 0.5}), MeasureRow("ours", {("question", "RR@10"): 0.6})]
    return write_report(folder / "small.html", title="Seven queries", tables=[measures_table(rows)], results=small())


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(5000)
    yield context
    context.close()


@pytest.fixture
def seen(context, report):
    """The small report, opened; whatever a test does in it must leave it clean."""
    seen = Seen(context, report)
    seen.ready()
    yield seen
    seen.assert_clean()


@pytest.fixture
def page(seen):
    return seen.page


def listed(page):
    """Ids of the queries in the list, from top to bottom."""
    return page.locator("#list .query .about .id").all_inner_texts()


def opened(page):
    return page.locator("#list .query[open] .about .id").all_inner_texts()


def until(page, condition):
    """Wait until a line of JavaScript is true; asked from outside, as the page's own policy forbids to evaluate text."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never came true: {condition}")


def unfold(page):
    """Open the first query and wait for its rankings."""
    page.locator("#list .query").first.locator("summary").click()
    page.wait_for_selector(".query[open] .columns")


def focused(page):
    return page.evaluate("document.activeElement.closest('.query')?.querySelector('.id').textContent")


BY_GAIN = ["gain", "nobody", "same", "dropped", "unranked", "buried", "nothing"]    # +.857, 0, 0, 0, -.5, -1, no value


def test_queries_stand_by_gain_and_those_without_a_value_come_last(page):
    assert listed(page) == BY_GAIN
    page.select_option("#order", "losses")
    assert listed(page) == ["buried", "unranked", "nobody", "same", "dropped", "gain", "nothing"]
    page.select_option("#order", "file")
    assert listed(page) == list(QUERIES)


FILTERS = [
    ("#changed", "gained", ["gain"]),
    ("#changed", "lost", ["unranked", "buried"]),
    ("#changed", "same", ["nobody", "same", "dropped"]),
    ("#intent", "browse", ["nobody", "same"]),
    ("#search", "FILE a", ["gain", "same", "unranked", "buried", "nothing"]),
    ("#search", "unrank", ["unranked"]),
    ("#search", "zebra", []),
    ("#words-from", "4", ["buried", "nothing"]),
    ("#words-to", "1", ["nobody", "dropped"]),
    ("#relevant-from", "2", ["same"]),
    ("#relevant-to", "0", ["nothing"]),
]


def test_a_filter_leaves_what_it_names(page):
    for control, value, left in FILTERS:
        if page.locator(control).evaluate("control => control.tagName") == "SELECT":
            page.select_option(control, label=value) if control == "#intent" else page.select_option(control, value)
        else:
            page.fill(control, value)
        assert listed(page) == left
        assert page.inner_text("#count") == f"{len(left)} of 7 queries"
        assert page.locator("#nothing").is_visible() == (not left)
        page.click("#reset")
        assert listed(page) == BY_GAIN


def test_filters_act_together(page):
    page.select_option("#changed", "lost")
    page.fill("#search", "folder")
    assert listed(page) == ["buried"]


def test_failure_groups_tell_their_number_filter_and_let_go(page):
    assert page.locator("#groups button").all_inner_texts() == [
        "2 No system has a relevant doc in its first 10", "2 Only bm25 has one in its first 10",
        "1 ours drops a relevant doc by more than 20 ranks", "1 Nothing is judged relevant",
    ]    # fmt: skip
    page.locator("#groups button").nth(1).click()
    assert listed(page) == ["unranked", "buried"]
    assert page.locator("#groups button[aria-pressed=true]").count() == 1
    page.locator("#groups button").nth(2).click()
    assert listed(page) == ["buried"]
    page.locator("#groups button").nth(2).click()
    assert listed(page) == BY_GAIN


def test_another_measure_changes_values_and_order(page):
    page.select_option("#measure", label="P@1")
    assert listed(page) == ["gain", "nothing", "buried", "nobody", "same", "unranked", "dropped"]    # one gains, one stays, five lack a value
    assert page.inner_text("#balance") == "1 query gains (mean +1.000), 0 lose, 1 unchanged, 5 without a value"
    assert page.locator("#list .query").first.locator(".value").all_inner_texts() == [".000", "1.000"]
    assert page.locator("#list .query").nth(2).locator(".value").all_inner_texts() == [".000", "–"]


def test_a_bar_opens_its_query(page):
    assert page.inner_text("#balance") == "1 query gains (mean +.857), 2 lose (mean −.750), 3 unchanged, 1 without a value"
    page.locator("#gains").scroll_into_view_if_needed()
    box = page.locator("#gains").bounding_box()
    page.mouse.move(box["x"] + 46 + 26 * 5 + 13, box["y"] + 100)
    assert page.inner_text("#pointed") == "list all files in a folder RR@10 1.000 → .000 (−1.000)"
    page.mouse.down()
    page.mouse.up()
    assert opened(page) == ["buried"]
    assert focused(page) == "buried"
    page.locator("#gains").click(position={"x": box["width"] - 10, "y": 50})    # right of the last bar
    assert opened(page) == ["buried"]


def test_bars_can_be_walked_and_opened_by_keys(page):
    page.focus("#gains")
    for key in ("End", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    assert opened(page) == ["unranked"]
    assert page.get_attribute("#gains", "aria-valuenow") == "5"


def test_keys_walk_open_and_close(page):
    page.keyboard.press("j")
    assert (focused(page), opened(page)) == ("gain", [])
    for key in ("j", "o", "j"):
        page.keyboard.press(key)
    assert (focused(page), opened(page)) == ("same", ["same"])    # the next one opened in its place
    page.keyboard.press("k")
    assert (focused(page), opened(page)) == ("nobody", ["nobody"])
    page.keyboard.press("Enter")
    assert opened(page) == []
    for _ in range(10):
        page.keyboard.press("j")
    assert focused(page) == "nothing"    # the last one is the end
    page.keyboard.press("o")
    assert opened(page) == ["nothing"]


def test_slash_searches_and_letters_typed_there_are_letters(page):
    page.keyboard.press("/")
    page.keyboard.type("jok/?")
    assert page.input_value("#search") == "jok/?"
    page.fill("#search", "file")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert focused(page) == "gain"


def test_a_question_mark_shows_the_keys_and_hides_them(page):
    keys = page.locator("#keys")
    assert not keys.is_visible()
    page.keyboard.press("?")
    assert keys.is_visible()
    page.keyboard.press("j")
    assert opened(page) == []
    page.keyboard.press("Escape")
    assert not keys.is_visible()
    page.click("#show-keys")
    page.click("#close-keys")
    assert not keys.is_visible()


def test_side_by_side_by_hand(page):
    unfold(page)
    before, after = page.locator(".query[open] .columns > section").all()
    assert before.locator(".grade").all_inner_texts() == ["N0", "U", "U", "U", "U", "U", "R2", "U", "U", "U"]
    assert after.locator(".grade").all_inner_texts() == ["R2", "N0", *["U"] * 8]
    assert after.locator(".move").all_inner_texts() == ["▲6", "▼1", "▼1", "▼1", "▼1", "▼1", "▼1", "=", "=", "="]
    assert before.locator(".move").count() == 0
    assert before.locator(".why").inner_text() == "first relevant rank 7; RR@10 .143; P@1 .000"
    assert after.locator(".why").inner_text() == "first relevant rank 7 → 1; RR@10 .143 → 1.000; P@1 .000 → 1.000"
    assert after.locator(".gap").all_inner_texts() == ["1.000"] * 9
    assert page.locator("#list .query").first.locator("summary .letters").all_inner_texts() == ["NUUUUURUUU", "RNUUUUUUUU"]
    assert page.get_by_role("img", name="relevant at rank 7 in the first 10").count() == 1


def test_why_a_query_lost(page):
    said = dict(zip(listed(page), page.locator("summary .why").all_inner_texts(), strict=True))
    assert said["buried"] == "ours: first relevant rank 1 → 30; RR@10 1.000 → .000"
    assert said["unranked"] == "ours: first relevant rank 2 → no ranking; RR@10 .500 → .000"
    assert said["nobody"] == "ours: first relevant rank none in 12 as before; RR@10 .000 as before"
    assert said["dropped"] == "ours: first relevant rank 12 → none in 11; RR@10 .000 as before"
    assert said["nothing"] == "ours: nothing judged relevant; RR@10 – as before"


def test_relevant_docs_out_of_sight_are_named(page):
    rows = dict(zip(listed(page), page.locator("#list .query").all(), strict=True))
    rows["buried"].locator("summary").click()
    last = rows["buried"].locator(".columns > section").last
    assert last.locator(".elsewhere li").all_inner_texts() == ["R1 b1 rank 30"]
    assert last.locator(".move.new").count() == 0
    rows["nobody"].locator("summary").click()
    assert rows["nobody"].locator(".elsewhere li").all_inner_texts() == ["R1 elsewhere not retrieved"] * 2
    assert rows["nobody"].locator(".move.new").all_inner_texts() == ["new"]


def test_words_of_the_query_are_marked_and_a_long_text_opens_around_them(page):
    unfold(page)
    doc = page.locator(".query[open] section").last.locator(".doc").first
    assert doc.locator("mark").all_inner_texts() == ["open", "files"]
    short = doc.locator(".doc-text").inner_text()
    assert short.startswith("… ")
    assert short.endswith(" …")
    doc.locator(".more").click()
    assert len(doc.locator(".doc-text").inner_text()) > 3 * len(short)
    doc.locator(".more").click()
    assert doc.locator(".doc-text").inner_text() == short
    assert page.locator(".query[open] .doc:has-text('g2') .none").first.inner_text() == "no text"


def test_pointing_at_a_doc_shows_it_in_the_other_columns(page):
    unfold(page)
    page.locator(".query[open] section").last.locator(".doc").first.hover()
    assert page.locator(".doc.same .rank").all_inner_texts() == ["7", "1"]


def test_an_address_opens_its_query_and_an_opened_query_is_in_the_address(context, report):
    seen = Seen(context, report, "#q=same")
    page = seen.ready()
    assert (opened(page), focused(page)) == (["same"], "same")
    page.fill("#search", "zebra")
    page.evaluate("location.hash = '#q=nothing'")
    until(page, "document.activeElement.closest('.query')?.querySelector('.id').textContent === 'nothing'")
    assert page.input_value("#search") == ""    # a filter does not hide what was asked for
    page.keyboard.press("k")
    until(page, "location.hash === '#q=buried'")
    assert [link.get_attribute("href") for link in page.locator(".query[open] .permalink a").all()] == ["#q=same", "#q=buried"]
    page.evaluate("location.hash = '#q=unheard-of'")
    assert opened(page)
    seen.assert_clean()


def test_one_system_without_values_is_a_list_to_read(context, folder):
    results = Results([BM25], QUERIES, {}, {}, 1, {}, {})
    seen = Seen(context, write_report(folder / "one.html", title="one", results=results))
    page = seen.ready()
    assert listed(page) == list(QUERIES)
    assert not page.locator("#balances").is_visible()
    assert not page.locator("#measure").is_visible()
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_selector(".query[open] .doc")
    assert page.locator(".query[open] .doc").count() == 10
    seen.assert_clean()


def test_five_systems_of_which_any_is_set_against_the_first(context, folder):
    runs = [BM25, *(OURS.renamed(f"ours {n}") for n in range(4))]
    values = {run.name: {"RR": {"gain": 0.1 * n}} for n, run in enumerate(runs)}
    seen = Seen(context, write_report(folder / "five.html", title="five", results=small(runs=runs, values=values)))
    page = seen.ready()
    assert page.locator("summary .change").all_inner_texts()[:5] == ["", "+.100", "+.200", "+.300", "+.400"]
    assert page.inner_text("#balance").startswith("1 query gains (mean +.400)")
    page.select_option("#against", label="ours 1")
    assert page.inner_text("#balance").startswith("1 query gains (mean +.200)")
    assert page.locator("summary .why").first.inner_text().startswith("ours 1: first relevant rank 7 → 1; RR .000 → .200")
    seen.assert_clean()


def test_without_javascript_tables_stand_and_a_line_says_what_is_missing(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("table").is_visible()
    assert page.get_by_text("The queries need JavaScript").is_visible()
    assert not page.locator("#results").is_visible()
    context.close()


def test_a_browser_that_cannot_unpack_is_told_so(context, report):
    context.add_init_script("delete window.DecompressionStream")
    seen = Seen(context, report)
    assert seen.page.locator("#broken").is_visible()
    assert not seen.page.locator("#results").is_visible()
    seen.assert_clean()


def test_paper_holds_tables_bars_and_the_open_queries_alone(page):
    unfold(page)
    page.emulate_media(media="print")
    assert page.locator("#list .query").first.locator(".columns").is_visible()
    assert not page.locator("#list .query").nth(1).is_visible()
    assert page.locator("#gains svg").is_visible()
    assert not page.locator(".filters").is_visible()
    assert page.get_by_text("On paper stand only the queries that were open").is_visible()


def test_a_thousand_queries_are_there_in_two_seconds_and_all_can_be_reached(browser, context, folder):
    path = write_report(folder / "large.html", title="large", results=large(WORDS))
    took = []
    for _ in range(3):    # the best of three: other work on the machine is not what is measured
        start = time.monotonic()
        seen = Seen(context, path)
        page = seen.ready()
        took.append(time.monotonic() - start)
        if took[-1] < 2:
            break
    assert min(took) < 2
    assert page.inner_text("#count") == "1,000 queries"
    assert page.locator("#list .query").count() < 200    # built as one scrolls
    assert page.locator("#list .query").first.is_visible()
    page.select_option("#order", "file")
    page.evaluate("location.hash = '#q=q999'")
    until(page, "document.querySelector('.query[open] .id')?.textContent === 'q999'")
    assert page.locator("#list .query").count() == 1000
    seen.assert_clean()


def test_the_list_grows_as_one_scrolls(context, folder):
    queries = {f"q{n}": Query(f"q{n}", f"query {n}") for n in range(300)}
    run = Run({q: [("d", 1.0)] for q in queries}, "one")
    seen = Seen(context, write_report(folder / "scrolled.html", title="t", results=Results([run], queries, {}, {}, 1, {}, {})))
    page = seen.ready()
    for _ in range(60):
        if page.locator("#list .query").count() == 300:
            break
        page.mouse.wheel(0, 5000)
        page.wait_for_timeout(30)
    assert listed(page) == list(queries)
    seen.assert_clean()


def test_the_list_grows_below_everything_else_so_that_links_lead_where_they_say(context, folder):
    seen = Seen(context, write_report(folder / "links.html", title="large", results=large(WORDS)))
    page = seen.ready()
    page.click("nav >> text=How to read this page")
    page.wait_for_timeout(600)
    assert 0 <= page.locator("#how-to-read").bounding_box()["y"] < 900
    seen.assert_clean()


ACT = "window.hacked=1"
PAYLOADS = [
    f"<script>{ACT}</script>", f"</script><script>{ACT}</script>", f"<!--<script>{ACT}//-->", f"]]>--><script>{ACT}</script>",
    f'"><img src=x onerror="{ACT}">', f"'><svg onload={ACT}>", f"<svg><script>{ACT}</script></svg>", f"<math><mtext><img src=x onerror={ACT}></mtext></math>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>", f"<details open ontoggle={ACT}>", f"<input autofocus onfocus={ACT}>",
    f"<template><script>{ACT}</script></template>", "<base href=//evil.example>", "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<link rel=stylesheet href=http://evil.example/x.css>", "</style><style>@import url(http://evil.example/x.css);</style>",
    "background:url(http://evil.example/x.png)", "}*{background:url('http://evil.example/y')}{", "javascript:window.hacked=1",
    "data:text/html,<script>parent.hacked=1</script>", "<a href=javascript:window.hacked=1 autofocus>click</a>", "http://evil.example/z",
    "\\u003cscript>", '\\"];window.hacked=1;//', "'];window.hacked=1;//", "${window.hacked=1}", "{{ 7*7 }}{% raw %}", "\u2028window.hacked=1\u2029",
    "__proto__", "constructor", "\u202eright to left\u2066", "lone \ud800 surrogate \udfff", "a\x00b\x1b[31m\x08", "&lt;script&gt;&#x3c;", "`;window.hacked=1;`",
    "--%3E<img src=x onerror=window.hacked=1>", "<noscript><p title='</noscript><img src=x onerror=window.hacked=1>'>", "(?:a+)+$ [\\]{(*+?", "مرحبا <b>עברית</b>",
]    # fmt: skip
AROUND = ["{}", "file {} file", "{0}{0}", "{} \u202e", '"{}"', "'{}'", "-->{}", "</script>{}", "<!--{}", "\x00{}", "]]>{}", "{}\\", "\n{}\n"]
HOSTILE = list(dict.fromkeys(around.format(payload) for around, payload in itertools.product(AROUND, PAYLOADS)))[:500]


def hostile_results():
    """Five hundred queries, each with hostile text, id and docs, under systems and measures with hostile names."""
    assert len(HOSTILE) == len(set(HOSTILE)) == 500
    queries = {text: Query(text, text) for text in HOSTILE}
    texts = dict(zip(HOSTILE, reversed(HOSTILE), strict=True)) | {HOSTILE[3]: "x" * 5_000_000}
    around = HOSTILE * 2
    runs = [
        Run({q: [(around[place + n + shift], 9.0 - n) for n in range(6)] for place, q in enumerate(HOSTILE)}, PAYLOADS[shift])
        for shift in range(3)
    ]
    values = {run.name: {m: dict.fromkeys(HOSTILE, 0.1 * n) for m in PAYLOADS[4:6]} for n, run in enumerate(runs)}
    return Results(runs, queries, dict(zip(HOSTILE, around[7:], strict=False)), {q: {q: 1, HOSTILE[9]: 1} for q in HOSTILE}, 1, texts, values)


def test_five_hundred_hostile_texts_run_nothing_and_ask_for_nothing(context, folder):
    all_of_them = " ".join(PAYLOADS)
    rows = [MeasureRow(text, {(text, text): 0.5}) for text in PAYLOADS]
    path = write_report(
        folder / "hostile.html", title=all_of_them, subtitle=all_of_them, facts=[(text, text) for text in PAYLOADS], notes=PAYLOADS,
        tables=[measures_table(rows, title=all_of_them)], results=hostile_results(),
    )    # fmt: skip
    seen = Seen(context, path, "#q=" + quote("<script>window.hacked=1</script>"))
    page = seen.ready()
    assert len(opened(page)) == 1
    page.select_option("#order", "file")
    page.evaluate("location.hash = '#q=' + encodeURIComponent(document.querySelectorAll('#list .query .id')[39].textContent)")
    page.wait_for_timeout(100)
    page.evaluate("document.querySelectorAll('#list .query:not([open]) summary').forEach((summary) => summary.click())")
    assert page.locator("#list .query[open] .doc").count() > 200
    page.evaluate("document.querySelectorAll('.more').forEach((button) => button.click())")
    page.fill("#search", HOSTILE[4])
    page.fill("#search", "")
    page.evaluate("document.querySelectorAll('#groups button').forEach((button) => button.click())")
    page.focus("#gains")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("({}).polluted") is None
    assert page.evaluate("document.scripts.length") == 2    # the packed queries and the page's own
    assert page.locator("img, iframe, base, math, object, embed, link[rel=stylesheet], [onerror], [onload], [onfocus], [ontoggle]").count() == 0
    assert page.evaluate("[...document.links].every((link) => link.getAttribute('href').startsWith('#'))")
    assert page.url.startswith("file:")
    seen.assert_clean()


def test_hostile_texts_are_shown_as_they_are(context, folder):
    text = "<script>window.hacked=1</script> file"
    run = Run({"q": [("<b>d</b>", 1.0)]}, "<i>run</i>")
    path = write_report(folder / "shown.html", title="t", results=Results([run], {"q": Query("q", text)}, {}, {}, 1, {"<b>d</b>": text}, {}))
    page = Seen(context, path, "#q=q").ready()
    assert page.locator(".doc-text").inner_text() == text
    assert page.locator(".doc-text mark").all_inner_texts() == ["script", "window", "hacked", "script", "file"]
    assert page.locator(".doc .id").inner_text() == "<b>d</b>"
    assert page.locator(".columns h3").inner_text() == "<i>run</i>"


@pytest.mark.parametrize(
    ("body", "caught"),
    [
        ("<script>alert(1)</script>", "dialogs"),
        ("<img src=http://evil.example/x.png>", "requests"),
        ("<script>throw new Error('x')</script>", "errors"),
    ],
)
def test_what_looks_for_harm_sees_it(context, tmp_path, body, caught):
    (tmp_path / "bad.html").write_text(f"<!doctype html><body>{body}")
    seen = Seen(context, tmp_path / "bad.html")
    seen.page.wait_for_timeout(50)
    with pytest.raises(AssertionError):
        seen.assert_clean()
    assert getattr(seen, caught)
