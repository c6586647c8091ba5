"""Reciprocal rank fusion: by hand, its laws, and ranx as the oracle."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import HeadtailError
from headtail.records import Run, as_float32, in_order
from headtail.retrieval.fusion import in_some_only, reciprocal_rank_fusion

rankings = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=8)
fusable = st.lists(st.dictionaries(st.sampled_from(["q1", "q2", "q3"]), rankings, min_size=1), min_size=1, max_size=4)


def run(rankings, name="run"):
    """A run from query_id -> doc_ids, best first."""
    return Run({query_id: [(doc_id, -place) for place, doc_id in enumerate(docs)] for query_id, docs in rankings.items()}, name)


def ids(ranking):
    return [doc.doc_id for doc in ranking]


def test_by_hand():
    fused = reciprocal_rank_fusion([run({"q": "abc"}), run({"q": "cd"})])
    assert fused.name == "rrf"
    expected = {"c": 1 / 63 + 1 / 61, "a": 1 / 61, "b": 1 / 62, "d": 1 / 62}
    assert ids(fused["q"]) == ["c", "a", "d", "b"]    # d and b tie: doc_id descending
    assert dict(fused["q"]) == {doc_id: as_float32(score) for doc_id, score in expected.items()}


def test_rrf_k_weights_depth_and_k_by_hand():
    runs = [run({"q": "abc"}), run({"q": "ca"})]
    assert dict(reciprocal_rank_fusion(runs, rrf_k=0)["q"]) == {"a": 1.5, "b": 0.5, "c": as_float32(4 / 3)}
    weighted = reciprocal_rank_fusion(runs, rrf_k=0, weights=[1, 4])["q"]
    assert dict(weighted) == {"a": 3.0, "b": 0.5, "c": as_float32(4 + 1 / 3)}
    assert dict(reciprocal_rank_fusion(runs, rrf_k=0, depth=1)["q"]) == {"a": 1.0, "c": 1.0}
    assert ids(reciprocal_rank_fusion(runs, rrf_k=0, k=2)["q"]) == ["a", "c"]


def test_a_rank_is_that_of_trec_evals_order():
    tied = Run({"q": [("a", 1.0), ("b", 1.0)]})
    assert ids(reciprocal_rank_fusion([tied])["q"]) == ["b", "a"]


def test_a_query_that_some_runs_lack_is_fused_from_the_others():
    runs = [run({"q1": "ab", "q2": "ab"}), run({"q1": "ba", "q3": "c"}), run({"q1": "", "q2": "b"})]
    fused = reciprocal_rank_fusion(runs)
    assert {query_id: ids(ranking) for query_id, ranking in fused.items()} == {"q1": ["b", "a"], "q2": ["b", "a"], "q3": ["c"]}
    assert in_some_only(runs) == ["q2", "q3"]


@given(fusable, st.integers(1, 8))
@settings(max_examples=100)
def test_the_order_of_the_runs_does_not_matter(listed, k):
    runs = [run(rankings) for rankings in listed]
    weights = [1.0, 0.3, 2.5, 0.7][: len(runs)]
    fused = dict(reciprocal_rank_fusion(runs, k=k, weights=weights))
    for order in itertools.permutations(range(len(runs))):
        again = reciprocal_rank_fusion([runs[i] for i in order], k=k, weights=[weights[i] for i in order])
        assert dict(again) == fused


@given(fusable)
@settings(max_examples=100)
def test_a_run_alone_and_runs_twice_keep_their_order(listed):
    runs = [run(rankings) for rankings in listed]
    alone = reciprocal_rank_fusion(runs[:1])
    assert {query_id: ids(ranking) for query_id, ranking in alone.items()} == {q: ids(r) for q, r in runs[0].items()}
    once, twice = reciprocal_rank_fusion(runs), reciprocal_rank_fusion([*runs, *runs])
    assert {q: ids(r) for q, r in twice.items()} == {q: ids(r) for q, r in once.items()}


@given(fusable, st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=100)
def test_fused_rankings_are_in_order_distinct_and_cut(listed, k, depth):
    runs = [run(rankings) for rankings in listed]
    fused = reciprocal_rank_fusion(runs, k=k, depth=depth)
    assert set(fused) == {query_id for each in runs for query_id in each}
    for query_id, ranking in fused.items():
        assert ranking == in_order(ranking)
        read = set().union(*(ids(each.get(query_id, ())[:depth]) for each in runs))
        assert len(ranking) == len(set(ids(ranking))) == min(k, len(read))
    assert dict(fused) == dict(reciprocal_rank_fusion([each.top(depth) for each in runs]).top(k))


@given(st.lists(st.dictionaries(st.sampled_from(["q1", "q2"]), rankings.filter(bool), min_size=2), min_size=2, max_size=4), st.integers(1, 90))
@settings(max_examples=30, deadline=None)
def test_scores_are_those_of_ranx(listed, rrf_k):
    ranx = pytest.importorskip("ranx")
    runs = [run(rankings) for rankings in listed]
    theirs = ranx.fuse(
        [ranx.Run({query_id: dict(ranking) for query_id, ranking in each.items()}) for each in runs],
        norm=None, method="rrf", params={"k": rrf_k},
    ).to_dict()
    ours = reciprocal_rank_fusion(runs, rrf_k=rrf_k)
    for query_id, ranking in ours.items():
        assert dict(ranking) == pytest.approx(theirs[query_id], rel=1e-6)


def test_a_closed_form():
    """Two runs in opposite order at rrf_k 0: the ends of a list gain most, being 1/1 + 1/n."""
    fused = reciprocal_rank_fusion([run({"q": "abcde"}), run({"q": "edcba"})], rrf_k=0)["q"]
    assert ids(fused) == ["e", "a", "d", "b", "c"]
    assert [doc.score for doc in fused] == [as_float32(x) for x in (1.2, 1.2, 0.75, 0.75, 2 / 3)]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"rrf_k": -1}, "rrf_k: expected a number of 0 or more, found -1"),
        ({"rrf_k": math.nan}, "rrf_k: expected a number of 0 or more, found nan"),
        ({"k": 0}, "k: expected 1 or more docs a query, found 0"),
        ({"depth": 0}, "depth: expected 1 or more docs a query, found 0"),
        ({"weights": [1, 2]}, "weights: expected one for each of the 1 runs, found 2"),
        ({"weights": [0]}, "weights: expected numbers above 0, found 0; leave the run out in place of a 0"),
        ({"weights": [math.inf]}, "weights: expected numbers above 0, found inf; leave the run out in place of a 0"),
    ],
)
def test_bad_options_are_one_clear_line(options, line):
    with pytest.raises(HeadtailError) as caught:
        reciprocal_rank_fusion([run({"q": "ab"})], **options)
    assert str(caught.value) == line
    with pytest.raises(HeadtailError, match="expected at least one run to fuse, found none"):
        reciprocal_rank_fusion([])
