import pytest
from tests.report.rankings import BM25, OURS, QRELS, QUERIES, small

from headtail.errors import HeadtailError
from headtail.records import Query, Run
from headtail.report.results import deepest_fall, failure_groups, first_relevant, shown_queries


def groups(results):
    return {group.title: set(group.query_ids) for group in failure_groups(results, list(results.queries))}


def test_failure_groups_by_hand():
    assert groups(small()) == {
        "No system has a relevant doc in its first 10": {"nobody", "dropped"},
        "Only bm25 has one in its first 10": {"buried", "unranked"},
        "ours drops a relevant doc by more than 20 ranks": {"buried"},
        "Nothing is judged relevant": {"nothing"},
    }


def test_a_query_with_nothing_relevant_is_failed_by_nobody():
    found = groups(small(qrels={}))
    assert found.pop("Nothing is judged relevant") == set(QUERIES)
    assert set().union(*found.values()) == set()


def test_a_label_below_relevant_from_is_not_an_answer():
    assert "gain" not in groups(small(relevant_from=2))["Nothing is judged relevant"]
    assert "same" not in groups(small(relevant_from=3))["Nothing is judged relevant"]
    assert "gain" in groups(small(relevant_from=3))["Nothing is judged relevant"]


def test_only_the_first_means_that_no_other_system_has_it():
    third = Run({"buried": [("b1", 1.0)]}, "third")
    found = groups(small(runs=[BM25, OURS, third]))
    assert found["Only bm25 has one in its first 10"] == {"unranked"}
    assert found["third drops a relevant doc by more than 20 ranks"] == set()


def test_one_system_alone_has_one_way_to_fail():
    assert list(groups(small(runs=[BM25]))) == ["bm25 has no relevant doc in its first 10", "Nothing is judged relevant"]


def test_falls_by_hand():
    assert deepest_fall(BM25, OURS, "buried", {"b1": 1}) == 29                    # from rank 1 to rank 30
    assert deepest_fall(BM25, OURS, "gain", {"g7": 2}) == 0                       # it rose
    assert deepest_fall(BM25, OURS, "unranked", {"u2": 1}) == 0                   # no list, nothing buried
    assert deepest_fall(BM25, OURS, "dropped", {"d12": 1}) == 0                   # rank 12 of 30; right below a list of 11 is rank 12
    assert deepest_fall(BM25, OURS, "dropped", {"d12": 1, "d30": 1}) == 0
    assert deepest_fall(Run({"q": [("a", 1.0)]}), Run({"q": [(str(n), float(n)) for n in range(21)]}), "q", {"a": 1}) == 21


@pytest.mark.parametrize(("length", "buried"), [(20, False), (21, True)])
def test_buried_is_more_than_twenty_ranks(length, buried):
    runs = [Run({"q": [("a", 1.0)]}, "one"), Run({"q": [(str(n), 2.0) for n in range(length)] + [("a", 1.0)]}, "two")]
    found = groups(small(runs=runs, queries={"q": Query("q", "x")}, qrels={"q": {"a": 1}}, values={}))
    assert found["two drops a relevant doc by more than 20 ranks"] == ({"q"} if buried else set())


def test_first_relevant_looks_at_the_whole_ranking():
    assert first_relevant(BM25, "gain", {"g7": 2}) == 7
    assert first_relevant(OURS, "buried", {"b1": 1}) == 30
    assert first_relevant(OURS, "nobody", {"elsewhere": 1}) is None
    assert first_relevant(OURS, "unranked", {"u2": 1}) is None


def test_all_queries_are_shown_in_their_order_but_for_those_nobody_judged_or_ranked():
    chosen = shown_queries(small(queries={"stray": Query("stray", "?")} | QUERIES))
    assert chosen.query_ids == tuple(QUERIES)
    assert chosen.rule == "All 7 queries."


def many(changes):
    queries = {query_id: Query(query_id, query_id) for query_id in changes}
    runs = [Run({q: [("a", 1.0)] for q in changes}, name) for name in ("one", "two")]
    values = {"one": {"RR": dict.fromkeys(changes, 0.0)}, "two": {"RR": changes}}
    return small(runs=runs, queries=queries, qrels={}, values=values)


def test_too_many_queries_are_thinned_evenly_along_their_change():
    changes = {f"q{n:02}": n / 100 for n in range(21)}
    chosen = shown_queries(many(changes), most=5)
    assert chosen.query_ids == ("q00", "q05", "q10", "q15", "q20")    # both extremes, and every fifth between
    assert chosen.rule.startswith("5 of 21 queries, evenly spaced when all are ordered by their change in RR from one to two")


@pytest.mark.parametrize("most", [1, 2, 3, 7, 20])
def test_thinning_gives_so_many_queries_whatever_their_order_and_ties_go_by_id(most):
    changes = {f"q{n:02}": (n * 7 % 3) / 10 for n in range(21)} | {"q03": float("nan")}
    chosen = shown_queries(many(changes), most).query_ids
    assert len(set(chosen)) == len(chosen) == most
    assert set(chosen) == set(shown_queries(many(dict(reversed(changes.items()))), most).query_ids)


def test_a_value_that_is_absent_or_no_number_is_none():
    results = small(values={"bm25": {"RR@10": {"gain": float("nan"), "same": 0.0}}})
    assert results.measures == ["RR@10"]
    assert [results.value(BM25, "RR@10", q) for q in ("gain", "same", "buried")] == [None, 0.0, None]
    assert results.value(OURS, "RR@10", "gain") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"runs": []}, "expected at least one run"), ({"runs": [BM25, OURS, BM25]}, "two runs are named 'bm25'"), ({"depth": 0}, "a depth of 1 or more")],
)
def test_what_cannot_be_shown_is_one_line(changes, said):
    with pytest.raises(HeadtailError, match=said):
        small(**changes)


def test_a_relevant_doc_that_is_missing_from_the_qrels_mapping_is_no_error():
    assert small().relevant("unheard of") == {}
    assert small().relevant("gain") == {"g7": 2}
    assert QRELS["gain"]["g1"] == 0
