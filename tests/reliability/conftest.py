"""`--long`: as many kills and damages as docs/reliability.md tells of (make reliability); else enough to see a fault."""

import os
from pathlib import Path

import pytest
from tests.models.conftest import one_thread  # a fork must not wait for threads that only its parent has
from tests.world import write_config, write_t5, write_world

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The data and the encoder that every run of these tests learns from."""
    root = tmp_path_factory.mktemp("reliability")
    return write_world(root / "world"), write_t5(root / "t5")


@pytest.fixture
def config(world, tmp_path):
    """A run of 24 steps that saves every second one; about a second."""
    from headtail.config import load_config

    data, encoder = world
    sets = ("training.steps=24", "training.checkpoint_every=2", "validation.every=6", "training.log_every=4", "training.ema=0.5")
    return load_config(write_config(tmp_path / "tiny.toml", data, encoder), sets)


@pytest.fixture
def say(request):
    """Add a line to what `make reliability` prints, and to the file that docs/reliability.md is made from."""
    def add(line):
        path = os.environ.get("RELIABILITY_LOG")
        if path:
            with Path(path).open("a") as file:
                file.write(line + "\n")
    return add
