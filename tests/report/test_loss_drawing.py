"""What the drawing of the losses shows, by hand where a pencil can, and that it is a drawing of all of them."""

import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from headtail.losses import LOSSES
from headtail.report.loss_drawing import DOCS, POSITIVE_AT, VARIANTS, Push, draw_losses, push

POINTWISE = ("bce", "mse", "focal")


def test_shares_are_those_of_the_other_docs_and_the_head_is_the_first_five():
    pushed = Push((-1.0, 5.0, -1.0, 0.0, 0.0, -1.0, 1.0), positive_at=2)
    assert pushed.up == 5.0
    assert pushed.shares == (0.25, 0.0, 0.25, 0.0, 0.0, 0.25, -0.25)
    assert pushed.head == 0.5
    assert Push((0.0, 0.0), positive_at=1).shares == (0.0, 0.0)


@pytest.mark.parametrize("at", POSITIVE_AT)
def test_softmax_pushes_the_positive_by_one_minus_its_share_and_the_others_by_theirs(at):
    powers = [math.exp(-rank / 10) for rank in range(DOCS)]
    shares = [power / sum(powers) for power in powers]
    pushed = push("softmax", at).by_rank
    assert pushed[at - 1] == pytest.approx(1 - shares[at - 1])
    assert all(pushed[rank] == pytest.approx(-shares[rank]) for rank in range(DOCS) if rank != at - 1)


@pytest.mark.parametrize("at", POSITIVE_AT)
@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in POINTWISE])
def test_what_the_positive_gains_the_others_pay(loss, at):
    for options in ({}, *VARIANTS.get(loss, [])):
        assert sum(push(loss, at, **options).by_rank) == pytest.approx(0, abs=1e-9)


def test_the_head_pays_most_where_the_loss_looks_at_the_head():
    assert push("lambda_loss", 20, top_k=5).head == pytest.approx(1)
    assert push("hybrid", 20, head_by="scores").head > 0.8 > 0.3 > push("hybrid", 20).head
    assert push("hybrid", 20, head_by="disjoint").head == 0
    assert push("listnet", 1).up < 0 < push("softmax", 1).up    # taken for softmax, listnet pushes a leading positive down


def test_ties_broken_at_random_are_averaged_over():
    by_rank = push("list_mle", 1).by_rank[1:]
    assert all(after > before for before, after in pairwise(by_rank))    # one draw would go up and down


def test_the_drawing_is_an_svg_that_names_every_loss_and_has_three_panels_for_each():
    svg = draw_losses()
    words = ["".join(text.itertext()).strip() for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert set(LOSSES) <= set(words)
    rows = len(LOSSES) + sum(map(len, VARIANTS.values()))
    assert sum("head" in word and "%" in word for word in words) == rows * len(POSITIVE_AT)
    assert ".902 up · head 34%" in words    # softmax, positive at rank 1
    assert len(svg) < 150_000
    assert svg == draw_losses()
