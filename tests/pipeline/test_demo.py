"""The demo and the example, cut down to seconds: a tiny T5 in the place of MiniLM, two docs of BM25 in the place of 50."""

import importlib.util
from pathlib import Path

import pytest
from tests.world import write_t5

from headtail.data.datasets import load_dataset
from headtail.data.runs import write_run
from headtail.pipeline import demo as demo_module
from headtail.pipeline.demo import demo, demo_config
from headtail.records import Run

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return write_t5(tmp_path_factory.mktemp("encoder") / "tiny-t5")


def test_demo_makes_table_page_and_ranker_and_uses_them_again(t5, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_module, "DEPTH", 2)
    made = demo(str(t5), steps=2, runs_folder=tmp_path)
    assert [row[0] for row in made.table.rows] == ["tfidf", "bm25", "off-the-shelf", "fine-tuned"]
    assert {column.group for column in made.table.columns[1:]} == {"question", "browse", "macro"}
    assert made.page == tmp_path / "demo-tiny-t5-2steps" / "report.html"
    assert "side" in made.page.read_text(encoding="utf-8").lower()

    said: list[str] = []
    ledger = tmp_path / "demo-tiny-t5-2steps" / "ledger.jsonl"
    before = ledger.read_bytes()
    again = demo(str(t5), steps=2, runs_folder=tmp_path, say=said.append)
    assert again.table.rows == made.table.rows
    assert sum("is there already" in line for line in said) == 4
    assert ledger.read_bytes() == before    # nothing was trained anew

    (ledger.parent / "finished").unlink()    # as a killed run leaves it
    said.clear()
    demo(str(t5), steps=2, runs_folder=tmp_path, say=said.append)
    assert sum("is there already" in line for line in said) == 3
    assert (ledger.parent / "finished").exists()


def test_runs_of_docs_that_are_gone_are_made_again(tmp_path):
    said: list[str] = []
    kept = demo_module._Kept(tmp_path, {"new"}, said.append)
    write_run(Run({"q": [("old", 1.0)]}), tmp_path / "bm25.trec.gz")
    assert [doc.doc_id for doc in kept("bm25", lambda: Run({"q": [("new", 1.0)]}))["q"]] == ["new"]
    assert said == [f"bm25: making {tmp_path / 'bm25.trec.gz'}"]


def test_a_seed_has_a_run_folder_of_its_own():
    assert demo_config().name == "demo"
    assert demo_config(sets={"seed": 2}).folder == Path("runs/demo-seed2")
    assert demo_config(sets={"steps": 50}).folder == Path("runs/demo-50steps")
    assert demo_config("google-t5/t5-small").name == "demo-t5-small"


def load_example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_a_teachers_grades_by_hand():
    docs = [f"d{rank}" for rank in range(12)]
    run = Run({
        "sure": [(doc, 0.9 - rank / 100) for rank, doc in enumerate(docs)],
        "unsure": [(doc, 0.1 - rank / 100) for rank, doc in enumerate(docs)],
        "short": [("d1", 0.9)],
    })
    judged = load_example("teacher_judgments").grade(run, {"sure": {"d9": 1, "d0": 0, "other": 1}}, 0.38)
    assert list(judged) == ["sure"]
    assert [judged["sure"][doc] for doc in docs] == [3, 2, 2, 1, 1, 1, 0, 0, 0, 3, 0, 0]
    assert judged["sure"]["other"] == 3


def test_a_teacher_leaves_a_data_set(tmp_path, capsys):
    example = load_example("teacher_judgments")
    words = ["sort", "list", "file", "open", "read", "write", "close", "path", "name", "date", "time", "zone"]
    (tmp_path / "docs.tsv").write_text("".join(f"d{n}\tthe {word} of the {words[n - 1]}\n" for n, word in enumerate(words)))
    (tmp_path / "queries.tsv").write_text("q1\topen and read the file of the list\nq2\tthe time\n")
    (tmp_path / "held.tsv").write_text("q2\tthe time\n")
    example.GRADES = (3, 2)
    example.main(tmp_path / "docs.tsv", tmp_path / "queries.tsv", None, tmp_path / "held.tsv", "minilm", -1.0, 5, tmp_path / "out")
    assert "1 of 1 queries judged by minilm" in capsys.readouterr().out
    data = load_dataset(tmp_path / "out")
    assert len(data.collection) == 12
    assert sorted(data.qrels("train")["q1"].values(), reverse=True)[:2] == [3, 2]


def test_the_example_runs(t5, tmp_path, capsys):
    load_example("five_lines").main(str(t5), 2, str(tmp_path))
    printed = capsys.readouterr().out
    assert "bm25" in printed
    assert "Remove a file." in printed
