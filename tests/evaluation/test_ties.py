"""How far ties could move a measure, against every order tried one by one."""

from __future__ import annotations

import math
import random
from itertools import groupby, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import HeadtailError
from headtail.evaluation.evaluate import evaluate
from headtail.evaluation.ties import tie_ranges
from headtail.records import Run

MEASURES = [
    "RR@10", "RR@2", "RR", "nDCG@3", "nDCG", "nDCG(gains={1: 5, 3: 1})@3", "AP", "AP(rel=2)", "P@2", "R@3", "Success@1", "Rprec", "Bpref",
    "IPrec@0.5", "Judged@2", "RBP(p=.7)", "ERR@3", "Scroll(p=.8)@4", "nScroll(p=.5)", "TailnDCG(k=1)", "TailnDCG(k=2)@2", "SetP",
]


def test_by_hand():
    run = Run({"q": [("a", 1.0), ("b", 1.0), ("c", 0.5)], "still": [("a", 2.0), ("b", 1.0)]}, "s")
    qrels = {"q": {"a": 1}, "still": {"b": 1}, "gone": {"x": 1}}
    (found,) = tie_ranges(run, qrels, ["RR@10"]).values()
    assert (dict(found.low), dict(found.high)) == ({"q": 0.5}, {"q": 1.0})
    values = evaluate(run, qrels, ["RR@10"]).values["RR@10"]
    assert values == {"q": 0.5, "still": 0.5, "gone": 0.0}    # b stands first: doc_id, descending
    assert found.means(values) == (pytest.approx(1 / 3), pytest.approx(0.5))


def test_in_the_tail_it_matters_which_docs_the_head_takes():
    run = Run({"q": [("a", 1.0), ("b", 1.0), ("c", 0.5)]})
    (found,) = tie_ranges(run, {"q": {"a": 2, "b": 0, "c": 1}}, ["TailnDCG(k=1)"]).values()
    # the head takes a: b, c remain, the only relevant one second; it takes b: a, c remain, in the best order
    assert (found.low["q"], found.high["q"]) == (pytest.approx(1 / math.log2(3)), 1.0)


def test_without_ties_nothing_moves():
    run = Run({"q": [("a", 1.0), ("b", 0.5)]})
    assert all(not found.low and not found.high for found in tie_ranges(run, {"q": {"a": 1}}, MEASURES).values())


def test_a_measure_whose_ends_two_orders_do_not_give_is_refused():
    with pytest.raises(HeadtailError, match="how far ties could move infAP is not known"):
        tie_ranges(Run({"q": [("a", 1.0), ("b", 1.0)]}), {"q": {"a": 1}}, ["infAP"])


def every_order(docs):
    groups = [list(group) for _, group in groupby(docs, key=lambda doc: doc.score)]
    for choice in product(*(permutations(group) for group in groups)):
        yield [doc.doc_id for group in choice for doc in group]


def brute_force(run, qrels, measure, relevant_from):
    values = []
    for order in every_order(run["q"]):
        forced = Run({"q": [(doc_id, float(-place)) for place, doc_id in enumerate(order)]})
        values += evaluate(forced, qrels, [measure], relevant_from=relevant_from).values[measure].values()
    return (min(values), max(values)) if values else None


@settings(max_examples=50, deadline=None)
@given(
    scores=st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=6),
    labels=st.lists(st.sampled_from([None, -1, 0, 1, 2, 3]), min_size=6, max_size=6),
    relevant_from=st.sampled_from([1, 2]),
    seed=st.integers(0, 9),
)
def test_both_ends_are_those_of_all_orders_tried(scores, labels, relevant_from, seed):
    doc_ids = random.Random(seed).sample("abcdef", 6)
    run = Run({"q": list(zip(doc_ids, scores, strict=False))})
    qrels = {"q": {doc_id: label for doc_id, label in zip(doc_ids, labels, strict=True) if label is not None} or {"z": 1}}
    found = tie_ranges(run, qrels, MEASURES, relevant_from=relevant_from)
    own = evaluate(run, qrels, MEASURES, relevant_from=relevant_from)
    for measure in MEASURES:
        ends = brute_force(run, qrels, measure, relevant_from)
        value = own.values[measure].get("q")
        low, high = found[measure].low.get("q", value), found[measure].high.get("q", value)
        if ends is None:
            assert (low, high) == (None, None), measure
        elif ends[1] - ends[0] > 1e-9:
            assert (low, high) == (pytest.approx(ends[0]), pytest.approx(ends[1])), measure
        elif value is not None:
            assert (low, high) == (pytest.approx(value), pytest.approx(value)), measure
