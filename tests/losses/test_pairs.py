"""Which pairs are formed, by hand; and that those which cannot count are not."""

import pytest
import torch
from torch import tensor

from headtail.losses.pairs import Pairs, places_of

LABELS = tensor([[0.0, 2.0, 0.0, 1.0], [1.0, 0.0, 0.0, 9.0]])
MASK = tensor([[True] * 4, [True, True, True, False]])


def test_better_has_a_row_for_each_doc_above_the_lowest_label():
    pairs = Pairs.better(LABELS, MASK)
    assert pairs.places.shape == (2, 2)
    assert pairs.places[0].tolist() == [1, 3]
    assert pairs.places[1, 0].item() == 0
    assert pairs.weights.tolist() == [[[1, 0, 1, 1], [1, 0, 1, 0]], [[0, 1, 1, 0], [0, 0, 0, 0]]]
    assert pairs.signs is None


def test_one_positive_among_1000_docs_makes_one_row():
    labels = torch.zeros(3, 1000)
    labels[:, 7] = 1
    assert Pairs.better(labels, torch.ones(3, 1000, dtype=torch.bool)).weights.shape == (3, 1, 1000)


def test_the_lowest_label_need_not_be_zero():
    assert Pairs.better(tensor([[3.0, 3.0, 4.0]]), tensor([[True] * 3])).weights.tolist() == [[[1, 1, 0]]]


def test_touching_gives_a_pair_inside_the_head_half_a_weight_at_each_of_its_two_places():
    head = tensor([[True, True, False, False], [False, True, False, False]])
    pairs = Pairs.touching(head, LABELS, MASK)
    assert pairs.places.tolist()[0] == [0, 1]
    assert pairs.weights.tolist() == [[[0, 0.5, 0, 1], [0.5, 0, 1, 1]], [[1, 0, 0, 0], [0, 0, 0, 0]]]
    assert pairs.signs[0].tolist() == [[0, -1, 0, -1], [1, 0, 1, 1]]


def test_a_head_of_5_makes_5_rows():
    head = torch.zeros(2, 500, dtype=torch.bool)
    head[0, :5] = head[1, 100:103] = True
    labels = torch.arange(500.0).expand(2, 500)
    assert Pairs.touching(head, labels, torch.ones_like(head)).weights.shape == (2, 5, 500)


def test_margins_are_those_of_the_better_doc():
    scores = tensor([[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 0.0]])
    better = Pairs.better(LABELS, MASK)
    assert better.margins(scores)[0].tolist() == [[1, 0, -2, -6], [7, 6, 4, 0]]
    touching = Pairs.touching(tensor([[True, False, False, False]] * 2), LABELS, MASK)
    assert touching.margins(scores)[0].tolist() == [[0, 1, 0, 7]]
    assert touching.differences(scores)[0].tolist() == [[0, -1, -3, -7]]


@pytest.mark.parametrize("chosen", [torch.zeros(2, 3, dtype=torch.bool), torch.zeros(0, 3, dtype=torch.bool)])
def test_where_nothing_is_chosen_there_is_one_row_without_weight(chosen):
    assert places_of(chosen).shape == (len(chosen), 1)
