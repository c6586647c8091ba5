import pytest
import torch
from torch import tensor

from headtail.losses.reduce import mean_inside, mean_over, real_only


def test_the_mean_inside_a_list_comes_before_the_mean_over_lists():
    values = tensor([[1.0, 3.0, 5.0], [10.0, 99.0, 99.0]])
    where = tensor([[True, True, True], [True, False, False]])
    assert mean_over(*mean_inside(values, where)).item() == (3 + 10) / 2    # and not (1 + 3 + 5 + 10) / 4


def test_weights_weigh():
    means, usable = mean_inside(tensor([[1.0, 5.0]]), tensor([[3.0, 1.0]]))
    assert means.tolist() == [2.0]
    assert usable.tolist() == [True]


def test_a_value_without_weight_does_not_count():
    means, usable = mean_inside(tensor([[1.0, 1e30], [5.0, 7.0]]), tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert means.tolist() == [1.0, 0.0]
    assert usable.tolist() == [True, False]


def test_weights_however_small_give_a_mean():
    means, usable = mean_inside(tensor([[1.0, 5.0]]), tensor([[3e-30, 1e-30]]))
    assert means.tolist() == pytest.approx([2.0])
    assert usable.tolist() == [True]


def test_lists_that_are_not_usable_do_not_count():
    assert mean_over(tensor([4.0, 100.0, 2.0]), tensor([True, False, True])).item() == 3.0


def test_nothing_usable_is_a_zero_one_can_differentiate():
    per_list = tensor([4.0, 2.0], requires_grad=True)
    mean = mean_over(per_list, tensor([False, False]))
    mean.backward()
    assert mean.item() == 0
    assert per_list.grad.tolist() == [0, 0]


def test_padding_becomes_zero_and_bf16_becomes_fp32():
    scores = tensor([[1.0, float("nan"), float("inf")]], dtype=torch.bfloat16)
    scores, labels = real_only(scores, tensor([[2, 7, 7]]), tensor([[True, False, False]]))
    assert (scores.tolist(), labels.tolist()) == ([[1.0, 0.0, 0.0]], [[2.0, 0.0, 0.0]])
    assert scores.dtype == labels.dtype == torch.float32


def test_a_list_of_900_pairs_and_one_of_9_have_the_same_say():
    values = torch.ones(2, 900, requires_grad=True)
    where = torch.ones(2, 900, dtype=torch.bool)
    where[1, 9:] = False
    mean_over(*mean_inside(values, where)).backward()
    assert values.grad.sum(1).tolist() == pytest.approx([0.5, 0.5])    # a mean over all 909 pairs would give .99 and .01
