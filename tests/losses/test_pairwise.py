import math

import pytest
import torch
from pytest import approx
from torch import tensor

from headtail.errors import ConfigError
from headtail.losses import pairwise_logistic
from headtail.losses.pairwise import PHIS, cap_margins, phi_at_zero


def test_pairwise_logistic_on_one_pair_is_softplus_of_minus_the_margin():
    loss = pairwise_logistic(tensor([[2.0, 0.0]]), tensor([[1.0, 0.0]]), tensor([[True, True]]))
    assert loss.item() == approx(math.log1p(math.exp(-2.0)))


def test_three_grades_make_three_pairs():
    loss = pairwise_logistic(tensor([[3.0, 1.0, 0.0]]), tensor([[2.0, 1.0, 0.0]]), tensor([[True] * 3]))
    assert loss.item() == approx(sum(math.log1p(math.exp(-margin)) for margin in (2, 3, 1)) / 3)


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
    assert scores.grad.abs().sum(1).tolist() == approx([0.5, 0.5])


# The table of slopes that the design gives, printed to three places, at margins -10, -3, 0, 3 and 10.
SLOPES = {
    "logistic": ({}, [1.000, 0.953, 0.500, 0.047, 0.000]),
    "capped both": ({"cap": "both"}, [0.005, 0.381, 0.500, 0.039, 0.000]),
    "capped easy": ({"cap": "easy"}, [1.000, 0.953, 0.500, 0.020, 0.000]),
    "hinge": ({"margin": 3.5}, [1.0, 1.0, 1.0, 1.0, 0.0]),
    "focal": ({"gamma": 2.0}, [1.001, 1.127, 0.298, 0.000, 0.000]),
}
