import pytest

from headtail.errors import HeadtailError
from headtail.records import Query, Run
from headtail.report.side_by_side import RelevantElsewhere, choose_queries, side_by_side

QUERIES = {"q1": Query("q1", "open a file")}
BM25 = Run({"q1": [("a", 4.0), ("b", 3.0), ("c", 2.0), ("d", 1.0)]}, "bm25")
OURS = Run({"q1": [("d", 4.0), ("b", 3.0), ("a", 2.0), ("e", 1.0)]}, "ours")
QRELS = {"q1": {"d": 2, "b": 0, "c": 1, "z": 1}}


def shown(depth=4, **kwargs):
    (query,) = side_by_side(QUERIES, {"q1": "question"}, [BM25, OURS], QRELS, {"a": "A", "d": "D"}, query_ids=["q1"], depth=depth, **kwargs)
    return query


def test_moves_by_hand():
    first, last = shown().rankings
    assert [doc.doc_id for doc in last.docs] == ["d", "b", "a", "e"]
    assert [doc.move for doc in last.docs] == ["▲3", "=", "▼2", "new"]
    assert [doc.rank_before for doc in last.docs] == [4, 2, 1, None]
    assert (first.compared_to, last.compared_to) == ("", "bm25")


def test_a_move_counts_from_the_whole_first_ranking_not_from_the_ranks_shown():
    assert shown(depth=1).rankings[1].docs[0].move == "▲3"


def test_unjudged_is_not_irrelevant():
    assert [doc.label for doc in shown().rankings[1].docs] == [2, 0, None, None]


def test_a_label_below_relevant_from_is_judged_but_not_relevant():
    (query,) = side_by_side(QUERIES, {}, [OURS], {"q1": {"d": 2, "b": 1, "z": 1}}, {}, query_ids=["q1"], relevant_from=2)
    (ranking,) = query.rankings
    assert [doc.relevant for doc in ranking.docs] == [True, False, False, False]
    assert ranking.elsewhere == ()


def test_relevant_docs_below_the_depth_or_not_retrieved_are_named():
    first, last = shown(depth=2).rankings
    assert first.elsewhere == (RelevantElsewhere("c", 1, 3), RelevantElsewhere("d", 2, 4), RelevantElsewhere("z", 1, None))
    assert last.elsewhere == (RelevantElsewhere("c", 1, None), RelevantElsewhere("z", 1, None))


def test_a_text_that_cannot_be_found_is_empty_and_texts_may_be_a_function():
    assert [doc.text for doc in shown().rankings[1].docs] == ["D", "", "A", ""]
    (query,) = side_by_side(QUERIES, {}, [BM25], {}, str.upper, query_ids=["q1"], depth=2)
    assert [doc.text for doc in query.rankings[0].docs] == ["A", "B"]


def test_a_run_without_the_query_says_so():
    (query,) = side_by_side(QUERIES, {}, [BM25, Run({}, "empty")], QRELS, {}, query_ids=["q1"])
    assert [ranking.retrieved for ranking in query.rankings] == [True, False]


def test_a_query_nobody_knows_is_an_error():
    with pytest.raises(HeadtailError, match="'q9' is to be shown"):
        side_by_side(QUERIES, {}, [BM25], QRELS, {}, query_ids=["q9"])


def test_choose_queries_takes_both_ends_and_walks_the_middle_evenly():
    before = {f"q{i:02}": 0.0 for i in range(28)}
    after = {f"q{i:02}": 1 - i / 100 for i in range(28)}    # q00 gains most
    chosen = choose_queries(before, after, n=8, measure="RR@10", systems=("bm25", "ours"))
    # two at each end; the middle q02..q25 in four parts of six, the fourth query of each
    assert chosen.query_ids == ("q00", "q01", "q05", "q11", "q17", "q23", "q26", "q27")
    assert chosen.rule.startswith("8 of 28 queries, chosen by rule")
    assert "the first 2, the last 2, and 4 evenly spaced" in chosen.rule
    assert chosen.notes["q00"] == "RR@10 .000 → 1.000"


@pytest.mark.parametrize("n", [1, 2, 3, 5, 20, 21])
def test_choose_queries_gives_n_different_queries_whatever_the_order_they_come_in(n):
    before = {f"q{i}": (i * 7 % 10) / 10 for i in range(40)}
    after = {f"q{i}": (i * 3 % 10) / 10 for i in range(40)}
    chosen = choose_queries(before, after, n=n).query_ids
    assert len(set(chosen)) == len(chosen) == n
    assert chosen == choose_queries(dict(reversed(before.items())), after, n=n).query_ids


def test_choose_queries_ties_go_by_query_id_and_only_queries_with_both_values_count():
    chosen = choose_queries({"b": 0.5, "a": 0.5, "x": 1.0, "nan": float("nan")}, {"a": 0.5, "b": 0.5, "y": 1.0, "nan": 1.0})
    assert chosen.query_ids == ("a", "b")
    assert chosen.rule.startswith("All 2 queries")
