"""What a loss says to, or does with, input that means little or nothing."""

import math

import pytest
import torch
from tests.losses.cases import CASES, batch, case_id, filled, value_and_gradient
from torch import tensor

from headtail.errors import ConfigError, HeadtailError
from headtail.losses import LOSSES, hybrid, list_mle, margin_mse

LISTS = [([0.5, 1.0, -1.0], [0.0, 1.0, 0.0]), ([1.0, 0.0], [0.0, 0.0])]
TEACHER = tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
NEEDED = {"margin_mse": {"teacher": TEACHER}}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", LOSSES)
def test_scores_that_are_not_finite_are_named_with_their_list_and_doc(name, bad):
    scores, labels, mask = batch(LISTS)
    scores[1, 0] = bad
    with pytest.raises(HeadtailError) as caught:
        LOSSES[name](scores, labels, mask, **NEEDED.get(name, {}))
    assert str(caught.value) == (
        f"list 1 of the batch: expected a finite score, found {bad} for its doc 0;"
        " a lower learning rate or gradient clipping keeps a ranker from that"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", LOSSES)
def test_labels_that_are_not_finite_are_named_too(name, bad):
    scores, labels, mask = batch(LISTS)
    labels[0, 2] = bad
    with pytest.raises(HeadtailError, match=rf"list 0 of the batch: expected a finite label, found {bad} for its doc 2"):
        LOSSES[name](scores, labels, mask, **NEEDED.get(name, {}))


def test_a_teacher_that_is_not_finite_is_named():
    teacher = TEACHER.clone()
    teacher[0, 1] = math.nan
    with pytest.raises(HeadtailError, match="list 0 of the batch: expected a finite score, found nan for its doc 1"):
        margin_mse(*batch(LISTS), teacher=teacher)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_negative_labels_count_as_zero(case):
    name, options = case
    scores, labels, mask = batch([([0.5, 1.0, -1.0], [-2.0, 1.0, 0.0]), ([1.0, 0.0], [-1.0, 0.0])])
    options = filled(options, mask)
    value, gradient = value_and_gradient(LOSSES[name], scores, labels, mask, **options)
    other, other_gradient = value_and_gradient(LOSSES[name], scores, labels.clamp(min=0), mask, **options)
    assert value == other
    assert torch.equal(gradient, other_gradient)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_mask_that_hides_everything_costs_nothing(case):
    name, options = case
    scores, labels, mask = batch(LISTS)
    value, gradient = value_and_gradient(LOSSES[name], scores, labels, torch.zeros_like(mask), **filled(options, mask))
    assert value == 0
    assert not gradient.any()


def test_k_larger_than_the_list_is_the_whole_list():
    scores, labels, mask = batch(LISTS)
    for name, options in (("hybrid", {}), ("lambda_loss", {}), ("list_mle", {"ties": TEACHER}), ("plackett_luce_head_tail", {"ties": TEACHER})):
        whole = LOSSES[name](scores, labels, mask, top_k=3, **options).item()
        assert LOSSES[name](scores, labels, mask, top_k=1000, **options).item() == whole


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_labels_of_one_kind_leave_nothing_to_compare(case):
    """All relevant: no pair. A loss that looks at docs one by one, or at shares of the list, still has a target."""
    name, options = case
    scores, labels, mask = batch([([0.5, 1.0, -1.0], [1.0, 1.0, 1.0]), ([2.0, 0.0], [3.0, 3.0])])
    options = filled(options, mask)
    value, gradient = value_and_gradient(LOSSES[name], scores, labels, mask, **options)
    assert math.isfinite(value)
    pairwise = name in ("pairwise_logistic", "hinge", "margin_mse", "lambda_loss") or options.get("on") == "pairs" or (
        name == "hybrid" and options.get("alpha") == 1.0
    )
    if pairwise:
        assert value == 0
        assert not gradient.any()
    if name in ("softmax", "listnet"):
        assert value > 0    # the best it can do is equal scores


BAD_OPTIONS = [
    ("hybrid", {"alpha": 1.01}, "expected 0 <= alpha <= 1 and top_k >= 1, found alpha=1.01, top_k=5"),
    ("hybrid", {"alpha": -0.01}, "expected 0 <= alpha <= 1 and top_k >= 1, found alpha=-0.01"),
    ("hybrid", {"alpha": math.nan}, "expected 0 <= alpha <= 1 and top_k >= 1, found alpha=nan"),
    ("hybrid", {"phi": "hinge", "margin": 0.0}, "expected margin > 0, found margin=0.0"),
    ("hybrid", {"phi": "focal", "gamma": -1.0}, "expected gamma >= 0, found gamma=-1.0"),
    ("hybrid", {"phi": "capped", "cap_at": 0.0}, "expected cap_at > 0, found cap_at=0.0"),
    ("plackett_luce_head_tail", {"alpha": 2.0}, "expected 0 <= alpha <= 1"),
    ("plackett_luce_head_tail", {"top_k": 0}, "expected 0 <= alpha <= 1 and top_k >= 1"),
    ("list_mle", {"top_k": 0}, "expected top_k >= 1, found top_k=0"),
    ("lambda_loss", {"top_k": -1}, "expected top_k >= 1, found top_k=-1"),
    ("lambda_loss", {"mu": -1.0}, "expected mu >= 0, found mu=-1.0"),
    ("lambda_loss", {"weights": "ndcg_loss"}, "unknown weights 'ndcg_loss', did you mean 'ndcg_loss2'?"),
    ("lambda_loss", {"cap": "eazy"}, "unknown cap 'eazy', did you mean 'easy'?"),
    ("approx_ndcg", {"temperature": 0.0}, "expected temperature > 0, found temperature=0.0"),
    ("hinge", {"margin": -1.0}, "expected margin > 0, found margin=-1.0"),
    ("focal", {"gamma": -0.1}, "expected gamma >= 0, found gamma=-0.1"),
    ("focal", {"on": "lists"}, "unknown on 'lists'"),
    ("pairwise_logistic", {"cap": "easy", "cap_at": -3.0}, "expected cap_at > 0, found cap_at=-3.0"),
    ("margin_mse", {}, "loss 'margin_mse': expected a teacher's scores, found none; name a run of them: teacher of [[train]]"),
]


@pytest.mark.parametrize(("name", "options", "line"), BAD_OPTIONS, ids=str)
def test_an_option_that_means_nothing_is_named(name, options, line):
    with pytest.raises(ConfigError) as caught:
        LOSSES[name](*batch(LISTS), **options)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(("name", "options"), [("hybrid", {"alpha": 0.0}), ("hybrid", {"alpha": 1.0, "top_k": 1}), ("focal", {"gamma": 0.0})])
def test_options_at_the_edge_of_what_they_may_be_work(name, options):
    assert LOSSES[name](*batch(LISTS), **options).item() > 0


def test_labels_of_any_size_are_labels():
    """2^200 is no fp32 number, but nDCG is a ratio of gains."""
    scores, mask = tensor([[1.0, 0.0, 2.0]]), tensor([[True] * 3])
    for name, options in (("lambda_loss", {}), ("approx_ndcg", {}), ("hybrid", {"weights": "ndcg"})):
        value, gradient = value_and_gradient(LOSSES[name], scores, tensor([[200.0, 199.0, 0.0]]), mask, **options)
        assert math.isfinite(value)
        assert gradient.any()


def test_labels_and_scores_of_other_types_are_read():
    scores, labels, mask = batch(LISTS, dtype=torch.float32)
    expected = hybrid(scores, labels, mask).item()
    assert hybrid(scores, labels.long(), mask).item() == expected
    assert hybrid(scores.to(torch.bfloat16), labels, mask).item() == expected    # halves, which bf16 holds
    assert hybrid(scores.to(torch.bfloat16), labels, mask).dtype == torch.float32


def test_a_batch_of_no_list_and_lists_of_no_doc_cost_nothing():
    for shape in ((0, 4), (2, 1)):
        scores = torch.zeros(shape, requires_grad=True)
        for name in LOSSES:
            more = {"teacher": torch.zeros(shape)} if name == "margin_mse" else {}
            loss = LOSSES[name](scores, torch.zeros(shape), torch.zeros(shape, dtype=torch.bool), **more)
            loss.backward()
            assert loss.item() == 0


def test_ties_are_broken_anew_each_time():
    scores, labels, mask = batch([([0.5, 1.0, -1.0, 2.0], [1.0, 1.0, 0.0, 0.0])])
    torch.manual_seed(0)
    assert len({list_mle(scores, labels, mask).item() for _ in range(20)}) == 4    # two orders of two pairs of docs
