"""Diagnostics by hand, their laws, and what they are asked to leave alone."""

import functools
import math

import pytest
import torch
from torch import nn, tensor

from headtail.losses import LOSSES, takes_teacher
from headtail.training.diagnostics import (
    Drift,
    best_temperature,
    gradient_share,
    head_turnover,
    layer_norms,
    part_norms,
    score_histogram,
    separation,
    tie_rate,
)

NAN = float("nan")
SCORES = tensor([[3.0, 1.0, 2.0], [0.0, 5.0, NAN]])    # what stands on padding is never read
LABELS = tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])    # the second list has nothing relevant
MASK = tensor([[True, True, True], [True, True, False]])


def batch(seed=0, lists=8, docs=30, apart=1.0):
    """Lists with one positive each, whose scores are normal and `apart` higher."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.zeros(lists, docs)
    labels[:, 0] = 1
    return torch.randn(lists, docs, generator=random) + apart * labels, labels, torch.ones(lists, docs, dtype=torch.bool)


# ---- separation and d'


def test_separation_by_hand():
    told = separation(SCORES, LABELS, MASK)
    assert told["separation"] == 1.5
    assert told["wrong_pairs"] == 0.0
    assert told["d_prime"] == pytest.approx(1.5 / math.sqrt((0 + 0.25) / 2))    # negatives at -.5 and .5 about their mean
    assert all(math.isnan(value) for value in separation(SCORES[1:], LABELS[1:], MASK[1:]).values())


def test_d_prime_of_two_normals_two_spreads_apart_is_two_and_says_how_many_pairs_are_wrong():
    told = separation(*batch(lists=4000, docs=20, apart=2.0))
    assert told["d_prime"] == pytest.approx(2.0, rel=0.04)
    assert told["wrong_pairs"] == pytest.approx(0.5 * math.erfc(2 / 2), abs=0.01)    # Phi(-d' / sqrt 2)


def test_d_prime_is_blind_to_scale_and_to_each_lists_own_level_where_separation_is_not():
    scores, labels, mask = batch(lists=3)
    moved = 7 * scores + tensor([[5.0], [-90.0], [300.0]])
    assert separation(moved, labels, mask)["d_prime"] == pytest.approx(separation(scores, labels, mask)["d_prime"], rel=1e-4)
    assert separation(moved, labels, mask)["separation"] == pytest.approx(7 * separation(scores, labels, mask)["separation"], rel=1e-4)


def test_padding_changes_nothing():
    pad = functools.partial(nn.functional.pad, pad=(0, 4))
    padded = pad(SCORES, value=NAN), pad(LABELS), pad(MASK)
    assert separation(*padded) == separation(SCORES, LABELS, MASK)
    assert score_histogram(*padded) == score_histogram(SCORES, LABELS, MASK)
    assert tie_rate(padded[0], padded[2]) == tie_rate(SCORES, MASK)
    assert gradient_share(padded[0], padded[0], padded[2]) == gradient_share(SCORES, SCORES, MASK)


# ---- histogram, gradient, ties, turnover


def test_a_histogram_counts_each_real_doc_once():
    found = score_histogram(SCORES, LABELS, MASK, bins=5)
    assert found["edges"] == [0, 1, 2, 3, 4, 5]
    assert found["positives"] == [0, 0, 0, 1, 0]
    assert found["negatives"] == [1, 1, 1, 0, 1]    # 5 lies on the last edge and belongs to the last bin


def test_a_histogram_of_one_score_or_of_none():
    one = score_histogram(torch.full((1, 3), 1e8), LABELS[:1], MASK[:1])
    assert (sum(one["positives"]), sum(one["negatives"])) == (1, 2)
    assert one["edges"][0] < 1e8 < one["edges"][-1]
    assert score_histogram(SCORES, LABELS, MASK & False) == {"edges": [], "positives": [], "negatives": []}


def test_gradient_share_by_hand_with_each_list_counting_once():
    scores = torch.arange(30.0, 0, -1).repeat(3, 1)
    gradient, mask = torch.zeros(3, 30), torch.ones(3, 30, dtype=torch.bool)
    gradient[0, 4], gradient[0, 5] = 3.0, -1.0       # ranks 5 and 6
    gradient[1, 20], gradient[1, 19] = 1e-3, 1e-3    # ranks 21 and 20; the third list has no gradient
    assert gradient_share(gradient, scores, mask) == pytest.approx({"gradient_1_5": 0.375, "gradient_6_20": 0.375, "gradient_21_up": 0.25})
    assert all(map(math.isnan, gradient_share(gradient[2:], scores[2:], mask[2:]).values()))


def test_gradient_share_goes_by_score_and_not_by_place_and_sums_to_one():
    scores, labels, mask = batch()
    leaf = scores.requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES["softmax"](leaf, labels, mask), leaf)
    share, shuffled = gradient_share(gradient, scores, mask), torch.randperm(30)
    assert sum(share.values()) == pytest.approx(1)
    assert gradient_share(gradient[:, shuffled], scores[:, shuffled], mask) == pytest.approx(share, rel=1e-5)


def test_ties_are_of_float32_and_padding_ties_with_nothing():
    scores = tensor([[1.0, 2.0, 1.0, 1.0 + 1e-9], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    mask = tensor([[True, True, True, True], [True, False, False, False]])
    assert tie_rate(scores, mask) == pytest.approx(2 / 3)
    assert math.isnan(tie_rate(scores[1:], mask[1:]))


def test_turnover_by_hand():
    before = {"a": ["1", "2", "3"], "b": ["1", "2"], "gone": ["1"]}
    after = {"a": ["2", "9", "1"], "b": ["2", "1"], "new": ["1"], "empty": []}
    assert head_turnover(before, after, k=2) == pytest.approx((1 / 2 + 0) / 2)
    assert head_turnover(before, before) == 0
    assert math.isnan(head_turnover({}, after))


# ---- layers


def layers():
    torch.manual_seed(0)
    shapes = {"embeddings": [(5, 4)], "layer_0": [(4, 4), (4,)], "layer_1": [(4, 4)], "head": [(1, 4), (1,)]}
    return {name: [nn.Parameter(torch.randn(shape)) for shape in several] for name, several in shapes.items()}


def test_layer_norms_are_those_of_the_concatenated_gradient_and_none_counts_as_zero():
    several = layers()
    for parameter in [*several["layer_0"], several["head"][0]]:
        parameter.grad = torch.randn_like(parameter)
    norms = layer_norms(several)
    whole = torch.cat([p.grad.flatten() for p in several["layer_0"]]).norm().item()
    assert norms == pytest.approx({"embeddings": 0, "layer_0": whole, "layer_1": 0, "head": several["head"][0].grad.norm().item()})
    every = [p for parameters in several.values() for p in parameters]
    assert math.hypot(*norms.values()) == pytest.approx(nn.utils.clip_grad_norm_(every, 1e9).item())
    assert layer_norms({"head": []}) == {"head": 0.0}


def test_part_norms_put_layers_together():
    told = part_norms({"embeddings": 1.0, "layer_0": 3.0, "top": 4.0, "head": 2.0})
    assert told == {"norm_embeddings": 1.0, "norm_encoder": 5.0, "norm_head": 2.0}


@pytest.mark.parametrize("device", [None, "cpu"])
def test_drift_is_relative_to_the_start_and_a_start_at_zero_gives_the_distance_itself(device):
    several = {**layers(), "zero": [nn.Parameter(torch.zeros(3))], "empty": []}
    with torch.no_grad():
        several["layer_1"].append(nn.Parameter(torch.zeros(4)))    # a norm stored as w - 1
        drift = Drift(several, device)
        assert set(drift.measure().values()) == {0.0}
        several["layer_0"][0].mul_(1.1)
        several["layer_0"][1].mul_(1.1)
        several["layer_1"][1].add_(1.0)
        several["zero"][0].add_(2.0)
    moved = drift.measure()
    assert moved["layer_0"] == pytest.approx(0.1, rel=1e-5)
    assert moved["layer_1"] == pytest.approx(2.0 / several["layer_1"][0].norm().item())
    assert moved["zero"] == pytest.approx(math.sqrt(12))
    assert moved["embeddings"] == moved["head"] == moved["empty"] == 0


# ---- temperature


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_is_larger_at_its_best_temperature_and_chance_is_left_as_it_was(name):
    scores, labels, mask = batch(apart=3)
    more = {"teacher": 2 * labels} if takes_teacher(name) else {}
    torch.manual_seed(7)
    raw = LOSSES[name](20 * scores, labels, mask, **more).item()
    torch.manual_seed(7)
    state, calls = torch.get_rng_state(), []

    def counted(*arguments, **options):
        calls.append(1)
        return LOSSES[name](*arguments, **options)

    temperature, loss = best_temperature(counted, 20 * scores, labels, mask, **more)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(calls) <= 40
    assert loss <= raw + 1e-6
    if temperature != 1:
        assert LOSSES[name](20 * scores / temperature, labels, mask, **more).item() == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("factor", [0.05, 1.0, 12.5])
def test_scores_a_factor_too_large_have_a_temperature_that_much_higher_and_the_same_tempered_loss(factor):
    scores, labels, mask = batch(lists=50, apart=2)
    base, best = best_temperature(LOSSES["softmax"], scores, labels, mask)
    temperature, loss = best_temperature(LOSSES["softmax"], factor * scores, labels, mask)
    assert temperature == pytest.approx(factor * base, rel=0.002)
    assert loss == pytest.approx(best, abs=1e-6)


def test_the_temperature_agrees_with_scipy():
    from scipy.optimize import minimize_scalar

    scores, labels, mask = batch(lists=50, apart=1)
    found = minimize_scalar(lambda log_t: LOSSES["bce"](scores / math.exp(log_t), labels, mask).item(), bounds=(-5, 5), method="bounded")
    assert best_temperature(LOSSES["bce"], scores, labels, mask)[1] == pytest.approx(found.fun, abs=1e-6)


def test_a_loss_of_the_order_alone_keeps_temperature_one():
    def wrong(scores, labels, mask):
        return tensor(separation(scores, labels, mask)["wrong_pairs"])

    assert best_temperature(wrong, *batch()) == (1.0, pytest.approx(separation(*batch())["wrong_pairs"]))


def test_scores_in_the_wrong_order_want_the_highest_temperature():
    assert best_temperature(LOSSES["softmax"], *batch(apart=-5))[0] == pytest.approx(math.exp(5), rel=0.01)


def test_the_layers_of_a_ranker_make_up_its_gradient_and_move_when_it_learns(tmp_path):
    from tests.world import write_t5

    from headtail.models.ranker import Ranker

    ranker = Ranker.from_encoder(write_t5(tmp_path / "t5"), max_length=32, dropout=0.0)
    several = ranker.layers()
    drift = Drift(several)
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=1e-3)
    inputs = ranker.tokenizer(["a cat", "ice"], ["the cat sleeps on the stove", "ice is cold"], return_tensors="pt", padding=True)
    scores = ranker(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])    # [2]
    LOSSES["softmax"](scores[None], tensor([[1.0, 0.0]]), tensor([[True, True]])).backward()
    norms = layer_norms(several)
    assert list(norms) == ["embeddings", "layer_0", "layer_1", "top", "head"]
    whole = nn.utils.clip_grad_norm_(ranker.parameters(), 1e9).item()
    assert math.hypot(*norms.values()) == pytest.approx(whole, rel=1e-5)
    assert math.hypot(*part_norms(norms).values()) == pytest.approx(whole, rel=1e-5)
    optimizer.step()
    assert all(0 < moved < 1 for moved in drift.measure().values())
