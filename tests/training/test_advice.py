"""Advice: planted faults are told, noise is not, and what was said once stays said."""

import subprocess
import sys

import pytest
from tests.ledgers import fake_run, old

from headtail.training.advice import RULES, advise, fallen, risen, wobble


def kinds(records):
    return [one.kind for one in advise(records)]


def by_hand(losses, measures, tempered=None, separation=None, wrong=None):
    """A ledger of validations alone, one every 100 steps."""
    tempered = tempered or [None] * len(losses)
    return [
        {"kind": "validation", "step": 100 * (n + 1), "loss": loss, "measures": {"RR@10": measure}, "separation": (separation or losses)[n]}
        | ({"loss_tempered": tempered[n], "temperature": 2.0} if tempered[n] is not None else {})
        | ({"wrong_pairs": wrong[n]} if wrong else {})
        for n, (loss, measure) in enumerate(zip(losses, measures, strict=True))
    ]


FALLS_THEN_RISES = [0.60, 0.50, 0.46, 0.44, 0.46, 0.48, 0.50, 0.52, 0.54]
STAYS = [0.60, 0.50, 0.46, 0.44, 0.44, 0.44, 0.44, 0.44, 0.44]
GROWS = [0.20, 0.30, 0.35, 0.38, 0.39, 0.39, 0.40, 0.40, 0.40]
SINKS = [0.20, 0.30, 0.38, 0.40, 0.39, 0.37, 0.35, 0.33, 0.31]


def test_loss_that_rises_while_the_order_holds_is_over_confidence():
    (told,) = advise(by_hand(FALLS_THEN_RISES, GROWS, STAYS))
    assert (told.kind, told.step) == ("over-confidence", 400)    # where the loss was lowest
    assert told.text.startswith("over-confidence, not over-fitting: validation loss rose from 0.440 (step 400) to")
    assert "RR@10 holds" in told.text
    assert "divided by 2 the loss is 0.440" in told.text


def test_loss_that_rises_at_its_best_temperature_too_while_the_measure_falls_is_over_fitting():
    told = {one.kind: one for one in advise(by_hand(FALLS_THEN_RISES, SINKS, FALLS_THEN_RISES))}
    assert set(told) == {"over-fitting", "measure falls"}
    assert told["over-fitting"].step == told["measure falls"].step == 400
    assert "ranker.dropout" in told["over-fitting"].text
    assert "at its best temperature too (0.440 to" in told["over-fitting"].text


def test_without_tempered_losses_the_measure_decides():
    assert kinds(by_hand(FALLS_THEN_RISES, GROWS)) == ["over-confidence"]
    assert "over-fitting" in kinds(by_hand(FALLS_THEN_RISES, SINKS))


def test_three_falls_in_a_row_are_told_and_two_are_not():
    stays = [0.44] * 9
    assert kinds(by_hand(stays, SINKS)) == ["measure falls"]
    assert kinds(by_hand(stays[:6], SINKS[:6])) == []


def test_easy_pairs_are_those_that_come_no_nearer_to_being_right():
    grows = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    flat, falling = [0.1] * 9, [0.30 - 0.03 * n for n in range(9)]
    assert kinds(by_hand(STAYS, GROWS, STAYS, grows, flat)) == ["easy pairs"]
    assert kinds(by_hand(STAYS, GROWS, STAYS, grows, falling)) == []


def test_easy_pairs_are_seen_in_training_where_there_is_no_validation():
    records = [r for r in fake_run("easy pairs", noise=0.3) if r["kind"] != "validation"]
    assert kinds(records) == ["easy pairs"]


@pytest.mark.parametrize(("fault", "kind"), [("over-confident", "over-confidence"), ("over-fitting", "over-fitting"), ("easy pairs", "easy pairs")])
def test_planted_faults_are_told_in_noise(fault, kind):
    told = [kinds(fake_run(fault, seed=seed, layers=0)) for seed in range(20)]
    assert sum(kind in one for one in told) >= 19
    opposite = {"over-confidence": "over-fitting", "over-fitting": "over-confidence"}.get(kind)
    assert sum(opposite in one for one in told) <= 1
    if opposite:
        assert all("gap" in one for one in told)


def test_a_saw_tooth_is_told_with_the_first_border_and_the_drop():
    for seed in range(5):
        told = {one.kind: one for one in advise(fake_run(lists=2000, saw_tooth=0.06, seed=seed, layers=0))}
        assert told["saw-tooth"].step == 250
        assert "an epoch (250 steps)" in told["saw-tooth"].text


def test_one_border_is_not_enough_for_a_saw_tooth():
    assert "saw-tooth" not in kinds(fake_run(lists=8000, saw_tooth=0.2, noise=0.3, layers=0))


@pytest.mark.parametrize(
    "options", [{}, {"every": 50}, {"every": 250}, {"lists": 2000}, {"lists": 800}, {"lists": 400}, {"noise": 0.3}, {"carried": 0.8}], ids=str
)
def test_a_healthy_run_is_left_alone_in_98_of_100(options):
    assert sum(bool(advise(fake_run(seed=seed, layers=0, **options))) for seed in range(100)) <= 2


def test_a_healthy_run_with_three_times_the_noise_too():
    assert sum(bool(advise(fake_run(seed=seed, noise=3, lists=2000, layers=0))) for seed in range(100)) <= 5


@pytest.mark.parametrize("fault", ["over-confident", "over-fitting", "easy pairs"])
def test_more_records_add_advice_and_change_none(fault):
    records = fake_run(fault, lists=2000, saw_tooth=0.06, layers=0)
    said = []
    for end in range(0, len(records), 25):
        now = advise(records[:end])
        assert set(said) <= set(now)
        said = now
    assert len(said) >= 2
    assert len({one.kind for one in said}) == len(said)


@pytest.mark.parametrize("fault", ["", "over-confident", "over-fitting"])
def test_old_ledgers_are_read(fault):
    assert ("gap" in kinds(old(fake_run(fault, layers=0)))) == bool(fault)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{}],
        [{"kind": "start", "lists": 0, "lists_per_step": 8}, *fake_run(steps=200, layers=0)[1:]],
        [{"kind": "start", "lists": "many", "lists_per_step": None}, {"kind": "train", "step": 1, "loss": None}],
        by_hand([None, 0.5, None, 0.4], [None, None, 0.1, 0.2]),
        by_hand([0.0] * 9, [0.0] * 9, [0.0] * 9, [0.0] * 9, [0.0] * 9),
        [r | {"step": 7} for r in fake_run(steps=300, layers=0)],
    ],
    ids=["none", "empty", "no lists", "words", "holes", "zeros", "one step"],
)
def test_odd_ledgers_give_no_error(records):
    assert advise(records) == []


def test_the_wobble_of_a_straight_line_is_zero_and_of_noise_its_deviation():
    import random

    chance = random.Random(0)
    assert wobble([0.1 * n for n in range(10)]) == pytest.approx(0, abs=1e-9)
    assert wobble([0.3 * n + chance.gauss(0, 2) for n in range(2000)]) == pytest.approx(2, rel=0.1)
    assert wobble([1.0, 2.0]) == float("inf")


def test_risen_wants_two_values_after_the_lowest_one():
    assert risen([5, 4, 3, 2, 3, 4, 5, 6], 0.0)
    assert not risen([5, 4, 3, 2, 3], 0.0)
    assert not risen([5, 4, 3, 2, 2.01, 2.01], 0.03)
    assert fallen([-5, -4, -3, -2, -3, -4, -5, -6], 0.0)


def test_each_rule_has_a_line_that_tells_it_and_none_needs_torch():
    assert all(rule.__doc__ for rule in RULES.values())
    check = "import sys, headtail.training.advice; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
