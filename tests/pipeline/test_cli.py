"""Every verb on a tiny world, as a person types it: what it prints, what it leaves, and what it says to bad input."""

import base64
import errno
import gzip
import json
import re
import shutil
import signal
import zlib

import pytest
from tests.world import QUERIES, run_cli, write_config, write_t5, write_world

from headtail import files
from headtail.losses import LOSSES


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A world, an encoder, a first stage and a trained ranker, made once."""
    folder = tmp_path_factory.mktemp("cli")
    world, t5 = write_world(folder / "world"), write_t5(folder / "t5")
    config = write_config(folder / "tiny.toml", world, t5)
    assert run_cli("retrieve", "--data", world, "--split", "test", "-k", 10, "-o", folder / "bm25.trec.gz") == 0
    assert run_cli("train", config) == 0
    return folder


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path / "world")


# ---- the way of a query


def test_retrieve_writes_a_run_that_evaluate_reads(base, headtail, tmp_path):
    run = tmp_path / "bm25.trec.gz"
    code, out, _ = headtail("retrieve", "--data", base / "world", "--split", "test", "-k", 3, "-o", run)
    assert code == 0
    assert out.startswith(f"{run}: 3 queries, ")
    first = gzip.open(run, "rt").readline().split()
    assert first[:4] == ["q1", "Q0", "cat", "1"]    # the one doc that sleeps on the stove

    code, out, _ = headtail("evaluate", run, "--data", base / "world", "--split", "test", "--measures", "RR@10", "nDCG@5")
    assert code == 0
    assert re.search(r"bm25 +1\.000", out)


def test_evaluate_reads_a_qrels_file_and_prints_markdown(base, headtail):
    qrels = base / "world" / "qrels.test.tsv"
    code, out, _ = headtail("evaluate", base / "bm25.trec.gz", "--qrels", qrels, "--measures", "RR@10", "--format", "markdown")
    assert code == 0
    assert "| bm25 " in out


def test_an_index_is_kept_and_gives_the_same_run(base, headtail, tmp_path):
    command = ("retrieve", "--data", base / "world", "--split", "test", "--index", tmp_path / "index", "-o")
    assert headtail(*command, tmp_path / "built.trec")[0] == 0
    assert headtail(*command, tmp_path / "loaded.trec")[0] == 0
    assert (tmp_path / "built.trec").read_text() == (tmp_path / "loaded.trec").read_text()


def test_train_leaves_a_run_folder_that_stock_tools_read(base):
    folder = base / "runs" / "tiny"
    kept = {path.name for path in folder.iterdir()}
    assert {"config.toml", "ledger.jsonl", "model", "dev", "report.html", "finished"} <= kept
    kinds = [json.loads(line)["kind"] for line in (folder / "ledger.jsonl").read_text().splitlines()]
    assert kinds == ["start", "train", "train", "validation", "train", "train", "validation", "end"]
    assert (folder / "model" / "README.md").read_text().startswith("---\nlibrary_name: sentence-transformers")


def test_the_saved_model_scores_in_cross_encoder_what_it_scores_here(base):
    import numpy as np
    from sentence_transformers import CrossEncoder

    from headtail import Ranker

    texts = ("the cat sleeps on the warm stove and eats bread and jam", "a red apple grows on a tree", "ice is cold", "a hat")
    pairs = [(QUERIES["q1"], text) for text in texts]    # longest first: both then compute one and the same batch
    folder = base / "runs" / "tiny" / "model"
    ours = Ranker.from_pretrained(folder).score(pairs, precision="fp32")
    assert np.array_equal(CrossEncoder(str(folder)).predict(pairs), ours)


def test_train_again_finds_the_run_finished_and_another_config_is_refused(base, headtail, refused):
    ledger = base / "runs" / "tiny" / "ledger.jsonl"
    before = ledger.read_bytes()
    code, out, _ = headtail("train", base / "tiny.toml")
    assert (code, "finished already" in out) == (0, True)
    line = refused("train", base / "tiny.toml", "--set", "training.steps=5")
    assert "holds a run of another config; pass --overwrite to begin anew, or another name: --set name=tiny-2" in line
    assert ledger.read_bytes() == before


def stop_at(monkeypatch, step, number):
    """Have a signal come while that step is counted."""
    from headtail.training.loop import Training

    count = Training._count

    def counted(self, *arguments):
        count(self, *arguments)
        if self.progress.step == step:
            signal.raise_signal(number)

    monkeypatch.setattr(Training, "_count", counted)


@pytest.mark.parametrize(("number", "name", "status"), [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "Ctrl-C", 130)])
def test_a_stopped_run_is_saved_and_the_same_command_ends_it(number, name, status, base, headtail, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)    # a test run in the background inherits an ignored one
    folder, command = base / "runs" / name, ("train", base / "tiny.toml", "--set", f"name={name}")
    with monkeypatch.context() as patch:
        stop_at(patch, 3, number)
        code, out, err = headtail(*command)
    signal.signal(signal.SIGINT, before)
    assert code == status
    assert f"{name}: finishing this step, then saving" in err
    assert f"stopped by {name} after 3 steps" in out
    assert out.endswith("saved; the same command goes on from there\n")
    assert not (folder / "finished").exists()
    assert (folder / "model").is_dir()    # the best so far
    code, out, _ = headtail(*command)
    assert (code, "trained 4 steps (going on from step 3)" in out) == (0, True)
    assert told(folder) == told(base / "runs" / "tiny")
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        assert (folder / "model" / name).read_bytes() == (base / "runs" / "tiny" / "model" / name).read_bytes()


def told(folder):
    """The ledger without times and names, and without the line that says where a run went on."""
    records = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    untold = {"name", "lists_per_second", "tokens_per_second", "seconds"}
    return [{key: value for key, value in r.items() if key not in untold} for r in records if r["kind"] != "resume"]


def test_devices_and_saving_may_change_between_two_parts_of_a_run(base, headtail, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 2, signal.SIGTERM)
        headtail("train", base / "tiny.toml", "--set", "name=moved")
    code, out, _ = headtail("train", base / "tiny.toml", "--set", "name=moved", "training.parallel=fsdp", "training.checkpoint_every=1")
    assert (code, "going on from step 2" in out) == (0, True)


def test_overwrite_begins_anew(base, headtail, monkeypatch):
    command = ("train", base / "tiny.toml", "--set", "name=anew")
    with monkeypatch.context() as patch:
        stop_at(patch, 3, signal.SIGTERM)
        headtail(*command)
    code, out, _ = headtail(*command, "--overwrite")
    assert (code, "trained 4 steps in" in out) == (0, True)
    assert told(base / "runs" / "anew") == told(base / "runs" / "tiny")


def test_new_negatives_while_it_trains_and_after_it_was_stopped(base, headtail, monkeypatch):
    command = ("train", base / "tiny.toml", "--set", "lists.refresh_every=2", "lists.refresh_depth=[1, 3]", "training.steps=6")
    assert headtail(*command, "name=fresh1")[0] == 0
    mined = base / "runs" / "fresh1" / "mined"
    assert {path.name for path in mined.iterdir()} == {"step-00000002-0.trec.gz", "step-00000004-0.trec.gz"}
    for stop in (3, 4):
        name = f"fresh1-{stop}"
        with monkeypatch.context() as patch:
            stop_at(patch, stop, signal.SIGTERM)
            assert headtail(*command, f"name={name}")[0] == 143
        assert headtail(*command, f"name={name}")[0] == 0
        assert told(base / "runs" / name) == told(base / "runs" / "fresh1")


def test_negatives_that_are_gone_are_not_made_by_later_weights(base, headtail, refused, monkeypatch):
    command = ("train", base / "tiny.toml", "--set", "lists.refresh_every=2", "training.steps=6", "name=lost")
    with monkeypatch.context() as patch:
        stop_at(patch, 3, signal.SIGTERM)
        headtail(*command)
    shutil.rmtree(base / "runs" / "lost" / "mined")
    assert "expected the negatives of step 2, found none; --overwrite begins anew" in refused(*command)


EXPLODES = ("--set", "optimizer.encoder_lr=1e30", "training.warmup_steps=0", "training.schedule=constant")


def test_a_run_that_explodes_stops_names_the_batch_and_can_be_replayed(base, headtail, refused):
    command = ("train", base / "tiny.toml", *EXPLODES, "name=explodes")
    line = refused(*command)
    assert re.search(r"headtail: step 2: the \w+ is not finite .*; the weights are those before it", line)
    assert "`headtail replay" in line
    assert refused(*command) == line    # it goes on from before that step, to the same end
    code, out, _ = headtail("replay", base / "runs" / "explodes", "--step", 2)
    assert code == 0
    assert out.startswith("step 2: 2 lists, ")
    assert "the ledger says: the " in out
    assert "first module whose output is not finite: encoder." in out
    code, out, _ = headtail("replay", base / "runs" / "explodes", "--step", 1)
    first = next(r for r in told(base / "runs" / "explodes") if r["kind"] == "train")
    assert f"loss {first['loss']:.6f}, gradient norm {first['gradient_norm']:.6f}" in out
    assert "every score, the loss and every gradient is finite" in out


def test_replay_shows_how_far_it_has_come(base, headtail, monkeypatch):
    monkeypatch.setattr("headtail.progress.EVERY", 0.0)
    code, _, err = headtail("replay", base / "runs" / "tiny", "--step", 3)
    assert code == 0
    assert "repeating what came before step 3: 2 of 2" in err


def test_a_run_that_explodes_may_skip_up_to_a_limit(base, headtail, refused):
    command = ("train", base / "tiny.toml", *EXPLODES, "name=skips", "--on-nonfinite", "skip")
    assert refused(*command, "--set", "training.nonfinite_limit=1", "validation.every=0").startswith("headtail: step 3 after 1 steps that were skipped: ")


def test_replay_of_no_run_and_of_a_step_that_is_none(base, refused, tmp_path):
    assert "expected the folder of a training run" in refused("replay", tmp_path, "--step", 1)
    assert "--step 9: expected a step from 1 to 4" in refused("replay", base / "runs" / "tiny", "--step", 9)


def test_rerank_and_report(base, headtail, tmp_path):
    ours = tmp_path / "ours.trec.gz"
    model = base / "runs" / "tiny" / "model"
    options = ("--data", base / "world", "--split", "test", "--run", base / "bm25.trec.gz")
    code, out, _ = headtail("rerank", model, *options, "-o", ours, "--depth", 2)
    assert code == 0
    assert "3 queries, 6 docs" in out
    page = tmp_path / "page.html"
    command = ("report", base / "runs" / "tiny", "--split", "test", "--run", base / "bm25.trec.gz", "--run", ours)
    code, out, _ = headtail(*command, "-o", page)
    assert code == 0
    packed = re.search(r'id="packed">([^<]*)<', page.read_text()).group(1)
    assert b"who sleeps on the stove" in zlib.decompress(base64.b64decode(packed))


def test_data_verbs(base, headtail):
    assert "pydocs" in headtail("data", "list")[1]
    assert "10 docs" in headtail("data", "show", base / "world")[1]
    assert headtail("data", "check", "pydocs")[0] == 0
    code, _, err = headtail("data", "check", base / "world")    # its splits are all alike
    assert (code, "train and dev: 3 query texts stand in both" in err) == (2, True)


def test_losses_are_listed_told_and_drawn(headtail, refused, tmp_path):
    code, out, _ = headtail("losses")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(LOSSES)
    assert all(len(line.split()) > 3 for line in out.splitlines())
    code, out, _ = headtail("losses", "hybrid")
    assert code == 0
    assert out.startswith("hybrid(alpha=0.5, top_k=5, head_by='union', ")
    assert "Source: this project" in out
    drawing = tmp_path / "new" / "losses.svg"
    assert headtail("losses", "--draw", "-o", drawing)[:2] == (0, f"drawing: {drawing}\n")
    assert drawing.read_text().startswith("<?xml")
    assert refused("losses", "softmx").startswith("headtail: unknown loss 'softmx', did you mean 'softmax'?")
    assert "unknown loss 'x'" in refused("losses", "x", "--draw", "-o", tmp_path / "x.svg")
    assert not (tmp_path / "x.svg").exists()


def test_help_of_every_verb(headtail):
    for verb in ("retrieve", "rerank", "fuse", "evaluate", "mine", "train", "report", "demo", "data"):
        code, out, _ = headtail(verb, "--help")
        assert (code, "Usage" in out) == (0, True)


# ---- bad input


def test_a_missing_file(base, refused):
    line = refused("evaluate", base / "bm52.trec.gz", "--data", base / "world", "--split", "test")
    assert "bm52.trec.gz" in line
    assert "bm25.trec.gz" in line    # the nearest name that is there


def test_a_folder_that_is_no_data_set(refused, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    line = refused("retrieve", "--data", tmp_path, "--split", "test", "-o", tmp_path / "r.trec")
    assert "is no data set: expected collection.tsv" in line
    assert "notes.txt" in line


def test_an_unknown_data_set_and_an_unknown_split(base, refused, tmp_path):
    assert "did you mean 'pydocs'?" in refused("retrieve", "--data", "pydoc", "--split", "test", "-o", tmp_path / "r.trec")
    line = refused("retrieve", "--data", base / "world", "--split", "tset", "-o", tmp_path / "r.trec")
    assert "unknown split 'tset', did you mean 'test'?" in line


BAD_FILES = {
    "a collection line without a tab": ("collection.tsv", "egg\tan egg\nno tab here\n", "collection.tsv:2: expected"),
    "a doc_id twice": ("collection.tsv", "egg\tan egg\negg\tanother\n", "egg"),
    "an empty doc": ("collection.tsv", "egg\tan egg\nfish\t\n", "collection.tsv:2: expected"),
    "an empty query": ("queries.test.tsv", "q1\t\n", "queries.test.tsv:1: expected"),
    "a query_id twice": ("queries.test.tsv", "q1\ta\nq1\tb\n", "queries.test.tsv:2: expected"),
    "broken UTF-8": ("queries.test.tsv", b"q1\tgood\nq2\tb\xe4d\n", "queries.test.tsv:2: expected UTF-8"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(case, world, refused, tmp_path):
    name, content, expected = BAD_FILES[case]
    (world / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused("retrieve", "--data", world, "--split", "test", "-o", tmp_path / "r.trec")
    assert expected in line
    assert not (tmp_path / "r.trec").exists()


def test_an_unknown_doc_in_a_run(base, refused, tmp_path):
    (tmp_path / "r.trec").write_text("".join(f"{q} Q0 {d} 1 1 x\n" for q, d in (("q1", "cat"), ("q2", "unicorn"), ("q3", "egg"))))
    options = ("--data", base / "world", "--split", "test", "--run", tmp_path / "r.trec", "-o", tmp_path / "o.trec")
    assert "query 'q2': unknown doc_id 'unicorn'" in refused("rerank", base / "runs" / "tiny" / "model", *options)


def test_a_query_with_no_candidates(base, refused, headtail, tmp_path):
    (tmp_path / "r.trec").write_text("q1 Q0 cat 1 1 x\n")
    options = ("--data", base / "world", "--split", "test", "--run", tmp_path / "r.trec", "-o", tmp_path / "o.trec")
    model = base / "runs" / "tiny" / "model"
    assert "no candidates for 2 of 3 queries (first: 'q2')" in refused("rerank", model, *options)
    assert headtail("rerank", model, *options, "--missing", "skip")[0] == 0


def test_a_doc_of_200_000_words(base, headtail, tmp_path):
    world = write_world(tmp_path / "world")
    with (world / "collection.tsv").open("a") as file:
        file.write("long\t" + "cold water " * 100_000 + "\n")
    run = tmp_path / "r.trec"
    options = ("--data", world, "--split", "test")
    assert headtail("retrieve", *options, "-k", 20, "-o", run)[0] == 0
    assert " long " in run.read_text()
    model = base / "runs" / "tiny" / "model"
    assert headtail("rerank", model, *options, "--run", run, "-o", tmp_path / "o.trec")[0] == 0


def test_a_training_split_in_which_no_list_has_a_positive(base, world, refused):
    (world / "qrels.train.tsv").write_text("q1\t0\tcat\t0\nq2\t0\tice\t0\n")
    line = refused("train", base / "tiny.toml", "--set", f"train.0.name={world}", "name=fresh")
    assert "no list has a positive" in line
    assert not (base / "runs" / "fresh").exists()


BAD_SETTINGS = {
    "loss.name=softmx": "unknown loss 'softmx', did you mean 'softmax'?",
    "loss.options.alfa=1": "unknown option of loss 'hybrid' 'alfa', did you mean 'alpha'?",
    "training.stesp=5": "unknown key 'training.stesp', did you mean 'steps'?",
    "training.steps": "expected key=value",
    "training.steps=many": "training.steps",
    "ranker.encoder=google-t5/no-such": "google-t5/no-such",
    "ranker.encoder=./nowhere": "./nowhere: expected a model folder",
    "ranker.pooling=max": "unknown pooling 'max'",
    "ranker.pooling=mean": "masked_mean",
    "training.precision=fp16": "fp16 is refused: T5's feed-forward activations exceed its largest number",
    "validation.best_by=nDCG@foo": "nDCG@foo",
    "loss.options.alpha=high": "loss 'hybrid': option 'alpha': expected a number, found 'high'",
    "optimizer.beta2=1": "optimizer.beta2",
    "name=..": "name",
    "validation.best_by=nDGC@5": "nDGC",
    "lists.size=1": "lists.size",
    "loss.options.top_k=0": "expected top_k >= 1, a whole number, found top_k=0",
    "loss={name='bce',options={graded='False'}}": "loss 'bce': option 'graded': expected true or false, found 'False'",
    "loss.options.gamma=1.5": "expected gamma with phi='focal' alone, found gamma=1.5, phi=logistic",
    "loss.options={head_by='initial',initial=1}": "loss 'hybrid': option 'initial': expected a tensor [B, L]",
    "loss.name=margin_mse": "loss 'margin_mse' learns from a teacher's scores: set train.0.teacher to a run file of them",
    "loss={name='margin_mse',options={teacher=[1.0]}}": "loss.options.teacher: a teacher is a run file, set as train.0.teacher",
    "train.0.teacher=t.trec": "train.0.teacher: loss 'hybrid' learns from labels alone; losses with a teacher: margin_mse",
    "validation.teacher=t.trec": "validation.teacher: loss 'hybrid' learns from labels alone",
}


@pytest.mark.parametrize("setting", BAD_SETTINGS)
def test_bad_settings(setting, base, refused):
    line = refused("train", base / "tiny.toml", "--set", "name=fresh", "--set", setting)
    assert BAD_SETTINGS[setting] in line
    assert not (base / "runs" / "fresh").exists()


def test_a_loss_that_gives_no_number_is_refused(base, refused):
    options = ("--set", "name=fresh", "--set", "loss.name=poly1", "--set", "loss.options.epsilon=nan")
    assert "gives nan on a list of three docs" in refused("train", base / "tiny.toml", *options)


def test_any_run_can_teach(base, headtail, refused, tmp_path):
    teacher = tmp_path / "teacher.trec.gz"
    assert headtail("retrieve", "--data", base / "world", "--split", "train", "--ranker", "tfidf", "-k", 10, "-o", teacher)[0] == 0
    sets = ["loss.name=margin_mse", f"train.0.teacher={teacher}", "name=taught"]
    assert headtail("train", base / "tiny.toml", "--set", *sets)[0] == 0
    records = [json.loads(line) for line in (base / "runs" / "taught" / "ledger.jsonl").read_text().splitlines()]
    assert all(record["lists_without"] == 0 < record["loss"] for record in records if record["kind"] == "train")
    assert [record["loss"] for record in records if record["kind"] == "validation"] == [None, None]    # no teacher of its own
    sets = [*sets[:2], f"validation.teacher={teacher}", "name=taught_dev"]
    assert headtail("train", base / "tiny.toml", "--set", *sets)[0] == 0
    ledger = (base / "runs" / "taught_dev" / "ledger.jsonl").read_text().splitlines()
    assert all(json.loads(line)["loss"] > 0 for line in ledger if '"validation"' in line)

    lines = gzip.open(teacher, "rt").readlines()
    with gzip.open(teacher, "wt") as out:
        out.writelines(line for line in lines if " ice " not in line)
    line = refused("train", base / "tiny.toml", "--set", *sets[:2], "name=fresh")
    assert "lacks 1 of 9 docs that lists may draw (first: query 'q2', doc 'ice'); re-rank the same run" in line


def test_a_folder_with_a_model_of_no_run_is_not_written_into(base, refused):
    model = base / "runs" / "own" / "model"
    model.mkdir(parents=True)
    (model / "weights").write_text("precious")
    assert "holds model of no run" in refused("train", base / "tiny.toml", "--set", "name=own")
    assert (model / "weights").read_text() == "precious"


def test_an_index_of_another_collection(base, world, headtail, refused, tmp_path):
    command = ("retrieve", "--split", "test", "--index", tmp_path / "idx", "-o", tmp_path / "r.trec")
    assert headtail(*command, "--data", base / "world")[0] == 0
    with (world / "collection.tsv").open("a") as out:
        out.write("walrus\tthe walrus naps\n")
    assert "found one with 10 docs; name another folder as --index" in refused(*command, "--data", world)


def test_a_config_that_is_no_toml_or_is_not_there(refused, tmp_path):
    (tmp_path / "bad.toml").write_text("name = ")
    assert "expected TOML" in refused("train", tmp_path / "bad.toml")
    assert "found no such file" in refused("train", tmp_path / "none.toml")


def test_an_unknown_option_measure_ranker_and_verb(base, refused, tmp_path):
    evaluate = ("evaluate", base / "bm25.trec.gz", "--data", base / "world", "--split", "test")
    assert "nDCG" in refused(*evaluate, "--measures", "nDGC@5")
    assert "No such option" in refused(*evaluate, "--measure", "RR@10")
    assert "No such command" in refused("retreive")
    retrieve = ("retrieve", "--data", base / "world", "--split", "test", "-o", tmp_path / "r.trec", "--ranker")
    assert "unknown first-stage ranker 'bm52', did you mean 'bm25'?" in refused(*retrieve, "bm52")


def test_evaluate_without_judgments_or_with_those_of_another_split(base, refused, tmp_path):
    assert "nothing to judge by" in refused("evaluate", base / "bm25.trec.gz")
    (tmp_path / "r.trec").write_text("other Q0 cat 1 1 x\n")
    line = refused("evaluate", tmp_path / "r.trec", "--data", base / "world", "--split", "test")
    assert "has none of the 3 judged queries" in line


def test_a_folder_that_is_no_ranker_and_a_damaged_one(base, refused, tmp_path):
    options = ("--data", base / "world", "--split", "test", "--run", base / "bm25.trec.gz", "-o", tmp_path / "o.trec")
    assert "expected a saved ranker's folder" in refused("rerank", tmp_path / "none", *options)
    broken = tmp_path / "broken"
    shutil.copytree(base / "runs" / "tiny" / "model", broken)
    (broken / "modules.json").write_text("{")
    assert "damaged" in refused("rerank", broken, *options)


def test_a_report_of_no_run(refused, tmp_path):
    assert "expected the folder of a training run" in refused("report", tmp_path)


def test_no_room_on_disk_leaves_what_stood_there(base, refused, tmp_path, monkeypatch):
    run = tmp_path / "r.trec"
    run.write_text("before")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    assert "no room on disk" in refused("retrieve", "--data", base / "world", "--split", "test", "-o", run)
    assert run.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["r.trec"]


def test_the_version_is_the_packages(headtail):
    from headtail import __version__

    assert headtail("--version") == (0, f"headtail {__version__}\n", "")
