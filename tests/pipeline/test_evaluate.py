"""evaluate from files: systems, seeds, data sets, intents, outputs, and what is wrong with them."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest

from headtail.cli import main, spread
from headtail.errors import HeadtailError
from headtail.pipeline.evaluate import evaluate_files
from headtail.pipeline.judgments import judgments, several_judgments
from headtail.pipeline.systems import read_systems


def run_file(path, rankings):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{q} Q0 {d} {r} {-r} x\n" for q, docs in rankings.items() for r, d in enumerate(docs.split(), start=1)]
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two data sets, `ask` and `shop`, and some runs."""
    monkeypatch.chdir(tmp_path)
    for name, prefix, texts in (("ask", "q", ["who is it?", "red house", "how high"]), ("shop", "s", ["red nail", "saw"])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "collection.tsv").write_text("".join(f"d{i}\ttext {i}\n" for i in range(6)))
        (folder / "queries.test.tsv").write_text("".join(f"{prefix}{i}\t{text}\n" for i, text in enumerate(texts)))
        (folder / "qrels.test.tsv").write_text("".join(f"{prefix}{i}\t0\td{i}\t{1 + i % 2}\n" for i in range(len(texts))))
    run_file(tmp_path / "a/bm25.trec", {"q0": "d0 d1", "q1": "d3 d1", "q2": "d4 d5"})
    run_file(tmp_path / "b/bm25.trec", {"s0": "d0", "s1": "d1"})
    run_file(tmp_path / "a/ours.trec", {"q0": "d0 d1", "q1": "d1 d3", "q2": "d2 d4", "q9": "d1"})
    run_file(tmp_path / "a/ours2.trec", {"q0": "d1 d0", "q1": "d1 d3", "q2": "d2"})
    run_file(tmp_path / "b/ours.trec", {"s1": "d1"})
    return tmp_path


def ask(*files, data=("ask",), intent=(), **options):
    return evaluate_files(files, several_judgments(data, ["test"], intent=intent), **options)


def means(found):
    return {
        (system, group.name, measure): found.panel.mean(system, measure, group)
        for system, measures in found.panel.values.items() for group in found.panel.groups for measure in measures
    }


def test_a_system_is_named_by_its_file_or_as_given(place):
    found = means(ask("a/bm25.trec", "mine=a/ours.trec", measures=["RR@10"]))
    assert found == {("bm25", "question", "RR@10"): pytest.approx(1.5 / 3), ("mine", "question", "RR@10"): 1.0}


def test_files_of_one_name_are_seeds_and_plain_ones_stand_under_their_paths(place):
    seeds = ask("ours=a/ours.trec", "ours=a/ours2.trec", measures=["RR@10"])
    assert means(seeds) == {("ours", "question", "RR@10"): pytest.approx((1 + 2.5 / 3) / 2)}
    assert any("several seeds: ours 2" in line for line in seeds.table().footnotes)
    (place / "c").mkdir()
    (place / "c/ours.trec").write_text((place / "a/ours2.trec").read_text())
    plain = ask("a/ours.trec", "c/ours.trec", measures=["RR@10"])
    assert list(plain.panel.values) == ["a/ours.trec", "c/ours.trec"]
    assert any("ours=FILE ours=FILE" in line for line in plain.table().footnotes)


def test_several_data_sets_make_one_table(place):
    files = ["a/bm25.trec", "b/bm25.trec", "a/ours.trec", "b/ours.trec"]
    found = ask(*files, data=("ask", "shop"), intent=("question", "browse"), measures=["RR@10"])
    by = means(found)
    assert [by["bm25", g, "RR@10"] for g in ("ask question", "shop browse", "macro")] == pytest.approx([0.5, 1.0, 0.75])
    assert [by["ours", g, "RR@10"] for g in ("ask question", "shop browse", "macro")] == pytest.approx([1.0, 0.5, 0.75])
    notes = "\n".join(found.table().footnotes)
    assert "ours has no ranking for 1 of 2 browse queries of shop; scored as 0." in notes
    assert "ours ranks 1 query without judgments of ask; they do not count." in notes
    both = ask(*files, data=("ask", "shop"), measures=["RR@10"])    # one intent over two data sets
    assert means(both)["bm25", "question", "RR@10"] == pytest.approx(0.75)


def test_a_run_that_could_be_of_two_data_sets_must_say_which(place):
    run_file(place / "both.trec", {"q0": "d0", "s0": "d0"})
    with pytest.raises(HeadtailError, match=r"both.trec shares queries with ask and shop; say which it ranks: both.trec@ask"):
        ask("both.trec", data=("ask", "shop"))
    found = ask("both.trec@shop", "a/bm25.trec", data=("ask", "shop"), measures=["RR@10"])
    assert means(found)["both", "shop question", "RR@10"] == 0.5
    assert found.table().rows[0][1] is None    # it has no run on ask


@pytest.mark.parametrize(
    ("files", "options", "line"),
    [
        (["a/bm25.trec", "a/bm25.trec"], {}, "a/bm25.trec: the same file is given twice"),
        (["a/bm25.trek"], {}, "a/bm25.trek: expected a file, found none; did you mean 'bm25.trec'?"),
        (["a/bm25.trec@shop"], {}, "unknown data set 'shop'"),
        (["b/bm25.trec"], {}, "has none of the 3 judged queries of ask; is it of another split?"),
        (["a/bm25.trec", "a/ours.trec"], {"baseline": "bm52"}, "unknown baseline 'bm52', did you mean 'bm25'?"),
        (["a/bm25.trec"], {"engine": "ranks"}, "unknown engine 'ranks', did you mean 'ranx'?"),
        (["x=a/bm25.trec", "x=a/ours.trec", "x=b/ours.trec"], {"data": ("ask", "shop")}, "expected as many seeds on each data set, found 2 on ask and 1 on shop"),
    ],
)
def test_a_wrong_system_is_one_clear_line(place, files, options, line):
    with pytest.raises(HeadtailError) as caught:
        ask(*files, **options)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_number_of_options_and_a_data_set_given_twice(place):
    with pytest.raises(HeadtailError, match="--intent: expected one for all data sets or one for each of the 3, found 2"):
        several_judgments(["ask", "shop", "pydocs"], ["test"], intent=["browse", "question"])
    with pytest.raises(HeadtailError, match="the data set ask is given twice"):
        several_judgments(["ask", "ask"], ["test"])
    with pytest.raises(HeadtailError, match="--qrels goes with one --data"):
        several_judgments(["ask", "shop"], ["test"], qrels="ask/qrels.test.tsv")


def test_intents_from_a_file_and_from_the_words(place):
    (place / "intents.tsv").write_text("q0\tbrowse\nq2\tbrowse\n")
    assert judgments("ask", "test", intents="intents.tsv").intents == {"q0": "browse", "q1": "question", "q2": "browse"}
    assert judgments("ask", "test", intents="by-words").intents == {"q0": "question", "q1": "browse", "q2": "question"}
    (place / "asks.tsv").write_text("q0\tred house?\nq1\tshow me how\nq2\t\"what is it\"\n")
    asks = judgments(qrels="ask/qrels.test.tsv", queries="asks.tsv", intents="by-words")
    assert asks.intents == {"q0": "question", "q1": "browse", "q2": "question"}
    by_file = judgments(qrels="ask/qrels.test.tsv", queries="ask/queries.test.tsv", intents="by-words")
    assert by_file.intents == {"q0": "question", "q1": "browse", "q2": "question"}
    with pytest.raises(HeadtailError, match="expected the text of every judged query, found none for 'q0'; pass --data, or --queries FILE"):
        judgments(qrels="ask/qrels.test.tsv", intents="by-words")
    (place / "intents.tsv").write_text("q0\tbuy\n")
    with pytest.raises(HeadtailError, match=r"intents.tsv:1: expected an intent, question or browse, found 'buy'"):
        judgments("ask", "test", intents="intents.tsv")


def test_contradicting_ranks_are_said_under_the_table(place):
    (place / "odd.trec").write_text("q0 Q0 d0 2 9 x\nq0 Q0 d1 1 3 x\n")
    notes = ask("odd.trec", measures=["RR@10"]).table().footnotes
    assert any(line.startswith("odd: the rank column contradicts the scores for 1 query") for line in notes)


def test_depths_that_differ_are_said_where_a_measure_looks_that_far(place):
    run_file(place / "deep.trec", {f"q{i}": " ".join(f"d{j}" for j in range(6)) for i in range(3)})
    files = ("a/bm25.trec", "deep.trec")    # two docs a query, six docs a query
    line = "Rankings are not equally deep: bm25 2, deep 6 docs a query. Measures that look further down than the shortest see that too."
    assert line in ask(*files, measures=["RR@2", "TailnDCG"]).table().footnotes
    assert line in ask(*files, measures=["P@5"]).table().footnotes
    assert line not in ask(*files, measures=["RR@2", "P@1"]).table().footnotes
    assert line not in ask("deep.trec", measures=["AP"]).table().footnotes


# ---- the command


def headtail(capsys, *arguments):
    import sys
    from unittest import mock

    with mock.patch.object(sys, "argv", ["headtail", *map(str, arguments)]), pytest.raises(SystemExit) as left:
        main()
    out = capsys.readouterr()
    return left.value.code, out.out, out.err


@pytest.fixture
def far_apart(place):
    """Twelve queries that `good` answers at once and `bad` only at its third rank: p = 2 / 4096."""
    (place / "ask/queries.test.tsv").write_text("".join(f"q{i}\ttext {i}\n" for i in range(12)))
    (place / "ask/qrels.test.tsv").write_text("".join(f"q{i}\t0\td0\t1\n" for i in range(12)))
    run_file(place / "bad.trec", {f"q{i}": "d1 d2 d0" for i in range(12)})
    run_file(place / "good.trec", {f"q{i}": "d0 d1 d2" for i in range(12)})
    return "bad.trec", "good.trec"


def test_a_significant_difference_is_marked_in_every_form(far_apart, capsys):
    bad, good = far_apart
    options = ("--data", "ask", "--split", "test", "--measures", "RR@10", "Judged@2")
    for files, mark, word, tex in (
        ((bad, good), "1.000▲", "better", r"1.000}$^{\blacktriangle}$"),
        ((good, bad), ".333▼", "worse", r".333$^{\blacktriangledown}$"),
    ):
        assert mark in headtail(capsys, "evaluate", *files, *options)[1]
        assert mark.replace("1.000", "**1.000**") in headtail(capsys, "evaluate", *files, *options, "--format", "markdown")[1]
        assert tex in headtail(capsys, "evaluate", *files, *options, "--format", "latex")[1]
        rows = list(csv.DictReader(io.StringIO(headtail(capsys, "evaluate", *files, *options, "--format", "csv")[1])))
        assert [row["question RR@10 mark"] for row in rows] == ["", word]
        found = json.loads(headtail(capsys, "evaluate", *files, *options, "--format", "json")[1])
        assert [(one["measure"], one["p"]) for one in found["comparisons"]] == [("RR@10", 2 / 4096)]    # coverage is not tested


COMMAND = ("evaluate", "a/bm25.trec", "a/ours.trec", "--data", "ask", "--split", "test", "--measures", "RR@10", "nDCG@5")


def test_json_holds_everything_and_is_strict_json(place, capsys):
    code, out, _ = headtail(capsys, *COMMAND, "TailnDCG", "--ties", "--format", "json")
    found = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert code == 0
    assert found["data"] == [{"name": "ask", "queries": 3, "relevant_from": 1}]
    assert {(m["system"], m["measure"]): m["mean"] for m in found["means"]}["ours", "RR@10"] == 1.0
    assert {(m["system"], m["measure"]): m["mean"] for m in found["means"]}["ours", "TailnDCG"] is None
    (rr,) = [c for c in found["comparisons"] if c["measure"] == "RR@10"]
    assert (rr["difference"], rr["wins"], rr["ties"], rr["losses"], rr["p"]) == (pytest.approx(0.5), 2, 1, 0, 0.5)
    assert found["drawn"]["seed"] == 0


def test_csv_has_every_digit_and_latex_its_rules(place, capsys):
    _, out, _ = headtail(capsys, *COMMAND, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert float(rows[0]["question RR@10"]) == 0.5
    assert set(rows[0]) == {"system"} | {f"question {m}{end}" for m in ("RR@10", "nDCG@5") for end in ("", " low", " high", " mark")}
    _, out, _ = headtail(capsys, *COMMAND, "--format", "latex", "--tests")
    assert out.count(r"\begin{tabular}") == out.count(r"\end{tabular}") == 2
    assert r" & \multicolumn{2}{c}{question ($n=3$)} \\" in out
    assert r"\textbf{1.000}" in out


def test_a_file_for_the_table_and_one_for_the_queries(place, capsys):
    code, out, _ = headtail(capsys, *COMMAND, "-o", "table.txt", "--per-query", "values.tsv.gz")
    assert (code, out) == (0, "")
    assert "RR@10" in (place / "table.txt").read_text()
    with gzip.open("values.tsv.gz", "rt") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    assert len(rows) == 2 * 2 * 3
    assert {r["value"] for r in rows if (r["system"], r["query_id"], r["measure"]) == ("bm25", "q1", "RR@10")} == {"0.5"}


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--format", "xml"), "unknown format 'xml'"),
        (("--split", "dev", "--split", "test"), "--split: expected one for all data sets or one for each of the 1, found 3"),
        (("--intents", "none.tsv"), "none.tsv: expected a file, found none"),
        (("--relevant-from", "0"), "expected a label of 1 or more, found 0"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(place, capsys, more, line):
    code, _, err = headtail(capsys, *COMMAND, *more)
    assert code == 2
    assert line in err
    assert err.count("\n") == 1


def test_measures_with_parameters_are_several_words_of_one_option():
    words = ["evaluate", "r.trec", "--measures", "RBP(p=.95)", "TailnDCG(k=5)@20", "nScroll(p=.5)", "--tests"]
    assert spread(words).count("--measures") == 3


def test_a_system_read_without_data_sets(place):
    systems = read_systems(["a/bm25.trec", "a/ours.trec"], [None])
    assert list(systems.runs) == ["bm25", "ours"]
