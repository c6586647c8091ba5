"""Measures by hand, then trec_eval's own output and direct calls of its code as oracles."""

from __future__ import annotations

import gzip
import math
import random
from pathlib import Path

import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import HeadtailError
from headtail.evaluation.evaluate import evaluate
from headtail.evaluation.intents import group_by_intent, means_by_intent
from headtail.evaluation.measures import DEFAULT_MEASURES, parse_measures
from headtail.records import BROWSE, QUESTION, Run

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def ranked(*doc_ids):
    return [(doc_id, float(-place)) for place, doc_id in enumerate(doc_ids)]


# Two lists of different length, one with nothing relevant judged, one missing from the run, one not judged.
RUN = Run(
    {
        "two": ranked("x", "a", "b"),
        "long": ranked(*(f"n{i}" for i in range(10)), "c"),
        "none": ranked("d"),
        "extra": ranked("e"),
    },
    "sys",
)
QRELS = {"two": {"a": 1, "b": 2, "x": 0}, "long": {"c": 1, "n0": 0}, "none": {"d": 0}, "gone": {"f": 1}}


def test_reciprocal_rank_by_hand_and_zero_below_its_cutoff():
    found = evaluate(RUN, QRELS, ["RR@10", "RR", "MRR@10", "RR@11"])
    assert found.values["RR@10"] == {"two": 1 / 2, "long": 0, "none": 0, "gone": 0}
    assert found.values["RR"] == pytest.approx({"two": 1 / 2, "long": 1 / 11, "none": 0, "gone": 0})
    assert found.values["RR@11"] == pytest.approx(found.values["RR"])
    assert found.values["MRR@10"] == found.values["RR@10"]
    assert found.mean("RR@10") == 1 / 8    # over all 4 judged queries


def test_ndcg_by_hand():
    found = evaluate(RUN, QRELS, ["nDCG@5", "nDCG@2", "nDCG(gains={0: 0, 1: 1, 2: 3})@5"])
    ideal = 2 + 1 / math.log2(3)
    assert found.values["nDCG@5"]["two"] == pytest.approx((1 / math.log2(3) + 2 / math.log2(4)) / ideal)
    assert found.values["nDCG@2"]["two"] == pytest.approx((1 / math.log2(3)) / ideal)
    assert found.values["nDCG(gains={0: 0, 1: 1, 2: 3})@5"]["two"] == pytest.approx(
        (1 / math.log2(3) + 3 / math.log2(4)) / (3 + 1 / math.log2(3))
    )
    assert found.values["nDCG@5"]["none"] == 0


def test_other_measures_by_hand():
    found = evaluate(RUN, QRELS, ["P@5", "R@2", "AP(rel=2)", "AP", "Judged@10", "Success@2"])
    assert {name: values["two"] for name, values in found.values.items()} == pytest.approx(
        {"P@5": 2 / 5, "R@2": 1 / 2, "AP(rel=2)": 1 / 3, "AP": (1 / 2 + 2 / 3) / 2, "Judged@10": 1, "Success@2": 1}
    )
    assert found.values["Judged@10"]["long"] == 1 / 10


def test_missing_and_unjudged_queries_are_listed():
    found = evaluate(RUN, QRELS)
    assert (found.name, found.missing, found.unjudged) == ("sys", ("gone",), ("extra",))
    assert tuple(found.values) == DEFAULT_MEASURES
    assert found.query_ids == ("two", "long", "none", "gone")
    empty = evaluate(Run({"two": []}), {"two": {"a": 1}})
    assert (empty.missing, empty.means()) == (("two",), {"RR@10": 0, "nDCG@5": 0})


def test_negative_labels_and_unjudged_docs_are_not_relevant():
    qrels = {"q": {"spam": -2, "junk": -1, "a": 1}}
    found = evaluate(Run({"q": ranked("spam", "new", "junk", "a")}), qrels, ["RR@10", "nDCG@5", "P@5"])
    assert found.means() == pytest.approx({"RR@10": 1 / 4, "nDCG@5": 1 / math.log2(5), "P@5": 1 / 5})


def test_relevant_from_counts_in_binary_measures_only_and_shows_in_the_exact_name():
    found = evaluate(RUN, QRELS, ["RR@10", "AP(rel=1)", "nDCG@5"], relevant_from=2)
    assert found.values["RR@10"]["two"] == pytest.approx(1 / 3)
    assert found.exact == {"RR@10": "RR(rel=2)@10", "AP(rel=1)": "AP", "nDCG@5": "nDCG@5"}
    assert found.values["nDCG@5"] == evaluate(RUN, QRELS, ["nDCG@5"]).values["nDCG@5"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nDGC@5", "unknown measure 'nDGC', did you mean 'nDCG'?"),
        ("ndcg@5", "unknown measure 'ndcg@5', did you mean 'nDCG@5'?"),
        ("mrr@10", "unknown measure 'mrr@10', did you mean 'MRR@10'?"),
        ("", "unknown measure ''"),
        ("@5", "unknown measure '@5'"),
        ("BPM", "unknown measure 'BPM'"),    # ir_measures knows it, what is installed does not compute it
        ("err@20", "unknown measure 'err@20', did you mean 'ERR@20'?"),
        ("ERR@0", "found 'ERR@0'"),
        ("ERR(p=.5)", "found 'ERR(p=.5)'"),
        ("RBP(p=1)", "0 < p < 1, k and rel from 1, found 'RBP(p=1)'"),
        ("RBP(p=nan)", "found"),
        ("RBP(rel=0)", "found"),
        ("RBP(.9)", "found"),
        ("TailnDCG(k=0)", "found"),
        ("TailnDCG(k=2.5)", "found"),
        ("TailNDCG", "did you mean 'TailnDCG'?"),
        ("Scroll(q=.5)", "found"),
        ("nScroll(p=.5", "found"),
        ("P", "found 'P'"),
        ("P@0", "found 'P@0'"),
        ("RR@ten", "found 'RR@ten'"),
        ("RR@-1", "found 'RR@-1'"),
        ("RR@10@5", "found"),
        ("RR(rel=2", "found"),
        ("RR(rel='x')@3", "found"),
        ("RR(rel=True)@3", "found"),
        ("RR(bad=1)", "found"),
        ("RR(judged_only=True)@10", "found"),
        ("R@5; import os", "found"),
        ("nDCG(gains={'a':1})@5", "found"),
        ("nDCG(gains={1: -1})@5", "found"),
    ],
)
def test_a_wrong_measure_is_one_clear_line(name, line):
    with pytest.raises(HeadtailError) as caught:
        parse_measures([name])
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_measures_keep_their_names_and_order_and_count_once():
    assert [m.name for m in parse_measures(["nDCG@5", "MRR@10", "nDCG@5", " P@5"])] == ["nDCG@5", "MRR@10", "P@5"]
    for names, relevant_from in (([], 1), (["P@5"], 0)):
        with pytest.raises(HeadtailError, match="expected"):
            parse_measures(names, relevant_from)


def test_qrels_without_a_judgment_are_refused():
    for qrels in ({}, {"q": {}}):
        with pytest.raises(HeadtailError, match="expected judgments, found none"):
            evaluate(RUN, qrels)
    with pytest.raises(HeadtailError, match="unknown measure 'nDCG@50', did you mean 'nDCG@5'"):
        evaluate(RUN, QRELS).mean("nDCG@50")


INTENTS = {"two": QUESTION, "long": BROWSE, "none": BROWSE, "gone": BROWSE, "other": QUESTION}


def test_means_per_intent_and_macro_by_hand():
    assert evaluate(RUN, QRELS, ["RR"]).by_intent(INTENTS) == {
        "question": {"RR": 1 / 2},
        "browse": {"RR": pytest.approx(1 / 33)},
        "macro": {"RR": pytest.approx((1 / 2 + 1 / 33) / 2)},
    }
    one = means_by_intent({"RR": {"two": 0.5}}, INTENTS)
    assert one == {"question": {"RR": 0.5}, "macro": {"RR": 0.5}}


def test_a_query_without_an_intent_and_an_unknown_intent_are_refused():
    with pytest.raises(HeadtailError, match="found none for 2, first 'new'"):
        group_by_intent(["two", "new", "newer"], INTENTS)
    with pytest.raises(HeadtailError, match="query 'q': unknown intent 'brows', did you mean 'browse'"):
        group_by_intent(["q"], {"q": "brows"})


tied_rankings = st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from([0.5, 1.0, 1.0 + 1e-9, 2.0]), min_size=1)
labels = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(-1, 3), min_size=1)
ORACLE = {
    "AP": "map", "RR": "recip_rank", "nDCG": "ndcg", "nDCG@5": "ndcg_cut_5", "P@3": "P_3", "R@3": "recall_3",
    "Rprec": "Rprec", "Bpref": "bpref", "Success@2": "success_2",
}


@given(ranking=tied_rankings, qrels=labels, rng=st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_order_in_which_tied_docs_come_in_changes_nothing(ranking, qrels, rng):
    shuffled = list(ranking.items())
    rng.shuffle(shuffled)
    measures = ["RR@10", "RR@2", "nDCG@3", "AP", "Judged@2"]
    first, second = (evaluate(Run({"q": docs}), {"q": qrels}, measures) for docs in (ranking.items(), shuffled))
    assert first.values == second.values


@pytest.mark.parametrize("relevant_from", [1, 2])
def test_values_equal_direct_calls_of_trec_eval_on_runs_full_of_ties(relevant_from):
    rng = random.Random(7)
    doc_ids = [f"d{i}" for i in range(40)]
    qrels = {f"q{i}": {d: rng.choice([-1, 0, 0, 1, 2, 3]) for d in rng.sample(doc_ids, 15)} for i in range(60)}
    scores = {q: {d: rng.randrange(5) / 4 for d in rng.sample(doc_ids, rng.randint(1, 30))} for q in qrels}
    found = evaluate(Run({q: docs.items() for q, docs in scores.items()}), qrels, list(ORACLE), relevant_from=relevant_from)
    # trec_eval's own tie rule on the raw scores is ours: score, then doc_id, descending
    direct = pytrec_eval.RelevanceEvaluator(qrels, set(ORACLE.values()), relevance_level=relevant_from).evaluate(scores)
    for name, trec_name in ORACLE.items():
        assert found.values[name] == {q: pytest.approx(direct[q][trec_name], abs=1e-12) for q in qrels}, name


@pytest.mark.parametrize("measures", [["nDCG(gains={1: 5})@5", "nDCG@5", "RR@10"], ["nDCG@5", "RR@10", "nDCG(gains={1: 5})@5"]])
def test_a_measure_with_gains_of_its_own_leaves_the_others_alone(measures):
    together = evaluate(RUN, QRELS, measures)
    for measure in measures:
        assert together.values[measure] == evaluate(RUN, QRELS, [measure]).values[measure]


def test_a_ranking_deeper_than_float32_tells_apart_by_fractions_keeps_its_order():
    docs = [(f"d{i:07}", 0.5) for i in range(200_000)]    # all tied: d0199999 comes first
    found = evaluate(Run({"q": docs}), {"q": {"d0000001": 1}}, ["RR"])
    assert found.mean("RR") == pytest.approx(1 / 199_999, rel=1e-12)


# ---- figures that others published


def parsed_run(path, name):
    rankings: dict[str, list[tuple[str, float]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for query_id, _, doc_id, _, score, _ in map(str.split, lines):
            rankings.setdefault(query_id, []).append((doc_id, float(score)))
    return Run(rankings, name)


def parsed_qrels(path):
    qrels: dict[str, dict[str, int]] = {}
    for query_id, _, doc_id, label in map(str.split, path.read_text(encoding="utf-8").splitlines()):
        qrels.setdefault(query_id, {})[doc_id] = int(label)
    return qrels


def skip_without(folder):
    if not folder.is_dir():
        pytest.skip(f"the ranking data is not here: no folder {folder.parent.name}/{folder.name} beside the repository")
    return folder


OFFICIAL = {
    "treceval": {
        "map": "AP", "Rprec": "Rprec", "bpref": "Bpref", "recip_rank": "RR", "P_5": "P@5", "P_10": "P@10", "P_100": "P@100"
    },
    "ndcgeval": {"ndcg_cut_5": "nDCG@5", "ndcg_cut_10": "nDCG@10", "ndcg_cut_100": "nDCG@100"},
}


@pytest.mark.parametrize("kind", OFFICIAL)
def test_every_value_is_that_of_the_official_trec_eval_output(kind):
    folder = skip_without(DATA / "metric_parity")
    run = parsed_run(folder / "ICT-BERT2.dl19.run.trec.gz", "ICT-BERT2")
    qrels = parsed_qrels(folder / "qrels.dl19-passage.txt")
    found = evaluate(run, qrels, OFFICIAL[kind].values())    # the output was made at trec_eval's default level, 1
    lines = [line.split() for line in (folder / f"ICT-BERT2.dl19.{kind}.txt").read_text().splitlines()]
    official = {(OFFICIAL[kind][m], q): float(v) for m, q, v in lines if m in OFFICIAL[kind]}
    assert len(official) == len(OFFICIAL[kind]) * (1 + len(qrels))
    for (measure, query_id), value in official.items():
        ours = found.mean(measure) if query_id == "all" else found.values[measure][query_id]
        assert ours == pytest.approx(value, abs=5.001e-5), (measure, query_id)


def test_published_figures_of_trec_dl20():
    folder = skip_without(DATA / "trec_dl20") / "extra"
    qrels = parsed_qrels(folder / "qrels.dl20.official.txt")
    found = {
        path.name.removeprefix("run.dl20.").removesuffix(".trec.gz"): evaluate(
            parsed_run(path, path.name), qrels, ["nDCG@10", "nDCG@5"]
        ).means()
        for path in sorted(folder.glob("run.dl20.*.trec.gz"))
    }
    pairs = sorted((round(means["nDCG@10"], 4), round(means["nDCG@5"], 4)) for means in found.values())
    assert pairs == [(0.4796, 0.5067), (0.4896, 0.4960), (0.6759, 0.7070), (0.6854, 0.7169), (0.7195, 0.7554), (0.7197, 0.7353)]
