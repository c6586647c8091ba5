import math

import pytest
import torch
from torch import tensor

from headtail.errors import ConfigError
from headtail.losses import pairwise_logistic
from headtail.losses.pairwise import PHIS, cap_margins, phi_at_zero


def test_pairwise_logistic_on_one_pair_is_softplus_of_minus_the_margin():
    loss = pairwise_logistic(tensor([[2.0, 0.0]]), tensor([[1.0, 0.0]]), tensor([[True, True]]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2.0)))


def test_three_grades_make_three_pairs():
    loss = pairwise_logistic(tensor([[3.0, 1.0, 0.0]]), tensor([[2.0, 1.0, 0.0]]), tensor([[True] * 3]))
    assert loss.item() == pytest.approx(sum(math.log1p(math.exp(-margin)) for margin in (2, 3, 1)) / 3)


def test_docs_of_one_label_make_no_pair():
    loss = pairwise_logistic(tensor([[3.0, 1.0]]), tensor([[1.0, 1.0]]), tensor([[True, True]]))
    assert loss.item() == 0


def test_a_long_list_does_not_drown_a_short_one():
    """30 positives and 30 negatives make 900 pairs, 3 and 3 make 9: both lists get half of the gradient."""
    scores = torch.zeros(2, 60, requires_grad=True)
    labels, mask = torch.zeros(2, 60), torch.ones(2, 60, dtype=torch.bool)
    labels[0, :30] = labels[1, :3] = 1
    mask[1, 6:] = False
    pairwise_logistic(scores, labels, mask).backward()
    assert scores.grad.abs().sum(1).tolist() == pytest.approx([0.5, 0.5])


# The size of the slope at margins -10, -3, 0, 3 and 10.
SLOPES = [
    ("logistic", {}, [1.0000, 0.9526, 0.5, 0.0474, 0.0000]),
    ("logistic", {"cap": "both"}, [0.0048, 0.3812, 0.5, 0.0388, 0.0002]),
    ("logistic", {"cap": "easy"}, [1.0000, 0.9526, 0.5, 0.0388, 0.0002]),
    ("hinge", {"margin": 3.0}, [1.0, 1.0, 1.0, 0.0, 0.0]),
    ("focal", {"gamma": 2.0}, [1.0008, 1.1267, 0.2983, 0.0003, 0.0000]),
]


@pytest.mark.parametrize(("phi", "options", "slopes"), SLOPES, ids=str)
def test_how_hard_a_pair_is_pushed_at_each_margin(phi, options, slopes):
    margins = tensor([-10.0, -3.0, 0.0, 3.0, 10.0], requires_grad=True)
    cap = options.get("cap")
    PHIS[phi](cap_margins(margins, cap, 3.0), **options).sum().backward()
    assert (-margins.grad).tolist() == pytest.approx(slopes, abs=6e-5)


def test_a_cap_on_both_sides_silences_the_worst_mistake_and_one_on_the_easy_side_does_not():
    def push(cap):
        scores = tensor([[-10.0, 0.0]], requires_grad=True)
        pairwise_logistic(scores, tensor([[1.0, 0.0]]), tensor([[True, True]]), cap=cap).backward()
        return -scores.grad[0, 0].item()

    assert push(None) == pytest.approx(1, abs=1e-4)
    assert push("easy") == push(None)
    assert push("both") < 0.005


def test_the_cap_keeps_small_margins_and_bounds_large_ones():
    bent = cap_margins(tensor([-100.0, -0.01, 0.0, 0.01, 100.0]), "both", 3.0)
    assert bent.tolist() == pytest.approx([-3, -0.01, 0, 0.01, 3], abs=1e-6)
    assert cap_margins(tensor([-100.0]), "easy", 3.0).item() == -100


@pytest.mark.parametrize("phi", PHIS)
def test_phi_at_zero_is_the_cost_of_a_tie(phi):
    for options in ({}, {"margin": 2.0, "gamma": 0.5}):
        assert phi_at_zero(phi, **options) == pytest.approx(PHIS[phi](tensor(0.0, dtype=torch.float64), **options).item())


def test_an_unknown_cap_is_named():
    with pytest.raises(ConfigError, match="unknown cap 'esy', did you mean 'easy'"):
        pairwise_logistic(tensor([[1.0, 0.0]]), tensor([[1.0, 0.0]]), tensor([[True, True]]), cap="esy")
