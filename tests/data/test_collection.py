import errno
import json
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headtail.data import collection as module
from headtail.data.collection import Collection, build_collection, cache_root, cached_collection, open_collection, publish
from headtail.errors import HeadtailError
from headtail.records import Doc

DOCS = [Doc("b", "text of b"), Doc("a", "text of a\twith a tab\nand a line"), Doc("é", "ü")]


@pytest.fixture
def built(tmp_path):
    return build_collection(DOCS, tmp_path / "col")


def test_a_collection_maps_doc_id_to_text_in_file_order(built):
    assert len(built) == 3
    assert list(built) == ["b", "a", "é"]
    assert list(built.docs()) == DOCS
    assert {doc_id: built[doc_id] for doc_id in built} == dict(DOCS)
    assert "a" in built
    assert "c" not in built
    assert 7 not in built
    assert "\ud800" not in built


def test_a_missing_doc_id_is_named_together_with_the_collection(built):
    with pytest.raises(HeadtailError) as caught:
        built["c"]
    assert str(caught.value) == (f"collection {built.folder} holds no doc_id 'c' among its 3 docs; "
                                 "do the run and the qrels belong to it?")


def test_ids_that_share_a_hash_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_digest", lambda key: b"\x01" * 8)
    built = build_collection(DOCS, tmp_path / "col")
    assert [built[doc.doc_id] for doc in DOCS] == [doc.text for doc in DOCS]
    assert "c" not in built
    with pytest.raises(HeadtailError, match="doc 4 of the collection has the doc_id 'b' of doc 1"):
        build_collection([*DOCS, Doc("b", "again")], tmp_path / "twice")


def test_a_worker_process_opens_the_files_anew(built):
    assert pickle.loads(pickle.dumps(built))["a"] == built["a"]


def test_opening_reads_no_texts(tmp_path):
    build_collection((Doc(f"d{i}", "word " * 50) for i in range(20_000)), tmp_path / "col").close()
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc")
    resident = [int(status.read_text().split("VmRSS:")[1].split()[0])]
    opened = Collection(tmp_path / "col")
    resident.append(int(status.read_text().split("VmRSS:")[1].split()[0]))
    assert resident[1] - resident[0] < 1000    # KiB; the texts are 5 MB
    assert opened["d19999"].startswith("word")


def test_progress_counts_docs(tmp_path):
    seen = []
    build_collection((Doc(f"d{i}", "x") for i in range(10_005)), tmp_path / "col", progress=seen.append)
    assert seen == [10_000, 10_005]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(docs=st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda i: i.split() == [i]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=1))
def test_any_docs_read_back(tmp_path, docs):
    built = build_collection([Doc(*item) for item in docs.items()], tmp_path / "col")
    assert [tuple(doc) for doc in built.docs()] == list(docs.items())
    assert {doc_id: built[doc_id] for doc_id in docs} == docs


# ---- errors


BAD_DOCS = [
    ([], "a collection needs at least one doc, found none"),
    ([Doc("a", "x"), Doc("b c", "x")], "doc 2 of the collection has the doc_id 'b c'; an id is one word"),
    ([Doc("a", " ")], "doc 1 of the collection, doc_id 'a', has an empty text; drop the doc or give it a text"),
    ([Doc("a", "x"), Doc("b", "x"), Doc("a", "y")], "doc 3 of the collection has the doc_id 'a' of doc 1; keep one"),
]


@pytest.mark.parametrize(("docs", "message"), BAD_DOCS)
def test_bad_docs_leave_the_collection_that_stood_there(built, docs, message):
    with pytest.raises(HeadtailError) as caught:
        build_collection(docs, built.folder)
    assert str(caught.value) == message
    assert list(Collection(built.folder)) == ["b", "a", "é"]
    assert [path.name for path in built.folder.parent.iterdir()] == ["col"]


def test_a_full_disk_is_one_line(tmp_path):
    def docs():
        yield DOCS[0]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(HeadtailError) as caught:
        build_collection(docs(), tmp_path / "col")
    assert str(caught.value) == f"no room on disk: {tmp_path}/col was not written, what stood there is untouched"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(HeadtailError) as caught:
        build_collection(DOCS, tmp_path)
    assert str(caught.value) == f"cannot build a collection in {tmp_path}: it holds something else; name a new folder"


def test_building_again_takes_the_place_of_the_old_one(built):
    assert list(build_collection([Doc("z", "new")], built.folder)) == ["z"]
    assert built["a"].startswith("text of a")    # whoever has it open keeps it


def spoil_version(folder):
    meta = json.loads((folder / "meta.json").read_text()) | {"version": 0}
    (folder / "meta.json").write_text(json.dumps(meta))


SPOILED = [
    (lambda f: shutil.rmtree(f), "{} is no built collection: it lacks meta.json; use build_collection"),
    (lambda f: (f / "rows.bin").unlink(), "{} is no built collection: it lacks rows.bin; use build_collection"),
    (lambda f: os.truncate(f / "docs.bin", 5), "collection {} is damaged: docs.bin has not the size it was built with; build it again"),
    (lambda f: (f / "meta.json").write_text("{"), "{} is no built collection: its meta.json cannot be read; build it again"),
    (spoil_version, "collection {} has format 0, this headtail reads 1; build it again"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_a_spoiled_folder_is_refused_by_name(built, spoil, message):
    spoil(built.folder)
    with pytest.raises(HeadtailError) as caught:
        Collection(built.folder)
    assert str(caught.value) == message.format(built.folder)


# ---- the cache


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "set" / "collection.tsv"
    path.parent.mkdir()
    path.write_text("d1\tone\nd2\ttwo\n")
    return path


def in_cache(cache):
    return sorted(path.name for path in (cache / "collections").iterdir())


def test_the_cache_builds_once_and_again_when_the_file_changes(tmp_path, source):
    cache, built = tmp_path / "cache", []
    assert open_collection(source, cache, progress=built.append)["d2"] == "two"
    assert open_collection(source, cache, progress=built.append)["d2"] == "two"
    assert built == [2]
    source.write_text("d1\tone\nd2\ttwo\nd3\tthree\n")
    assert open_collection(source, cache, progress=built.append)["d3"] == "three"
    assert built == [2, 3]
    assert len(in_cache(cache)) == 1    # the stale one is gone


@pytest.mark.parametrize("spoil", [spoil for spoil, _ in SPOILED])
def test_the_cache_builds_again_what_is_damaged(tmp_path, source, spoil):
    spoil(open_collection(source, tmp_path / "cache").folder)
    assert open_collection(source, tmp_path / "cache")["d1"] == "one"
    assert len(in_cache(tmp_path / "cache")) == 1


def test_the_cache_removes_what_a_killed_build_left_long_ago(tmp_path, source):
    left, recent = (tmp_path / "cache/collections" / name for name in (".building-old", ".building-new"))
    left.mkdir(parents=True)
    recent.mkdir()
    os.utime(left, (0, 0))
    open_collection(source, tmp_path / "cache")
    assert not left.exists()
    assert recent.exists()


def test_a_doc_id_twice_names_both_lines_of_the_file(tmp_path, source):
    source.write_text("d1\tone\nd2\ttwo\nd1\tthree\n")
    with pytest.raises(HeadtailError) as caught:
        open_collection(source, tmp_path / "cache")
    assert str(caught.value) == (f"{source}:3: expected each doc_id once, found 'd1' again; "
                                 "it stands in line 1 too, keep one of the lines")
    assert in_cache(tmp_path / "cache") == []


def test_a_missing_source_names_its_nearest_neighbour(source):
    with pytest.raises(HeadtailError) as caught:
        open_collection(source.with_name("colection.tsv"))
    assert str(caught.value) == f"{source.parent}/colection.tsv: expected a file, found none; did you mean 'collection.tsv'?"


def open_and_count(arguments):
    source, cache = arguments
    return len(open_collection(source, cache))


def test_processes_that_open_at_once_all_get_it(tmp_path, source):
    source.write_text("".join(f"d{i}\ttext {i}\n" for i in range(5000)))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        counts = pool.map(open_and_count, [(source, tmp_path / "cache")] * 8, chunksize=1)
    assert counts == [5000] * 8
    assert len(in_cache(tmp_path / "cache")) == 1


def test_another_process_that_was_faster_wins(tmp_path):
    def docs():
        cached_collection("stem", "1", lambda: [Doc("fast", "x")], tmp_path)
        return [Doc("slow", "x")]

    assert list(cached_collection("stem", "1", docs, tmp_path)) == ["fast"]


def test_a_whole_collection_is_never_replaced_while_others_open_it(tmp_path):
    """What a process finds between its last look and its rename stays the very same folder."""
    first = build_collection([Doc("fast", "x")], tmp_path / "set").folder
    inode = first.stat().st_ino
    slow = build_collection([Doc("slow", "x")], tmp_path / "slow").folder
    publish(slow, first, keep=lambda folder: (folder / "meta.json").exists())
    assert (list(Collection(first)), first.stat().st_ino) == (["fast"], inode)
    publish(slow, first)    # without `keep`: replaced
    assert list(Collection(first)) == ["slow"]


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADTAIL_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("HEADTAIL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "headtail"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "headtail"
