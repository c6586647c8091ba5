"""Training lists: which docs, which labels, and that chance is a function of (seed, epoch, query)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.data.lists import TrainingLists
from headtail.errors import ConfigError, HeadtailError
from headtail.records import Query, Run

TEXTS = {f"d{number}": f"text {number}" for number in range(30)}
QUERIES = {name: Query(name, f"query {name}") for name in ("a", "b", "c")}
RUN = Run({name: [(f"d{number}", -number) for number in range(20)] for name in QUERIES}, "bm25")
QRELS = {"a": {"d3": 1, "d5": 0}, "b": {"d25": 2, "d1": 1, "d2": 0}, "c": {"d4": 0}}    # nothing is relevant to c


def lists(**options):
    return TrainingLists(QUERIES, QRELS, RUN, TEXTS, **{"size": 6, "depth": (1, 20), **options})


def doc_ids(ranked):
    return [doc.doc_id for doc in ranked.docs]


def test_a_list_holds_a_positive_and_negatives_in_the_order_of_the_run():
    made = lists(size=4, depth=(1, 4))
    assert made.query_ids == ["a", "b"]
    assert made.without_positive == 1
    ranked = made.get(0, epoch=0)
    assert doc_ids(ranked) == ["d0", "d1", "d2", "d3"]    # ranks 1 to 4 hold the positive and just three others
    assert ranked.labels == (0.0, 0.0, 0.0, 1.0)


def test_negatives_come_from_the_window_and_are_never_positives():
    for epoch in range(20):
        ranked = lists(depth=(3, 12)).get(1, epoch)
        negatives = [doc.doc_id for doc, label in zip(ranked.docs, ranked.labels, strict=True) if label == 0]
        assert set(negatives) <= {f"d{number}" for number in range(2, 12)}
        assert not {"d25", "d1"} & set(negatives)


def test_labels_are_the_judged_ones_and_a_doc_the_run_lacks_stands_last():
    ranked = lists(positives=2).get(1, 0)
    assert doc_ids(ranked)[-1] == "d25"
    assert dict(zip(doc_ids(ranked), ranked.labels, strict=True))["d25"] == 2.0
    assert sum(label > 0 for label in ranked.labels) == 2


def test_found_only_leaves_out_positives_that_the_run_lacks():
    assert all("d25" not in doc_ids(lists(found_only=True, positives=3).get(1, epoch)) for epoch in range(5))


def test_a_teacher_gives_each_doc_of_a_list_its_score():
    teacher = Run({name: [(doc_id, number / 10) for number, doc_id in enumerate(TEXTS)] for name in ("a", "b")}, "teacher")
    ranked = lists(teacher=teacher, size=9).get(1, 0)
    assert ranked.teacher == pytest.approx([int(doc_id[1:]) / 10 for doc_id in doc_ids(ranked)])
    assert lists().get(1, 0).teacher is None


def test_a_teacher_that_lacks_a_doc_is_named_with_the_way_out():
    with pytest.raises(HeadtailError) as caught:
        lists(teacher=RUN.renamed("cross"))
    assert str(caught.value).startswith(
        "the teacher's run 'cross' lacks 1 of 41 docs that lists may draw (first: query 'b', doc 'd25'); re-rank the same run"
    )
    assert lists(teacher=RUN, found_only=True).get(1, 0).teacher is not None


@pytest.mark.parametrize(
    ("lost", "where"), [("d25", "the judgments, query 'b'"), ("d7", "run 'bm25', query 'a'")]
)
def test_a_doc_without_a_text_is_named_before_training_begins(lost, where):
    texts = {doc_id: text for doc_id, text in TEXTS.items() if doc_id != lost}
    with pytest.raises(HeadtailError, match=f"{where}: unknown doc_id '{lost}'"):
        TrainingLists(QUERIES, QRELS, RUN, texts, size=6, depth=(1, 20))


def test_judged_lists_hold_judged_docs_alone():
    made = lists(source="judged")
    assert sorted(doc_ids(made.get(0, 0))) == ["d3", "d5"]


@given(st.integers(), st.integers(0, 5), st.integers(0, 1))
def test_a_list_is_a_function_of_seed_epoch_and_query(seed, epoch, index):
    first, second = lists(seed=seed), lists(seed=seed)
    second.get(1 - index, epoch + 1)    # what was asked before does not matter
    assert first.get(index, epoch) == second.get(index, epoch)


def test_lists_differ_between_epochs():
    assert len({tuple(doc_ids(lists().get(0, epoch))) for epoch in range(10)}) > 1


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(HeadtailError, match="no list has a positive: of 3 queries, 1 are judged and none has a label above 0"):
        TrainingLists(QUERIES, {"c": {"d1": 0}}, RUN, TEXTS)
    with pytest.raises(HeadtailError, match="gives no candidate between ranks 25 and 30 for 2 of 2 queries"):
        lists(depth=(25, 30))
    with pytest.raises(ConfigError, match="fewer positives than docs"):
        lists(size=2, positives=2)


def test_a_query_without_negatives_is_an_error_or_left_out():
    run = Run({"a": RUN["a"], "b": []}, "bm25")
    with pytest.raises(HeadtailError, match=r"for 1 of 2 queries \(first: 'b'\)"):
        TrainingLists(QUERIES, QRELS, run, TEXTS)
    assert TrainingLists(QUERIES, QRELS, run, TEXTS, skip_empty=True).query_ids == ["a"]
