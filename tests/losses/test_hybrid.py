import math

import pytest
import torch
from torch import tensor

from headtail.errors import ConfigError
from headtail.losses import hybrid, hybrid_parts, pairwise_logistic, softmax
from headtail.losses.hybrid import HEADS_BY, WEIGHTS, head_docs, pair_weights
from headtail.losses.pairs import Pairs
from headtail.losses.pairwise import PHIS


def one_list(scores, labels):
    scores = torch.tensor([scores], dtype=torch.float64, requires_grad=True)
    return scores, torch.tensor([labels], dtype=torch.float64), torch.ones(1, len(labels), dtype=torch.bool)


def softplus(x):
    return math.log1p(math.exp(x))


def ndcg_change(scores, labels, mask, top_k):
    """[B, L, L] for lists without padding: with every doc in the head, row i is doc i."""
    return pair_weights(Pairs.touching(mask, labels, mask), scores.detach(), labels, mask, "ndcg", top_k)


def test_two_docs_by_hand():
    """One pair and one list of two: both parts are softplus(-2) / ln 2."""
    assert hybrid(*one_list([2.0, 0.0], [1.0, 0.0])).item() == pytest.approx(softplus(-2.0) / math.log(2))


def test_pairs_outside_the_head_do_not_count():
    """Scores 3 > 2 > 1 > 0, positives at 2 and 1: with a head of the first alone, its pairs are (2, 3) and (1, 3)."""
    loss = hybrid(*one_list([3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]), alpha=1.0, top_k=1, head_by="scores")
    assert loss.item() == pytest.approx((softplus(1.0) + softplus(2.0)) / 2 / math.log(2))


def test_alpha_zero_is_softmax_over_the_logarithm_of_n():
    batch = one_list([0.4, -1.0, 2.0, 0.0], [2.0, 0.0, 1.0, 0.0])
    assert hybrid(*batch, alpha=0.0).item() == pytest.approx(softmax(*batch).item() / math.log(4))


@pytest.mark.parametrize("head_by", ["scores", "labels", "union", "initial", "disjoint"])
def test_alpha_one_with_a_head_of_all_docs_is_pairwise_logistic_over_the_logarithm_of_2(head_by):
    batch = one_list([0.4, -1.0, 2.0, 0.0], [2.0, 0.0, 1.0, 0.0])
    loss = hybrid(*batch, alpha=1.0, top_k=9, head_by=head_by)
    assert loss.item() == pytest.approx(pairwise_logistic(*batch).item() / math.log(2))


@pytest.mark.parametrize("docs", [2, 5, 40])
@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("head_by", [name for name in HEADS_BY if name != "disjoint"])
def test_equal_scores_give_one(docs, phi, weights, head_by):
    batch = one_list([0.7] * docs, [2.0] + [0.0] * (docs - 1))
    options = {"hinge": {"margin": 2.0}, "focal": {"gamma": 0.7}}.get(phi, {})
    for alpha in (0.0, 0.3, 1.0):
        loss = hybrid(*batch, alpha=alpha, phi=phi, weights=weights, head_by=head_by, **options)
        assert loss.item() == pytest.approx(1)


def test_who_stands_in_the_head():
    scores, labels, mask = tensor([[0.1, 0.9, 0.5, 9.9]]), tensor([[1.0, 0.0, 0.0, 9.0]]), tensor([[True, True, True, False]])

    def head(by, top_k=1, **options):
        return head_docs(scores, labels, mask, top_k=top_k, head_by=by, **options)[0].nonzero().flatten().tolist()

    assert head("scores") == head("disjoint") == [1]
    assert head("scores", top_k=2) == [1, 2]
    assert head("labels") == [0]
    assert head("union") == [0, 1]
    assert head("initial") == [0]
    assert head("initial", initial=tensor([[2, 1, 0, 3]])) == [2]
    assert head("scores", top_k=9) == [0, 1, 2]


def test_ties_at_the_cut_all_belong_to_the_head():
    scores, mask = tensor([[1.0, 1.0, 1.0, 0.0]]), tensor([[True] * 4])
    assert head_docs(scores, scores, mask, top_k=2, head_by="scores").tolist() == [[True, True, True, False]]


def test_weights_by_labels_are_their_difference():
    """Pairs (2, 0) and (1, 0) with head = the 0 on top: weights 2 and 1."""
    loss = hybrid(*one_list([3.0, 2.0, 1.0], [0.0, 2.0, 1.0]), alpha=1.0, top_k=1, head_by="scores", weights="labels")
    assert loss.item() == pytest.approx((2 * softplus(1.0) + 1 * softplus(2.0)) / 3 / math.log(2))


def test_weights_by_ndcg_are_the_change_that_a_swap_makes():
    """A 1 at rank 3: to rank 1 nDCG@5 rises from 1/2 to 1, to rank 2 from 1/2 to 1/log2(3)."""
    scores, labels, mask = one_list([3.0, 2.0, 1.0], [0.0, 0.0, 1.0])
    change = ndcg_change(scores, labels, mask, 5)[0]
    assert change[2].tolist() == pytest.approx([0.5, 1 / math.log2(3) - 0.5, 0])
    assert change[0, 1] == 0
    loss = hybrid(scores, labels, mask, alpha=1.0, top_k=5, weights="ndcg")
    expected = (0.5 * softplus(2.0) + (1 / math.log2(3) - 0.5) * softplus(1.0)) / (1 / math.log2(3))
    assert loss.item() == pytest.approx(expected / math.log(2))


def test_below_rank_k_a_swap_changes_ndcg_only_with_the_head():
    scores, labels, mask = one_list([3.0, 2.0, 1.0], [0.0, 0.0, 1.0])
    assert ndcg_change(scores, labels, mask, 1)[0, 2].tolist() == [1, 0, 0]


def test_a_positive_below_the_head_is_still_pushed_up():
    """LambdaLoss@k that asks for both docs of a pair in the first k gives such a list nothing, and its mean is NaN."""
    for head_by in ("scores", "labels", "union", "initial"):
        for weights in WEIGHTS:
            scores, labels, mask = one_list([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0], [0.0] * 5 + [1.0, 0.0])
            hybrid(scores, labels, mask, alpha=1.0, head_by=head_by, weights=weights).backward()
            assert scores.grad[0, 5] < 0


def test_disjoint_gives_a_positive_at_rank_6_no_push_past_the_five_above_it():
    batch = [9.0, 8.0, 7.0, 6.0, 5.0, 1.0, 0.5], [0.0] * 5 + [1.0, 0.0]
    scores, labels, mask = one_list(*batch)
    hybrid(scores, labels, mask, head_by="disjoint").backward()
    assert scores.grad[0, :5].tolist() == [0] * 5
    alone, other, two = one_list([1.0, 0.5], [1.0, 0.0])
    (0.5 * softmax(alone, other, two) / math.log(2)).backward()
    assert scores.grad[0, 5:].tolist() == pytest.approx(alone.grad[0].tolist())    # it only fights the doc below it
    scores, labels, mask = one_list(*batch)
    hybrid(scores, labels, mask, head_by="union").backward()
    assert (scores.grad[0, :5] > 0).all()
    assert scores.grad[0, 5] < 0


def test_disjoint_compares_pairs_inside_the_head_only():
    loss = hybrid(*one_list([3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]), alpha=1.0, top_k=2, head_by="disjoint")
    assert loss.item() == pytest.approx(softplus(1.0) / math.log(2))


def test_the_parts_and_the_lists_that_lack_one():
    scores = tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 1.0], [5.0, 5.0, 0.0], [3.0, 0.0, 0.0], [4.0, 4.0, 4.0]])
    labels = tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    mask = tensor([[True, True, False], [True] * 3, [True, True, False], [True, False, False], [False] * 3])
    parts = hybrid_parts(scores, labels, mask)
    assert parts.head.item() == pytest.approx(softplus(-2.0) / math.log(2))
    assert parts.whole.item() == pytest.approx((softplus(-2.0) / math.log(2) + 1) / 2)
    assert (parts.lists_without_pair, parts.lists_without_label) == (4, 3)


def test_no_gradient_flows_through_the_choice_of_the_head_or_the_weights():
    scores, labels, mask = one_list([3.0, 1.0], [0.0, 1.0])
    (gradient,) = torch.autograd.grad(hybrid(scores, labels, mask, alpha=1.0, weights="ndcg"), scores)
    assert gradient[0].tolist() == pytest.approx([1 / (1 + math.exp(-2)) / math.log(2), -1 / (1 + math.exp(-2)) / math.log(2)])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"head_by": "score"}, "unknown head_by 'score', did you mean 'scores'"),
        ({"phi": "hnge"}, "unknown phi 'hnge', did you mean 'hinge'"),
        ({"weights": "dcg"}, "unknown weights 'dcg', did you mean 'ndcg'"),
        ({"alpha": 1.5}, "expected 0 <= alpha <= 1, found alpha=1.5"),
        ({"alpha": float("nan")}, "expected 0 <= alpha <= 1"),
        ({"top_k": 0}, "expected top_k >= 1"),
    ],
)
def test_an_option_that_means_nothing_is_an_error(options, line):
    with pytest.raises(ConfigError, match=line):
        hybrid(*one_list([1.0, 0.0], [1.0, 0.0]), **options)
