import math

import numpy as np
import pytest
import torch
from tests.losses import reference
from tests.losses.cases import CASES, PER_DOC, batch, case_id, filled, value_and_gradient

from headtail.losses import LOSSES


def random_batches(batches=50, lists=4, longest=14, seed=0):
    """200 lists of 1 to `longest` docs in batches; some lists have no positive, some scores tie."""
    random = np.random.default_rng(seed)
    for _ in range(batches):
        made = []
        for _ in range(lists):
            n = int(random.integers(1, longest + 1))
            scores = random.normal(0, 2, n) if random.random() < 0.7 else random.integers(-3, 4, n) * 0.5
            labels = random.integers(0, 4, n) * (random.random(n) < random.choice([0.0, 0.3, 1.0]))
            made.append((scores.tolist(), [float(label) for label in labels]))
        yield made


def check_against_the_reference(name, options, lists):
    scores, labels, mask = batch(lists)
    options = filled(options, mask)
    value, gradient = value_and_gradient(LOSSES[name], scores, labels, mask, **options)
    per_doc = {
        key: [row[: len(s)].tolist() for row, (s, _) in zip(drawn, lists, strict=True)]
        for key, drawn in options.items()
        if isinstance(drawn, torch.Tensor)
    }
    plain = {key: option for key, option in options.items() if key not in per_doc}
    expected, expected_gradients = reference.loss(name, lists, per_doc, **plain)
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)
    for row, wanted in enumerate(expected_gradients):
        np.testing.assert_allclose(gradient[row, : len(wanted)], wanted, rtol=1e-6, atol=1e-12)
        assert not gradient[row, len(wanted) :].any()


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_value_and_gradient_equal_the_reference_on_200_lists(case):
    name, options = case
    for lists in random_batches():
        check_against_the_reference(name, options, lists)


DRAWN = {"margin_mse": {"teacher": PER_DOC}, "list_mle": {"ties": PER_DOC}, "plackett_luce_head_tail": {"ties": PER_DOC}}


def lists_of_1_to_200_docs(count, seed=1, lists=20):
    """Lengths spread evenly over their logarithm; 0 to 3 positives a list."""
    random = np.random.default_rng(seed)
    for _ in range(count // lists):
        made = []
        for _ in range(lists):
            n = round(200 ** random.random())
            labels = [0.0] * n
            for place in random.integers(0, n, int(random.integers(0, 4))):
                labels[place] = float(random.integers(1, 4))
            made.append((random.normal(0, 2, n).tolist(), labels))
        yield made


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_equal_the_reference_on_2000_lists_of_1_to_200_docs(name):
    longest = 0
    for lists in lists_of_1_to_200_docs(2000):
        check_against_the_reference(name, DRAWN.get(name, {}), lists)
        longest = max(longest, *(len(scores) for scores, _ in lists))
    assert longest > 190


@pytest.mark.parametrize(
    ("phi", "options"), [("logistic", {}), ("hinge", {}), ("focal", {}), ("capped", {"cap": "easy"}), ("capped", {"cap": "both"})]
)
def test_the_derivatives_of_the_reference_itself_are_right(phi, options):
    for d in (-4.0, -0.7, 0.3, 2.5):
        slope = (reference.cost(phi, d + 1e-6, **options)[0] - reference.cost(phi, d - 1e-6, **options)[0]) / 2e-6
        assert reference.cost(phi, d, **options)[1] == pytest.approx(slope, abs=1e-8)


def test_the_reference_knows_two_numbers_done_by_hand():
    value, (gradient,) = reference.loss("softmax", [([0.0, 0.0], [1.0, 0.0])])
    assert value == pytest.approx(math.log(2))
    assert gradient.tolist() == [-0.5, 0.5]


def test_a_faulty_loss_differs_from_the_reference():
    def mean_over_all_pairs(scores, labels, mask):
        margins = scores[:, :, None] - scores[:, None, :]
        pairs = (labels[:, :, None] > labels[:, None, :]) & mask[:, :, None] & mask[:, None, :]
        return torch.nn.functional.softplus(-margins)[pairs].mean()

    lists = [([0.3, 1.0, 2.0], [1.0, 0.0, 0.0]), ([1.0, 0.0], [1.0, 0.0])]
    value, _ = value_and_gradient(mean_over_all_pairs, *batch(lists))
    assert value != pytest.approx(reference.loss("pairwise_logistic", lists)[0], rel=1e-3)
