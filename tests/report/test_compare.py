"""Several runs on one page: every run in every chart, differences alone in the table, and texts that cannot harm."""

import re
import xml.etree.ElementTree as ET

import pytest
from tests.ledgers import fake_run, old
from tests.report.test_html import HOSTILE, Page

from headtail.report.compare import MOST, ComparedRun, compared_charts, config_table, ends_table, render_comparison

CONFIG = {"name": "a", "loss": {"name": "hybrid", "options": {}}, "training": {"steps": 2000}, "train": [{"name": "squad", "repeat": 1}]}
CAPPED = {"name": "b", "loss": {"name": "hybrid", "options": {"cap": "easy"}}, "training": {"steps": 2000}, "train": [{"name": "squad", "repeat": 2}]}
PLAIN = ComparedRun("plain", CONFIG, fake_run("over-fitting"))
RUNS = [PLAIN, ComparedRun("capped", CAPPED, fake_run())]


def test_every_figure_is_a_chart_with_every_run():
    charts = compared_charts(RUNS)
    assert [chart.title for chart in charts] == [
        "Training loss", "Validation loss", "Validation loss, tempered", "Separation", "Separation in spreads, d′", "Wrong pairs", "RR@10", "nDCG@5",
    ]    # fmt: skip
    for chart in charts:
        said = " ".join(ET.fromstring(chart.svg).itertext())
        assert "plain" in said
        assert "capped" in said
    assert re.search(r"At the end: plain \.\d+, capped \.\d+\.", charts[1].reading)


def test_an_old_run_beside_a_new_one_is_said_to_lack_what_it_lacks():
    charts = {chart.title: chart for chart in compared_charts([PLAIN, ComparedRun("old", {}, old(fake_run()))])}
    assert charts["Validation loss, tempered"].reading.endswith("Not recorded by old.")
    assert "Not recorded" not in charts["Wrong pairs"].reading    # training has them


def test_the_table_of_settings_holds_what_differs_and_no_names_of_runs():
    table = config_table(RUNS)
    assert list(table.rows) == [["loss.options.cap", None, "easy"], ["train.0.repeat", "1", "2"]]
    assert config_table([PLAIN, PLAIN]).note == "Their configs are the same."


def test_measures_are_those_of_the_best_step_and_the_rest_those_of_the_end():
    table = ends_table(RUNS)
    row = dict(zip([column.name for column in table.columns], table.rows[0], strict=True))
    validations = [record for record in PLAIN.records if record["kind"] == "validation"]
    best = max(validations, key=lambda record: record["measures"]["RR@10"])
    assert (row["run"], row["steps"], row["best step"], row["time"]) == ("plain", 2000, best["step"], "30:00")
    assert row["RR@10"] == best["measures"]["RR@10"]
    assert row["loss"] == validations[-1]["loss"]


def test_the_page_tells_each_runs_advice_and_is_whole():
    page = render_comparison(RUNS)
    said = "".join(Page(page).said)
    assert "over-fitting: validation loss rose" in said
    assert "Nothing that calls for advice." in said
    assert "script" not in Page(page).tags
    assert "http-equiv" in page
    assert render_comparison(RUNS) == page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_every_run_has_a_stroke_of_its_own():
    runs = [ComparedRun(f"run {n}", {}, fake_run(seed=n, steps=200, every=50, layers=0)) for n in range(MOST)]
    strokes = re.findall(r'<li><i class="(stroke[^"]*)" style="--colour:var\((--series-\d)\)', render_comparison(runs))
    assert len(set(strokes)) == MOST == len(strokes)


def test_runs_that_have_only_begun_make_a_page():
    page = render_comparison([ComparedRun("a", {}, []), ComparedRun("b", CONFIG, fake_run()[:1])])
    assert "svg" not in Page(page).tags


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_measures_and_advice_stay_text(text):
    records = [
        {"kind": "validation", "step": 1, "loss": 1.0, "measures": {text: 0.5}, "layers": {text: {"norm": 1.0}}},
        {"kind": "advice", "step": 1, "about": text, "text": text},
    ]
    parsed = Page(render_comparison([ComparedRun(text, {text: text, "a": {"b": text}}, records), PLAIN]))
    assert not parsed.tags & {"script", "img", "iframe", "base"}
    assert not [attribute for attribute in parsed.attributes if attribute[1].startswith("on")]
