"""Lucene: facts by hand; Anserini's own searcher, which Pyserini calls, is the oracle of rankings."""

import math
import random
import shutil
import subprocess
import sys

import pytest

from headtail.errors import DataError, HeadtailError
from headtail.records import Doc, Query
from headtail.retrieval import RETRIEVERS
from headtail.retrieval.java import java, lacking

pytestmark = pytest.mark.skipif(lacking() is not None, reason=f"{lacking()} (make lucene)")
LuceneIndex = RETRIEVERS["lucene"]
WORDS = [f"word{i}" for i in range(60)]


def ids(ranking):
    return [doc.doc_id for doc in ranking]


def random_docs(count, seed=0):
    chance = random.Random(seed)
    rising = list(range(1, len(WORDS) + 1))
    return [Doc(f"d{i:04}", " ".join(chance.choices(WORDS, rising, k=chance.randint(3, 40)))) for i in range(count)]


def random_queries(count, seed=1):
    chance = random.Random(seed)
    return [Query(f"q{i}", " ".join(chance.sample(WORDS, 3))) for i in range(count)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A saved index of 400 docs."""
    folder = tmp_path_factory.mktemp("lucene")
    LuceneIndex.build(random_docs(400)).save(folder)
    return folder


def test_a_score_by_hand():
    index = LuceneIndex.build([Doc("long", "red red fox den"), Doc("short", "fox"), Doc("other", "owl")])
    (best,) = index.search([Query("q", "reds")], 10)["q"]    # Porter takes the s
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))    # 1 of 3 docs holds it
    length = 1 - 0.4 + 0.4 * 4 / 2    # 4 terms, 2 on average
    assert best.doc_id == "long"
    assert best.score == pytest.approx(idf * 2 / (2 + 0.9 * length), rel=1e-6)


def test_k1_and_b_are_those_of_the_search_not_of_the_index(kept):
    queries = random_queries(5)
    built = LuceneIndex.build(random_docs(400), k1=2.0, b=0.9).search(queries, 20)
    assert dict(LuceneIndex.load(kept, k1=2.0, b=0.9).search(queries, 20)) == dict(built)
    assert dict(LuceneIndex.load(kept).search(queries, 20)) != dict(built)


def anserini(folder, queries, k, rm3=None):
    """What Pyserini's LuceneSearcher does: query_id -> [(doc_id, score)]."""
    searcher = java().of("io.anserini.search.SimpleSearcher")(str(folder))
    searcher.set_bm25(0.9, 0.4)
    if rm3:
        searcher.set_rm3(*rm3)
    return {query.query_id: [(hit.docid, hit.score) for hit in searcher.search(query.text, k)] for query in queries}


@pytest.mark.parametrize("rm3", [None, (10, 10, 0.5), (5, 3, 0.8)])
def test_rankings_are_anserinis_but_for_its_ties(kept, rm3):
    queries = random_queries(30)
    theirs = anserini(kept, queries, 50, rm3)
    options = {"rm3": True, "fb_terms": rm3[0], "fb_docs": rm3[1], "original_weight": rm3[2]} if rm3 else {}
    ours = LuceneIndex.load(kept, **options).search(queries, 50)
    assert ours.name == ("lucene-rm3" if rm3 else "lucene")
    apart = 0
    for query_id, ranking in ours.items():
        assert [doc.score for doc in ranking] == pytest.approx([score for _, score in theirs[query_id]], abs=2e-4)
        for place, (doc_id, score) in enumerate(ranking):
            beside = [doc.score for doc in (*ranking[max(place - 1, 0) : place], *ranking[place + 1 : place + 2])]
            if place < 49 and all(abs(score - other) > 2e-4 for other in beside):    # Anserini rounds to four decimals
                assert theirs[query_id][place][0] == doc_id
                apart += 1
    assert apart > 300


def test_rm3_finds_a_doc_that_shares_no_term_with_the_query():
    docs = [Doc(f"n{i}", f"noise{i} filler{i}") for i in range(200)]    # RM3 takes no term that a tenth of the docs hold
    docs += [Doc("a", "volcano lava"), Doc("b", "volcano lava"), Doc("c", "lava ash")]
    query = [Query("q", "volcano")]
    assert ids(LuceneIndex.build(docs).search(query, 10)["q"]) == ["b", "a"]
    assert ids(LuceneIndex.build(docs, rm3=True).search(query, 10)["q"]) == ["b", "a", "c"]


@pytest.mark.parametrize("text", ["", "the of", "zebra", "?!"])
def test_rm3_of_a_query_that_finds_nothing_is_empty(text):
    assert dict(LuceneIndex.build([Doc("d", "cat")], rm3=True).search([Query("q", text)], 3)) == {"q": ()}


def test_terms_of_weight_0_find_nothing():
    index = LuceneIndex.build([Doc("d", "cat"), Doc("e", "dog")], rm3=True, original_weight=0.0)    # nothing to expand with either
    assert dict(index.search([Query("q", "cat")], 3)) == {"q": ()}


def test_a_tie_longer_than_what_is_fetched_beyond_k():
    docs = [Doc(f"d{i:04}", "same words") for i in random.Random(0).sample(range(700), 700)]
    index = LuceneIndex.build([*docs, Doc("best", "same same")])
    assert ids(index.search([Query("q", "same")], 3)["q"]) == ["best", "d0699", "d0698"]


def test_a_query_of_5_000_terms():
    text = " ".join(f"w{i}" for i in range(5000))
    assert ids(LuceneIndex.build([Doc("d", "w4999")]).search([Query("q", text)], 3)["q"]) == ["d"]


def test_docs_of_several_files_are_one_index(monkeypatch):
    whole = dict(LuceneIndex.build(random_docs(100)).search(random_queries(10), 20))
    monkeypatch.setattr("headtail.retrieval.lucene.SHARD", 7)
    assert dict(LuceneIndex.build(random_docs(100)).search(random_queries(10), 20)) == whole


def test_an_index_of_another_name_and_over_itself(kept, tmp_path):
    folder = tmp_path / "índice 😀"
    LuceneIndex.load(kept).save(folder)
    loaded = LuceneIndex.load(folder)
    loaded.save(folder)    # over the one it was loaded from
    LuceneIndex.build(random_docs(9)).save(kept.parent / "small")
    LuceneIndex.load(folder).save(kept.parent / "small")    # over another
    for again in (folder, kept.parent / "small"):
        assert dict(LuceneIndex.load(again).search(random_queries(3), 9)) == dict(loaded.search(random_queries(3), 9))
        assert not [path for path in again.iterdir() if path.name in (".building", "write.lock")]


def test_a_temporary_index_goes_with_its_object():
    index = LuceneIndex.build([Doc("d", "cat")])
    folder = index._folder.parent
    assert folder.is_dir()
    del index
    assert not folder.exists()


def test_doc_ids_are_read_when_asked_for(kept):
    doc_ids = LuceneIndex.load(kept).doc_ids
    assert len(doc_ids) == 400
    assert sorted(doc_ids) == [doc.doc_id for doc in random_docs(400)]
    assert doc_ids[-1] == list(doc_ids)[399]
    assert doc_ids[:2] == [doc_ids[0], doc_ids[1]]
    with pytest.raises(IndexError):
        doc_ids[400]


def test_a_missing_or_damaged_index_is_one_clear_line(kept, tmp_path):
    for missing in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="expected a Lucene index, found no list of segments; build the index again"):
            LuceneIndex.load(missing)
    shutil.copytree(kept, tmp_path / "broken")
    for path in (tmp_path / "broken").glob("segments_*"):
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match="expected a whole Lucene index, found a damaged one") as caught:
        LuceneIndex.load(tmp_path / "broken")
    assert "\n" not in str(caught.value)


def test_rm3_wants_doc_vectors(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.jsonl").write_text('{"id": "d", "contents": "cat"}\n')
    arguments = java().of("io.anserini.index.IndexCollection$Args")()
    words = java().of("java.util.ArrayList")()
    for word in ("-collection", "JsonCollection", "-input", tmp_path / "docs", "-index", tmp_path / "index", "-quiet"):
        words.add(str(word))
    java().of("org.kohsuke.args4j.CmdLineParser")(arguments).parseArgument(words)
    java().of("io.anserini.index.IndexCollection")(arguments).run()
    assert ids(LuceneIndex.load(tmp_path / "index").search([Query("q", "cats")], 3)["q"]) == ["d"]    # an index of another tool
    with pytest.raises(HeadtailError, match="RM3 needs an index with doc vectors"):
        LuceneIndex.load(tmp_path / "index", rm3=True)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"k1": -1.0}, "expected k1 of 0 or more and b from 0 to 1"),
        ({"b": math.nan}, "expected k1 of 0 or more and b from 0 to 1"),
        ({"fb_docs": 10}, "fb_docs is RM3's and has no effect without rm3"),
        ({"rm3": True, "fb_terms": 0}, "expected fb_docs and fb_terms of 1 or more"),
        ({"rm3": True, "original_weight": 1.1}, "original_weight from 0 to 1, found 10, 10 and 1.1"),
    ],
)
def test_bad_options_are_one_clear_line(options, line):
    with pytest.raises(HeadtailError, match=line):
        LuceneIndex.build([Doc("d", "cat")], **options)


def test_the_names_of_prebuilt_indexes_are_anserinis():
    assert LuceneIndex.is_prebuilt("msmarco-v1-passage")
    assert not LuceneIndex.is_prebuilt("msmarco-v7-passage")


def test_nothing_but_ours_reaches_the_terminal_and_the_environment_stays():
    code = (
        "import os; before = dict(os.environ)\n"
        "from headtail.retrieval import RETRIEVERS; from headtail.records import Doc, Query\n"
        "index = RETRIEVERS['lucene'].build([Doc('d', 'cat'), Doc('e', '')], rm3=True)\n"
        "print(*index.search([Query('q', 'cats')], 3)['q'][0][:1], dict(os.environ) == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("d True\n", "", 0)
