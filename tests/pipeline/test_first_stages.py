"""First stages as a person types them: Lucene and its index, fusion, runs of other tools."""

import numpy as np
import pytest
from tests.world import write_world

from headtail.data.runs import read_run
from headtail.pipeline.search import fuse, rerank
from headtail.records import Run
from headtail.retrieval import java

lucene = pytest.mark.skipif(java.lacking() is not None, reason=f"{java.lacking()} (make lucene)")


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path / "world")


@pytest.fixture
def retrieve(world, tmp_path):
    """`headtail retrieve` up to its own options."""
    return ("retrieve", "--data", world, "--split", "test", "-o", tmp_path / "run.trec", "-k", 5)


# ---- lucene


@lucene
def test_lucene_retrieves_and_its_index_serves_every_way_of_scoring(headtail, retrieve, tmp_path):
    kept = (*retrieve, "--ranker", "lucene", "--index", tmp_path / "index")
    code, out, err = headtail(*kept)
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'run.trec'}: 3 queries, ")
    first = (tmp_path / "run.trec").read_text()
    assert first.splitlines()[0].split()[:4] == ["q1", "Q0", "cat", "1"]
    assert headtail(*kept)[0] == 0    # loaded now
    assert (tmp_path / "run.trec").read_text() == first
    assert headtail(*kept, "--k1", 2, "--rm3", "--fb-docs", 2, "--fb-terms", 3, "--original-weight", 0.7)[0] == 0
    assert read_run(tmp_path / "run.trec").name == "lucene-rm3"


@lucene
def test_a_lucene_index_of_another_collection(headtail, refused, retrieve, world, tmp_path):
    kept = (*retrieve, "--ranker", "lucene", "--index", tmp_path / "index")
    assert headtail(*kept)[0] == 0
    with (world / "collection.tsv").open("a") as out:
        out.write("walrus\tthe walrus naps\n")
    assert "found one with 10 docs; name another folder as --index" in refused(*kept)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    assert "expected a Lucene index, found no list of segments" in refused(*kept[:-1], tmp_path / "other")


def test_without_its_packages_lucene_is_one_line(refused, retrieve, tmp_path, monkeypatch):
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda name: None)
    java.java.cache_clear()
    line = refused(*retrieve, "--ranker", "lucene")
    assert "the Lucene ranker needs pyserini and pyjnius, not installed here: pip install --no-deps pyserini==" in line
    assert not (tmp_path / "run.trec").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--ranker", "tfidf", "--k1", 1), "--k1 is bm25's and lucene's; --ranker tfidf does not have it"),
        (("--ranker", "bm25", "--fb-docs", 3), "--fb-docs is lucene's; --ranker bm25 does not have it"),
        (("--rm3",), "--rm3 is lucene's; --ranker bm25 does not have it"),
        (("--ranker", "lucene", "--stemmer", "none"), "--stemmer is bm25's; --ranker lucene does not have it"),
        (("--ranker", "lucene", "--fb-docs", 3), "fb_docs is RM3's and has no effect without rm3"),
        (("--ranker", "tfidf", "--index", "x"), "tfidf keeps no index, found --index with it; leave it out"),
    ],
)
def test_an_option_of_another_ranker(refused, retrieve, options, line):
    assert line in refused(*retrieve, *options)


# ---- fuse


def test_fuse_writes_a_run_that_others_read(headtail, retrieve, tmp_path):
    assert headtail(*retrieve)[0] == 0
    (tmp_path / "other.trec").write_text("q1 Q0 dog 1 2.5 x\nq1 Q0 cat 2 1.5 x\nq9 Q0 egg 1 1 x\n")
    code, out, err = headtail(
        "fuse", tmp_path / "run.trec", tmp_path / "other.trec", "-o", tmp_path / "both.trec.gz", "--weights", 0.1, 9.5, "-k", 2
    )
    assert (code, out) == (0, f"{tmp_path / 'both.trec.gz'}: 4 queries, 7 docs\n")
    assert err == "3 of 4 queries (first: 'q2') are not in all runs; each is fused from the runs that have it\n"
    fused = read_run(tmp_path / "both.trec.gz")
    assert fused.name == "both"
    assert [doc.doc_id for doc in fused["q1"]] == ["dog", "cat"]    # bm25 alone has the cat first
    assert [doc.doc_id for doc in fused["q9"]] == ["egg"]


def test_fuse_from_python_takes_runs_and_files(tmp_path):
    one = Run({"q": [("a", 2.0), ("b", 1.0)]})
    (tmp_path / "two.trec").write_text("q Q0 b 1 7 x\n")
    heard = []
    assert [doc.doc_id for doc in fuse([one, tmp_path / "two.trec"], say=heard.append)["q"]] == ["b", "a"]
    assert heard == []
    assert fuse([one], name="mine").name == "mine"


def test_fuse_refuses_what_it_cannot_use(refused, tmp_path):
    (tmp_path / "a.trec").write_text("q Q0 b 1 7 x\n")
    command = ("fuse", tmp_path / "a.trec", tmp_path / "a.trec", "-o", tmp_path / "o.trec")
    assert "weights: expected one for each of the 2 runs, found 3" in refused(*command, "--weights", 1, 2, 3)
    assert "a.trec" in refused("fuse", tmp_path / "b.trec", "-o", tmp_path / "o.trec")    # the nearest name that is there
    (tmp_path / "bad.trec").write_text("q Q0 b 1 7\n")
    assert "bad.trec:1: expected" in refused("fuse", tmp_path / "bad.trec", "-o", tmp_path / "o.trec")
    assert not (tmp_path / "o.trec").exists()


# ---- a run of another tool


class ByLength:
    """Scores a doc by its length."""

    def score(self, pairs, **_):
        return np.array([len(doc) for _, doc in pairs], dtype=np.float32)


FOREIGN = {
    "tabs": "q1\tQ0\tcat\t1\t3.5\tx\nq1\tQ0\tdog\t2\t2.5\tx\nq1\tQ0\that\t3\t.5\tx\n",
    "extra spaces": "  q1  Q0   cat 1   3.5 x \n q1 Q0 dog 2 2.5  x\nq1 Q0 hat   3 .5 x\n",
    "ranks from 0": "q1 Q0 cat 0 3.5 x\nq1 Q0 dog 1 2.5 x\nq1 Q0 hat 2 .5 x\n",
    "ranks all alike": "q1 Q0 cat 1 3.5 x\nq1 Q0 dog 1 2.5 x\nq1 Q0 hat 1 .5 x\n",
    "lines in no order": "q1 Q0 hat 3 .5 x\nq1 Q0 cat 1 3.5 x\nq1 Q0 dog 2 2.5 x\n",
    "scores below 0 and with exponents": "q1 Q0 cat 1 -1e-2 x\nq1 Q0 dog 2 -2.5E+1 x\nq1 Q0 hat 3 -1000 x\n",
    "0 for Q0 and Windows line ends": "q1 0 cat 1 3.5 x\r\nq1 0 dog 2 2.5 x\r\nq1 0 hat 3 .5 x\r\n",
    "MS MARCO's three columns": "q1\tcat\t1\nq1\tdog\t2\nq1\that\t3\n",
}


@pytest.mark.parametrize("case", FOREIGN)
def test_rerank_takes_a_run_of_another_tool(world, tmp_path, case):
    (tmp_path / "foreign.txt").write_bytes(FOREIGN[case].encode())
    reranked = rerank(ByLength(), world, "test", tmp_path / "foreign.txt", depth=2, missing="skip")
    assert [doc.doc_id for doc in reranked["q1"]] == ["cat", "dog"]    # the first two of it, longest first


def test_rerank_takes_queries_whose_lines_are_mixed(world, tmp_path):
    (tmp_path / "mixed.txt").write_text("q1 Q0 cat 1 2 x\nq2 Q0 ice 1 2 x\nq1 Q0 dog 2 1 x\nq2 Q0 fish 2 1 x\nq3 Q0 egg 1 1 x\n")
    reranked = rerank(ByLength(), world, "test", tmp_path / "mixed.txt")
    assert {query_id: len(docs) for query_id, docs in reranked.items()} == {"q1": 2, "q2": 2, "q3": 1}
