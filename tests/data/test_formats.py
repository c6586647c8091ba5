import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headtail.data.formats import (
    Candidate,
    IdTriple,
    TextTriple,
    read_beir_corpus,
    read_beir_queries,
    read_collection,
    read_id_triples,
    read_qrels,
    read_queries,
    read_top1000,
    read_triples,
    write_beir_corpus,
    write_beir_queries,
    write_collection,
    write_id_triples,
    write_qrels,
    write_queries,
    write_top1000,
    write_triples,
)
from headtail.data.runs import read_run, write_run
from headtail.errors import DataError, HeadtailError
from headtail.records import Doc, Query, Run, ScoredDoc, as_float32

SUFFIXES = ["", ".gz"]


def put(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# ---- facts


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_collection_is_doc_id_tab_text(tmp_path, suffix):
    path = put(tmp_path / f"c.tsv{suffix}", "d1\tone two\nd2\tthree\n")
    assert list(read_collection(path)) == [Doc("d1", "one two"), Doc("d2", "three")]


def test_windows_line_ends_a_byte_order_mark_and_a_missing_last_line_end_change_nothing(tmp_path):
    path = put(tmp_path / "q.tsv", b"\xef\xbb\xbfq1\tone\r\nq2\ttwo")
    assert read_queries(path) == {"q1": Query("q1", "one"), "q2": Query("q2", "two")}


@pytest.mark.parametrize("text", ["q1 0 d1 2\nq1 0 d2 0\n", "q1\t0\td1\t2\nq1\t0\td2\t0\n",
                                  "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n"])
def test_qrels_are_read_from_trec_and_from_beir(tmp_path, text):
    assert read_qrels(put(tmp_path / "qrels", text)) == {"q1": {"d1": 2, "d2": 0}}


def test_a_trec_run_is_ordered_by_its_scores_and_named_by_its_tag(tmp_path):
    run = read_run(put(tmp_path / "r.trec", "q1 Q0 d1 1 1.5 bm25\nq1 Q0 d2 2 2.5 bm25\n"))
    assert (run.name, run["q1"]) == ("bm25", (ScoredDoc("d2", 2.5), ScoredDoc("d1", 1.5)))


def test_a_three_column_run_scores_minus_the_rank_and_is_named_by_its_file(tmp_path):
    run = read_run(put(tmp_path / "top.dev.tsv", "q1\td1\t2\nq1\td2\t1\n"))
    assert (run.name, run["q1"]) == ("top", (ScoredDoc("d2", -1.0), ScoredDoc("d1", -2.0)))


def test_a_given_name_stands_before_the_tag(tmp_path):
    assert read_run(put(tmp_path / "r", "q1 Q0 d1 1 1.5 bm25\n"), name="mine").name == "mine"


def test_a_run_is_written_in_trecs_columns(tmp_path):
    write_run(Run({"q1": [("d1", 0.1), ("d2", 2.0)]}, name="my run"), tmp_path / "r")
    assert (tmp_path / "r").read_text() == "q1 Q0 d2 1 2 my_run\nq1 Q0 d1 2 0.100000001 my_run\n"


def test_ms_marco_triples_and_candidates(tmp_path):
    path = put(tmp_path / "t", "a\tb\tc\n")
    assert list(read_triples(path)) == [TextTriple("a", "b", "c")]
    assert list(read_id_triples(path)) == [IdTriple("a", "b", "c")]
    assert list(read_top1000(put(tmp_path / "k", "q\td\twho\thim\n"))) == [Candidate("q", "d", "who", "him")]


def test_beir_joins_title_and_text(tmp_path):
    lines = [{"_id": "d1", "title": "T", "text": "a\n b"}, {"_id": "d2", "title": "", "text": "c"}, {"_id": "d3", "text": "e"}]
    path = put(tmp_path / "corpus.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert list(read_beir_corpus(path)) == [Doc("d1", "T a b"), Doc("d2", "c"), Doc("d3", "e")]


# ---- errors: the whole line


def consume(reader, path):
    result = reader(path)
    return result if isinstance(result, dict | Run) else list(result)


ONE_WORD = "an id is one word: TREC files are split at white space"
ERRORS = [
    (read_collection, "d1\ta\nd2\n", ":2: expected 2 fields (doc_id TAB text), found 1: 'd2'; fields are separated by one tab"),
    (read_collection, "d1\ta\tb\n", r":1: expected 2 fields (doc_id TAB text), found 3: 'd1\ta\tb'; a text holds no tab"),
    (read_collection, "d1\ta\n\ta\n", f":2: expected a doc_id, found an empty one; {ONE_WORD}"),
    (read_collection, "d 1\ta\n", f":1: expected a doc_id, found 'd 1'; {ONE_WORD}"),
    (read_collection, "d1\ta\nd2\t \n", ":2: expected a doc text, found an empty one; drop the line or give the doc a text"),
    (read_collection, "d1\ta\n\n", ":2: expected 2 fields (doc_id TAB text), found 1: ''; fields are separated by one tab"),
    (read_collection, "", ": expected at least one line, found an empty file"),
    (read_collection, b"d1\ta\nd2\tab\xff\n", ":2: expected UTF-8, found byte 0xff at column 6; convert the file to UTF-8"),
    (read_collection, gzip.compress(b"d1\ta\n"), ":1: expected UTF-8, found gzip data; add the suffix .gz"),
    (read_queries, "q1\t\n", ":1: expected a query text, found an empty one; drop the line or give the query a text"),
    (read_queries, "q1\ta\nq2\tb\nq1\tc\n", ":3: expected each query_id once, found 'q1' again; keep one of the lines"),
    (read_qrels, "q1 0 d1 1\n1048585 0 7187158\n", ":2: expected 4 fields (query_id 0 doc_id label), found 3: '1048585 0 7187158'"),
    (read_qrels, "q1\td1\t1\n", ":1: expected 4 fields (query_id 0 doc_id label), found 3: 'q1\\td1\\t1'; BEIR's three columns need their header"),
    (read_qrels, "query-id\tcorpus-id\tscore\nq1 0 d1 1\n", ":2: expected 3 fields (query-id corpus-id score), found 4: 'q1 0 d1 1'"),
    (read_qrels, "query-id\tcorpus-id\tscore\n", ":2: expected a judgment, found nothing after the header"),
    (read_qrels, "q1 0 d1 1\nq1 0 d1 1\n", ":2: expected each doc_id of query 'q1' once, found 'd1' again; keep one of the lines"),
    (read_qrels, "q1 0 d1 1.0\n", ":1: expected an integer label, found '1.0'"),
    (read_qrels, "q1 0 d1 1_0\n", ":1: expected an integer label, found '1_0'"),
    (read_run, "q1 Q0 d1 1 2 a\nq1 d2 2\n", ":2: expected 6 fields (query_id Q0 doc_id rank score tag), found 3: 'q1 d2 2'; every line has as many as line 1"),
    (read_run, "q1 d2\n", ":1: expected 6 fields (query_id Q0 doc_id rank score tag) or 3 fields (query_id doc_id rank), found 2: 'q1 d2'"),
    (read_run, "q1 Q0 d1 1 nan a\n", ":1: expected a finite float32 score, found 'nan'"),
    (read_run, "q1 Q0 d1 1 -inf a\n", ":1: expected a finite float32 score, found '-inf'"),
    (read_run, "q1 Q0 d1 1 1e39 a\n", ":1: expected a finite float32 score, found '1e39'"),
    (read_run, "q1 Q0 d1 1 high a\n", ":1: expected a finite float32 score, found 'high'"),
    (read_run, "q1 Q0 d1 0.5 1 a\n", ":1: expected an integer rank, found '0.5'"),
    (read_run, "q1 Q0 d1 1 2 a\nq1 Q0 d1 2 1 a\n", ":2: expected each doc_id of query 'q1' once, found 'd1' again; keep one of the lines"),
    (read_run, "q1 d1 1\nq1 d2 1\n", ":2: expected each rank of query 'q1' once, found '1' again; keep one of the lines"),
    (read_run, "", ": expected at least one line, found an empty file"),
    (read_triples, "a\tb\n", r":1: expected 3 fields (query TAB positive TAB negative), found 2: 'a\tb'; fields are separated by one tab"),
    (read_triples, "a\t\tc\n", ":1: expected a positive text, found an empty one; drop the line or give the positive a text"),
    (read_id_triples, "a\tb c\td\n", f":1: expected a positive_id, found 'b c'; {ONE_WORD}"),
    (read_top1000, "q\td\twho\n", r":1: expected 4 fields (query_id TAB doc_id TAB query TAB text), found 3: 'q\td\twho'; fields are separated by one tab"),
    (read_beir_corpus, '{"_id": "d1", "text": "a"}\n{"_id": "d2"\n', ":2: expected a JSON object with the strings _id and text, found '{\"_id\": \"d2\"'; a line is one object"),
    (read_beir_corpus, '{"_id": 1, "text": "a"}\n', ":1: expected a JSON object with the strings _id and text, found '{\"_id\": 1, \"text\": \"a\"}'; a line is one object"),
    (read_beir_corpus, '["d1"]\n', ":1: expected a JSON object with the strings _id and text, found '[\"d1\"]'; a line is one object"),
    (read_beir_corpus, '{"_id": "d1", "title": "", "text": ""}\n', ":1: expected a doc text, found an empty one; drop the line or give the doc a text"),
    (read_beir_queries, '{"_id": "q1", "text": "a"}\n' * 2, ":2: expected each query_id once, found 'q1' again; keep one of the lines"),
]


@pytest.mark.parametrize(("reader", "content", "message"), ERRORS, ids=[f"{r.__name__}-{i}" for i, (r, *_) in enumerate(ERRORS)])
def test_an_error_is_one_line_that_names_the_place(tmp_path, reader, content, message):
    path = put(tmp_path / "file", content)
    with pytest.raises(DataError) as caught:
        consume(reader, path)
    assert str(caught.value) == f"{path}{message}"


@pytest.mark.parametrize("reader", [read_collection, read_queries, read_qrels, read_run, read_beir_corpus, read_triples])
def test_a_missing_file_names_its_nearest_neighbour(tmp_path, reader):
    put(tmp_path / "queries.dev.tsv", "q\tx\n")
    with pytest.raises(DataError) as caught:
        consume(reader, tmp_path / "querys.dev.tsv")
    assert str(caught.value) == f"{tmp_path}/querys.dev.tsv: expected a file, found none; did you mean 'queries.dev.tsv'?"


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataError) as caught:
        read_qrels(tmp_path / "no" / "qrels")
    assert str(caught.value) == f"{tmp_path}/no/qrels: expected a file, found none; there is no folder {tmp_path}/no"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(HeadtailError) as caught:
        read_qrels(tmp_path)
    assert str(caught.value) == f"cannot read {tmp_path}: Is a directory"


def test_a_gzip_file_that_breaks_off_names_the_line_it_breaks_off_in(tmp_path):
    lines = "".join(f"d{i}\t{os.urandom(20).hex()}\n" for i in range(5000))
    whole = gzip.compress(lines.encode())
    path = tmp_path / "c.tsv.gz"
    path.write_bytes(whole[:-20])
    read = []
    with pytest.raises(DataError) as caught:
        read.extend(read_collection(path))
    line = caught.value.line
    assert str(caught.value) == (f"{path}:{line}: expected more lines, found a gzip file that breaks off; "
                                 "copy or download it again")
    assert 1 <= line <= 5001


def test_a_plain_file_with_the_gzip_suffix(tmp_path):
    path = tmp_path / "c.tsv.gz"
    path.write_text("d1\ta\n")
    with pytest.raises(DataError) as caught:
        list(read_collection(path))
    assert str(caught.value) == (f"{path}:1: expected gzip, as the suffix says, found damaged data (Not a gzipped file "
                                 "(b'd1')); copy it again, or drop the suffix of a file that is plain")


def test_a_gzip_file_with_a_flipped_byte(tmp_path):
    data = bytearray(gzip.compress(b"d1\ta\n"))
    data[-8] ^= 1    # its checksum
    path = tmp_path / "c.tsv.gz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"expected gzip, as the suffix says, found damaged data \(CRC check failed"):
        list(read_collection(path))


# ---- writing


WRITE_ERRORS = [
    (lambda p: write_collection([Doc("d1", "a\tb")], p), r"doc 'd1' has the text 'a\tb'; a text is not empty and holds no tab and no line end"),
    (lambda p: write_collection([Doc("d1", " ")], p), "doc 'd1' has the text ' '; a text is not empty and holds no tab and no line end"),
    (lambda p: write_collection([Doc("d 1", "a")], p), f"the id 'd 1' cannot stand in it; {ONE_WORD}"),
    (lambda p: write_collection([Doc("d1", "\ud800")], p), r"'d1\t\ud800\n' holds half a character, which UTF-8 lacks"),
    (lambda p: write_collection([], p), "there is nothing to write"),
    (lambda p: write_queries({"q": Query("q", "a\nb")}, p), r"query 'q' has the text 'a\nb'; a text is not empty and holds no tab and no line end"),
    (lambda p: write_qrels({"q": {"": 1}}, p), f"the id '' cannot stand in it; {ONE_WORD}"),
    (lambda p: write_run(Run({"q": [("d", float("inf"))]}), p), "query 'q', doc 'd' has the score inf; a run file holds finite numbers"),
    (lambda p: write_beir_corpus([Doc("d1", " ")], p), "doc 'd1' has an empty text"),
    (lambda p: write_triples([TextTriple("q", "a\tb", "c")], p), r"positive has the text 'a\tb'; a text is not empty and holds no tab and no line end"),
    (lambda p: write_top1000([Candidate("q", "d 1", "q", "t")], p), f"the id 'd 1' cannot stand in it; {ONE_WORD}"),
    (lambda p: write_run(Run({"q": []}), p), "there is nothing to write"),
]


@pytest.mark.parametrize(("write", "message"), WRITE_ERRORS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_cannot_be_written_leaves_what_stood_there(tmp_path, write, message, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("before")
    with pytest.raises(HeadtailError) as caught:
        write(path)
    assert str(caught.value) == f"cannot write {path}: {message}"
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# ---- laws: what is written reads back the same

characters = st.characters(exclude_categories=["Cs"])
ids = st.text(characters, min_size=1, max_size=8).filter(lambda i: i.split() == [i] and i[0] != "\ufeff")
texts = st.text(characters, min_size=1, max_size=30).filter(
    lambda t: t.strip() and "\t" not in t and "\n" not in t and not t.endswith("\r"))
scores = st.floats(width=32, allow_nan=False, allow_infinity=False)
law = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@law
@given(docs=st.lists(st.builds(Doc, ids, texts), min_size=1), suffix=st.sampled_from(SUFFIXES))
def test_any_collection_reads_back(tmp_path, docs, suffix):
    write_collection(docs, tmp_path / f"c{suffix}")
    assert list(read_collection(tmp_path / f"c{suffix}")) == docs


@law
@given(queries=st.dictionaries(ids, texts, min_size=1))
def test_any_queries_read_back(tmp_path, queries):
    queries = {query_id: Query(query_id, text) for query_id, text in queries.items()}
    write_queries(queries, tmp_path / "q.gz")
    assert read_queries(tmp_path / "q.gz") == queries


@law
@given(docs=st.lists(st.builds(Doc, ids, texts), min_size=1), suffix=st.sampled_from(SUFFIXES))
def test_any_beir_files_read_back_with_single_spaces(tmp_path, docs, suffix):
    write_beir_corpus(docs, tmp_path / f"corpus.jsonl{suffix}")
    assert list(read_beir_corpus(tmp_path / f"corpus.jsonl{suffix}")) == [Doc(d.doc_id, " ".join(d.text.split())) for d in docs]
    queries = {doc_id: Query(doc_id, text) for doc_id, text in docs}
    write_beir_queries(queries, tmp_path / "queries.jsonl")
    assert read_beir_queries(tmp_path / "queries.jsonl") == {q: Query(q, " ".join(text.split())) for q, text in queries.values()}


@law
@given(rows=st.lists(st.tuples(ids, ids, texts, texts), min_size=1))
def test_any_triples_and_candidates_read_back(tmp_path, rows):
    triples = [TextTriple(a, text, other) for a, _, text, other in rows]
    write_triples(triples, tmp_path / "t")
    assert list(read_triples(tmp_path / "t")) == triples
    by_id = [IdTriple(a, b, a) for a, b, *_ in rows]
    write_id_triples(by_id, tmp_path / "i.gz")
    assert list(read_id_triples(tmp_path / "i.gz")) == by_id
    candidates = [Candidate(*row) for row in rows]
    write_top1000(candidates, tmp_path / "c")
    assert list(read_top1000(tmp_path / "c")) == candidates


@law
@given(qrels=st.dictionaries(ids, st.dictionaries(ids, st.integers(-2, 10**6), min_size=1), min_size=1))
def test_any_qrels_read_back(tmp_path, qrels):
    write_qrels(qrels, tmp_path / "qrels")
    assert read_qrels(tmp_path / "qrels") == qrels


@law
@given(rankings=st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1), min_size=1), suffix=st.sampled_from(SUFFIXES))
def test_any_run_reads_back_with_the_same_scores_in_the_same_order(tmp_path, rankings, suffix):
    run = Run({query_id: docs.items() for query_id, docs in rankings.items()}, "tag")
    write_run(run, tmp_path / f"r{suffix}")
    again = read_run(tmp_path / f"r{suffix}")
    assert dict(again) == dict(run)
    assert again.name == "tag"


@law
@given(score=scores)
def test_nine_digits_name_a_float32(score):
    assert as_float32(float(f"{score:.9g}")) == score


def test_a_written_run_ranks_the_same_in_trec_eval(tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    close = [("d1", 1.0), ("d2", 1.0000001), ("d3", 1.00000001), ("d4", 1.0), ("d10", 0.5), ("d9", 0.5)]
    run = Run({"q1": close})
    write_run(run, tmp_path / "r")
    with (tmp_path / "r").open() as lines:
        parsed = pytrec_eval.parse_run(lines)
    for place, doc in enumerate(run["q1"], start=1):
        measured = pytrec_eval.RelevanceEvaluator({"q1": {doc.doc_id: 1}}, {"recip_rank"}).evaluate(parsed)
        assert measured["q1"]["recip_rank"] == pytest.approx(1 / place)
