"""Values and gradients equal those of rax (JAX), stored in oracles/rax.json; `make oracles` computes them again."""

import json
from pathlib import Path

import pytest
import torch
from tests.losses.cases import batch, value_and_gradient

from headtail.losses import LOSSES

FIXTURE = json.loads((Path(__file__).parent / "oracles" / "rax.json").read_text())
LISTS = FIXTURE["lists"]
ORACLES = [(found["loss"], found["options"], found["lists"]) for found in FIXTURE["losses"]]
NAMES = [" ".join([name, *(f"{key}={value}" for key, value in options.items())]) for name, options, _ in ORACLES]
PAIRWISE = ("pairwise_logistic", "hinge", "lambda_loss")


POINTWISE = ("bce", "mse")


def counts(name, labels):
    """Which lists have something to compare; rax gives the others a value or 0, headtail leaves them out."""
    if name in PAIRWISE:
        return len(set(labels)) > 1
    return max(labels) > 0 and (len(labels) > 1 or name in POINTWISE)


def ours(name, options, lists):
    scores, labels, mask = batch([(one["scores"], one["labels"]) for one in lists])
    if name == "list_mle":
        options = options | {"ties": batch([(one["ties"], one["labels"]) for one in lists])[0]}
    value, gradient = value_and_gradient(LOSSES[name], scores, labels, mask, **options)
    return value, [row[: len(one["scores"])].tolist() for row, one in zip(gradient, lists, strict=True)]


def test_the_fixture_holds_what_rax_has_and_lists_worth_comparing():
    assert len(LISTS) == 50
    assert {name for name, *_ in ORACLES} == set(LOSSES) - {"focal", "margin_mse", "listnet", "hybrid", "plackett_luce_head_tail"}
    assert {len(one["scores"]) for one in LISTS} == {1, 2, 3, 5, 8, 13, 21, 30}
    assert sum(max(one["labels"]) == 0 for one in LISTS) >= 10    # nothing relevant
    assert all(len(set(one["scores"])) == len(one["scores"]) for one in LISTS)


@pytest.mark.parametrize(("name", "options", "found"), ORACLES, ids=NAMES)
def test_each_list_alone_equals_rax(name, options, found):
    for one, expected in zip(LISTS, found, strict=True):
        if counts(name, one["labels"]):
            value, (gradient,) = ours(name, options, [one])
            assert value == pytest.approx(expected["value"], rel=1e-8, abs=1e-12)
            assert gradient == pytest.approx(expected["gradient"], rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(("name", "options", "found"), ORACLES, ids=NAMES)
def test_a_padded_batch_is_the_mean_of_what_rax_gives_its_lists(name, options, found):
    usable = [expected for one, expected in zip(LISTS, found, strict=True) if counts(name, one["labels"])]
    value, gradients = ours(name, options, LISTS)
    assert value == pytest.approx(sum(expected["value"] for expected in usable) / len(usable), rel=1e-8)
    for one, expected, gradient in zip(LISTS, found, gradients, strict=True):
        wanted = expected["gradient"] if counts(name, one["labels"]) else [0.0] * len(gradient)
        assert [slope * len(usable) for slope in gradient] == pytest.approx(wanted, rel=1e-8, abs=1e-11)


def test_a_planted_fault_differs_from_rax():
    """rax's softmax loss as it stands: labels that are not scaled to sum to 1."""
    name, options, found = ORACLES[NAMES.index("softmax")]
    one, expected = next((one, e) for one, e in zip(LISTS, found, strict=True) if sum(one["labels"]) > 1)
    scores, labels = torch.tensor(one["scores"]), torch.tensor(one["labels"])
    unscaled = -(labels * torch.log_softmax(scores, 0)).sum().item()
    assert unscaled != pytest.approx(expected["value"], rel=1e-3)
    assert ours(name, options, [one])[0] == pytest.approx(expected["value"])
