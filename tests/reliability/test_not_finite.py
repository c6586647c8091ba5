"""NaN planted at twelve places of a step: each stops the run before a weight changes, and replay says where."""

import pytest
import torch
from tests.training.lists import LISTS, endless, stream, taught

from headtail.errors import NotFiniteError
from headtail.losses import LOSSES
from headtail.models.ranker import Ranker
from headtail.training.checkpoint import Checkpoints
from headtail.training.ledger import Ledger
from headtail.training.loop import Plan, Training
from headtail.training.replay import replay

AT = 5    # the step that breaks, of 8
BLOCK = "encoder.encoder.block.1.layer"
OUTPUTS = {    # what one module gives
    "the embeddings": "encoder.encoder.embed_tokens",
    "attention": f"{BLOCK}.0.SelfAttention.q",
    "the feed-forward layer": f"{BLOCK}.1.DenseReluDense.wo",
    "a norm": f"{BLOCK}.1.layer_norm",
    "dropout of the pooled vector": "dropout",
    "the head": "head",
}
GRADIENTS = {    # what one weight receives
    "the gradient of the embeddings": "encoder.shared.weight",
    "the gradient of attention": f"{BLOCK}.0.SelfAttention.q.weight",
    "the gradient of the head": "head.weight",
}
PLACES = [*OUTPUTS, *GRADIENTS, "the loss", "the gradient of the scores", "the teacher"]


class OnlyGradient(torch.autograd.Function):
    """The sum of the scores, whose gradient is infinite at one of them."""

    @staticmethod
    def forward(ctx, scores):
        ctx.save_for_backward(scores)
        return scores.sum()

    @staticmethod
    def backward(ctx, upward):
        (scores,) = ctx.saved_tensors
        gradient = torch.zeros_like(scores)
        gradient[0, 0] = float("inf")
        return gradient


def broken(ranker, place, training_step):
    """Plant it: handles of hooks, the loss, the lists."""
    modules, parameters = dict(ranker.named_modules()), dict(ranker.named_parameters())
    handles, loss_fn, lists = [], LOSSES["softmax"], stream

    def now():
        return training_step() == AT

    if place in OUTPUTS:
        def spoil(_module, _inputs, output):
            return torch.where(torch.arange(output.numel()).view_as(output) == 0, torch.nan, output) if now() else None
        handles.append(modules[OUTPUTS[place]].register_forward_hook(spoil))
    elif place in GRADIENTS:
        handles.append(parameters[GRADIENTS[place]].register_hook(lambda gradient: gradient * torch.nan if now() else None))
    elif place == "the teacher":
        spoiled = [list(one.teacher) for one in taught(LISTS)]
        spoiled[0][1] = float("inf")
        import dataclasses
        bad = [dataclasses.replace(one, teacher=tuple(row)) for one, row in zip(LISTS, spoiled, strict=True)]
        lists = endless([*taught(LISTS) * (AT - 1), *bad, *taught(LISTS) * 3])
        loss_fn = LOSSES["margin_mse"]
    else:
        def loss_fn(scores, labels, mask):
            cost = LOSSES["softmax"](scores, labels, mask)
            if not now():
                return cost
            return cost * torch.nan if place == "the loss" else OnlyGradient.apply(scores)
    return handles, loss_fn, lists


def training(encoder, place, folder, ledger):
    ranker, box = Ranker.from_encoder(encoder, max_length=32, dropout=0.1), []
    _, loss_fn, lists = broken(ranker, place, lambda: box[0].progress.step + 1)
    plan = Plan(steps=8, lists_per_step=3, log_every=1, checkpoint_every=2, token_budget=40)
    box.append(Training(ranker, lists, loss_fn, plan, ledger=ledger, checkpoints=Checkpoints(folder / "checkpoints")))
    return ranker, box[0]


@pytest.mark.parametrize("place", PLACES)
def test_it_stops_before_a_weight_changes(place, world, tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ranker, run = training(world[1], place, tmp_path, ledger)
    weights = {}
    step = run.step

    def remembering():
        weights.update({name: tensor.clone() for name, tensor in ranker.state_dict().items()})
        step()

    run.step = remembering
    with pytest.raises((NotFiniteError, ValueError)) as caught:
        run.run()
    assert run.progress.step == AT - 1
    assert all(torch.equal(weights[name], tensor) for name, tensor in ranker.state_dict().items())
    assert all(torch.isfinite(tensor).all() for tensor in ranker.state_dict().values())
    if isinstance(caught.value, NotFiniteError):
        assert f"step {AT}: the " in str(caught.value)
        assert set(caught.value.lists) == {one.query.query_id for one in LISTS}
        assert Checkpoints(tmp_path / "checkpoints").steps()[-1] == AT - 1

    _, again = training(world[1], place, tmp_path, None)
    found = replay(again, AT)
    assert found.fault
    if place in OUTPUTS:
        assert found.forward == OUTPUTS[place]
    elif place in GRADIENTS:
        assert GRADIENTS[place] in found.fault
    assert not found.weights


def test_a_step_that_is_sound_is_replayed_to_the_bit(world, tmp_path):
    from headtail.training.ledger import read_ledger

    ledger = Ledger(tmp_path / "ledger.jsonl")
    with pytest.raises(NotFiniteError):
        training(world[1], "the loss", tmp_path, ledger)[1].run()
    for step in (1, 3, 4):
        found = replay(training(world[1], "the loss", tmp_path, None)[1], step)
        (record,) = (r for r in read_ledger(ledger.path) if r["kind"] == "train" and r["step"] == step)
        assert (found.loss, found.gradient_norm, found.fault) == (record["loss"], record["gradient_norm"], "")
