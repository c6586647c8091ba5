"""Re-ranking: the same docs, in the order of a ranker's scores; each pair scored once; a run that does not fit is refused."""

import numpy as np
import pytest

from headtail.errors import HeadtailError
from headtail.records import Query, Run, ScoredDoc
from headtail.scoring import rerank, score_ids

TEXTS = {"d1": "one", "d2": "two two", "d3": "three three three", "d4": "four four four four"}
QUERIES = {"q1": Query("q1", "long docs"), "q2": Query("q2", "any docs")}
FIRST = Run({"q1": [ScoredDoc("d1", 3.0), ScoredDoc("d2", 2.0), ScoredDoc("d4", 1.0)], "q2": [ScoredDoc("d3", 9.0)]}, "first")


class CountsWords:
    """A ranker whose score of a pair is the number of words in its doc."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def score(self, pairs, **_):
        self.seen += pairs
        return np.array([len(doc.split()) for _, doc in pairs], dtype=np.float32)


def ids(run: Run, query_id: str) -> list[str]:
    return [doc.doc_id for doc in run[query_id]]


def test_the_docs_of_a_query_come_in_the_order_of_the_new_scores():
    made = rerank(CountsWords(), FIRST, QUERIES, TEXTS, name="words")
    assert made.name == "words"
    assert ids(made, "q1") == ["d4", "d2", "d1"]
    assert [doc.score for doc in made["q1"]] == [4.0, 2.0, 1.0]
    assert ids(made, "q2") == ["d3"]


def test_depth_keeps_the_first_docs_of_the_first_stage_and_no_others():
    assert ids(rerank(CountsWords(), FIRST, QUERIES, TEXTS, depth=2), "q1") == ["d2", "d1"]


def test_a_pair_wanted_twice_is_scored_once():
    ranker = CountsWords()
    scores = score_ids(ranker, [("q1", "d2"), ("q2", "d2"), ("q1", "d2")], QUERIES, TEXTS)
    assert scores == {("q1", "d2"): 2.0, ("q2", "d2"): 2.0}
    assert ranker.seen == [("long docs", "two two"), ("any docs", "two two")]


def test_a_query_without_candidates_is_an_error_or_left_out():
    run = Run({"q1": FIRST["q1"]}, "first")
    with pytest.raises(HeadtailError, match=r"no candidates for 1 of 2 queries \(first: 'q2'\)"):
        rerank(CountsWords(), run, QUERIES, TEXTS)
    assert list(rerank(CountsWords(), run, QUERIES, TEXTS, missing="skip")) == ["q1"]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (Run({"q9": [ScoredDoc("d1", 1.0)]}, "first"), r"run 'first' holds 1 queries that the data lacks \(first: 'q9'\)"),
        (Run({**FIRST, "q2": [ScoredDoc("d9", 1.0)]}, "first"), "run 'first', query 'q2': unknown doc_id 'd9'"),
    ],
)
def test_a_run_that_does_not_fit_the_data_is_refused_before_anything_is_scored(run, message):
    ranker = CountsWords()
    with pytest.raises(HeadtailError, match=message):
        rerank(ranker, run, QUERIES, TEXTS)
    assert ranker.seen == []
