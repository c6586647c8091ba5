"""One gradient, however it is come by: all graphs kept or one at a time, batches small or large."""

import contextlib
import math

import pytest
import torch
from tests.training.lists import LISTS, taught

from headtail.losses import LOSSES, takes_teacher
from headtail.training.batch import build_batch, stack_lists
from headtail.training.gradient import backward


def gradients(ranker, loss_fn, budget, lists=LISTS, backward=backward, **options):
    batch = build_batch(ranker, lists, budget)
    ranker.zero_grad()
    torch.manual_seed(1)
    found = backward(
        lambda number: ranker(**batch.pairs[number].inputs),
        len(batch.pairs),
        lambda gathered: loss_fn(batch.lay_out(gathered), batch.labels, batch.mask, **batch.more),
        **options,
    )
    return found, [p.grad.clone() for p in ranker.parameters() if p.grad is not None]


def close(a, b):
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_cached_gradient_is_the_joint_one_with_dropout_on(name, ranker):
    ranker.double().train()
    lists = taught(LISTS) if takes_teacher(name) else LISTS
    joint, cached = (gradients(ranker, LOSSES[name], 40, lists, cached=cached) for cached in (False, True))
    assert joint[0].loss.dtype == torch.float64
    assert math.isclose(joint[0].loss, cached[0].loss, rel_tol=1e-12)
    close(joint[1], cached[1])
    close([joint[0].gradient], [cached[0].gradient])


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_the_gradient_that_autograd_gives_for_the_whole(name, ranker):
    ranker.double().eval()
    lists = taught(LISTS) if takes_teacher(name) else LISTS
    found, ours = gradients(ranker, LOSSES[name], 40, lists)
    batch = build_batch(ranker, lists, 40)
    ranker.zero_grad()
    scores = batch.lay_out(torch.cat([ranker(**pairs.inputs) for pairs in batch.pairs]))
    torch.manual_seed(1)
    loss = LOSSES[name](scores, batch.labels, batch.mask, **batch.more)
    loss.backward()
    assert math.isclose(loss.detach(), found.loss, rel_tol=1e-12)
    close(ours, [p.grad for p in ranker.parameters() if p.grad is not None])


def test_the_gradient_of_small_batches_is_that_of_one_large_batch(ranker):
    ranker.double().eval()
    large = gradients(ranker, LOSSES["hybrid"], 10_000)
    small = gradients(ranker, LOSSES["hybrid"], 1, cached=True)
    assert len(build_batch(ranker, LISTS, 1).pairs) == 10
    close(large[1], small[1])


@pytest.mark.parametrize("cached", [False, True])
def test_a_batch_that_the_loss_does_not_look_at_adds_nothing(cached):
    weight, inputs = torch.tensor([2.0], requires_grad=True), [torch.tensor([1.0]), torch.tensor([3.0])]
    backward(lambda number: weight * inputs[number], 2, lambda gathered: gathered[0], cached=cached)
    assert weight.grad.tolist() == [1.0]


def test_what_is_not_finite_is_told_before_anything_is_sent_back():
    weight, told = torch.tensor([2.0], requires_grad=True), []

    def check(name, values):
        told.append(name)
        if not torch.isfinite(values).all():
            raise ArithmeticError(name)

    with pytest.raises(ArithmeticError, match="gradient of a score"):    # sqrt'(0) is infinite, sqrt(0) is not
        backward(lambda number: weight * 0, 1, lambda gathered: gathered.sqrt().sum(), check=check)
    assert told == ["score", "loss", "gradient of a score"]
    assert weight.grad is None


def test_a_planted_fault_in_the_cache_is_seen(ranker, monkeypatch):
    """Without the random state of each batch put back, dropout drops other units and the gradient differs."""
    from headtail.training import gradient

    ranker.double().train()
    joint = gradients(ranker, LOSSES["hybrid"], 40)
    monkeypatch.setattr(gradient, "_restore", lambda state: None)
    wrong = gradients(ranker, LOSSES["hybrid"], 40, cached=True)
    assert max((a - b).abs().max() for a, b in zip(joint[1], wrong[1], strict=True)) > 1e-6


def test_gradients_are_held_for_every_pass_but_the_last():
    held, weight = [], torch.tensor([2.0], requires_grad=True)

    def hold(now):
        held.append(now)
        return contextlib.nullcontext()

    backward(lambda number: weight * (number + 1.0), 3, lambda gathered: gathered.sum(), cached=True, hold=hold)
    assert held == [True, True, False]
    assert weight.grad.tolist() == [6.0]


def test_scores_of_lists_of_different_length_stand_in_their_places(ranker):
    ranker.eval()
    batch = build_batch(ranker, LISTS, 40)
    with torch.no_grad():
        scores = batch.lay_out(torch.cat([ranker(**pairs.inputs) for pairs in batch.pairs]))    # [3, 5]
    assert batch.mask.tolist() == [[True] * 5, [True] * 2 + [False] * 3, [True] * 3 + [False] * 2]
    assert scores[~batch.mask].abs().sum() == 0
    for row, one in enumerate(LISTS):
        alone = ranker.score([(one.query.text, doc.text) for doc in one.docs], precision="fp32")
        assert scores[row, : len(alone)].tolist() == pytest.approx(alone.tolist(), abs=1e-5)
    assert batch.tokens == sum(int(pairs.inputs["attention_mask"].sum()) for pairs in batch.pairs)


def test_lists_are_stacked_with_their_teacher():
    labels, mask, more = stack_lists(taught(LISTS))
    assert labels.tolist() == [[0, 1, 0, 0, 2], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert mask.tolist() == [[True] * 5, [True] * 2 + [False] * 3, [True] * 3 + [False] * 2]
    assert more["teacher"].tolist() == [[0, 0.5, 1, 1.5, 2], [0, 0.5, 0, 0, 0], [0, 0.5, 1, 0, 0]]
    assert stack_lists(LISTS)[2] == {}
