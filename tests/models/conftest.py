"""Checkpoints and rankers of every family, built once a session and never written to."""

import pytest
import torch
from tests.models import tiny

from headtail.models.ranker import Ranker


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Models of 16 units gain nothing from threads, and lose much where other work holds the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """`checkpoint("t5gemma2")`: the folder of that tiny full checkpoint."""
    root, built = tmp_path_factory.mktemp("checkpoints"), {}

    def build(name):
        if name not in built:
            tiny.BUILDERS[name](root / name)
            built[name] = root / name
        return built[name]

    return build


@pytest.fixture(scope="session")
def saved(checkpoint, tmp_path_factory):
    """`saved("t5", "first")`: a ranker and the folder it was saved to."""
    root, made = tmp_path_factory.mktemp("rankers"), {}

    def make(name, pooling="masked_mean"):
        if (name, pooling) not in made:
            ranker = Ranker.from_encoder(checkpoint(name), pooling=pooling, max_length=128).eval()
            ranker.save(root / f"{name}-{pooling}")
            made[name, pooling] = ranker, root / f"{name}-{pooling}"
        return made[name, pooling]

    return make
