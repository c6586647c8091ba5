"""What every loss owes for every combination of its options, and planted faults that each law catches."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.losses.cases import CASES, batch, case_id, filled, per_doc, value_and_gradient

from headtail.losses import LOSSES, softmax
from headtail.losses.hybrid import HEADS_BY
from headtail.losses.listwise import LAMBDAS

POINTWISE = ("bce", "mse", "focal")
SHIFTABLE = [case for case in CASES if case[0] not in POINTWISE or case[1].get("on") == "pairs"]    # a pointwise loss reads a score as it stands


GRADES = st.integers(0, 3)


@st.composite
def lists(draw, labels=GRADES, min_lists=1, min_docs=1, distinct=False):
    """A batch of 1 to 3 lists of 1 to 8 docs; scores are eighths, so that they tie and can be shifted exactly."""
    made = []
    for _ in range(draw(st.integers(min_lists, 3))):
        n = draw(st.integers(min_docs, 8))
        scores = draw(st.lists(st.integers(-40, 40), min_size=n, max_size=n, unique=distinct))
        made.append(([score / 8 for score in scores], [float(draw(labels)) for _ in range(n)]))
    return made


PARTS = 7


def law(test):
    """Every case, a seventh of them at a time, on a few batches each."""
    return pytest.mark.parametrize("part", range(PARTS))(settings(max_examples=12, deadline=None)(test))


def close(ours, theirs):
    (value, gradient), (other_value, other_gradient) = ours, theirs
    assert value == pytest.approx(other_value, rel=1e-9, abs=1e-12)
    assert torch.allclose(gradient, other_gradient, rtol=1e-9, atol=1e-12)


def check_translation(loss_fn, made, shifts, **options):
    scores, labels, mask = batch(made)
    moved = scores + torch.tensor(shifts[: len(scores)], dtype=scores.dtype)[:, None]
    options = filled(options, mask)
    close(value_and_gradient(loss_fn, scores, labels, mask, **options), value_and_gradient(loss_fn, moved, labels, mask, **options))


def check_permutation(loss_fn, made, seed, **options):
    scores, labels, mask = batch(made)
    order = torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    options = filled(options, mask)
    value, gradient = value_and_gradient(loss_fn, scores, labels, mask, **options)
    moved = [tensor.gather(1, order) for tensor in (scores, labels, mask)]
    moved_options = per_doc(options, lambda tensor: tensor.gather(1, order))
    close((value, gradient.gather(1, order)), value_and_gradient(loss_fn, *moved, **moved_options))


def check_padding(loss_fn, made, junk, **options):
    scores, labels, mask = batch(made)
    width = mask.shape[1]
    wide = [torch.cat([tensor, torch.zeros(len(mask), 3, dtype=tensor.dtype)], 1) for tensor in (scores, labels, mask)]
    wide[0] = wide[0].masked_fill(~wide[2], junk)
    wide[1] = wide[1].masked_fill(~wide[2], junk)
    options = filled(options, mask)
    wide_options = per_doc(options, lambda tensor: torch.cat([tensor, torch.full((len(mask), 3), 77).to(tensor)], 1))
    value, gradient = value_and_gradient(loss_fn, *wide, **wide_options)
    assert not gradient[~wide[2]].any()
    close((value, gradient[:, :width]), value_and_gradient(loss_fn, scores, labels, mask, **options))


def check_finite(loss_fn, scores, labels, mask, **options):
    value, gradient = value_and_gradient(loss_fn, scores, labels, mask, **filled(options, mask))
    assert math.isfinite(value)
    assert torch.isfinite(gradient).all()
    return value, gradient


def check_autocast(loss_fn, made, **options):
    """A trainer may call a loss under bf16 autocast: what the loss computes stays in fp32, to the bit."""
    scores, labels, mask = batch(made, dtype=torch.float32)
    options = filled(options, mask)
    value, gradient = value_and_gradient(loss_fn, scores, labels, mask, **options)
    with torch.autocast("cpu", torch.bfloat16):
        low_value, low_gradient = value_and_gradient(loss_fn, scores, labels, mask, **options)
    assert low_value == value
    assert torch.equal(low_gradient, gradient)


def check_zero(loss_fn, **options):
    """Nothing relevant, or nothing but padding: 0, and a gradient of 0."""
    for labels, mask in (
        (torch.zeros(2, 6), torch.ones(2, 6, dtype=torch.bool)),
        (torch.eye(6)[:2], torch.zeros(2, 6, dtype=torch.bool)),
    ):
        for scores in (torch.zeros(2, 6), torch.randn(2, 6, generator=torch.Generator().manual_seed(0))):
            value, gradient = check_finite(loss_fn, scores, labels, mask, **options)
            assert value == 0
            assert not gradient.any()


def check_gradient_sum(loss_fn, made, **options):
    scores, labels, mask = batch(made)
    _, gradient = value_and_gradient(loss_fn, scores, labels, mask, **filled(options, mask))
    assert gradient.sum(1).tolist() == pytest.approx([0] * len(made), abs=1e-9)


def check_pushed_up(loss_fn, made, **options):
    scores, labels, mask = batch(made)
    _, gradient = value_and_gradient(loss_fn, scores, labels, mask, **filled(options, mask))
    assert (gradient[labels > 0] < 0).all()


def check_mean_of_lists(loss_fn, made, counts, **options):
    """The value of a batch is the mean of the values of those of its lists that count, each taken alone."""
    scores, labels, mask = batch(made)
    options, values = filled(options, mask), []
    for row, (s, y) in enumerate(made):
        if counts(y):
            own = per_doc(options, lambda tensor, row=row, s=s: tensor[row : row + 1, : len(s)])
            values.append(value_and_gradient(loss_fn, *batch([(s, y)]), **own)[0])
    expected = sum(values) / len(values) if values else 0
    assert value_and_gradient(loss_fn, scores, labels, mask, **options)[0] == pytest.approx(expected, abs=1e-12)


@law
@given(lists(), st.lists(st.integers(-1000, 1000), min_size=3, max_size=3))
def test_shifting_all_scores_of_a_list_changes_nothing(part, made, shifts):
    for name, options in SHIFTABLE[part::PARTS]:
        check_translation(LOSSES[name], made, shifts, **options)


@law
@given(lists(distinct=True), st.integers(0, 10**6))
def test_the_order_of_the_docs_changes_nothing(part, made, seed):
    for name, options in CASES[part::PARTS]:
        check_permutation(LOSSES[name], made, seed, **options)


@law
@given(lists(), st.integers(0, 10**6))
def test_the_order_of_docs_with_equal_scores_changes_nothing_either(part, made, seed):
    for name, options in CASES[part::PARTS]:
        if options.get("weights") not in ("ndcg", *LAMBDAS):    # they have to rank ties somehow, and take the order given
            check_permutation(LOSSES[name], made, seed, **options)


@law
@given(lists(), st.sampled_from([0.0, 1e9, -1e9, math.nan, math.inf, -math.inf]))
def test_padding_changes_neither_value_nor_gradient(part, made, junk):
    for name, options in CASES[part::PARTS]:
        check_padding(LOSSES[name], made, junk, **options)


@law
@given(lists(), st.sampled_from([1.0, 50.0, 2000.0]))
def test_value_and_gradient_are_finite_for_logits_up_to_10000(part, made, scale):
    scores, labels, mask = batch(made, dtype=torch.float32)
    for name, options in CASES[part::PARTS]:
        check_finite(LOSSES[name], scores * scale, labels, mask, **options)


@law
@given(lists())
def test_autocast_lowers_no_precision(part, made):
    for name, options in CASES[part::PARTS]:
        check_autocast(LOSSES[name], made, **options)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_lists_with_nothing_to_learn_give_a_differentiable_zero(case):
    name, options = case
    check_zero(LOSSES[name], **options)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_tied_lists_are_finite(case):
    name, options = case
    for level in (0.0, 1e4, -1e4):
        scores, labels, mask = torch.full((1, 6), level), torch.eye(6)[:1], torch.ones(1, 6, dtype=torch.bool)
        value, _ = check_finite(LOSSES[name], scores, labels, mask, **options)
        assert value > 0 or options.get("head_by") == "disjoint" or name == "approx_ndcg"    # which is -nDCG


@law
@given(lists())
def test_the_gradient_of_a_list_sums_to_zero(part, made):
    for name, options in SHIFTABLE[part::PARTS]:
        check_gradient_sum(LOSSES[name], made, **options)


@law
@given(lists(labels=st.just(0), min_docs=2), st.integers(0, 7))
def test_the_one_positive_of_a_list_is_always_pushed_up(part, made, where):
    for scores, labels in made:
        labels[where % len(scores)] = 1.0
    for name, options in CASES[part::PARTS]:
        pairs_alone, head_by = options.get("alpha") == 1.0, options.get("head_by")
        silent = (
            name in ("mse", "margin_mse", "listnet", "hinge")    # they have a target, and a positive can stand above it
            or (name == "approx_ndcg" and "temperature" not in options)    # a step of .1 is flat 37 temperatures away
            or head_by == "disjoint"    # on purpose: see test_hybrid
            or (pairs_alone and options.get("phi") == "hinge")    # once the margin is reached
            or (pairs_alone and head_by == "initial" and options["weights"] == "ndcg")    # all of the old head ranks below k
        )
        if not silent:
            check_pushed_up(LOSSES[name], made, **options)


def has_positive(labels):
    return max(labels) > 0


def has_target(labels):
    return max(labels) > 0 and len(labels) > 1


def has_pair(labels):
    return len(set(labels)) > 1


PAIRWISE = ("pairwise_logistic", "hinge", "margin_mse", "lambda_loss")
HYBRIDS = ("hybrid", "plackett_luce_head_tail")    # each of their two parts is such a mean: see test_hybrid


@law
@given(lists(min_lists=2))
def test_a_batch_is_the_mean_of_its_lists(part, made):
    """One list with a positive beside one without: neither borrows from the other."""
    for name, options in [case for case in CASES if case[0] not in HYBRIDS][part::PARTS]:
        on_docs = has_positive if name in POINTWISE else has_target
        counts = has_pair if name in PAIRWISE or options.get("on") == "pairs" else on_docs
        check_mean_of_lists(LOSSES[name], made, counts, **options)


def check_alpha_zero(loss_fn, made, **options):
    """softmax / ln n, n the docs of each list."""
    each = [LOSSES["softmax"](*batch([one])).item() / math.log(len(one[0])) for one in made if has_target(one[1])]
    value, _ = value_and_gradient(loss_fn, *batch(made), alpha=0.0, **options)
    assert value == pytest.approx(sum(each) / max(1, len(each)), abs=1e-12)


def check_alpha_one(loss_fn, made, **options):
    """pairwise_logistic / ln 2, once the head holds every doc."""
    scores, labels, mask = batch(made)
    value, gradient = value_and_gradient(loss_fn, scores, labels, mask, alpha=1.0, top_k=mask.shape[1], **options)
    expected, expected_gradient = value_and_gradient(LOSSES["pairwise_logistic"], scores, labels, mask)
    close((value, gradient), (expected / math.log(2), expected_gradient / math.log(2)))


def check_untrained(loss_fn, made, alpha, **options):
    """1 where all scores are equal, whatever alpha."""
    scores, labels, mask = batch([([0.5] * len(s), y) for s, y in made])
    value, _ = value_and_gradient(loss_fn, scores, labels, mask, alpha=alpha, **options)
    both = any(has_pair(y) for _, y in made) and any(has_target(y) for _, y in made)
    assert value == pytest.approx(1) or not both


@pytest.mark.parametrize("head_by", [name for name in HEADS_BY if name != "disjoint"])
@settings(max_examples=50, deadline=None)
@given(lists())
def test_the_hybrid_at_alpha_zero_is_softmax_over_the_logarithm_of_n(head_by, made):
    check_alpha_zero(LOSSES["hybrid"], made, head_by=head_by)


@pytest.mark.parametrize("head_by", HEADS_BY)
@settings(max_examples=50, deadline=None)
@given(lists())
def test_the_hybrid_at_alpha_one_with_every_doc_in_the_head_is_pairwise_logistic(head_by, made):
    check_alpha_one(LOSSES["hybrid"], made, head_by=head_by)


def ranks_ties_below_k(options):
    """Of docs with equal scores the first stage's first k may all rank below k, where a swap moves no nDCG@k."""
    return options.get("head_by") == "initial" and options["weights"] == "ndcg"


WHOLE_HYBRIDS = [options for name, options in CASES if name == "hybrid" and options.get("head_by") != "disjoint"]


@pytest.mark.parametrize("options", [options for options in WHOLE_HYBRIDS if not ranks_ties_below_k(options)], ids=str)
@settings(max_examples=12, deadline=None)
@given(lists(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_the_hybrid_of_an_untrained_ranker_is_one(options, made, alpha):
    check_untrained(LOSSES["hybrid"], made, **options | {"alpha": alpha})


# Planted faults: what each law is there to catch. ------------------------------------------------------------------

MADE = [([0.5, 2.0, -1.0], [0.0, 1.0, 2.0]), ([3.0, 1.0], [0.0, 1.0])]


def test_translation_catches_a_pointwise_loss():
    with pytest.raises(AssertionError):
        check_translation(LOSSES["bce"], MADE, [1.0, 2.0])


def test_permutation_catches_a_list_mle_that_takes_the_input_order_for_the_label_order():
    def list_mle(scores, labels, mask):
        scores = scores.masked_fill(~mask, -1e9)
        tails = scores.flip(1).logcumsumexp(1).flip(1)
        return ((tails - scores) * mask).sum()

    with pytest.raises(AssertionError):
        check_permutation(list_mle, MADE, seed=1)


def test_permutation_catches_a_head_that_settles_ties_by_position():
    def first_of_equals(scores, labels, mask):
        best = scores.argmax(1, keepdim=True)
        return (scores * labels).gather(1, best).sum()

    with pytest.raises(AssertionError):
        check_permutation(first_of_equals, [([1.0] * 6, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])], seed=1)


def test_padding_catches_a_forgotten_mask_and_a_mask_multiplied_in():
    def forgotten(scores, labels, mask):
        return softmax(scores, labels * mask, torch.ones_like(mask))

    def multiplied(scores, labels, mask):
        return -(labels.masked_fill(~mask, 0) * torch.log_softmax(scores * mask, 1)).sum()

    with pytest.raises(AssertionError):
        check_padding(forgotten, MADE, 0.0)
    with pytest.raises(AssertionError):
        check_padding(multiplied, MADE, math.nan)    # NaN x 0 is NaN


def test_finiteness_catches_an_exponential_without_the_maximum_subtracted():
    def plain(scores, labels, mask):
        shares = scores.exp() / scores.exp().sum(1, keepdim=True)
        return -(labels * shares.log()).sum()

    scores, labels, mask = batch(MADE, dtype=torch.float32)
    check_finite(plain, scores, labels, torch.ones_like(mask))
    with pytest.raises(AssertionError):
        check_finite(plain, scores * 89, labels, torch.ones_like(mask))


def test_finiteness_catches_the_mean_of_no_pairs():
    def mean_of_nothing(scores, labels, mask):
        return (scores[:, :, None] - scores[:, None, :])[labels[:, :, None] > labels[:, None, :]].mean()

    with pytest.raises(AssertionError):
        check_finite(mean_of_nothing, torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool))


def test_the_law_of_autocast_catches_a_mean_written_as_a_product_of_vectors():
    def by_product(scores, labels, mask):
        costs, usable = softmax.per_list(scores, labels, mask)
        return costs @ (usable / usable.sum())

    with pytest.raises(AssertionError):
        check_autocast(by_product, MADE)


def test_the_zero_law_catches_a_list_without_a_positive_that_still_costs():
    def all_negative_is_a_lesson_too(scores, labels, mask):
        costs = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")
        return (costs * mask).sum() / mask.sum().clamp(min=1)

    with pytest.raises(AssertionError):
        check_zero(all_negative_is_a_lesson_too)


def test_the_law_of_the_sum_catches_a_rank_that_lets_gradients_through():
    def weighed_by_score(scores, labels, mask):
        return (softmax.per_list(scores, labels, mask)[0] * scores.masked_fill(~mask, 0).sum(1)).sum()

    check_gradient_sum(softmax, MADE)
    with pytest.raises(AssertionError):
        check_gradient_sum(weighed_by_score, MADE)


def test_the_law_of_the_push_catches_listnet_taken_for_softmax():
    leading = [([3.0] + [0.0] * 35, [1.0] + [0.0] * 35)]
    check_pushed_up(softmax, leading)
    with pytest.raises(AssertionError):
        check_pushed_up(LOSSES["listnet"], leading)


def test_the_laws_of_the_hybrid_catch_parts_that_are_not_divided_and_a_head_that_is_short():
    def mixed(scores, labels, mask, *, alpha=0.5, top_k=5, head_by="union", by_docs=1.0, by_pair=1.0):
        whole = softmax(scores, labels, mask) / by_docs
        return alpha * LOSSES["pairwise_logistic"](scores, labels, mask) / by_pair + (1 - alpha) * whole

    one_length = [([0.5, 2.0, -1.0], [0.0, 1.0, 2.0])]
    logs = {"by_docs": math.log(3), "by_pair": math.log(2)}
    check_alpha_zero(mixed, one_length, **logs)
    check_alpha_one(mixed, MADE, **logs)
    check_untrained(mixed, one_length, 0.3, **logs)
    with pytest.raises(AssertionError):
        check_alpha_zero(mixed, MADE, **logs)    # one divisor for lists of three docs and of two
    with pytest.raises(AssertionError):
        check_alpha_one(mixed, MADE)
    with pytest.raises(AssertionError):
        check_alpha_one(lambda *made, top_k, **options: LOSSES["hybrid"](*made, top_k=1, head_by="scores", **options), MADE)
    with pytest.raises(AssertionError):
        check_untrained(mixed, one_length, 0.3)


def test_the_law_of_the_mean_catches_a_mean_over_all_lists_and_one_over_all_docs():
    def over_all_lists(scores, labels, mask):
        return softmax.per_list(scores, labels, mask)[0].mean()

    def over_all_docs(scores, labels, mask):
        costs = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels.clamp(max=1).to(scores), reduction="none")
        return costs[mask].mean()

    without = [*MADE, ([1.0, 2.0], [0.0, 0.0])]
    check_mean_of_lists(softmax, without, has_positive)
    with pytest.raises(AssertionError):
        check_mean_of_lists(over_all_lists, without, has_positive)
    check_mean_of_lists(LOSSES["bce"], MADE, has_positive)
    with pytest.raises(AssertionError):
        check_mean_of_lists(over_all_docs, MADE, has_positive)
