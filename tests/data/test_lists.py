"""Training lists: which docs, which labels, and that chance is a function of (seed, epoch, query)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.data.collection import build_collection
from headtail.data.lists import TrainingLists
from headtail.data.mixing import MixedLists
from headtail.data.random_docs import RandomDocs
from headtail.data.runs import read_run, write_run
from headtail.errors import ConfigError, HeadtailError
from headtail.records import Doc, Query, Run

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


# ---- negatives from the whole collection


def negatives(ranked):
    return {doc.doc_id for doc, label in zip(ranked.docs, ranked.labels, strict=True) if label == 0}


def test_a_share_of_the_negatives_comes_from_the_whole_collection():
    made = lists(size=7, depth=(1, 4), random=.5)    # 6 negatives: 3 of ranks 1, 2 and 4, 3 of the 26 docs that are left
    for epoch in range(20):
        ranked = made.get(0, epoch)
        assert len(ranked.docs) == 7
        assert {"d0", "d1", "d2"} <= negatives(ranked)
        assert "d3" not in negatives(ranked)
    drawn = [made.get(0, epoch) for epoch in range(60)]
    assert set().union(*map(negatives, drawn)) == set(TEXTS) - {"d3"}    # each doc has its turn, those of the run too
    assert all(len(set(doc_ids(ranked))) == 7 for ranked in drawn)


def test_halves_of_a_share_are_rounded_up():
    assert len(negatives(lists(size=6, depth=(1, 2), random=.5).get(0, 0))) == 5    # of 5: 2 from the window, 3 from all
    assert len(negatives(lists(size=6, depth=(1, 2), random=.1).get(0, 0))) == 3    # 2 and 1


def test_random_docs_are_never_relevant_even_if_found_only_forgets_a_positive():
    made = lists(size=8, random=1.0, found_only=True)
    for epoch in range(60):
        assert not {"d1", "d25"} & negatives(made.get(1, epoch))


def test_a_small_collection_gives_what_it_has():
    texts = {doc_id: TEXTS[doc_id] for doc_id in ("d3", "d5", "d6")}
    made = TrainingLists({"a": QUERIES["a"]}, QRELS, Run({}), texts, random=1.0)    # a query that the run lacks
    assert doc_ids(made.get(0, 0)) == ["d3", "d5", "d6"]
    with pytest.raises(HeadtailError, match="no candidate"):    # nothing but the relevant doc
        TrainingLists({"a": QUERIES["a"]}, QRELS, Run({}), {"d3": "text"}, random=1.0)


class Fixed:
    """Positions that a generator would draw."""

    def __init__(self, *positions):
        self.positions = iter(positions)

    def randrange(self, stop):
        assert stop == len(TEXTS)
        return next(self.positions)


def test_docs_are_drawn_by_position_and_drawn_again_if_they_are_taken():
    assert RandomDocs(TEXTS).draw(Fixed(4, 4, 7, 9), 2, {"d7", "not there"}) == ["d4", "d9"]


def test_a_collection_on_disk_is_drawn_from_as_a_dict_is(tmp_path):
    collection = build_collection((Doc(doc_id, text) for doc_id, text in TEXTS.items()), tmp_path / "built")
    assert [collection.doc_id(position) for position in range(30)] == list(TEXTS)
    for position in (-1, 30):
        with pytest.raises(IndexError, match=f"expected a position of 0 to 29, found {position}"):
            collection.doc_id(position)
    on_disk = TrainingLists(QUERIES, QRELS, RUN, collection, size=9, random=.5)
    assert [on_disk.get(0, epoch) for epoch in range(5)] == [lists(size=9, random=.5, depth=(1, 100)).get(0, epoch) for epoch in range(5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random": .1, "size": 4}, "a share that makes at least 1 of 3 negatives, found random=0.1"),
        ({"random": 1.5}, "found random=1.5"),
        ({"random": .5, "source": "judged"}, "expected random=0 with lists of judged docs alone"),
        ({"random": .5, "teacher": RUN}, "expected random=0 with a loss that has a teacher"),
        ({"margin": 1.0}, "expected a finite margin and a run to filter by, or neither, found margin=1.0 and no run"),
        ({"filter_by": RUN}, "found margin=None and run 'bm25'"),
        ({"filter_by": RUN, "margin": float("nan")}, "found margin=nan and run 'bm25'"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ConfigError, match=message):
        lists(**options)


# ---- negatives that a teacher takes for relevant


def judge(**scores):
    """A teacher that scores every doc 0 but these, for queries a and b."""
    ranking = [(doc_id, scores.get(doc_id, 0.0)) for doc_id in TEXTS]
    return Run({"a": ranking, "b": ranking}, "teacher")


def test_a_negative_above_the_worst_positive_less_the_margin_is_left_out():
    teacher = judge(d3=5.0, d0=5.5, d1=4.5, d2=4.0, d4=3.75)    # a's positive is d3
    made = TrainingLists({"a": QUERIES["a"]}, QRELS, RUN, TEXTS, size=20, depth=(1, 6), filter_by=teacher, margin=1.0)
    assert doc_ids(made.get(0, 0)) == ["d2", "d3", "d4", "d5"]    # 4.0 is not above 5.0 - 1.0
    assert made.left_out == 2
    assert made.get(0, 0).teacher is None
    made = TrainingLists({"a": QUERIES["a"]}, QRELS, RUN, TEXTS, size=20, depth=(1, 6), filter_by=teacher, margin=-0.5)
    assert (made.left_out, lists().left_out) == (0, 0)    # 5.5 is not above 5.0 + 0.5


def test_the_worst_of_several_positives_counts():
    teacher = judge(d3=9.0, d25=9.0, d1=2.0, d4=2.5, d6=1.5)    # b's positives are d25 and d1
    assert "d4" not in lists(filter_by=teacher, margin=0.0).negatives_of("b")
    assert "d6" in lists(filter_by=teacher, margin=0.0).negatives_of("b")
    assert "d6" not in lists(filter_by=teacher, margin=1.0).negatives_of("b")


def test_random_docs_pass_the_margin_too():
    teacher = judge(d3=5.0, d25=5.0, d1=5.0, d29=6.0)
    made = lists(size=12, random=.5, filter_by=teacher, margin=1.0)
    assert not any("d29" in doc_ids(made.get(0, epoch)) for epoch in range(60))
    assert any("d29" in doc_ids(lists(size=12, random=.5).get(0, epoch)) for epoch in range(60))


def test_a_teacher_may_teach_and_filter():
    teacher = judge(d3=5.0, d25=5.0, d1=5.0, d0=6.0)
    ranked = lists(teacher=teacher, filter_by=teacher, margin=1.0, size=19).get(0, 0)
    assert "d0" not in doc_ids(ranked)
    assert max(ranked.teacher) == 5.0


def test_a_margin_that_leaves_nothing_is_an_error_or_leaves_the_query_out():
    flat = judge(d3=1.0, d25=-9.0, d1=-9.0)    # whatever b's docs are, they are above its positives
    with pytest.raises(HeadtailError, match=r"ranks 1 and 20 that a margin of 0 leaves for 1 of 2 queries \(first: 'b'\)"):
        lists(filter_by=flat, margin=0.0)
    made = lists(filter_by=flat, margin=0.0, skip_empty=True)
    assert made.query_ids == ["a"]
    assert made.left_out == 19    # those of b, which has one positive among 20


def test_a_positive_or_a_candidate_that_the_filter_lacks_is_an_error():
    lacking = Run({name: [doc for doc in judge()[name] if doc.doc_id != "d25"] for name in ("a", "b")}, "cross")
    with pytest.raises(HeadtailError, match=r"the teacher's run 'cross' lacks 1 of 41 docs .*query 'b', doc 'd25'"):
        lists(filter_by=lacking, margin=1e9)
    assert lists(filter_by=lacking, margin=0.0, found_only=True).left_out == 0    # all scores are equal


# ---- a run of the ranker in training


def turned(run):
    """The same docs, the last first."""
    return Run({query_id: [(doc.doc_id, -doc.score) for doc in docs] for query_id, docs in run.items()}, "step 100")


def test_the_window_is_what_lists_may_draw():
    window = lists(depth=(3, 6)).window()
    assert {query_id: [doc.doc_id for doc in docs] for query_id, docs in window.items()} == {
        "a": ["d2", "d3", "d4", "d5"], "b": ["d1", "d2", "d3", "d4", "d5"],    # d1 is b's positive, d25 was not found
    }
    assert list(lists().window([1])) == ["b"]
    filtered = lists(depth=(3, 6), filter_by=judge(d3=1.0, d1=1.0, d25=1.0, d5=2.0), margin=0.5).window()
    assert [doc.doc_id for doc in filtered["a"]] == ["d2", "d3", "d4"]


def test_after_a_refresh_ranks_and_order_are_those_of_the_new_run():
    made = lists(size=4, depth=(1, 8))
    made.refresh(turned(made.window()), (1, 3))    # a: d7 d6 d5 | d4 d3 d2 d1 d0
    assert doc_ids(made.get(0, 0)) == ["d7", "d6", "d5", "d3"]
    made.refresh(turned(made.window()), (4, 5))    # d4, and d3 that is the positive
    assert doc_ids(made.get(0, 0)) == ["d4", "d3"]
    assert made.get(0, 0).labels == (0.0, 1.0)


def test_queries_that_a_refresh_lacks_go_back_to_the_first_stage():
    made = lists(depth=(1, 8))
    before = [made.get(0, epoch) for epoch in range(3)]
    made.refresh(turned(made.window()), (1, 3))
    made.refresh(turned(made.window([1])), (1, 3))
    assert [made.get(0, epoch) for epoch in range(3)] == before
    assert doc_ids(made.get(1, 0))[0] == "d7"


def test_ranks_without_a_negative_give_way_to_all_ranks():
    made = lists(depth=(4, 5), size=3)    # a's window: its positive d3 and d4
    made.refresh(turned(made.window()), (2, 2))
    assert doc_ids(made.get(0, 0)) == ["d4", "d3"]
    made.refresh(turned(made.window()), (7, 9))
    assert doc_ids(made.get(0, 0)) == ["d4", "d3"]


def test_a_query_without_a_window_draws_at_random_before_and_after_a_refresh():
    made = lists(depth=(25, 30), random=.5)    # b's positive d1 was found, a's window holds d3
    before = made.get(0, 0)
    made.refresh(turned(made.window()), (1, 3))
    assert set(doc_ids(made.get(0, 0))) == set(doc_ids(before))


def test_a_run_that_is_not_of_the_window_is_refused():
    made = lists(depth=(1, 8))
    for run in (RUN, turned(made.window()).top(7), Run({"c": RUN["c"][:8]})):
        with pytest.raises(HeadtailError, match=r"expected the docs of the window of run 'bm25', found \d+ docs that are not those"):
            made.refresh(run, (1, 3))
    with pytest.raises(ConfigError, match=r"depth=\[3, 1\]"):
        made.refresh(turned(made.window()), (3, 1))
    with pytest.raises(ConfigError, match="source='judged'"):
        lists(source="judged").refresh(Run({}), (1, 3))


@pytest.mark.parametrize("options", [{}, {"random": .5, "depth": (19, 30)}, {"found_only": True, "positives": 2}])
def test_lists_are_the_same_after_the_run_was_written_and_read(options, tmp_path):
    made, resumed = (lists(**options) for _ in range(2))
    run = Run({query_id: [(doc.doc_id, 1 / (3 + int(doc.doc_id[1:]) % 7)) for doc in docs] for query_id, docs in made.window().items()})
    write_run(run, tmp_path / "run.trec.gz")
    made.refresh(run, (2, 6))
    resumed.refresh(read_run(tmp_path / "run.trec.gz"), (2, 6))
    assert [made.get(index, 3) for index in (0, 1)] == [resumed.get(index, 3) for index in (0, 1)]


def test_a_query_of_which_nothing_was_found_has_no_window():
    made = TrainingLists({"a": QUERIES["a"]}, QRELS, Run({"a": [("d9", 1.0)]}), TEXTS, depth=(2, 9), random=.5)
    assert len(made) == 1
    assert list(made.window()) == []


def test_each_source_of_a_mix_is_refreshed_by_its_own_run():
    mixed = MixedLists([(lists(depth=(1, 8)), 1), (lists(depth=(1, 4)), 1)])
    windows = mixed.windows()
    assert [len(window["a"]) for window in windows] == [8, 4]
    mixed.refresh([turned(window) for window in windows], (1, 2))
    assert [negatives(source.get(0, 0)) for source in mixed.sources] == [{"d7", "d6"}, {"d2"}]
    with pytest.raises(ValueError, match="zip"):
        mixed.refresh(windows[:1], (1, 2))


@given(st.integers(0, 30), st.integers(0, 5), st.sampled_from([None, [2, 1]]))
def test_windows_hold_the_queries_of_the_lists_to_come(start, length, weights):
    mixed = MixedLists([(lists(), 1), (lists(seed=1), 1)], weights=weights)
    coming = {(place.source, mixed.sources[place.source].query_ids[place.item])
              for place in map(mixed.mix.place, range(start, start + length))}
    assert {(source, query_id) for source, window in enumerate(mixed.windows(start, length)) for query_id in window} == coming


# ---- laws of every way to draw


WAYS = (
    {},
    {"depth": (3, 9), "positives": 2},
    {"source": "judged"},
    {"random": .4},
    {"random": 1.0, "found_only": True},
    {"filter_by": judge(d3=1.0, d1=1.0, d25=1.0, d7=2.0), "margin": .5, "random": .4},
)


@given(st.sampled_from(WAYS), st.integers(), st.integers(0, 5), st.integers(0, 1), st.booleans(), st.integers(2, 20))
def test_every_list_has_a_positive_true_labels_no_doc_twice_and_no_suspect(options, seed, epoch, index, refreshed, size):
    options = {**options, "size": max(size, options.get("positives", 1) + 1, 4)}
    made, again = lists(seed=seed, **options), lists(seed=seed, **options)
    if refreshed and options.get("source") != "judged":
        made.refresh(turned(made.window()), (2, 5))
        again.get(index, epoch + 1)
        again.refresh(turned(again.window()), (2, 5))
    ranked = made.get(index, epoch)
    query_id, ids = ranked.query.query_id, doc_ids(ranked)
    assert ranked == again.get(index, epoch)    # whatever came before
    assert len(ids) == len(set(ids)) <= options["size"]
    assert ranked.labels == tuple(float(QRELS[query_id].get(doc_id, 0)) for doc_id in ids)
    assert 1 <= sum(label > 0 for label in ranked.labels) <= options.get("positives", 1)
    assert negatives(ranked)
    assert not negatives(ranked) & made.suspects_of(query_id)
