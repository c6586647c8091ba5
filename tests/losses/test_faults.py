"""Five faults found in widely used libraries of ranking losses: each test shows the fault, then that it is not here."""

import math

import pytest
import torch
import torch.nn.functional as F
from tests.losses.cases import CASES, batch, case_id, filled, value_and_gradient
from torch import tensor

from headtail.losses import LOSSES, lambda_loss, list_mle, pairwise_logistic, softmax
from headtail.losses.hybrid import HEADS_BY
from headtail.losses.listwise import LAMBDAS
from headtail.losses.reduce import mean_inside, mean_over

FIVE_ABOVE = [([9.0, 8.0, 7.0, 6.0, 5.0, 1.0, 0.5], [0.0] * 5 + [1.0, 0.0]), ([7.0, 6.0, 5.0, 4.0, 3.0, 2.0], [0.0] * 5 + [1.0])]


def test_fault_1_a_listnet_that_softmaxes_the_labels_taken_for_rankt5s_softmax():
    """36 docs, the one positive 3 above the rest: its target is .072, and it is pushed down."""
    scores, labels, mask = batch([([3.0] + [0.0] * 35, [1.0] + [0.0] * 35)])
    assert F.softmax(labels.double(), 1)[0, 0].item() == pytest.approx(0.072, abs=5e-4)
    _, gradient = value_and_gradient(LOSSES["listnet"], scores, labels, mask)
    assert gradient[0, 0].item() == pytest.approx(0.293, abs=5e-4)
    _, gradient = value_and_gradient(softmax, scores, labels, mask)
    assert gradient[0, 0].item() == pytest.approx(-0.635, abs=5e-4)


def both_in_the_first_k(scores, labels, mask, top_k=5):
    """LambdaLoss@k as it is often written: of all pairs, those whose docs both stand in the first k."""
    ranks = scores.detach().argsort(1, descending=True).argsort(1)
    inside = (ranks < top_k)[:, :, None] & (ranks < top_k)[:, None, :]
    pairs = inside & (labels[:, :, None] > labels[:, None, :]) & mask[:, :, None] & mask[:, None, :]
    return F.softplus(-(scores[:, :, None] - scores[:, None, :]))[pairs].mean()


def test_fault_2_a_lambda_loss_at_k_that_asks_for_both_docs_of_a_pair_in_the_first_k():
    """A positive at rank 6 gets no gradient; a batch of such lists gives NaN."""
    value, _ = value_and_gradient(both_in_the_first_k, *batch(FIVE_ABOVE))
    assert math.isnan(value)
    _, gradient = value_and_gradient(both_in_the_first_k, *batch([FIVE_ABOVE[0], ([1.0, 0.0], [0.0, 1.0])]))
    assert gradient[0].tolist() == [0.0] * 7
    for weights in LAMBDAS:
        value, gradient = value_and_gradient(lambda_loss, *batch(FIVE_ABOVE), weights=weights, top_k=5)
        assert value > 0
        assert (gradient[:, 5] < 0).all()
        assert (gradient[:, :5] > 0).all()


@pytest.mark.parametrize("head_by", [name for name in HEADS_BY if name != "disjoint"])
def test_fault_2_is_not_in_the_hybrid_either(head_by):
    _, gradient = value_and_gradient(LOSSES["hybrid"], *batch(FIVE_ABOVE), alpha=1.0, head_by=head_by)
    assert (gradient[:, 5] < 0).all()


def in_parts(case):
    """The short list below may lack a part, and each part is a mean over the lists that have it."""
    return case[1].get("head_by") == "disjoint" or case[0] == "plackett_luce_head_tail"


def test_fault_3_a_mean_over_all_pairs_of_the_batch():
    """30 positives and 30 negatives make 900 pairs, 3 and 3 make 9: the first list would take 99 % of the gradient."""
    lists = [([0.0] * 60, [1.0] * 30 + [0.0] * 30), ([0.0] * 6, [1.0] * 3 + [0.0] * 3)]

    def over_the_batch(scores, labels, mask):
        pairs = (labels[:, :, None] > labels[:, None, :]) & mask[:, :, None] & mask[:, None, :]
        return F.softplus(-(scores[:, :, None] - scores[:, None, :]))[pairs].mean()

    _, gradient = value_and_gradient(over_the_batch, *batch(lists))
    assert gradient.abs().sum(1).tolist() == pytest.approx([900 / 909, 9 / 909])
    _, gradient = value_and_gradient(pairwise_logistic, *batch(lists))
    assert gradient.abs().sum(1).tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("case", [case for case in CASES if not in_parts(case)], ids=case_id)
def test_fault_3_is_in_no_loss_a_list_beside_another_pushes_half_as_hard_as_alone(case):
    name, options = case
    short, long = ([0.5, -0.5, 0.25], [0.0, 1.0, 0.0]), ([0.1 * place for place in range(20)], [1.0, 0.0] * 10)
    scores, labels, mask = batch([short, long])
    options = filled(options, mask)
    _, gradient = value_and_gradient(LOSSES[name], scores, labels, mask, **options)
    for row in range(2):
        own = {key: value[row : row + 1] if isinstance(value, torch.Tensor) else value for key, value in options.items()}
        _, alone = value_and_gradient(LOSSES[name], scores[row : row + 1], labels[row : row + 1], mask[row : row + 1], **own)
        torch.testing.assert_close(gradient[row : row + 1], alone / 2)


def test_fault_4_a_plackett_luce_that_exponentiates_without_subtracting_the_maximum():
    """exp(89) is the first power that fp32 cannot hold."""
    scores, labels, mask = batch([([89.0, 0.0], [1.0, 0.0]), ([10_000.0, 0.0, -10_000.0], [0.0, 0.0, 1.0])], dtype=torch.float32)
    assert torch.isinf(scores.exp()).any()
    value, gradient = value_and_gradient(list_mle, scores, labels, mask)
    assert math.isfinite(value)
    assert torch.isfinite(gradient).all()


def test_fault_4_a_list_mle_that_takes_the_input_order_for_the_label_order():
    """The better doc stands second in the list; reading the order of the list would push it down."""
    _, gradient = value_and_gradient(list_mle, *batch([([0.0, 0.0], [0.0, 1.0])]))
    assert gradient[0].tolist() == [0.25, -0.25]    # 1/2 at the first of two factors, whose mean it is


def test_fault_5_a_mean_in_which_a_list_with_nothing_relevant_borrows_from_another():
    """An MRR averaged with the batch gives such a list 1 because another list has one. Here it neither gains nor counts."""
    with_one, without = ([0.0, 2.0, 1.0], [0.0, 1.0, 0.0]), ([3.0, 1.0], [0.0, 0.0])
    for name in LOSSES:
        options = {"teacher": tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]])} if name == "margin_mse" else {}
        if name in ("list_mle", "plackett_luce_head_tail"):
            options = {"ties": tensor([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])}
        value, gradient = value_and_gradient(LOSSES[name], *batch([with_one, without]), **options)
        own = {key: tensor[:1] for key, tensor in options.items()}
        alone, gradient_alone = value_and_gradient(LOSSES[name], *batch([with_one]), **own)
        assert value == pytest.approx(alone)
        assert gradient[1].tolist() == [0, 0, 0]
        assert gradient[0].tolist() == pytest.approx(gradient_alone[0].tolist())


def test_fault_5_in_a_mean_by_hand():
    means = mean_over(*mean_inside(tensor([[1.0, 3.0], [5.0, 5.0]]), tensor([[True, True], [False, False]])))
    assert means.item() == 2
