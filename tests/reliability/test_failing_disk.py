"""The N-th write, sync or rename of a save fails, for every N: a whole checkpoint can always be loaded, and the run goes on."""

import errno
import json
import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from headtail.errors import CheckpointError
from headtail.files import verify
from headtail.models.ranker import Ranker
from headtail.pipeline.train import train
from headtail.training import checkpoint as module
from headtail.training.checkpoint import Checkpoints

FAULTS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT, "EROFS": errno.EROFS}


def tensors(step):
    return {"weights": {"a": torch.full((40, 50), float(step)), "b": torch.ones(3)}, "optimizer": {"a/step": torch.tensor(1.0)}}


class Failing:
    """Counts writes, syncs, renames and the making of folders, and lets the `at`-th fail, half of it done if it is a write."""

    def __init__(self, monkeypatch, at, number):
        self.left, self.number, self.hit = at, number, ""
        for owner, name in ((os, "write"), (os, "fsync"), (Path, "rename"), (Path, "mkdir")):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name), name))

    def wrap(self, operation, name):
        def counted(*arguments, **options):
            self.left -= 1
            if self.left:
                return operation(*arguments, **options)
            self.hit = name
            if name == "write":    # what a full disk does: part of the data is there
                operation(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise OSError(self.number, os.strerror(self.number))

        return counted


@pytest.mark.parametrize("fault", FAULTS)
def test_a_save_that_fails_at_its_nth_operation_leaves_a_whole_checkpoint(fault, tmp_path, monkeypatch, say):
    monkeypatch.setattr(module, "CHUNK", 1000)    # many writes a file
    checkpoints, seen = Checkpoints(tmp_path / "checkpoints"), []
    checkpoints.save(1, tensors(1), {"step": 1})
    checkpoints.save(2, tensors(2), {"step": 2})
    for at in range(1, 200):
        step = 2 + at
        with monkeypatch.context() as patch:
            failing = Failing(patch, at, FAULTS[fault])
            raised = ""
            try:
                checkpoints.save(step, tensors(step), {"step": step})
            except CheckpointError as error:
                raised = str(error)
        assert not raised or os.strerror(FAULTS[fault]) in raised or "damaged" in raised
        found = checkpoints.load()
        assert found.state["step"] == found.step
        assert torch.equal(found.tensors["weights"]["a"], tensors(found.step)["weights"]["a"])
        assert found.step == step or raised    # what is said to be saved is saved
        if not failing.hit:
            break
        seen.append(failing.hit)
        checkpoints.save(step, tensors(step), {"step": step})    # and the next save works
        assert checkpoints.load().step == step
    else:
        raise AssertionError("a save has no end")
    assert {"write", "fsync", "rename", "mkdir"} <= set(seen)
    say(f"{fault} at each of the {len(seen)} operations of a save: a whole checkpoint loads each time, and the next save works")


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
def test_a_best_ranker_that_cannot_be_saved_leaves_the_one_before(fault, world, tmp_path, monkeypatch, say):
    ranker = Ranker.from_encoder(world[1], max_length=32)
    checkpoints, seen = Checkpoints(tmp_path / "checkpoints"), []
    checkpoints.save_best(1, ranker.save)
    for at in range(1, 200):
        with monkeypatch.context() as patch:
            failing = Failing(patch, at, FAULTS[fault])
            try:
                checkpoints.save_best(2, ranker.save)
                saved = True
            except CheckpointError:
                saved = False
        verify(checkpoints.best(1))
        if saved:
            verify(checkpoints.best(2))
        if not failing.hit:
            break
        seen.append(failing.hit)
    assert {"fsync", "rename", "mkdir"} <= set(seen)
    say(f"{fault} at each of the {len(seen)} operations of saving the best ranker: the one before is whole each time")


@pytest.mark.parametrize("limit", [3_000, 20_000, 60_000])
def test_a_run_whose_disk_takes_no_more_goes_on_and_says_so(limit, config, tmp_path):
    """A limit on the size of a file is a disk that is full for every library that writes, not only for our own calls."""
    train(config)
    child = os.fork()
    if child == 0:
        status = 1
        signal.alarm(120)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            train(config.model_copy(update={"name": "full"}))
            status = 0
        except CheckpointError:
            status = 2    # at the very end there is no ranker to hand over
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    folder = config.folder.parent / "full"
    assert os.waitstatus_to_exitcode(status) in (0, 2)
    train(config.model_copy(update={"name": "full"}))    # with room again the same command ends it
    records = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    steps = [record["step"] for record in records if record["kind"] == "train"]
    assert steps == [4, 8, 12, 16, 20, 24]
    verify(folder / "model")
    reference = Checkpoints(config.folder / "checkpoints").load().tensors["weights"]
    assert all(torch.equal(tensor, reference[name]) for name, tensor in Checkpoints(folder / "checkpoints").load().tensors["weights"].items())


def test_a_full_disk_stops_no_training(config, monkeypatch, capsys):
    """ENOSPC for every write of a save from the third save on; the ledger still has room."""
    write, saves = module._write_tensors, []

    def full(path, tensors):
        saves.append(path)
        if 9 <= len(saves) < 16:    # three files a save: the fourth save and the fifth
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, tensors)

    monkeypatch.setattr(module, "_write_tensors", full)
    _, result = train(config)
    assert result.steps == 24
    assert "No space left on device; what was saved before is whole" in capsys.readouterr().err
    assert Checkpoints(config.folder / "checkpoints").load().step == 24
