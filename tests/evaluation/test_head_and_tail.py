"""Measures of head, tail and patience by hand (the example of docs/measures.md), then laws and oracles."""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.evaluation.evaluate import evaluate
from headtail.records import Run


def ranked(*doc_ids):
    return [(doc_id, float(-place)) for place, doc_id in enumerate(doc_ids)]


# docs/measures.md: labels down the ranking are 2 0 1 | 0 3 0 1; one relevant doc (label 1) was not found
EXAMPLE = Run({"q": ranked("a", "b", "c", "d", "e", "f", "g")}, "example")
LABELS = {"q": {"a": 2, "b": 0, "c": 1, "e": 3, "g": 1, "h": 1}}    # d and f are unjudged


def value(measure, run=EXAMPLE, qrels=LABELS, **options):
    return evaluate(run, qrels, [measure], **options).values[measure]["q"]


def test_tail_ndcg_by_hand():
    gained = 3 / math.log2(3) + 1 / math.log2(5)    # behind a b c: d e f g, labels - 3 - 1
    ideal = 3 + 1 / math.log2(3) + 1 / math.log2(4)    # e, then g and h
    assert value("TailnDCG(k=3)") == pytest.approx(gained / ideal)
    assert value("TailnDCG(k=3)@2") == pytest.approx((3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert evaluate(EXAMPLE, LABELS, ["TailnDCG"]).exact == {"TailnDCG": "TailnDCG(k=5)"}
    assert value("TailnDCG") == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))    # behind e: f g; g and h are left


def test_a_query_with_nothing_relevant_left_is_left_out_and_counted():
    run = Run({"q": ranked("a", "b"), "long": ranked("x", "y", "z"), "none": ranked("a")})
    qrels = {"q": {"a": 1}, "long": {"y": 1, "z": 2}, "none": {"a": 0}, "gone": {"m": 1}}
    found = evaluate(run, qrels, ["TailnDCG(k=1)", "nDCG@5"])
    assert set(found.values["TailnDCG(k=1)"]) == {"long", "gone"}    # of q nothing is left, none never had any
    assert found.left_out("TailnDCG(k=1)") == 2
    assert found.left_out("nDCG@5") == 0
    assert found.values["TailnDCG(k=1)"]["gone"] == 0    # not ranked at all: nothing was taken out, nothing gained
    assert math.isnan(evaluate(run, {"none": {"a": 0}}, ["TailnDCG"]).mean("TailnDCG"))
    assert found.by_intent(dict.fromkeys(qrels, "browse"))["browse"]["TailnDCG(k=1)"] == pytest.approx(
        (found.values["TailnDCG(k=1)"]["long"] + 0) / 2
    )


def test_scroll_value_by_hand():
    gain = 2 + 1 * 0.5**2 + 3 * 0.5**4 + 1 * 0.5**6
    best = 3 + 2 * 0.5 + 1 * 0.5**2 + 1 * 0.5**3 + 1 * 0.5**4
    assert value("Scroll(p=.5)") == pytest.approx(gain)
    assert value("nScroll(p=.5)") == pytest.approx(gain / best)
    assert value("Scroll(p=.5)@3") == pytest.approx(2.25)
    assert value("nScroll(p=.5)@3") == pytest.approx(2.25 / (3 + 1 + 0.25))


def test_the_scroll_value_is_what_a_stopping_user_gains_on_average():
    p, labels = 0.8, [2, 0, 1, 0, 3, 0, 1]
    stops = [(1 - p) * p ** (r - 1) for r in range(1, 400)]    # the list ends, patience does not
    assert sum(stops) == pytest.approx(1)
    assert value("Scroll(p=.8)") == pytest.approx(sum(stop * sum(labels[:r]) for r, stop in enumerate(stops, start=1)))


def test_rbp_and_err_by_hand():
    assert value("RBP(p=.5)") == pytest.approx(0.5 * (1 + 0.5**2 + 0.5**4 + 0.5**6))
    assert value("RBP(p=.5,rel=2)@3") == pytest.approx(0.5)
    assert value("RBP(p=.5)", relevant_from=2) == value("RBP(p=.5,rel=2)") == pytest.approx(0.5 * (1 + 0.5**4))
    satisfied = [3 / 16, 1 / 16, 7 / 16, 1 / 16]    # of labels 2, 1, 3, 1 at ranks 1, 3, 5, 7
    expected, left = 0.0, 1.0
    for rank, each in zip((1, 3, 5, 7), satisfied, strict=True):
        expected, left = expected + left * each / rank, left * (1 - each)
    assert value("ERR") == pytest.approx(expected)
    assert value("ERR@2") == pytest.approx(3 / 16)


# ---- laws

labelled = st.lists(st.sampled_from([None, -1, 0, 1, 2, 3, 4]), min_size=1, max_size=9)


def of_labels(labels, unfound=()):
    run = Run({"q": ranked(*(f"d{i}" for i in range(len(labels))))})
    qrels = {f"d{i}": label for i, label in enumerate(labels) if label is not None}
    return run, {"q": qrels | {f"u{i}": label for i, label in enumerate(unfound)} or {"z": 0}}


OWN = ["RBP(p=.7)", "ERR@5", "Scroll(p=.9)", "nScroll(p=.9)", "TailnDCG(k=2)"]


@given(labels=labelled, place=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_moving_the_better_of_two_neighbours_up_never_costs_a_user(labels, place):
    if place + 1 >= len(labels) or (labels[place] or 0) >= (labels[place + 1] or 0):
        return
    better = [*labels[:place], labels[place + 1], labels[place], *labels[place + 2 :]]
    for measure in OWN[:4]:    # the tail is another when the head is
        assert value(measure, *of_labels(better)) >= value(measure, *of_labels(labels)) - 1e-12


@given(labels=labelled, unfound=st.lists(st.integers(0, 3), max_size=3))
@settings(max_examples=100, deadline=None)
def test_shares_lie_between_0_and_1_and_the_best_order_reaches_1(labels, unfound):
    run, qrels = of_labels(labels, unfound)
    for measure in ("nScroll(p=.5)", "nScroll(p=.98)", "RBP(p=.9)", "ERR@10"):
        assert 0 <= value(measure, run, qrels) <= 1 + 1e-12
    best = sorted(labels, key=lambda label: label or 0, reverse=True)
    if any((label or 0) > 0 for label in labels):
        assert value("nScroll(p=.9)", *of_labels(best)) == pytest.approx(1)


@given(labels=labelled, k=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_the_tail_is_the_list_that_begins_behind_the_head(labels, k):
    run, qrels = of_labels(labels)
    found = evaluate(run, qrels, [f"TailnDCG(k={k})@3"]).values[f"TailnDCG(k={k})@3"]
    rest = labels[k:]
    if any((label or 0) > 0 for label in rest):
        assert found["q"] == pytest.approx(value("nDCG@3", *of_labels(rest)))
    else:
        assert "q" not in found


def test_a_query_with_negative_labels_alone_counts_as_0_and_is_kept_from_trec_eval():
    """trec_eval's nDCG reads beyond its array there: it may give 0, crash, or never end."""
    run, qrels = of_labels([-1, -2, None])
    for _ in range(300):
        found = evaluate(run, qrels, ["nDCG", "nDCG@5", "AP", "Bpref", "RR@10", "Judged@2"])
        assert found.means() == {"nDCG": 0, "nDCG@5": 0, "AP": 0, "Bpref": 0, "RR@10": 0, "Judged@2": 1}


@given(labels=labelled)
@settings(max_examples=100, deadline=None)
def test_unjudged_docs_behind_the_last_judged_one_change_nothing(labels):
    measures = [*OWN, "AP", "RR", "RR@10", "P@20", "R@20", "nDCG", "Bpref", "infAP", "IPrec@0.1", "Rprec", "Success@9", "SetR"]
    run, qrels = of_labels(labels)
    longer = Run({"q": ranked(*run.doc_ids("q"), *(f"x{i}" for i in range(30)))})
    assert evaluate(longer, qrels, measures).values == evaluate(run, qrels, measures).values


# ---- oracles


def random_world(rng, queries=60):
    """Runs with ties, missing and extra queries; judgments with negative labels, unjudged docs, nothing relevant."""
    doc_ids = [f"d{i}" for i in range(60)]
    qrels, scores = {}, {}
    for i in range(queries):
        palette = rng.choice([[0], [-1, 0], [0, 1], [-2, 0, 1, 2, 3], [0, 0, 0, 1]])
        qrels[f"q{i}"] = {d: rng.choice(palette) for d in rng.sample(doc_ids, rng.randint(1, 30))}
        if rng.random() < 0.9:
            levels = rng.choice([2, 5, 10_000])
            scores[f"q{i}"] = {d: rng.randrange(levels) / 7 for d in rng.sample(doc_ids, rng.randint(1, 60))}
    scores["extra"] = {"d1": 1.0}
    return scores, qrels


TREC = {
    "AP": "map", "RR": "recip_rank", "nDCG": "ndcg", "nDCG@5": "ndcg_cut_5", "nDCG@10": "ndcg_cut_10", "P@5": "P_5", "R@10": "recall_10",
    "Rprec": "Rprec", "Bpref": "bpref", "Success@5": "success_5", "SetP": "set_P", "SetR": "set_recall", "infAP": "infAP",
}


def test_random_runs_equal_direct_calls_of_trec_eval(many):
    import pytrec_eval

    queries = 0
    for world in range(many(20, 200)):
        rng = random.Random(world)
        scores, qrels = random_world(rng)
        level = rng.choice([1, 1, 2])
        found = evaluate(Run({q: docs.items() for q, docs in scores.items()}), qrels, list(TREC), relevant_from=level)
        safe = {q: labels for q, labels in qrels.items() if max(labels.values()) >= 0}    # the others may crash it
        direct = pytrec_eval.RelevanceEvaluator(safe, set(TREC.values()), relevance_level=level).evaluate(scores)
        for name, trec_name in TREC.items():
            for query_id in qrels:    # trec_eval -c counts a query that was not ranked as 0
                theirs = direct[query_id][trec_name] if query_id in direct else 0.0
                assert found.values[name][query_id] == pytest.approx(theirs, abs=1e-9), (world, name, query_id)
        queries += len(qrels)
    assert queries >= many(1_000, 10_000)


def test_err_equals_gdeval(tmp_path):
    if shutil.which("perl") is None:
        pytest.skip("gdeval.pl needs perl, which is not here")
    import ir_measures

    scores, qrels = random_world(random.Random(3))
    scores = {q.removeprefix("q"): docs for q, docs in scores.items()}    # to gdeval, a topic is a number and a label not negative
    qrels = {q.removeprefix("q"): {d: max(label, 0) for d, label in labels.items()} for q, labels in qrels.items()}
    run = Run({q: docs.items() for q, docs in scores.items()})
    falling = {q: {d: float(-place) for place, d in enumerate(run.doc_ids(q))} for q in run if q in qrels}
    theirs = {m.query_id: m.value for m in ir_measures.gdeval.iter_calc([ir_measures.ERR @ 20], qrels, falling)}
    ours = evaluate(run, qrels, ["ERR@20"]).values["ERR@20"]
    assert theirs.keys() >= set(falling)
    for query_id in falling:    # gdeval prints five digits
        assert ours[query_id] == pytest.approx(theirs[query_id], abs=6e-6)


def test_the_official_mrr_of_ms_marco():
    """MS MARCO's rule: 1 / rank of the first relevant doc among the first 10, over all judged queries."""
    rng = random.Random(5)
    qrels = {f"q{i}": {f"d{rng.randrange(40)}": 1 for _ in range(rng.choice([1, 1, 1, 2]))} for i in range(300)}
    rankings = {q: rng.sample([f"d{i}" for i in range(40)], 20) for q in list(qrels)[:280]}
    total = 0.0
    for query_id, doc_ids in rankings.items():    # as msmarco_eval.py goes through them
        for place in range(10):
            if doc_ids[place] in qrels[query_id]:
                total += 1 / (place + 1)
                break
    run = Run({q: ranked(*docs) for q, docs in rankings.items()})
    assert evaluate(run, qrels, ["RR@10"]).mean("RR@10") == pytest.approx(total / 300)


def test_the_second_engine_agrees_where_both_have_a_measure():
    pytest.importorskip("ranx", reason="the extra `ranx` is not installed")
    scores, qrels = random_world(random.Random(8), queries=25)
    run = Run({q: docs.items() for q, docs in scores.items()})
    measures = ["RR@10", "nDCG@5", "AP(rel=2)", "R@10", "TailnDCG@10", "RBP(p=.9)"]    # each is compiled for seconds
    ours, theirs = (evaluate(run, qrels, measures, engine=engine) for engine in ("trec_eval", "ranx"))
    for measure in measures:
        assert theirs.values[measure] == pytest.approx(ours.values[measure], abs=1e-9), measure


def test_a_measure_that_the_second_engine_lacks_and_an_unknown_engine_are_refused():
    from headtail.errors import HeadtailError

    with pytest.raises(HeadtailError, match="unknown engine 'trec', did you mean 'trec_eval'"):
        evaluate(EXAMPLE, LABELS, ["nDCG@5"], engine="trec")
    pytest.importorskip("ranx", reason="the extra `ranx` is not installed")
    with pytest.raises(HeadtailError, match="engine 'ranx' lacks infAP"):
        evaluate(EXAMPLE, LABELS, ["infAP"], engine="ranx")


def test_the_example_of_the_document_is_this_one():
    text = (Path(__file__).parents[2] / "docs" / "measures.md").read_text(encoding="utf-8")
    for measure, digits in (
        ("nDCG@5", 3), ("TailnDCG(k=3)", 3), ("Scroll(p=.5)", 3), ("nScroll(p=.5)", 3), ("RBP(p=.5)", 3), ("ERR", 3)
    ):
        assert f"`{measure}` = {value(measure):.{digits}f}" in text, (measure, value(measure))
