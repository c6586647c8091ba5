"""What a training run owes its log, seen from the pipeline."""

import torch
from tests.world import write_config, write_t5, write_world

from headtail.config import load_config
from headtail.losses import LOSSES
from headtail.pipeline.train import build_ranker
from headtail.pipeline.validate import dev_split, validation


def test_validation_breaks_ties_alike_each_time_and_draws_nothing_from_training(tmp_path):
    world, t5 = write_world(tmp_path / "world"), write_t5(tmp_path / "t5")
    settings = load_config(write_config(tmp_path / "tiny.toml", world, t5), ("loss.name=list_mle",))
    ranker, dev = build_ranker(settings), dev_split(settings)
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        losses.append(validation(ranker, dev, settings, LOSSES["list_mle"]).loss)
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1] > 0
