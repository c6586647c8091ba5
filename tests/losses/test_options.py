"""Names, options and defaults of the family, and what a log is told of a loss."""

import inspect
from pathlib import Path

import pytest
import torch
from tests.losses.cases import batch
from torch import tensor

from headtail.errors import ConfigError
from headtail.losses import (
    LOSSES,
    check_loss,
    hybrid,
    hybrid_parts,
    list_mle,
    options_of,
    parts_of,
    plackett_luce_parts,
    takes_teacher,
)
from headtail.losses.pairwise import PHIS

LISTS = [([2.0, 0.0, 1.0], [1.0, 0.0, 0.0]), ([1.0, 0.0], [0.0, 0.0]), ([1.0, 3.0], [2.0, 2.0])]

DEFAULTS = {
    "bce": {"graded": False},
    "mse": {},
    "focal": {"on": "docs", "gamma": 2.0, "cap": None, "cap_at": 3.0},
    "pairwise_logistic": {"cap": None, "cap_at": 3.0},
    "hinge": {"margin": 1.0, "cap": None, "cap_at": 3.0},
    "margin_mse": {"teacher": None, "cap": None, "cap_at": 3.0},
    "softmax": {},
    "poly1": {"epsilon": 1.0},
    "listnet": {},
    "list_mle": {"top_k": None, "ties": None},
    "lambda_loss": {"weights": "lambdarank", "top_k": None, "mu": 10.0, "cap": None, "cap_at": 3.0},
    "approx_ndcg": {"temperature": 0.1},
    "hybrid": {
        "alpha": 0.5, "top_k": 5, "head_by": "union", "phi": "logistic", "weights": "none", "cap": None, "cap_at": 3.0,
        "margin": 1.0, "gamma": 2.0, "initial": None,
    },
    "plackett_luce_head_tail": {"alpha": 0.5, "top_k": 5, "ties": None},
}


@pytest.mark.parametrize("name", LOSSES)
def test_options_and_their_defaults(name):
    assert options_of(name) == DEFAULTS[name]
    assert LOSSES[name].__name__ == name


@pytest.mark.parametrize("name", [name for name, options in DEFAULTS.items() if options])
def test_options_are_given_by_name(name):
    with pytest.raises(TypeError):
        LOSSES[name](*batch(LISTS), 1)


@pytest.mark.parametrize(("parts", "name"), [(hybrid_parts, "hybrid"), (plackett_luce_parts, "plackett_luce_head_tail")])
def test_the_parts_have_the_defaults_of_their_loss(parts, name):
    given = inspect.signature(parts).parameters.values()
    assert {parameter.name: parameter.default for parameter in given if parameter.default is not parameter.empty} == DEFAULTS[name]


@pytest.mark.parametrize(("phi", "defaults"), [("hinge", {"margin": 1.0}), ("focal", {"gamma": 2.0})])
def test_the_cost_of_a_pair_has_the_defaults_of_its_loss(phi, defaults):
    margins = tensor([-2.0, 0.5, 4.0])
    assert PHIS[phi](margins).tolist() == PHIS[phi](margins, **defaults).tolist()
    assert {name: default for name, default in DEFAULTS["hybrid"].items() if name in defaults} == defaults


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("softmx", {}, "unknown loss 'softmx', did you mean 'softmax'? known: approx_ndcg, bce, "),
        ("hybrid", {"alpa": 1}, "unknown option of loss 'hybrid' 'alpa', did you mean 'alpha'?"),
        ("softmax", {"alpha": 1}, "unknown option of loss 'softmax' 'alpha'; known: (it has none)"),
        ("bce", {"scores": 1}, "unknown option of loss 'bce' 'scores'"),
        ("bce", {"graded": "False"}, "loss 'bce': option 'graded': expected true or false, found 'False'"),
        ("list_mle", {"top_k": 2.5}, "loss 'list_mle': option 'top_k': expected a whole number, found 2.5"),
        ("hybrid", {"top_k": True}, "loss 'hybrid': option 'top_k': expected a whole number, found True"),
        ("hybrid", {"alpha": "half"}, "loss 'hybrid': option 'alpha': expected a number, found 'half'"),
        ("hybrid", {"alpha": None}, "loss 'hybrid': option 'alpha': expected a number, found None"),
        ("hinge", {"cap": 3}, "loss 'hinge': option 'cap': expected a word, found 3"),
        ("hybrid", {"alpha": 2.0}, "expected 0 <= alpha <= 1, found alpha=2.0"),
        ("poly1", {"epsilon": float("nan")}, "loss 'poly1' gives nan on a list of three docs with the options {'epsilon': nan}"),
    ],
)
def test_a_name_or_value_that_a_config_gets_wrong_is_answered(name, options, line):
    with pytest.raises(ConfigError) as caught:
        check_loss(name, options)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize("name", LOSSES)
def test_defaults_and_whole_numbers_for_numbers_are_values(name):
    assert check_loss(name, DEFAULTS[name]) is LOSSES[name]
    assert check_loss("hybrid", {"alpha": 1, "cap": "both", "cap_at": 2}) is hybrid


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_says_what_it_does_its_source_its_shapes_and_its_mean(name):
    told = inspect.getdoc(LOSSES[name])
    assert told.splitlines()[1] == ""
    for part in ("Source: ", "scores: [B, L]", "labels: [B, L]", "mask: [B, L] bool, False on padding", "Returns:", *DEFAULTS[name]):
        assert part in told


def test_only_margin_mse_has_a_teacher():
    assert [name for name in LOSSES if takes_teacher(name)] == ["margin_mse"]


def test_the_log_is_told_how_many_lists_had_nothing_to_compare():
    scores, labels, mask = batch(LISTS)
    scores.requires_grad_()
    assert parts_of("softmax")(scores, labels, mask) == {"lists_without": 1.0}
    assert parts_of("pairwise_logistic")(scores, labels, mask) == {"lists_without": 2.0}    # two lists of one label each
    assert parts_of("bce")(scores, labels, mask, graded=True) == {"lists_without": 1.0}


def test_the_log_is_told_the_two_parts_of_a_head_and_tail_loss():
    scores, labels, mask = batch(LISTS)
    parts = parts_of("hybrid")(scores.requires_grad_(), labels, mask, top_k=1)
    assert (parts["lists_without_pair"], parts["lists_without_label"]) == (2.0, 1.0)
    made = hybrid_parts(scores, labels, mask, top_k=1)
    assert (parts["loss_head"], parts["loss_whole"]) == (made.head.item(), made.whole.item())
    assert parts["loss_head"] != parts["loss_whole"]


def test_the_parts_of_plackett_luce_and_the_lists_that_lack_one():
    """A list of three positives and a head of one: two docs are left for the softmax. A list of two leaves one: none."""
    scores, labels, mask = batch([([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]), *LISTS[1:]])
    parts = plackett_luce_parts(scores, labels, mask, top_k=1, ties=torch.zeros(3, 3))
    assert (parts.lists_without_pair, parts.lists_without_label) == (1, 2)
    assert parts.whole.item() == pytest.approx(1)    # equal scores


def test_the_parts_are_those_of_the_loss_that_is_called_next_and_draw_nothing_from_it():
    scores, labels, mask = batch([([2.0, 0.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]), *LISTS])
    for seed in range(5):
        torch.manual_seed(seed)
        untouched = list_mle(scores, labels, mask).item()
        torch.manual_seed(seed)
        assert parts_of("list_mle")(scores, labels, mask) == {"lists_without": 1.0}
        assert list_mle(scores, labels, mask).item() == untouched
        parts = parts_of("plackett_luce_head_tail")(scores, labels, mask, top_k=2, alpha=0.25)
        loss = LOSSES["plackett_luce_head_tail"](scores, labels, mask, top_k=2, alpha=0.25).item()
        assert loss == pytest.approx(0.25 * parts["loss_head"] + 0.75 * parts["loss_whole"])


@pytest.mark.parametrize(("name", "options"), [("list_mle", {"ties": torch.zeros(3, 3)}), ("lambda_loss", {}), ("hybrid", {})])
def test_a_head_of_one_is_a_head(name, options):
    assert LOSSES[name](*batch(LISTS), top_k=1, **options).item() > 0


def test_no_weight_for_the_second_term_of_ndcg_loss2pp_is_lambdarank():
    made = batch(LISTS)
    assert LOSSES["lambda_loss"](*made, weights="ndcg_loss2++", mu=0.0).item() == pytest.approx(LOSSES["lambda_loss"](*made).item())


def test_graded_targets_are_shares_of_a_highest_label_below_one_too():
    scores, mask = tensor([[0.5, 2.0]]), tensor([[True, True]])
    fifths, whole = tensor([[0.2, 0.1]]), tensor([[2.0, 1.0]])
    assert LOSSES["bce"](scores, fifths, mask, graded=True).item() == pytest.approx(LOSSES["bce"](scores, whole, mask, graded=True).item())


def test_the_docs_name_every_loss_and_option():
    page = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
    for name, options in DEFAULTS.items():
        assert f"| `{name}` |" in page
        for option in options:
            assert option in ("ties", "initial", "teacher") or f"`{option}" in page, (name, option)
