import math

import pytest
from torch import tensor

from headtail.losses import bce


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


def test_bce_of_one_positive_and_one_negative_is_the_mean_of_two_logarithms():
    loss = bce(tensor([[2.0, -1.0]]), tensor([[1.0, 0.0]]), tensor([[True, True]]))
    assert loss.item() == pytest.approx(-(log_sigmoid(2.0) + log_sigmoid(1.0)) / 2)


def test_bce_reads_any_label_above_zero_as_relevant():
    graded, binary = tensor([[3.0, 1.0, 0.0]]), tensor([[1.0, 1.0, 0.0]])
    scores, mask = tensor([[0.3, -0.2, 1.0]]), tensor([[True] * 3])
    assert bce(scores, graded, mask).item() == bce(scores, binary, mask).item()


def test_graded_bce_aims_at_the_share_of_the_highest_label():
    scores = tensor([[0.0, 0.0]], requires_grad=True)
    bce(scores, tensor([[4.0, 1.0]]), tensor([[True, True]]), graded=True).backward()
    assert scores.grad.tolist() == [[pytest.approx((0.5 - 1) / 2), pytest.approx((0.5 - 0.25) / 2)]]


def test_a_list_without_a_positive_does_not_count():
    scores = tensor([[1.0, 0.0], [5.0, 5.0]])
    both = bce(scores, tensor([[1.0, 0.0], [0.0, 0.0]]), tensor([[True, True], [True, True]]))
    assert both.item() == bce(scores[:1], tensor([[1.0, 0.0]]), tensor([[True, True]])).item()


def test_bce_means_over_the_docs_of_a_list_before_the_lists():
    scores, labels = tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    loss = bce(scores, labels, tensor([[True, True, True], [True, False, False]]))
    assert loss.item() == pytest.approx((math.log(2) - log_sigmoid(2.0)) / 2)
