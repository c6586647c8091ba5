"""One order everywhere: float32 score descending, then doc_id descending as bytes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import HeadtailError
from headtail.records import Run, ScoredDoc


def ids(docs):
    return [doc.doc_id for doc in docs]


def test_best_first_and_ties_by_doc_id_descending():
    run = Run({"q": [("a", 1.0), ("b", 2.0), ("c", 1.0)]})
    assert ids(run["q"]) == ["b", "c", "a"]


def test_scores_that_are_one_float32_tie():
    run = Run({"q": [("a", 0.1 + 1e-12), ("b", 0.1)]})    # as doubles a is ahead, as float32 they are equal
    assert ids(run["q"]) == ["b", "a"]
    assert run.tied_share() == 1.0


def test_doc_ids_compare_as_bytes():
    assert ids(Run({"q": [("Z", 0.0), ("a", 0.0), ("é", 0.0), ("9", 0.0)]})["q"]) == ["é", "a", "Z", "9"]


@pytest.mark.parametrize(("docs", "said"), [([("a", float("nan"))], "NaN"), ([("a", 1.0), ("a", 2.0)], "occurs twice")])
def test_nan_and_duplicates_are_refused(docs, said):
    with pytest.raises(HeadtailError, match=said):
        Run({"q": docs})


def test_tied_share_counts_adjacent_docs_of_all_queries():
    run = Run({"q": [("a", 1.0), ("b", 1.0), ("c", 0.0)], "p": [("a", 5.0)], "empty": []})
    assert run.tied_share() == 0.5
    assert Run({}).tied_share() == 0.0


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(width=32, allow_nan=False), max_size=8), st.integers())
def test_the_order_of_the_input_does_not_matter(scores, seed):
    docs = [ScoredDoc(*item) for item in scores.items()]
    shuffled = random.Random(seed).sample(docs, len(docs))
    assert Run({"q": docs})["q"] == Run({"q": shuffled})["q"]
    assert [doc.score for doc in Run({"q": docs})["q"]] == sorted((doc.score for doc in docs), reverse=True)
