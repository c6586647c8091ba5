import math

import pytest
import torch
from tests.losses.cases import value_and_gradient
from torch import tensor

from headtail.losses import LOSSES, softmax
from headtail.losses.ranks import ranks_of


def one_positive_ahead_by(gap, docs=36):
    scores, labels = torch.zeros(1, docs, dtype=torch.float64), torch.zeros(1, docs)
    scores[0, 0], labels[0, 0] = gap, 1
    return scores.requires_grad_(), labels, torch.ones(1, docs, dtype=torch.bool)


def test_softmax_of_two_docs_is_pairwise_logistic():
    loss = softmax(tensor([[2.0, 0.0]]), tensor([[1.0, 0.0]]), tensor([[True, True]]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2.0)))


def test_softmax_of_equal_scores_is_the_logarithm_of_the_number_of_docs():
    assert softmax(torch.zeros(1, 7), torch.eye(7)[:1], torch.ones(1, 7, dtype=torch.bool)).item() == pytest.approx(math.log(7))


def test_labels_are_scaled_to_sum_to_one():
    scores = tensor([[math.log(1), math.log(2), math.log(5)]])    # shares 1/8, 2/8, 5/8
    loss = softmax(scores, tensor([[3.0, 1.0, 0.0]]), tensor([[True] * 3]))
    assert loss.item() == pytest.approx(0.75 * math.log(8) + 0.25 * math.log(4))


def test_a_negative_label_counts_as_zero():
    scores, mask = tensor([[0.3, 1.0, -2.0]]), tensor([[True] * 3])
    below, zero = tensor([[1.0, -1.0, 0.0]]), tensor([[1.0, 0.0, 0.0]])
    assert softmax(scores, below, mask).item() == softmax(scores, zero, mask).item()


def test_lists_without_a_positive_do_not_count_and_short_lists_do():
    scores = tensor([[2.0, 0.0, 9.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    labels = tensor([[1.0, 0.0, 9.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    mask = tensor([[True, True, False], [True] * 3, [True] * 3])
    assert softmax(scores, labels, mask).item() == pytest.approx((math.log1p(math.exp(-2.0)) + math.log(3)) / 2)


def test_softmax_pushes_up_a_positive_that_leads_by_3_among_36_docs():
    scores, labels, mask = one_positive_ahead_by(3.0)
    softmax(scores, labels, mask).backward()
    assert scores.grad[0, 0].item() == pytest.approx(-0.635, abs=5e-4)


def test_listnet_mistaken_for_it_would_push_that_positive_down():
    scores, labels, _ = one_positive_ahead_by(3.0)
    targets = torch.softmax(labels.double(), 1)
    assert targets[0, 0].item() == pytest.approx(0.072, abs=5e-4)
    (-(targets * torch.log_softmax(scores, 1)).sum()).backward()
    assert scores.grad[0, 0].item() == pytest.approx(0.293, abs=5e-4)


@pytest.mark.parametrize(("name", "more"), [("list_mle", {"ties": torch.zeros(1, 6)}), ("softmax", {}), ("plackett_luce_head_tail", {"ties": torch.zeros(1, 6), "top_k": 2})])
def test_small_differences_far_from_zero_are_seen_in_fp32(name, more):
    """8,192 apart from 0 an fp32 number still holds thousandths; the sum of exponentials must not round them away."""
    near = tensor([[0.5, 0.25, -0.125, 0.0, 1.0, -1.0]])
    made = [value_and_gradient(LOSSES[name], near + far, tensor([[1.0, 2.0, 0, 0, 0, 1.0]]), torch.ones(1, 6, dtype=torch.bool), **more) for far in (0, 8192)]
    assert made[0][0] == pytest.approx(made[1][0], rel=1e-6)
    torch.testing.assert_close(made[0][1], made[1][1], rtol=1e-5, atol=1e-6)


def test_docs_with_equal_scores_rank_as_they_stand_in_a_long_list_too():
    """Short lists are sorted in place by any method; a sort that is not stable shows from some 16 docs on."""
    ranks = ranks_of(torch.zeros(1, 2000), torch.ones(1, 2000, dtype=torch.bool))
    assert ranks.tolist() == [list(range(1, 2001))]
