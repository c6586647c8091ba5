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
    with pytest.raises(HeadtailError, match="list 0 of the batch: expected a finite teacher's score, found nan for its doc 1; look at the run that teaches"):
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
    ("hybrid", {"alpha": 1.01}, "expected 0 <= alpha <= 1, found alpha=1.01"),
    ("hybrid", {"alpha": -0.01}, "expected 0 <= alpha <= 1, found alpha=-0.01"),
    ("hybrid", {"alpha": math.nan}, "expected 0 <= alpha <= 1, found alpha=nan"),
    ("hybrid", {"top_k": 0}, "expected top_k >= 1, a whole number, found top_k=0"),
    ("hybrid", {"top_k": 2.0}, "expected top_k >= 1, a whole number, found top_k=2.0"),
    ("hybrid", {"phi": "hinge", "margin": 0.0}, "expected margin > 0, found margin=0.0"),
    ("hybrid", {"phi": "focal", "gamma": -1.0}, "expected gamma >= 0, found gamma=-1.0"),
    ("hybrid", {"phi": "capped", "cap_at": 0.0}, "expected cap_at > 0, found cap_at=0.0"),
    ("plackett_luce_head_tail", {"alpha": 2.0}, "expected 0 <= alpha <= 1"),
    ("plackett_luce_head_tail", {"top_k": 0}, "expected top_k >= 1, a whole number, found top_k=0"),
    ("list_mle", {"top_k": 0}, "expected top_k >= 1, a whole number, found top_k=0"),
    ("list_mle", {"top_k": 2.5}, "expected top_k >= 1, a whole number, found top_k=2.5"),
    ("lambda_loss", {"top_k": -1}, "expected top_k >= 1, a whole number, found top_k=-1"),
    ("bce", {"graded": "False"}, "expected graded true or false, found graded='False'"),
    ("lambda_loss", {"mu": -1.0}, "expected mu >= 0, found mu=-1.0"),
    ("lambda_loss", {"weights": "ndcg_loss"}, "unknown weights 'ndcg_loss', did you mean 'ndcg_loss2'?"),
    ("lambda_loss", {"cap": "eazy"}, "unknown cap 'eazy', did you mean 'easy'?"),
    ("hybrid", {"phi": "capped", "margin": 2.0}, "expected margin with phi='hinge' alone, found margin=2.0, phi=capped"),
    ("approx_ndcg", {"temperature": -1.0}, "expected temperature > 0, found temperature=-1.0"),
    ("approx_ndcg", {"temperature": 0.0}, "expected temperature > 0, found temperature=0.0"),
    ("hinge", {"margin": -1.0}, "expected margin > 0, found margin=-1.0"),
    ("focal", {"gamma": -0.1}, "expected gamma >= 0, found gamma=-0.1"),
    ("focal", {"on": "lists"}, "unknown on 'lists'"),
    ("pairwise_logistic", {"cap": "easy", "cap_at": -3.0}, "expected cap_at > 0, found cap_at=-3.0"),
    ("hybrid", {"cap": "eazy"}, "unknown cap 'eazy', did you mean 'easy'?"),
    ("hybrid", {"cap_at": 2.0}, "expected cap_at beside a cap, 'easy' or 'both', found cap_at=2.0, cap=None"),
    ("hinge", {"cap_at": 2.0}, "expected cap_at beside a cap"),
    ("hinge", {"cap_at": 4.0}, "expected cap_at beside a cap"),
    ("hybrid", {"margin": 2.0}, "expected margin with phi='hinge' alone, found margin=2.0, phi=logistic"),
    ("hybrid", {"margin": 0.5}, "expected margin with phi='hinge' alone, found margin=0.5, phi=logistic"),
    ("hybrid", {"gamma": 3.0}, "expected gamma with phi='focal' alone, found gamma=3.0, phi=logistic"),
    ("hybrid", {"phi": "capped", "gamma": 1.0}, "expected gamma with phi='focal' alone, found gamma=1.0, phi=capped"),
    ("hybrid", {"phi": "hinge", "gamma": 1.0}, "expected gamma with phi='focal' alone, found gamma=1.0, phi=hinge"),
    ("focal", {"cap": "easy"}, "expected cap and cap_at with on='pairs' alone, found cap=easy"),
    ("focal", {"cap_at": 2.0}, "expected cap and cap_at with on='pairs' alone, found cap=None, cap_at=2.0"),
    ("focal", {"cap_at": 4.0}, "expected cap and cap_at with on='pairs' alone, found cap=None, cap_at=4.0"),
    ("lambda_loss", {"mu": 20.0}, "expected mu with weights='ndcg_loss2++' alone, found mu=20.0"),
    ("lambda_loss", {"mu": 5.0}, "expected mu with weights='ndcg_loss2++' alone, found mu=5.0, weights=lambdarank"),
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


SHAPES = [
    ({"labels": torch.ones(1, 3)}, r"expected labels of the mask's shape \[2, 3\], found \[1, 3\]"),
    ({"labels": torch.ones(2, 1)}, r"expected labels of the mask's shape \[2, 3\], found \[2, 1\]"),
    ({"labels": torch.ones(3)}, r"expected labels of the mask's shape \[2, 3\], found \[3\]"),
    ({"scores": torch.ones(2, 4)}, r"expected scores of the mask's shape \[2, 3\], found \[2, 4\]"),
    ({"mask": torch.ones(2, 1, dtype=torch.bool)}, r"expected scores of the mask's shape \[2, 1\], found \[2, 3\]"),
    ({"mask": torch.ones(2, 3)}, r"expected a mask \[B, L\] of booleans with L >= 1, found \[2, 3\] of torch.float32"),
    ({"mask": torch.ones(3, dtype=torch.bool)}, r"expected a mask \[B, L\] of booleans with L >= 1, found \[3\] of torch.bool"),
    ({"mask": torch.ones(2, 3, 1, dtype=torch.bool)}, r"expected a mask \[B, L\] of booleans with L >= 1, found \[2, 3, 1\]"),
    ({"mask": torch.ones(2, 0, dtype=torch.bool)}, r"expected a mask \[B, L\] of booleans with L >= 1, found \[2, 0\]"),
]


@pytest.mark.parametrize(("other", "line"), SHAPES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_a_tensor_of_another_shape_is_named_and_never_stretched(name, other, line):
    made = dict(zip(("scores", "labels", "mask"), batch(LISTS), strict=True)) | other
    with pytest.raises(HeadtailError, match=line):
        LOSSES[name](**made, **NEEDED.get(name, {}))


@pytest.mark.parametrize(
    ("name", "option", "more"),
    [
        ("margin_mse", "teacher", {}),
        ("list_mle", "ties", {}),
        ("plackett_luce_head_tail", "ties", {}),
        ("hybrid", "initial", {"head_by": "initial"}),
    ],
)
def test_one_row_of_numbers_is_not_every_lists(name, option, more):
    with pytest.raises(HeadtailError, match=rf"expected {option} of the mask's shape \[2, 3\], found \[1, 3\]"):
        LOSSES[name](*batch(LISTS), **{option: torch.zeros(1, 3)}, **more)


ONE_BY_ONE = ("bce", "mse", "focal")    # a doc alone has a target


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_the_only_doc_of_a_list_has_nothing_to_beat(case):
    """Beside a list of two it neither costs nor halves the mean."""
    name, options = case
    two, one = ([2.0, 0.5], [0.0, 1.0]), ([5.0], [1.0])
    scores, labels, mask = batch([two, one])
    options = filled(options, mask)
    value, gradient = value_and_gradient(LOSSES[name], scores, labels, mask, **options)
    own = {key: option[:1] if isinstance(option, torch.Tensor) else option for key, option in options.items()}
    alone, gradient_alone = value_and_gradient(LOSSES[name], *batch([two]), **own)
    if name in ONE_BY_ONE and options.get("on") != "pairs":
        assert gradient[1, 0] != 0
    else:
        assert value == pytest.approx(alone)
        assert gradient[1].tolist() == [0, 0]
        torch.testing.assert_close(gradient[:1], gradient_alone)


@pytest.mark.parametrize("name", LOSSES)
def test_nan_is_seen_in_a_list_that_does_not_count_too(name):
    scores, labels, mask = batch([([math.nan], [1.0]), ([0.5, 1.0], [0.0, 1.0])])
    more = {"teacher": TEACHER[:, :2]} if name == "margin_mse" else {}
    with pytest.raises(HeadtailError, match="list 0 of the batch: expected a finite score, found nan for its doc 0"):
        LOSSES[name](scores, labels, mask, **more)


@pytest.mark.parametrize("smallest", [1e-3, 1e-6])
@pytest.mark.parametrize("case", [("approx_ndcg", {}), ("lambda_loss", {}), ("hybrid", {"weights": "ndcg"})], ids=case_id)
def test_labels_however_small_weigh_by_their_ratio(case, smallest):
    """2^y - 1 of small labels is y ln 2: halves of a label are halves of a gain, in fp32 too."""
    name, options = case
    scores, mask = tensor([[0.3, 0.1, 0.2]]), tensor([[True] * 3])
    value, gradient = value_and_gradient(LOSSES[name], scores, tensor([[2.0, 1.0, 0.0]]) * smallest, mask, **options)
    double, slope = value_and_gradient(LOSSES[name], scores.double(), tensor([[2.0, 1.0, 0.0]]).double() * smallest, mask, **options)
    assert value == pytest.approx(double, rel=1e-5)
    assert gradient.tolist()[0] == pytest.approx(slope.tolist()[0], rel=1e-4)


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
