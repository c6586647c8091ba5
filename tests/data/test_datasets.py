import json
from typing import NamedTuple

import pytest

from headtail.data.datasets import NoJudgmentsError, check_dataset, list_datasets, load_dataset
from headtail.data.formats import write_collection
from headtail.errors import HeadtailError
from headtail.records import Doc, Query


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADTAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "shop"
    write_collection([Doc("d1", "red shoe"), Doc("d2", "blue shoe"), Doc("d3", "hat")], folder / "collection.tsv.gz")
    files = {
        "queries.dev.tsv": "q1\tshoe\nq2\ta hat\n",
        "qrels.dev.tsv": "q1\t0\td1\t3\nq1\t0\td2\t1\nq2\t0\td3\t2\n",
        "queries.train.tsv": "q3\tblue\n",
        "qrels.train.tsv": "q3 0 d2 3\n",
        "queries.extra.tsv": "q4\tgreen\n",
    }
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def error_of(action, *arguments, **options):
    with pytest.raises(HeadtailError) as caught:
        action(*arguments, **options)
    return str(caught.value)


# ---- a folder


def test_a_folder_is_a_data_set(folder):
    shop = load_dataset(folder)
    assert shop.name == str(folder)
    assert shop.splits == ("train", "dev", "extra")
    assert shop.collection["d2"] == "blue shoe"
    assert shop.collection is shop.collection
    assert shop.queries("dev") == {"q1": Query("q1", "shoe"), "q2": Query("q2", "a hat")}
    assert shop.qrels("dev") == {"q1": {"d1": 3, "d2": 1}, "q2": {"d3": 2}}
    assert shop.intents("dev") == {"q1": "question", "q2": "question"}
    assert (shop.relevant_from, shop.note) == (1, "")


def test_dataset_toml_and_an_intents_file_say_more(folder):
    (folder / "dataset.toml").write_text('intent = "browse"\nrelevant_from = 2\nnote = "titles only"\n')
    (folder / "intents.dev.tsv").write_text("q2\tquestion\n")
    shop = load_dataset(folder)
    assert (shop.relevant_from, shop.note) == (2, "titles only")
    assert shop.intents("dev") == {"q1": "browse", "q2": "question"}
    assert shop.intents("train") == {"q3": "browse"}


def test_what_the_caller_says_goes_before_what_the_files_say(folder):
    (folder / "dataset.toml").write_text('intent = "question"\nrelevant_from = 2\n')
    (folder / "intents.dev.tsv").write_text("q2\tquestion\n")
    shop = load_dataset(folder, intent="browse", relevant_from=3)
    assert shop.relevant_from == 3
    assert shop.intents("dev") == {"q1": "browse", "q2": "browse"}


def test_a_check_counts(folder):
    (folder / "qrels.dev.tsv").write_text("q1 0 d1 3\nq1 0 d9 1\nq9 0 d3 2\n")
    (folder / "queries.train.tsv").write_text("q3\tShoe\n")
    summary = check_dataset(load_dataset(folder, relevant_from=2))
    assert (summary.docs, summary.mean_words, summary.example_ids) == (3, 5 / 3, ("d1", "d2", "d3"))
    dev = summary.splits["dev"]
    assert (dev.queries, dev.judged_queries, dev.judgments, dev.relevant_per_query) == (2, 1, 3, 1.0)
    assert (dev.labels, dev.intents, dev.mean_words) == ({1: 1, 2: 1, 3: 1}, {"question": 2}, 1.5)
    assert (dev.unknown_docs, dev.unknown_queries, dev.example_ids) == (1, 1, ("q1", "q2"))
    assert summary.problems == (
        "dev: 1 of 3 judgments name docs the collection lacks",
        "dev: 1 judged queries have no text",
        "dev: 1 of 2 queries are not judged",
        "extra: 1 of 1 queries are not judged",
        "extra: no judgment counts as relevant",
        "train and dev: 1 query texts stand in both; figures of dev are too good",
    )


def test_qrels_keep_queries_that_have_no_text(folder):
    (folder / "qrels.dev.tsv").write_text("q9 0 d3 2\n")
    assert load_dataset(folder).qrels("dev") == {"q9": {"d3": 2}}


# ---- errors


def test_an_unknown_name_gets_its_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert error_of(load_dataset, "pydoc") == ("unknown data set 'pydoc', did you mean 'pydocs'? known: FOLDER, beir:FOLDER, "
                                               "irds:ID, pydocs; pydoc is no folder either")


def test_an_unknown_split_or_intent_gets_its_nearest(folder):
    known = "known: dev, extra, train"
    assert error_of(load_dataset(folder).queries, "deev") == (
        f"data set '{folder}': unknown split 'deev', did you mean 'dev'? {known}")
    assert error_of(load_dataset, folder, intent="brows") == (
        "unknown intent 'brows', did you mean 'browse'? known: browse, question")


def test_a_split_without_judgments_says_which_file_is_missing(folder):
    with pytest.raises(NoJudgmentsError) as caught:
        load_dataset(folder).qrels("extra")
    assert str(caught.value) == (f"data set '{folder}' has no judgments for split 'extra': "
                                 "expected a file qrels.extra.tsv")


@pytest.mark.parametrize(("removed", "lacking", "content"), [
    ("collection*", "collection.tsv", "qrels.dev.tsv, qrels.train.tsv, queries.dev.tsv, queries.extra.tsv, queries.train.tsv"),
    ("queries*", "queries.SPLIT.tsv", "collection.tsv.gz, qrels.dev.tsv, qrels.train.tsv"),
    ("*", "collection.tsv", "nothing"),
])
def test_a_folder_that_is_no_data_set_says_what_is_expected_and_what_is_there(folder, removed, lacking, content):
    for path in folder.glob(removed):
        path.unlink()
    assert error_of(load_dataset, folder) == (
        f"{folder} is no data set: expected collection.tsv, queries.SPLIT.tsv and qrels.SPLIT.tsv (plain or .gz), "
        f"found no {lacking} but {content}")


def test_a_file_both_plain_and_gzip_is_ambiguous(folder):
    (folder / "collection.tsv").write_text("d1\tx\n")
    assert error_of(load_dataset, folder) == f"{folder} holds both collection.tsv and collection.tsv.gz; keep one of them"


@pytest.mark.parametrize(("toml", "message"), [
    ("relevant_form = 2", "expected the keys intent, relevant_from, note, found 'relevant_form'"),
    ("relevant_from = '2'", "expected relevant_from of type int, found '2'"),
    ("relevant_from = true", "expected relevant_from of type int, found 'True'"),
    ("intent = 'both'", "expected intent question or browse, found 'both'"),
    ("intent", "expected TOML, found Expected '=' after a key in a key/value pair (at end of document)"),
])
def test_a_wrong_dataset_toml(folder, toml, message):
    (folder / "dataset.toml").write_text(toml)
    assert error_of(load_dataset, folder) == f"{folder}/dataset.toml: {message}"


@pytest.mark.parametrize(("line", "message"), [
    ("q7\tbrowse", ":2: expected a query_id of split 'dev', found 'q7'"),
    ("q2\tboth", r":2: expected query_id TAB question|browse, found 'q2\tboth'"),
    ("q1\tbrowse", ":2: expected each query_id once, found 'q1' again"),
])
def test_a_wrong_intents_file(folder, line, message):
    (folder / "intents.dev.tsv").write_text(f"q1\tbrowse\n{line}\n")
    assert error_of(load_dataset(folder).intents, "dev") == f"{folder}/intents.dev.tsv{message}"


# ---- BEIR


def test_a_beir_folder_tells_its_splits_apart_by_the_judgments(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "title": "T", "text": "x"}) + "\n")
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n')
    for split, query_id in (("test", "q1"), ("train", "q2")):
        (tmp_path / f"qrels/{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{query_id}\td1\t1\n")
    beir = load_dataset(f"beir:{tmp_path}")
    assert beir.splits == ("train", "test")
    assert beir.collection["d1"] == "T x"
    assert beir.queries("test") == {"q1": Query("q1", "one")}
    assert beir.qrels("train") == {"q2": {"d1": 1}}
    assert check_dataset(beir).problems == ()


def test_a_folder_that_is_not_beir(folder, tmp_path):
    expected = "expected corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, found"
    assert error_of(load_dataset, f"beir:{tmp_path}/no") == f"{tmp_path}/no is no BEIR data set: {expected} no such folder"
    assert error_of(load_dataset, f"beir:{folder}").startswith(f"{folder} is no BEIR data set: {expected} collection.tsv.gz, ")


# ---- ir_datasets


class FakeDoc(NamedTuple):
    doc_id: str
    title: str
    body: str

    def default_text(self):
        return f"{self.title} {self.body}"


@pytest.fixture
def tiny_irds():
    ir_datasets = pytest.importorskip("ir_datasets")
    from ir_datasets.datasets.base import Dataset
    from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericQuery, TrecQrel

    class Docs(BaseDocs):
        def docs_iter(self):
            return iter([FakeDoc("d1", "A", "one\nline"), FakeDoc("d2", "B", "two")])

        def docs_cls(self):
            return FakeDoc

    class Queries(BaseQueries):
        def queries_iter(self):
            return iter([GenericQuery("q1", "who ?")])

        def queries_cls(self):
            return GenericQuery

    class Qrels(BaseQrels):
        def qrels_iter(self):
            return iter([TrecQrel("q1", "d2", 1, "0")])

        def qrels_cls(self):
            return TrecQrel

    docs = Docs()
    made = {"tiny-headtail": Dataset(docs), "tiny-headtail/dev": Dataset(docs, Queries(), Qrels()),
            "tiny-headtail/dev/small": Dataset(docs, Queries(), Qrels()), "tiny-headtail/odd": Dataset(docs, Queries(), Qrels()),
            "tiny-headtail/texts": Dataset(docs, Queries())}
    for name, dataset in made.items():
        ir_datasets.registry.register(name, dataset)
    yield
    for name in made:
        del ir_datasets.registry._registered[name]


@pytest.mark.parametrize(("dataset_id", "split"), [
    ("tiny-headtail", "dev"), ("tiny-headtail/dev", "dev"), ("tiny-headtail/dev/small", "dev"), ("tiny-headtail/odd", "all")])
def test_an_irds_data_set_has_the_splits_its_name_says(tiny_irds, tmp_path, dataset_id, split):
    tiny = load_dataset(f"irds:{dataset_id}")
    assert tiny.splits == (split,)
    assert list(tiny.collection.docs()) == [Doc("d1", "A one line"), Doc("d2", "B two")]
    assert tiny.queries(split) == {"q1": Query("q1", "who ?")}
    assert tiny.qrels(split) == {"q1": {"d2": 1}}
    assert check_dataset(tiny).problems == ()


def test_parts_of_an_irds_collection_share_one_copy(tiny_irds, tmp_path):
    folders = {load_dataset(f"irds:tiny-headtail{part}").collection.folder for part in ("", "/dev", "/odd")}
    assert len(folders) == 1


def test_irds_names_that_cannot_be_used(tiny_irds):
    assert error_of(load_dataset, "irds:tiny-headtail/deb") == (
        "unknown ir_datasets id 'tiny-headtail/deb', did you mean 'tiny-headtail/dev'?")
    assert error_of(load_dataset, "irds:@@@") == "unknown ir_datasets id '@@@'"
    assert error_of(load_dataset, "irds:tiny-headtail/texts") == (
        "ir_datasets' tiny-headtail/texts has no judged queries; name one of its parts that has")


def test_the_list_tells_every_kind_of_name():
    assert list(list_datasets()) == ["pydocs", "FOLDER", "beir:FOLDER", "irds:ID"]
