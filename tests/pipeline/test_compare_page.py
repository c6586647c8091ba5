"""headtail compare: one page on any runs, with a collection, with queries alone, and with neither."""

from __future__ import annotations

import sys
from unittest import mock

import pytest

from headtail.cli import main
from headtail.errors import HeadtailError
from headtail.pipeline.compare_page import PATIENCES, collected_from, compare, measure_charts, scroll_curves
from headtail.pipeline.judgments import several_judgments
from headtail.pipeline.systems import evaluate_systems, read_systems

MEASURES = ("RR@10", "nDCG@5", "TailnDCG")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Data sets `ask` and `shop` of six docs, two systems on each; `ours` has two seeds on `ask`."""
    monkeypatch.chdir(tmp_path)
    for name, prefix in (("ask", "q"), ("shop", "s")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "collection.tsv").write_text("".join(f"{name}{i}\tthe text of {name} {i}\n" for i in range(8)))
        (folder / "queries.test.tsv").write_text("".join(f"{prefix}{i}\ttext {i}\n" for i in range(4)))
        labels = "".join(f"{prefix}{i}\t0\t{name}{j}\t{1 + (i + j) % 2}\n" for i in range(3) for j in range(i, 8))
        (folder / "qrels.test.tsv").write_text(labels + f"{prefix}3\t0\t{name}0\t0\n")
        for system, shift in (("bm25", 0), ("ours", 2), ("ours2", 3)):
            lines = [f"{prefix}{i} Q0 {name}{(j + shift) % 8} {j} {-j} x\n" for i in range(4) for j in range(8)]
            (folder / f"{system}.trec").write_text("".join(lines))
    return tmp_path


def headtail(capsys, *arguments):
    with mock.patch.object(sys, "argv", ["headtail", *map(str, arguments)]), pytest.raises(SystemExit) as left:
        main()
    out = capsys.readouterr()
    return left.value.code, out.out, out.err


def test_the_command_prints_the_table_and_writes_the_page(place, capsys):
    command = ("compare", "ask/bm25.trec", "ours=ask/ours.trec", "--data", "ask", "--split", "test", "--html", "page.html", "--ties")
    code, out, err = headtail(capsys, *command)
    assert (code, err) == (0, "")
    assert "page: page.html" in out
    assert "TailnDCG" in out
    page = (place / "page.html").read_text(encoding="utf-8")
    for said in ("2 systems on ask", "Comparisons", "Head and tail", "by patience", "nDCG@5 by intent", "Query by query", "Ties"):
        assert said in page, said


def test_without_a_collection_docs_are_ids(place):
    judged = several_judgments([], [], "ask/qrels.test.tsv")
    page, _ = compare(["ask/bm25.trec"], judged, "ids.html", collected=collected_from(None, None), measures=MEASURES)
    assert "bm25 on qrels.test.tsv" in page.read_text(encoding="utf-8")
    page, _ = compare(["ask/bm25.trec"], judged, "texts.html", collected=collected_from(None, None, "ask/queries.test.tsv"))
    assert page.is_file()
    with pytest.raises(HeadtailError, match="query 'q0' is judged but is not among the 4 queries; of another split"):
        compare(["ask/bm25.trec"], judged, "other.html", collected=collected_from(None, None, "shop/queries.test.tsv"))


def test_several_data_sets_have_one_page_without_the_queries(place):
    judged = several_judgments(["ask", "shop"], ["test"], intent=["question", "browse"])
    page, found = compare(["ask/bm25.trec", "shop/bm25.trec", "ask/ours.trec", "shop/ours.trec"], judged, "both.html", measures=MEASURES)
    text = page.read_text(encoding="utf-8")
    assert "2 systems on ask and shop" in text
    assert 'id="packed"' not in text
    assert [group.name for group in found.panel.groups] == ["ask question", "shop browse", "macro"]


def evaluated(*files):
    judged = several_judgments(["ask"], ["test"])
    systems = read_systems(files, judged)
    return evaluate_systems(systems.runs, judged, MEASURES), systems.runs


def test_a_scroll_curve_is_the_mean_of_the_measure_at_each_patience(place):
    found, runs = evaluated("ask/bm25.trec", "ours=ask/ours.trec", "ours=ask/ours2.trec")
    curves = scroll_curves(found, runs, found.panel.groups[0])
    assert [patience for patience, _ in curves["ours"]] == list(PATIENCES)
    judged = several_judgments(["ask"], ["test"])
    for patience in (0.5, 0.98):
        name = f"nScroll(p={patience})"
        seeds = [evaluate_systems(read_systems([f], judged).runs, judged, [name]).panel for f in ("ask/ours.trec", "ask/ours2.trec")]
        means = [panel.mean(next(iter(panel.values)), name, panel.groups[0]) for panel in seeds]
        assert dict(curves["ours"])[patience] == pytest.approx(sum(means) / 2)
    assert [chart.name for chart in measure_charts(found, runs)] == ["head-tail", "scroll", "intents"]
    assert len(measure_charts(*evaluated("ask/ours.trec"))) == 3


def test_where_no_tail_has_a_value_the_scatter_is_left_out(place):
    (place / "ask/qrels.test.tsv").write_text("q0\t0\task0\t1\n")
    found, runs = evaluated("ask/bm25.trec")    # its only relevant doc stands first
    assert [chart.name for chart in measure_charts(found, runs)] == ["scroll", "intents"]
