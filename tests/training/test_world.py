"""Two processes train as one does: same batches, same order, same loss, and either goes on with what the other saved."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.training.several import PAIRS
from tests.world import run_cli, write_config, write_world

from headtail.errors import TrainingError
from headtail.models.ranker import Ranker
from headtail.training.batch import build_batch
from headtail.training.checkpoint import Checkpoints
from headtail.training.ledger import read_ledger
from headtail.training.world import World

SCRIPT = Path(__file__).with_name("several.py")


def launch(processes, encoder, jobs):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), str(SCRIPT)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run([*command, str(encoder), json.dumps(jobs)], capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


TWICE = {f"{parallel}{'-cached' if cached else ''}": (parallel, cached) for parallel in ("ddp", "fsdp") for cached in (False, True)}


@pytest.fixture(scope="module")
def folders(encoder, tmp_path_factory):
    """Runs of one process and of two: whole, and begun by the ones to be ended by the others. Starting costs most: one launch each."""
    root = tmp_path_factory.mktemp("several")

    def job(name, parallel="ddp", cached=False, dtype="float32", **more):
        (root / name).mkdir(exist_ok=True)
        return {"folder": str(root / name), "parallel": parallel, "plan": {"gradient_cache": cached}, "dtype": dtype, **more}

    launch(1, encoder, [job("alone"), job("bf16", dtype="bfloat16"), job("one-two", die_after=6)])
    halves = [job(f"bf16-{name}", *how, dtype="bfloat16") for name, how in TWICE.items()]
    wholes = [job(name, *how) for name, how in TWICE.items()]
    launch(2, encoder, [*wholes, *halves, job("two-one", "fsdp", die_after=6), job("one-two", "fsdp")])
    launch(1, encoder, [job("two-one")])
    return root


def losses(folder):
    return [record["loss"] for record in read_ledger(folder / "ledger.jsonl") if record["kind"] == "train"]


def same(one, other):
    assert losses(one) == pytest.approx(losses(other), abs=1e-6)
    a, b = read_ledger(one / "ledger.jsonl"), [r for r in read_ledger(other / "ledger.jsonl") if r["kind"] != "resume"]
    assert [(record["kind"], record["step"]) for record in a] == [(record["kind"], record["step"]) for record in b]
    for first, second in zip(a, b, strict=True):
        for name in {"gradient_norm", "separation", "norm_encoder", "norm_head"} & set(first):
            assert first[name] == pytest.approx(second[name], rel=1e-4), name
        for layer, row in first.get("layers", {}).items():
            assert row == pytest.approx(second["layers"][layer], rel=1e-3, abs=1e-7), layer
        if first["kind"] == "validation":
            assert first["scores"] == pytest.approx(second["scores"], abs=1e-5)
    weights = [Checkpoints(folder / "checkpoints").load().tensors for folder in (one, other)]
    for file in ("weights", "optimizer"):
        assert weights[0][file].keys() == weights[1][file].keys()
    for name, tensor in weights[0]["weights"].items():
        torch.testing.assert_close(tensor, weights[1]["weights"][name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", TWICE)
def test_two_processes_train_as_one(name, folders):
    same(folders / "alone", folders / name)
    saved = Ranker.from_pretrained(folders / name / "model").score(PAIRS, precision="fp32")
    reference = Ranker.from_pretrained(folders / "alone" / "model").score(PAIRS, precision="fp32")
    assert saved.tolist() == pytest.approx(reference.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", TWICE)
def test_two_processes_train_in_bf16_as_one(name, folders):
    """But for rounding, and in bf16 all the same: the losses are not those of fp32."""
    assert losses(folders / f"bf16-{name}") == pytest.approx(losses(folders / "bf16"), abs=5e-3)
    assert losses(folders / f"bf16-{name}") != pytest.approx(losses(folders / name), abs=1e-6)


@pytest.mark.parametrize(("name", "processes"), [("one-two", 2), ("two-one", 1)])
def test_a_run_goes_on_with_another_number_of_processes(name, processes, folders):
    resumed = [record for record in read_ledger(folders / name / "ledger.jsonl") if record["kind"] == "resume"]
    assert [(record["step"], record["processes"]) for record in resumed] == [(4, processes)]
    same(folders / "alone", folders / name)


def test_the_command_line_under_torchrun(encoder, tmp_path):
    """Data read, validation shared, and everything written by the first process alone."""
    config = write_config(tmp_path / "tiny.toml", write_world(tmp_path / "world"), encoder)
    sets = ("training.precision=fp32", "ranker.dropout=0.0", "loss.name=bce", "training.checkpoint_every=1")
    assert run_cli("train", config, "--set", *sets, "name=one") == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "headtail"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command += ["train", str(config), "--set", *sets, "name=two", "training.parallel=fsdp"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("trained 4 steps") == 1
    one, two = tmp_path / "runs" / "one", tmp_path / "runs" / "two"
    assert losses(one) == pytest.approx(losses(two), abs=1e-6)
    assert [r["measures"] for r in read_ledger(one / "ledger.jsonl") if r["kind"] == "validation"] == [
        r["measures"] for r in read_ledger(two / "ledger.jsonl") if r["kind"] == "validation"
    ]
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}


def test_the_comparison_can_fail(folders):
    with pytest.raises(AssertionError):
        assert losses(folders / "alone") == pytest.approx(losses(folders / "ddp")[::-1], abs=1e-6)


def test_every_process_gets_as_many_rows_and_every_score_its_place(ranker):
    from tests.training.lists import LISTS

    ranker.eval()
    whole = build_batch(ranker, LISTS, 24)
    with torch.no_grad():
        expected = whole.lay_out(torch.cat([ranker(**pairs.inputs) for pairs in whole.pairs]))
        for size in (2, 3, 7):
            shares = [build_batch(ranker, LISTS, 24, World(rank, size)) for rank in range(size)]
            scores = [torch.cat([ranker(**pairs.inputs) for pairs in share.pairs]) for share in shares]
            assert len({len(part) for part in scores}) == 1
            for share in shares:
                torch.testing.assert_close(share.lay_out(torch.cat(scores)), expected, rtol=0, atol=1e-6)
                assert share.tokens == whole.tokens


def test_an_unknown_way_to_be_parallel():
    with pytest.raises(TrainingError, match="unknown way to be parallel 'dpd', did you mean 'ddp'"):
        World(parallel="dpd")
