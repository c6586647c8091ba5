"""Checkpoints and rankers of every family, built once a session and never written to."""

import pytest

from headtail.models.ranker import Ranker
from tests.models import tiny


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
            ranker = Ranker.from_encoder(checkpoint(name), pooling=pooling, max_length=48).eval()
            ranker.save(root / f"{name}-{pooling}")
            made[name, pooling] = ranker, root / f"{name}-{pooling}"
        return made[name, pooling]

    return make
