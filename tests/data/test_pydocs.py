import platform
import sys

import pytest

from headtail.data import pydocs
from headtail.data.datasets import check_dataset, load_dataset
from headtail.data.pydocs import Docstrings, build_pydocs, make_pydocs, pydocs_folder, read_docstrings, split_of
from headtail.errors import HeadtailError

MODULE = '''"""Tools for brewing fine tea.

More about tea.
"""
import os

def brew(leaves):
    """Pour boiling water over leaves. Wait for three minutes, or five if you like your tea strong.

    Never longer.
    """

def brew(leaves):
    """A second definition of one name counts for nothing."""

def _hidden():
    """Nobody sees this one."""

class Pot:
    """A vessel."""

    def fill(self):
        """Fill the pot up to its brim. It holds about one litre and keeps warm for an hour."""

try:
    def cool(cup):
        """Let a full cup stand for a while. The time depends on how hot it was and on the room."""
except ImportError:
    pass

def stir(cup):
    """Stir the cup three times. Briefly."""
'''


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stdlib")
    (folder / "tea.py").write_text(MODULE)
    (folder / "broken.py").write_text("def (:\n")
    (folder / "_private.py").write_text('"""A private module, skipped whole."""')
    (folder / "test").mkdir()
    (folder / "test" / "test_tea.py").write_text('"""A test, skipped whole."""')
    return read_docstrings(folder)


@pytest.fixture(scope="module")
def real():
    return make_pydocs(read_docstrings())


def test_docstrings_are_found_under_their_dotted_names(found):
    tea = {name: text for name, text in found.texts.items() if name.split(".")[0] == "tea"}
    assert list(tea) == ["tea", "tea.brew", "tea.Pot", "tea.Pot.fill", "tea.cool", "tea.stir"]
    assert tea["tea"] == "Tools for brewing fine tea. More about tea."
    assert tea["tea.Pot"] == "A vessel."
    assert found.summaries["tea.brew"] == "Pour boiling water over leaves."
    assert found.members["tea"] == {"tea.brew": 2, "tea.Pot": 2, "tea.Pot.fill": 1, "tea.cool": 2, "tea.stir": 2}


def test_what_does_not_parse_is_counted_and_what_is_private_or_a_test_is_skipped(found):
    assert found.unparsed == 1
    assert not any("private" in name or name.startswith("test") for name in found.texts)


def test_a_question_is_the_summary_which_its_doc_has_lost(found):
    made = make_pydocs(found)
    split = split_of("tea")
    docs = dict(made.docs)
    assert made.queries[split]["q:tea.brew"].text == "Pour boiling water over leaves."
    assert made.qrels[split]["q:tea.brew"] == {"tea.brew": 1}
    assert made.intents[split]["q:tea.brew"] == "question"
    assert docs["tea.brew"] == "tea.brew Wait for three minutes, or five if you like your tea strong. Never longer."
    assert "q:tea.stir" not in made.queries[split]    # too little would be left
    assert docs["tea.stir"] == "tea.stir Stir the cup three times. Briefly."


def test_a_browse_query_is_a_modules_summary_and_the_module_is_no_doc(found):
    made = make_pydocs(found)
    split = split_of("tea")
    assert made.queries[split]["b:tea"].text == "Tools for brewing fine tea."
    assert made.qrels[split]["b:tea"] == found.members["tea"]
    assert made.intents[split]["b:tea"] == "browse"
    assert "tea" not in dict(made.docs)


def test_a_summary_that_opens_two_docstrings_is_no_query():
    found = Docstrings()
    for name in ("a.f", "b.f"):
        found.add(name, "Return the one and only result. " + "Many more words follow here. " * 3, name[0], label=2)
    assert not any(make_pydocs(found).queries.values())


# ---- the running Python's own


def test_there_is_enough_of_each_intent_in_every_split(real):
    counts = {split: list(real.intents[split].values()) for split in pydocs.SPLITS}
    assert len(real.docs) > 5000
    assert counts["test"].count("question") >= 200
    assert counts["test"].count("browse") >= 20
    assert counts["dev"].count("question") >= 100
    assert counts["dev"].count("browse") >= 10
    assert counts["train"].count("question") >= 1000
    assert counts["train"].count("browse") >= 60


def test_docs_that_everybody_knows(real):
    names = {doc.doc_id for doc in real.docs}
    assert {"json.dumps", "datetime.date.isoformat", "itertools.chain", "builtins.str.split", "os.stat"} <= names
    assert "os.Mapping" not in names    # borrowed from collections.abc


def test_ids_and_query_texts_occur_once_and_no_module_stands_in_two_splits(real):
    ids = [doc.doc_id for doc in real.docs]
    assert len(set(ids)) == len(ids)
    texts = [query.text.casefold() for queries in real.queries.values() for query in queries.values()]
    assert len(set(texts)) == len(texts)
    for split, qrels in real.qrels.items():
        assert {split_of(doc_id) for judged in qrels.values() for doc_id in judged} == {split}
        assert set(qrels) == set(real.queries[split]) == set(real.intents[split])


def test_every_judged_doc_is_there_and_holds_none_of_the_query_it_answers(real):
    docs = dict(real.docs)
    for split, qrels in real.qrels.items():
        for query_id, judged in qrels.items():
            assert judged.keys() <= docs.keys()
            if query_id.startswith("q:"):
                (doc_id,) = judged
                assert not docs[doc_id].startswith(f"{doc_id} {real.queries[split][query_id].text}")


def test_reading_modules_runs_none_of_them(monkeypatch, tmp_path):
    (tmp_path / "trap.py").write_text('"""A trap."""\nraise SystemExit\n')
    assert read_docstrings(tmp_path).texts["trap"] == "A trap."


def test_a_hook_that_the_program_replaced_is_read_as_python_has_it(monkeypatch):
    before = read_docstrings()
    for hook in ("excepthook", "displayhook", "unraisablehook", "breakpointhook"):
        monkeypatch.setattr(sys, hook, lambda *_: None)
    assert read_docstrings() == before
    assert before.texts["sys.excepthook"] == "Handle an exception by displaying it with a traceback on sys.stderr."


def test_the_same_docstrings_give_the_same_files(tmp_path, monkeypatch, found, real):
    monkeypatch.setattr(pydocs, "read_docstrings", lambda: found)
    monkeypatch.setattr(pydocs, "make_pydocs", lambda _: real)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        build_pydocs(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["collection.tsv.gz", "dataset.toml", "intents.dev.tsv", "intents.test.tsv", "intents.train.tsv",
                     "qrels.dev.tsv", "qrels.test.tsv", "qrels.train.tsv",
                     "queries.dev.tsv.gz", "queries.test.tsv.gz", "queries.train.tsv.gz"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_it_is_built_once_for_a_python_version_and_loads_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADTAIL_CACHE", str(tmp_path))
    summary = check_dataset("pydocs")
    folder = pydocs_folder()
    assert folder.parent == tmp_path
    assert platform.python_version() in folder.name
    assert summary.problems == ()
    assert summary.relevant_from == 1
    assert summary.note == pydocs.NOTE
    assert list(summary.splits) == ["train", "dev", "test"]
    monkeypatch.setattr(pydocs, "build_pydocs", None)    # a second build would fail
    assert load_dataset("pydocs").splits == ("train", "dev", "test")


def test_another_process_that_was_faster_wins(tmp_path, monkeypatch):
    def build_fast(folder):
        (folder / "dataset.toml").write_text("fast")

    def build_slowly(folder):
        monkeypatch.setattr(pydocs, "build_pydocs", build_fast)
        pydocs_folder(tmp_path)
        (folder / "dataset.toml").write_text("slow")

    monkeypatch.setattr(pydocs, "build_pydocs", build_slowly)
    assert (pydocs_folder(tmp_path) / "dataset.toml").read_text() == "fast"


def test_a_python_without_its_sources_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pydocs, "read_docstrings", Docstrings)
    monkeypatch.setattr(pydocs.sysconfig, "get_path", lambda name: "/lib/python")
    with pytest.raises(HeadtailError) as caught:
        pydocs_folder(tmp_path)
    assert str(caught.value) == ("pydocs needs the sources of the standard library, found 0 docstrings in /lib/python; "
                                 "use another Python, or a data set of your own")
    assert not list(tmp_path.iterdir())


def test_the_inspected_modules_are_of_the_standard_library():
    assert {name.split(".")[0] for name in pydocs.INSPECTED} <= sys.stdlib_module_names
