import math
import xml.etree.ElementTree as ET

import pytest

from headtail.report.charts import best_step, dev_measures, series, smooth, training_charts

NAN = float("nan")


def train(step, loss, separation=0.5):
    return {"kind": "train", "step": step, "loss": loss, "separation": separation}


def validation(step, loss, **measures):
    return {"kind": "validation", "step": step, "loss": loss, "separation": 0.4, "measures": measures}


OVERFIT = [train(step, 1 / step) for step in range(1, 31)] + [
    validation(10, 0.5, RR=0.30, nDCG=0.2),
    validation(20, 0.4, RR=0.40, nDCG=0.3),
    validation(30, 0.6, RR=0.35, nDCG=0.4),
]


def test_an_empty_ledger_draws_nothing():
    assert training_charts([]) == []
    assert training_charts([{"kind": "start", "seed": 1}]) == []


def test_three_charts_with_their_readings():
    loss, separation, measures = training_charts(OVERFIT)
    assert "Validation loss is lowest, .400, at step 20, and rises after it to .600 at step 30: over-fitting if" in loss.reading
    assert "in validation it stays at .400" in separation.reading
    assert measures.reading == "RR is best, .400, at step 20 of 30; at the last step it is .350."
    assert "best, step 20" in measures.svg


def test_best_by_names_the_measure_that_decides():
    assert best_step(OVERFIT) == 20
    assert best_step(OVERFIT, "nDCG") == 30
    assert best_step([validation(1, 0.5), validation(2, 0.4), validation(3, 0.4)]) == 2
    assert best_step([train(1, 0.5)]) is None


def test_charts_without_validation_say_so():
    loss, separation = training_charts([train(1, 2.0), train(2, 1.0)])
    assert loss.reading == "Training loss falls from 2 to 1. No validation was recorded."
    assert "in training it stays at .500" in separation.reading


@pytest.mark.parametrize(
    "ledger",
    [
        [train(1, 0.5)],
        [validation(1, 0.5, RR=0.1)],
        [train(1, 0.0), train(2, 0.0)],
        [train(1, NAN), train(2, 0.5), train(3, math.inf), validation(2, NAN, RR=NAN, nDCG=0.1)],
        [train(1, None), {"kind": "train", "step": 2, "loss": 0.5}, {"kind": "train"}, {}, {"kind": "train", "step": "3", "loss": 1}],
        [train(1, 1e30), train(2, -1e30), validation(2, 10**400)],
        [validation(1, 0.5, **{"$\\frac{": 0.1, "<script>&": 0.2})],
        [{"kind": "validation", "step": 1, "measures": None}, train(5, 0.1)],
    ],
    ids=["one step", "one validation", "flat", "NaN", "holes", "huge", "odd names", "no measures"],
)
def test_odd_ledgers_make_well_formed_drawings(ledger):
    for chart in training_charts(ledger):
        root = ET.fromstring(chart.svg)
        assert "nan" not in " ".join(root.itertext())
        assert "<script" not in chart.svg


def test_a_record_that_is_not_a_number_is_counted():
    (loss, _) = training_charts([train(1, 0.5), train(2, NAN), train(3, 0.5)])
    assert "1 record holds no finite loss and cannot be drawn." in loss.reading


def test_the_same_ledger_draws_the_same_bytes():
    assert training_charts(OVERFIT) == training_charts(OVERFIT)


def test_after_a_resume_the_later_record_of_a_step_counts():
    assert series([train(2, 9.0), train(1, 1.0), train(2, 2.0)], "train", "loss") == [(1, 1.0), (2, 2.0)]


def test_measures_in_groups_are_named_by_group():
    found = dev_measures([{"kind": "validation", "step": 5, "measures": {"question": {"RR@10": 0.5}, "nDCG@5": 0.25}}])
    assert found == {"question RR@10": [(5, 0.5)], "nDCG@5": [(5, 0.25)]}


def test_smoothing_leaves_a_straight_line_alone_up_to_its_ends():
    line = [(float(step), 3.0 - 0.1 * step) for step in range(50)]
    assert [value for _, value in smooth(line)] == pytest.approx([value for _, value in line])


def test_ids_do_not_repeat_between_the_drawings_of_one_page():
    ids = [element.get("id") for chart in training_charts(OVERFIT) for element in ET.fromstring(chart.svg).iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_what_new_ledgers_hold_besides_is_drawn_and_old_ones_lack_it():
    from tests.ledgers import fake_run, old

    run = fake_run("over-fitting", layers=3)
    charts = {chart.name: chart for chart in training_charts(run)}
    assert list(charts) == ["loss", "separation", "measures", "d_prime", "ranks", "rates", "norm", "drift"]
    assert [chart.name for chart in training_charts(old(run))] == ["loss", "separation", "measures", "rates"]
    assert "tempered" in charts["loss"].svg
    assert "With all scores divided by 2.4, the best temperature, the last one is ." in charts["loss"].reading
    assert "ranks 1–5 rises from" in charts["ranks"].reading
    assert "at the end it is largest for head, ." in charts["drift"].reading
    for name in ("embeddings", "layer_0", "top", "head"):
        assert name in charts["norm"].svg


def test_layers_that_did_not_move_yet_leave_the_chart_out_or_empty_of_them():
    moved = {"kind": "train", "step": 1, "loss": 1.0, "layers": {"embeddings": {"drift": 0.0}, "head": {"drift": 0.1}}}
    assert "embeddings" not in training_charts([moved])[-1].svg
    still = {"kind": "train", "step": 1, "loss": 1.0, "layers": {"embeddings": {"drift": 0.0}}}
    assert [chart.name for chart in training_charts([still])] == ["loss"]


def test_logarithmic_axes_have_round_numbers():
    from headtail.report.drawing import _round_logarithms

    assert [round(10**at, 6) for at in _round_logarithms(-1.05, 0.1)] == [0.1, 0.2, 0.5, 1.0]
    assert [round(10**at, 6) for at in _round_logarithms(-4, 0)] == [0.0001, 0.001, 0.01, 0.1, 1]
