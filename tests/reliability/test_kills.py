"""kill -9 at any moment: every run goes on without a hand, and ends as one that was never killed.

A kill comes from outside after a random time, or from within at a random write, sync or rename of a save. The process is
a fork of one that has imported everything, so that a hundred of them take minutes.
"""

import json
import os
import random
import signal
import time
from pathlib import Path

import torch

from headtail.files import verify
from headtail.pipeline.train import train
from headtail.training.checkpoint import Checkpoints
from headtail.training.log import TIMES


class Slain:
    """Counts the operations of saves, and kills its own process at the `at`-th."""

    def __init__(self, at):
        self.left = at

    def wrap(self, operation):
        def counted(*arguments, **options):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **options)

        return counted


def fork(config, *, at=None):
    """A process that trains; with `at` it dies at the at-th write, sync or rename of its saves."""
    child = os.fork()
    if child:
        return child
    status = 1
    signal.alarm(120)    # a child that hangs is a fault as well
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        if at is not None:
            slain = Slain(at)
            os.write, os.fsync = slain.wrap(os.write), slain.wrap(os.fsync)
            Path.rename = slain.wrap(Path.rename)
        train(config)
        status = 0
    finally:
        os._exit(status)


def ended(child):
    """How it ended: exit status, or -9."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def inside_a_save(folder):
    """Whether a save was under way: its staging folder is there, or its name is and the folder it replaces still waits."""
    return any((folder / "checkpoints").glob(".*"))


def end_of(folder):
    """All that a run leaves, but for times: weights, optimizer, running mean, state, ledger, the saved ranker."""
    found = Checkpoints(folder / "checkpoints").load()
    verify(folder / "model")
    tensors = {f"{file}/{name}": tensor for file, members in found.tensors.items() for name, tensor in members.items()}
    state = {name: value for name, value in found.state.items() if name not in ("seconds", "ledger", "window")}
    files = {path.name: path.read_bytes() for path in sorted((folder / "model").rglob("*.safetensors"))}
    records = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    untold = {*TIMES, "name"}
    ledger = [{key: value for key, value in r.items() if key not in untold} for r in records if r["kind"] != "resume"]
    return tensors, state, files, ledger


def same(one, other):
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    assert one[1:] == other[1:]


def test_every_killed_run_goes_on_and_ends_the_same(config, many, say):
    wanted, rng = many(10, 100), random.Random(0)
    started = time.monotonic()
    assert ended(fork(config)) == 0
    seconds = time.monotonic() - started
    reference = end_of(config.folder)
    kills = {"outside": 0, "outside, inside a save": 0, "inside a save": 0}
    runs = 0
    while sum(kills.values()) < wanted:
        runs += 1
        run = config.model_copy(update={"name": f"run{runs}"})
        for _ in range(200):    # each attempt gets at least to its next save, or is killed before it
            within = rng.random() < 0.5 and sum(kills.values()) < wanted
            child = fork(run, at=rng.randint(1, 80) if within else None)
            if not within and sum(kills.values()) < wanted:
                time.sleep(rng.uniform(0.05, seconds))
                os.kill(child, signal.SIGKILL)
            if ended(child) == 0:
                break
            kills["inside a save" if within else "outside, inside a save" if inside_a_save(run.folder) else "outside"] += 1
        else:
            raise AssertionError("a run does not come to its end")
        same(end_of(run.folder), reference)
    assert kills["inside a save"] >= 0.3 * wanted
    say(f"kill -9: {sum(kills.values())} in {runs} runs ({kills}), each went on without a hand and ended bit-identical")


def test_the_comparison_can_fail(config):
    train(config)
    other = config.model_copy(update={"name": "other", "training": config.training.model_copy(update={"seed": 1})})
    train(other)
    try:
        same(end_of(config.folder), end_of(other.folder))
    except AssertionError:
        return
    raise AssertionError("two seeds were taken for one")
