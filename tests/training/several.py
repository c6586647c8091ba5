"""What each process of tests/training/test_world.py does: train a tiny T5 once for each job, and leave what it saw.

    torchrun --nproc-per-node 2 tests/training/several.py ENCODER '[{"folder": …, "parallel": "ddp", "die_after": 6, "plan": {…},
    "dtype": "bfloat16"}]'

The loss is bce: one on differences alone would send the head's bias a gradient of mere rounding, and AdamW steps as far by
rounding as by anything.
"""

import contextlib
import json
import sys
from pathlib import Path

import torch
from tests.training.lists import stream

from headtail.losses import LOSSES
from headtail.models.ranker import Ranker
from headtail.training.batch import Shared
from headtail.training.checkpoint import Checkpoints
from headtail.training.ledger import Ledger
from headtail.training.loop import Hooks, Plan, Validation, train
from headtail.training.world import World

PAIRS = [("cold water", "ice is cold and hard water"), ("apple", "jam"), ("cat", "the cat sleeps"), ("a", "b"), ("stove", "dog")]


class Died(Exception):  # noqa: N818
    pass


def run(world, encoder, folder, plan, die_after, dtype):
    ranker = Ranker.from_encoder(encoder, max_length=32, dropout=0.0)
    scorer, done = Shared(ranker, world), []

    def on_step(now):
        done.append(now)
        if len(done) == die_after:
            raise Died

    def validate():
        scores = scorer.score(PAIRS, precision="fp32").tolist()
        return Validation({"x": scores[0]}, 1.0, {"scores": scores})

    def save_best(step, measures):
        whole = world.whole(ranker)
        if world.first:
            whole.save(folder / "model")

    numbers = {"lists_per_step": 3, "token_budget": 24, "log_every": 1, "validate_every": 4, "best_by": "x", "checkpoint_every": 4}
    train(
        ranker, stream, LOSSES["bce"], Plan(steps=12, dtype=dtype, **numbers, **plan), optimizer={"encoder_lr": 1e-3},
        hooks=Hooks(validate=validate, save_best=save_best, on_step=on_step),
        ledger=Ledger(folder / "ledger.jsonl") if world.first else None,
        checkpoints=Checkpoints(folder / "checkpoints"), world=world,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    with World.join("ddp", torch.device("cpu")) as joined:
        for job in json.loads(sys.argv[2]):
            world = World(joined.rank, joined.size, job["parallel"])
            with contextlib.suppress(Died):
                run(world, sys.argv[1], Path(job["folder"]), job.get("plan", {}), job.get("die_after"), getattr(torch, job["dtype"]))
            joined.wait()
