"""Mining hard negatives: which docs stay, which are taken for relevant, and that training reads what is written."""

import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.world import DOCS, QRELS, write_config, write_t5, write_world

from headtail.config import load_config
from headtail.data.datasets import load_dataset
from headtail.data.runs import read_run, write_run
from headtail.errors import HeadtailError
from headtail.models.ranker import Ranker
from headtail.pipeline.lists import training_lists
from headtail.pipeline.mine import mine
from headtail.pipeline.validate import dev_split
from headtail.records import Run


class Scores:
    """A ranker that gives each doc its score, whatever the query."""

    def __init__(self, **scores):
        self.of_text = {DOCS[doc_id]: score for doc_id, score in scores.items()}
        self.pairs = []

    def score(self, pairs, *, on_batch=None, **_):
        self.pairs += pairs
        return np.array([self.of_text.get(text, 0.0) for _, text in pairs], dtype=np.float32)


# q1's positive is cat, q2's are ice and fish, q3's is bread; the first stage does not find fish
FIRST = Run({
    "q1": [("cat", 9), ("jam", 8), ("hat", 7), ("dog", 6), ("egg", 5)],
    "q2": [("egg", 9), ("bread", 8), ("ice", 7), ("jam", 6)],
    "q3": [("goat", 9), ("bread", 8), ("egg", 7)],
}, "bm25")
HARD = {"cat": 5.0, "jam": 4.0, "hat": 3.0, "dog": 2.0, "egg": 6.0, "bread": 1.0, "ice": 7.0, "fish": 5.5, "goat": .5}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A world, its first stage, and a saved ranker that nobody trained."""
    folder = tmp_path_factory.mktemp("mine")
    write_config(folder / "tiny.toml", write_world(folder / "world"), write_t5(folder / "t5"))
    Ranker.from_encoder(str(folder / "t5"), max_length=32).save(folder / "ranker")
    write_run(FIRST, folder / "bm25.trec.gz")
    return folder


@pytest.fixture(scope="module")
def data(base):
    return load_dataset(base / "world")


def kept(mined):
    return {query_id: [doc.doc_id for doc in docs] for query_id, docs in mined.run.items()}


def test_the_ranker_orders_what_the_first_stage_found(data):
    ranker = Scores(**HARD)
    mined = mine(ranker, data, "train", FIRST)
    assert kept(mined) == {
        "q1": ["egg", "cat", "jam", "hat", "dog"], "q2": ["ice", "egg", "jam", "bread"], "q3": ["egg", "bread", "goat"],
    }
    assert (mined.positives, mined.negatives, mined.random, mined.left_out, mined.skipped) == (3, 9, 0, 0, 0)
    assert len(ranker.pairs) == 13    # 12 and fish, a positive that was not found


def test_the_highest_are_kept_of_the_first_docs_and_every_positive_that_was_found(data):
    assert kept(mine(Scores(**HARD), data, "train", FIRST, keep=1)) == {
        "q1": ["egg", "cat"], "q2": ["ice", "egg"], "q3": ["egg", "bread"],
    }
    assert kept(mine(Scores(**HARD), data, "train", FIRST, depth=2)) == {
        "q1": ["cat", "jam"], "q2": ["ice", "egg", "bread"], "q3": ["bread", "goat"],    # ice was found at rank 3
    }


def test_a_negative_above_the_worst_positive_less_the_margin_is_left_out(data):
    mined = mine(Scores(**HARD), data, "train", FIRST, margin=1.0)
    assert kept(mined) == {"q1": ["cat", "jam", "hat", "dog"], "q2": ["ice", "jam", "bread"]}    # jam: 4 is not above 5 - 1
    assert (mined.left_out, mined.skipped) == (4, 1)    # egg for q1 and q2 (6 > 5.5 - 1: fish counts), all of q3
    assert "egg" in kept(mine(Scores(**HARD), data, "train", FIRST, margin=1.0, found_only=True))["q2"]    # 6 is not above 7 - 1


def test_a_teacher_judges_in_the_rankers_place(data):
    teacher = Run({query_id: [*docs, ("fish", 6.5)] for query_id, docs in FIRST.items()}, "teacher")
    mined = mine(Scores(**HARD), data, "train", FIRST, margin=0.0, teacher=teacher)
    assert kept(mined) == {"q1": ["egg", "cat", "jam", "hat", "dog"], "q2": ["ice", "jam"], "q3": ["egg", "bread"]}
    assert mined.left_out == 3    # egg and bread above fish, goat above bread


def test_a_teacher_that_lacks_a_positive_is_refused_unless_found_only(data):
    with pytest.raises(HeadtailError, match=r"the teacher's run 'bm25' lacks 1 of 13 docs .*query 'q2', doc 'fish'"):
        mine(Scores(**HARD), data, "train", FIRST, margin=0.0, teacher=FIRST)
    mined = mine(Scores(**HARD), data, "train", FIRST, margin=0.0, teacher=FIRST, found_only=True)
    assert kept(mined)["q2"] == ["ice", "jam"]


@given(st.integers(0, 5), st.integers(0, 9), st.sampled_from([None, 0.0, 2.0]))
def test_random_docs_are_new_harmless_and_the_seeds_own(data, seed, random, margin):
    mined, again = (mine(Scores(**HARD), data, "train", FIRST, random=random, seed=seed, margin=margin) for _ in range(2))
    assert mined == again
    plain = mine(Scores(**HARD), data, "train", FIRST, margin=margin)
    assert set(mined.run) == set(plain.run)
    for query_id, docs in mined.run.items():
        new = {doc.doc_id for doc in docs} - {doc.doc_id for doc in FIRST[query_id]}
        assert not new & {doc_id for doc_id, label in QRELS[query_id].items() if label > 0}
        assert {doc.doc_id for doc in docs} - new == {doc.doc_id for doc in plain.run[query_id]}
        worst = min(HARD[doc_id] for doc_id, label in QRELS[query_id].items() if label > 0)
        assert margin is None or all(HARD.get(doc_id, 0.0) <= worst - margin for doc_id in new)
        assert margin is not None or len(new) == min(random, len(set(DOCS) - set(QRELS[query_id]) - {d for d, _ in FIRST[query_id]}))


def test_a_query_with_nothing_relevant_and_one_without_candidates_are_skipped(base, tmp_path):
    world = shutil.copytree(base / "world", tmp_path / "world")
    (world / "qrels.train.tsv").write_text("q1\t0\tcat\t1\nq2\t0\tice\t0\nq3\t0\tbread\t1\n")
    mined = mine(Scores(**HARD), world, "train", Run({query_id: FIRST[query_id] for query_id in ("q1", "q2")}))
    assert list(mined.run) == ["q1"]
    assert mined.skipped == 2


# ---- the command


def options(base, output, split="train"):
    return ("--data", base / "world", "--split", split, "--run", base / "bm25.trec.gz", "-o", output)


def test_mine_writes_a_run_that_training_lists_read(base, headtail, tmp_path):
    mined = tmp_path / "mined.trec.gz"
    code, out, _ = headtail("mine", base / "ranker", *options(base, mined), "--keep", 2, "--random", 1, "--precision", "fp32")
    assert code == 0
    assert out == f"{mined}: 3 queries, 12 docs: 3 positives, 6 mined negatives, 3 random; 0 candidates left out by the margin, 0 queries skipped\n"
    assert read_run(mined).name == "mined"
    scores = Ranker.from_pretrained(base / "ranker").score([("who sleeps on the stove", DOCS["cat"])], precision="fp32")
    assert dict(read_run(mined)["q1"])["cat"] == pytest.approx(float(scores[0]), abs=1e-5)
    lists = training_lists(load_config(base / "tiny.toml", (f"train.0.run={mined}", "lists.found_only=true")))
    assert len(lists) == 3
    assert {doc.doc_id for doc in next(lists.stream()).docs} <= set(DOCS)


def test_mine_by_a_margin_of_a_teacher(base, headtail, tmp_path):
    teacher = tmp_path / "teacher.trec.gz"
    write_run(Run({query_id: [*docs, ("fish", 6.5)] for query_id, docs in FIRST.items()}), teacher)
    code, out, _ = headtail("mine", base / "ranker", *options(base, tmp_path / "m.trec"), "--margin", "0", "--teacher", teacher)
    assert (code, "3 candidates left out" in out) == (0, True)


BAD = {
    "--teacher": "pass --margin",
    "--keep": "--keep",
    "--margin": "no candidate between ranks 1 and 100 that a margin of 1e+09 leaves for 3 of 3 queries",
    "--depth": "--depth",
}


@pytest.mark.parametrize("option", BAD)
def test_bad_options(option, base, refused, tmp_path):
    value = {"--teacher": base / "bm25.trec.gz", "--margin": "1e9"}.get(option, 0)
    assert BAD[option] in refused("mine", base / "ranker", *options(base, tmp_path / "m.trec"), option, value)
    assert not (tmp_path / "m.trec").exists()


def test_bad_inputs(base, refused, tmp_path):
    out = tmp_path / "m.trec"
    assert "expected a saved ranker's folder" in refused("mine", tmp_path / "none", *options(base, out))
    assert "unknown split 'tarin', did you mean 'train'?" in refused("mine", base / "ranker", *options(base, out, "tarin"))
    for name, line, message in (
        ("query", "q9 Q0 cat 1 1 x\n", "holds 1 queries that the data lacks (first: 'q9'); is it a run of another split?"),
        ("doc", "q1 Q0 unicorn 1 1 x\n", "query 'q1': unknown doc_id 'unicorn'"),
        ("lonely", "q1 Q0 cat 1 1 x\n", "no candidate between ranks 1 and 100 for 3 of 3 queries"),
    ):
        (tmp_path / name).write_text(line)
        command = [tmp_path / name if word == base / "bm25.trec.gz" else word for word in options(base, out)]
        assert message in refused("mine", base / "ranker", *command)
    assert not out.exists()


# ---- what a config says of lists


def configured(base, *sets):
    return load_config(base / "tiny.toml", (f"train.0.run={base / 'bm25.trec.gz'}", "lists.depth=[1,10]", *sets))


def test_sources_are_mixed_by_their_weights(base):
    two = f"train=[{{name='{base / 'world'}',weight=3}},{{name='{base / 'world'}',weight=1}}]"
    mixed = training_lists(load_config(base / "tiny.toml", (two,)))
    assert mixed.mix.counts == (750, 250)
    assert len(mixed) == 12    # three lists of the second, 4 positions each
    assert re.search(r"weight 3$", load_config(base / "tiny.toml", (two,)).train[0].told())


def test_weights_for_some_sources_or_beside_repeat_are_refused(base, refused):
    name = f"name='{base / 'world'}'"
    line = refused("train", base / "tiny.toml", "--set", f"train=[{{{name},weight=3}},{{{name}}}]")
    assert "train.1.weight: expected a weight for every source or for none, found one without" in line
    line = refused("train", base / "tiny.toml", "--set", f"train=[{{{name},weight=3,repeat=2}}]")
    assert "train.0.repeat=2 has no effect beside weights: leave out one of the two" in line


def test_a_margin_filters_by_the_teacher_and_the_loss_learns_from_labels_alone(base, tmp_path):
    teacher = tmp_path / "teacher.trec"
    write_run(Run({query_id: [*docs, ("fish", 6.5)] for query_id, docs in FIRST.items()}), teacher)
    sets = (f"train.0.teacher={teacher}", "lists.margin=0")
    mixed = training_lists(configured(base, *sets))
    assert mixed.left_out == 3
    assert next(mixed.stream()).teacher is None
    taught = training_lists(configured(base, *sets, "loss.name=margin_mse"))
    assert taught.left_out == 3
    assert next(taught.stream()).teacher is not None
    assert dev_split(configured(base, *sets)).lists    # which has no teacher, and no margin


def test_random_negatives_and_refresh_are_read_from_a_config(base):
    sets = ("lists.random=0.5", "lists.refresh_every=10", "lists.refresh_depth=[1,5]")
    assert training_lists(configured(base, *sets)).sources[0].random == .5
    assert dev_split(configured(base, *sets)).lists


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["lists.margin=0.5"], "lists.margin=0.5 filters by a teacher's scores: set train.0.teacher to a run of them"),
        (["lists.margin=0.5", "train.0.teacher=nowhere.trec"], "nowhere.trec: expected a file, found none"),    # but it may be there
        (["lists.refresh_every=5", "lists.source=judged"], 'lists.refresh_every: lists.source="judged" draws from no window'),
        (["lists.refresh_depth=[9,2]"], "lists.refresh_depth: expected ranks that grow, found [9, 2]"),
        (["lists.random=0.5", "lists.source=judged"], "expected random=0 with lists of judged docs alone"),
        (["lists.random=0.1"], "expected random to be a share that makes at least 1 of 3 negatives, found random=0.1"),
    ],
)
def test_lists_that_cannot_be_made(sets, message, base, refused):
    assert message in refused("train", base / "tiny.toml", "--set", *sets)
    assert not (base / "runs" / "tiny").exists()
