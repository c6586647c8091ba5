"""Flipped bits and cut files, anywhere in a checkpoint: seen before the first step, each of them."""

import random
import shutil

import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file

from headtail.errors import CheckpointError, ModelError
from headtail.models.ranker import Ranker
from headtail.pipeline.train import train
from headtail.training.checkpoint import Checkpoints


@pytest.fixture
def run(config):
    train(config)
    return config.folder


def spots(folder, rng, count):
    """Files of a folder, each as likely as another, with a random byte and bit of it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    for _ in range(count):
        path = rng.choice(files)
        yield path, rng.randrange(path.stat().st_size), rng.randrange(8)


def damaged(path, data, how, place, bit):
    if how == "flip":
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
    else:
        path.write_bytes(data[:place])


@pytest.mark.parametrize("how", ["flip", "cut"])
def test_damage_to_a_checkpoint_is_seen_and_passed_over(how, run, many, say):
    checkpoints, rng, count = Checkpoints(run / "checkpoints"), random.Random(1), many(100, 1000)
    before, newest = checkpoints.steps()
    silent = 0
    for path, place, bit in spots(checkpoints.path(newest), rng, count):
        data = path.read_bytes()
        damaged(path, data, how, place, bit)
        found = checkpoints.load()
        assert found.step == before
        assert path.name in found.passed_over[0]
        silent += path.suffix == ".safetensors" and loads(path)
        path.write_bytes(data)
    assert checkpoints.load().step == newest
    say(f"{how}: {count} of {count} in the files of a checkpoint seen and passed over; safetensors alone loads {silent} of them")


def loads(path):
    try:
        load_file(path)
    except (SafetensorError, ValueError):
        return False
    return True


@pytest.mark.parametrize("how", ["flip", "cut"])
def test_damage_to_the_ranker_that_is_handed_over_is_seen(how, run, many, say, tmp_path):
    rng, count = random.Random(2), many(40, 400)
    model = shutil.copytree(run / "model", tmp_path / "model")
    for path, place, bit in spots(model, rng, count):
        data = path.read_bytes()
        damaged(path, data, how, place, bit)
        with pytest.raises(ModelError, match=r"damaged|manifest"):
            Ranker.from_pretrained(model)
        path.write_bytes(data)
    Ranker.from_pretrained(model)
    say(f"{how}: {count} of {count} in the files of model/ refused when it is loaded")


def test_with_every_checkpoint_damaged_the_run_does_not_begin_anew_by_itself(config, run):
    (run / "finished").unlink()
    for step in Checkpoints(run / "checkpoints").steps():
        path = Checkpoints(run / "checkpoints").path(step) / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole .*--overwrite begins anew"):
        train(config)
