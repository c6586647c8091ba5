"""First stages: facts by hand, then the laws that every one obeys; bm25s itself is the oracle of BM25's scores."""

from __future__ import annotations

import functools
import gc
import json
import math
import random

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import DataError, HeadtailError
from headtail.records import Doc, Query, Run, in_order
from headtail.retrieval import RETRIEVERS, BM25Index, TfidfIndex
from headtail.retrieval.bm25 import LUCENE_STOP_WORDS, Analyzer
from headtail.retrieval.java import lacking

DOCS = [Doc("d1", "The cat sat"), Doc("d2", "cats and dogs"), Doc("d3", "a bird"), Doc("d4", "")]

words = st.sampled_from(["apple", "pear", "plum", "the", "fig", "kiwi"])
texts = st.lists(words, max_size=5).map(" ".join)
corpora = st.lists(texts, min_size=1, max_size=9).filter(lambda docs: any(word != "the" for d in docs for word in d.split()))
no_lucene = pytest.mark.skipif(lacking() is not None, reason=f"{lacking()} (make lucene)")
every = [pytest.param(kind, id=name, marks=no_lucene if name == "lucene" else ()) for name, kind in RETRIEVERS.items()]
keeping = [param for param in every if hasattr(param.values[0], "load")]
retrievers = pytest.mark.parametrize("retriever", every)


def as_docs(corpus):
    return [Doc(f"d{i}", text) for i, text in enumerate(corpus)]


def ids(ranking):
    return [doc.doc_id for doc in ranking]


def test_bm25_score_by_hand():
    docs = [Doc("long", "red red fox den"), Doc("short", "fox"), Doc("other", "owl")]
    index = BM25Index.build(docs, k1=0.9, b=0.4, stemmer=None, stopwords=None)
    (best,) = index.search([Query("q", "red")], 10)["q"]
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))    # 1 of 3 docs holds it
    length = 1 - 0.4 + 0.4 * 4 / 2    # 4 terms, 2 on average
    assert best.doc_id == "long"
    assert best.score == pytest.approx(idf * 2 / (2 + 0.9 * length), rel=1e-6)


def test_stemming_finds_the_plural_and_no_stemmer_does_not():
    query = [Query("q", "cat")]
    assert ids(BM25Index.build(DOCS).search(query, 10)["q"]) == ["d2", "d1"]
    assert ids(BM25Index.build(DOCS, stemmer=None).search(query, 10)["q"]) == ["d1"]


def test_there_are_33_stop_words_and_they_are_dropped_before_stemming():
    assert len(set(LUCENE_STOP_WORDS)) == 33
    assert Analyzer("porter", "lucene").terms("The U.S. dogs aren't THIS") == ["u.", "dog", "aren't"]
    assert Analyzer(None, None).terms("The U.S. dogs") == ["the", "u.s", "dogs"]


@pytest.mark.parametrize("text", ["", "   ", "the of and", "zebra", "!?"])
@retrievers
def test_a_query_without_a_known_term_has_an_empty_ranking(retriever, text):
    run = retriever.build([Doc("d1", "cat dog"), Doc("d2", "bird")]).search([Query("q", text)], 10)
    assert dict(run) == {"q": ()}


@retrievers
def test_a_doc_without_a_common_term_is_left_out(retriever):
    run = retriever.build([Doc("d1", "cat dog"), Doc("d2", "bird"), Doc("d3", "")]).search([Query("q", "cat")], 10)
    assert ids(run["q"]) == ["d1"]


@retrievers
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_a_tie_across_the_cut_is_settled_by_doc_id_descending(retriever, k):
    docs = [Doc(doc_id, "same words") for doc_id in ("b", "é", "a", "B")] + [Doc("z", "other")]
    run = retriever.build(docs).search([Query("q", "same")], k)
    assert ids(run["q"]) == ["é", "b", "a", "B"][:k]


@retrievers
@given(corpus=corpora, query=texts, k=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_a_ranking_is_the_first_k_of_all_matching_docs_in_our_order(retriever, corpus, query, k):
    index = retriever.build(as_docs(corpus))
    everything = index.search([Query("q", query)], len(corpus))["q"]
    ranking = index.search([Query("q", query)], k)["q"]
    assert everything == in_order(everything)
    assert ranking == everything[:k]
    assert len({doc.doc_id for doc in ranking}) == len(ranking)
    assert all(doc.score > 0 for doc in ranking)
    shared = set(query.split()) - (set() if retriever is TfidfIndex else set(LUCENE_STOP_WORDS))
    assert len(ranking) == min(k, sum(bool(shared & set(text.split())) for text in corpus))


@retrievers
@given(corpus=corpora, queries=st.lists(texts, min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_neither_the_company_of_queries_nor_the_order_of_docs_matters(retriever, corpus, queries, seed):
    listed = [Query(f"q{i}", text) for i, text in enumerate(queries)]
    docs = as_docs(corpus)
    together = retriever.build(docs).search(listed, 5)
    shuffled = retriever.build(random.Random(seed).sample(docs, len(docs)))
    assert list(together) == [query.query_id for query in listed]
    for query in listed:
        alone = shuffled.search([query], 5)[query.query_id]
        assert ids(alone) == ids(together[query.query_id])
        assert [doc.score for doc in alone] == [doc.score for doc in together[query.query_id]]


@retrievers
@given(corpus=corpora, queries=st.lists(texts, min_size=1, max_size=100), seed=st.integers(0, 99), k=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_a_query_has_the_same_ranking_among_100_in_any_order(retriever, corpus, queries, seed, k):
    index = retriever.build(as_docs(corpus))
    listed = [Query(f"q{i}", text) for i, text in enumerate(queries)]
    together = dict(index.search(listed, k))
    assert dict(index.search(random.Random(seed).sample(listed, len(listed)), k)) == together
    for query in listed[:5]:
        assert index.search([query], k)[query.query_id] == together[query.query_id]


@retrievers
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=150), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_ten_docs_are_the_head_of_a_hundred(retriever, lengths, seed):
    """Many docs, few kinds of text: long ties across both cuts."""
    docs = [Doc(f"d{i}", "apple " + "pear " * length) for i, length in enumerate(lengths)]
    random.Random(seed).shuffle(docs)
    index = retriever.build(docs)
    queries = [Query("q1", "apple"), Query("q2", "pear plum")]
    hundred = index.search(queries, 100)
    assert dict(index.search(queries, 10)) == dict(hundred.top(10))
    assert [len(ranking) for ranking in hundred.values()] == [min(100, len(docs))] * 2


@pytest.mark.parametrize("retriever", keeping)
@given(corpus=corpora, queries=st.lists(texts, min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_an_index_saved_and_loaded_gives_the_same_run(retriever, corpus, queries, tmp_path_factory):
    index = retriever.build(as_docs(corpus))
    folder = tmp_path_factory.mktemp("index")
    index.save(folder)
    listed = [Query(f"q{i}", text) for i, text in enumerate(queries)]
    loaded = retriever.load(folder)
    assert dict(loaded.search(listed, 5)) == dict(index.search(listed, 5))
    assert sorted(loaded.doc_ids) == sorted(index.doc_ids)


ODD_IDS = ["é", "漢字", "😀", "a/b:c", "-1", "00", "0", "🧪x", "\u0301", "AND", '"q"', "x" * 300]


@retrievers
def test_ids_of_any_unicode_come_back_as_they_went_in(retriever):
    docs = [Doc(doc_id, "same words") for doc_id in ODD_IDS]
    ranking = retriever.build(docs).search([Query("😀 漢", "words")], 100)["😀 漢"]
    assert ids(ranking) == sorted(ODD_IDS, reverse=True)


@retrievers
@pytest.mark.parametrize(
    "query",
    ["+apple -pear", "apple AND NOT (pear", "apple~2 pear^9 [* TO *]", 'x: apple "pear', "apple* OR pear?", "apple\\ /pear/"],
)
def test_characters_of_query_languages_leave_the_words_beside_them_as_they_are(retriever, query):
    assert set(ids(built_once(retriever).search([Query("q", query)], 10)["q"])) == {"both", "apple", "pear"}


@retrievers
@given(query=st.text(max_size=30))
@settings(max_examples=50, deadline=None)
def test_no_text_of_a_query_is_an_error(retriever, query):
    ranking = built_once(retriever).search([Query("q", query)], 3)["q"]
    assert ranking == in_order(ranking)


@functools.cache
def built_once(retriever):
    return retriever.build([Doc("apple", "apple apple"), Doc("pear", "pear"), Doc("both", "pear apple"), Doc("other", "plum 😀")])


@given(corpus=corpora, query=texts.filter(lambda text: any(word != "the" for word in text.split())))
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_bm25s(corpus, query):
    engine = bm25s.BM25(k1=0.9, b=0.4)
    split = {"token_pattern": r"\w+", "stopwords": list(LUCENE_STOP_WORDS), "show_progress": False}
    engine.index(bm25s.tokenize(corpus, return_ids=False, **split), show_progress=False)
    (terms,) = bm25s.tokenize([query], return_ids=False, **split)
    expected = engine.get_scores(terms)
    ranking = BM25Index.build(as_docs(corpus), stemmer=None).search([Query("q", query)], len(corpus))["q"]
    assert {doc.doc_id: np.float32(doc.score) for doc in ranking} == {
        f"d{i}": score for i, score in enumerate(expected) if score > 0
    }


@retrievers
def test_progress_sees_every_doc_and_query_once(retriever):
    seen = []

    def progress(items, description, total=None):
        for item in items:
            seen.append((description, total))
            yield item

    index = retriever.build(DOCS, progress=progress)
    index.search([Query("q1", "cat"), Query("q2", "")], 3, progress=progress)
    assert seen == [("index", None)] * 4 + [("search", 2)] * 2


@retrievers
def test_bad_input_is_one_clear_line(retriever):
    index = retriever.build(DOCS)
    for problem, call in {
        "expected at least one doc to index, found none": lambda: retriever.build([]),
        "doc_id 'd1': expected once among the docs to index, found twice": lambda: retriever.build([*DOCS, DOCS[0]]),
        "query_id 'q': expected once among the queries, found twice": lambda: index.search([Query("q", "")] * 2, 3),
        "k: expected 1 or more docs a query, found 0": lambda: index.search([], 0),
    }.items():
        with pytest.raises(HeadtailError) as caught:
            call()
        assert str(caught.value) == problem


def test_bad_settings_are_one_clear_line():
    with pytest.raises(HeadtailError, match="unknown stemmer 'portr', did you mean 'porter'"):
        BM25Index.build(DOCS, stemmer="portr")
    with pytest.raises(HeadtailError, match="unknown stop word list 'lucen', did you mean 'lucene'"):
        BM25Index.build(DOCS, stopwords="lucen")
    for wrong in ({"b": 1.5}, {"k1": -1.0}, {"k1": math.nan}):
        with pytest.raises(HeadtailError, match="expected k1 of 0 or more and b from 0 to 1"):
            BM25Index.build(DOCS, **wrong)
    with pytest.raises(HeadtailError, match="expected words in the docs"):
        TfidfIndex.build([Doc("d", "")])


def test_a_collection_of_empty_docs_can_be_indexed_and_finds_nothing():
    assert dict(BM25Index.build([Doc("d", ""), Doc("e", "the")]).search([Query("q", "the cat")], 3)) == {"q": ()}


@pytest.mark.parametrize("mmap", [True, False])
def test_a_saved_index_gives_the_same_run(tmp_path, mmap):
    index = BM25Index.build(DOCS, k1=1.2, b=0.3, stemmer="english", stopwords=["sat"])
    index.save(tmp_path / "index")
    loaded = BM25Index.load(tmp_path / "index", mmap=mmap)
    queries = [Query("q1", "the cats sat"), Query("q2", "bird"), Query("q3", "")]
    assert loaded.settings == index.settings
    assert dict(loaded.search(queries, 3)) == dict(index.search(queries, 3))
    assert {path.suffix for path in (tmp_path / "index").iterdir()} == {".json", ".npy"}


def test_an_index_can_be_saved_over_the_one_it_was_loaded_from(tmp_path):
    BM25Index.build(DOCS).save(tmp_path)
    loaded = BM25Index.load(tmp_path)
    loaded.save(tmp_path)
    query = [Query("q", "cat")]
    assert dict(loaded.search(query, 3)) == dict(BM25Index.load(tmp_path).search(query, 3))


def test_a_missing_or_damaged_index_is_one_clear_line(tmp_path):
    with pytest.raises(DataError, match=r"expected a BM25 index with its headtail\.json, found none; build"):
        BM25Index.load(tmp_path)
    BM25Index.build(DOCS).save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for damage in (b"", whole[: len(whole) // 2], b"[1]", None):
            path.unlink()
            if damage is not None:
                path.write_bytes(damage)
            with pytest.raises(DataError) as caught:
                BM25Index.load(tmp_path)
            assert "\n" not in str(caught.value), path
            path.write_bytes(whole)
    BM25Index.load(tmp_path)


@pytest.mark.parametrize(
    "change", [{"format": "headtail-bm25-0"}, {"k1": 2.0}, {"docs": 3}, {"token_pattern": "x"}, {"stemmer": "x"}]
)
def test_settings_that_do_not_fit_the_index_are_refused(tmp_path, change):
    BM25Index.build(DOCS).save(tmp_path)
    path = tmp_path / "headtail.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError):
        BM25Index.load(tmp_path)


def test_tfidf_chunks_of_queries_change_nothing(monkeypatch):
    index = TfidfIndex.build(DOCS)
    queries = [Query(f"q{i}", text) for i, text in enumerate(["cat", "cats dogs", "bird sat", ""])]
    whole = dict(index.search(queries, 3))
    monkeypatch.setattr("headtail.retrieval.tfidf.CHUNK_VALUES", 1)
    assert dict(index.search(queries, 3)) == whole


@pytest.mark.parametrize("enabled", [True, False])
def test_search_leaves_the_garbage_collector_as_it_was(enabled):
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        BM25Index.build(DOCS).search([Query("q", "cat")], 3)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_a_run_built_by_search_is_one_that_run_itself_would_build():
    run = BM25Index.build(DOCS).search([Query("q", "cat dog")], 3)
    assert dict(Run(run)) == dict(run)
