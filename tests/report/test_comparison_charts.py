import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from tests.report.test_html import HOSTILE

from headtail.report.comparison_charts import SystemPoint, head_tail_chart, intent_bars, scroll_chart

BM25 = SystemPoint("bm25", 0.41, 0.38, (0.39, 0.43), (0.36, 0.40))
OURS = SystemPoint("ours", 0.47, 0.35)
CURVES = {"bm25": [(0.5, 0.40), (0.9, 0.35), (0.98, 0.30)], "ours": [(0.5, 0.50), (0.9, 0.33), (0.98, 0.2)]}
MEANS = {"question": {"bm25": 0.4, "ours": 0.5}, "browse": {"bm25": 0.3, "ours": 0.1}, "macro": {"bm25": 0.35, "ours": 0.3}}


def words(chart):
    return [text.strip() for text in ET.fromstring(chart.svg).itertext() if text.strip()]


def paths(chart, colour):
    """The numbers of every path drawn or filled in a colour."""
    found = re.findall(r'<path d="([^"]*)"[^>]*?(?:stroke|fill): ' + colour, chart.svg)
    return [[float(number) for number in re.findall(r"-?\d+\.?\d*", path)] for path in found]


def test_every_system_is_named_at_its_point_and_the_best_is_told():
    chart = head_tail_chart([BM25, OURS])
    assert {"bm25", "ours", "nDCG@5 →", "TailnDCG →"} <= set(words(chart))
    assert chart.reading == (
        "Best at the head: ours, nDCG@5 .470; best down the tail: bm25, TailnDCG .380. The crosses are 95 % intervals."
        " The axes show the range that is used and do not begin at 0."
    )
    best = head_tail_chart([BM25, SystemPoint("weak", 0.1, 0.1)], head="RR@10", tail="RBP")
    assert best.reading.startswith("bm25 is best at both: RR@10 .410, RBP .380.")


def test_intervals_are_drawn_where_they_are_known_and_only_there():
    assert len(paths(head_tail_chart([BM25]), "#00785a")) == len(paths(head_tail_chart([SystemPoint("bm25", 0.41, 0.38)]), "#00785a")) + 2
    assert "95 %" not in head_tail_chart([OURS]).reading


def test_names_of_systems_that_stand_together_do_not_cover_each_other():
    chart = head_tail_chart([SystemPoint(f"system {n}", 0.4 + n / 1000, 0.4) for n in range(4)])
    found = re.findall(r'text-anchor: (start|middle|end)[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>system', chart.svg)
    assert len(found) == 4
    wide, high = 35, 8    # of "system 0" at 9 points, at least
    lefts = [(float(x) - {"start": 0, "middle": 0.5, "end": 1}[anchor] * wide, float(y)) for anchor, x, y in found]
    for (x, y), (other_x, other_y) in itertools.combinations(lefts, 2):
        assert abs(y - other_y) >= high or abs(x - other_x) >= wide, found


def test_ticks_of_patience_tell_the_ranks_seen_and_stand_by_their_logarithm():
    chart = scroll_chart(CURVES, measure="RBP")
    said = words(chart)
    assert {".5", ".8", ".9", ".95", ".98", "2", "5", "10", "20", "50", "← question user", "browser →"} <= set(said)
    assert chart.title == "RBP by patience"
    assert chart.reading.endswith("For the question user ours leads, .500; for the browser bm25, .300.")
    x0, _, x1, _, x2, _ = paths(chart, "#00785a")[0]
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.5, abs=0.002)    # 2, 10, 50 ranks: equal steps


def test_a_curve_that_ends_early_has_the_ticks_it_reaches():
    said = words(scroll_chart({"one": [(0.9, 0.3), (0.5, 0.2)]}))
    assert ".9" in said
    assert ".95" not in said
    assert scroll_chart({"one": [(0.9, 0.3), (0.5, 0.2)]}).reading.endswith("Value goes from .200 to .300.")


def test_bars_are_as_long_as_their_values_and_print_them():
    chart = intent_bars(MEANS, "nDCG@5")
    said = words(chart)
    assert [word for word in said if word in MEANS] == ["question", "browse", "macro"]
    assert [word for word in said if word.startswith(".")] == [".400", ".500", ".300", ".100", ".350", ".300"]
    wide = [max(path[0::2]) - min(path[0::2]) for path in paths(chart, "#00785a")]
    assert [one / wide[0] for one in wide] == pytest.approx([1, 0.3 / 0.4, 0.35 / 0.4], abs=0.01)
    assert chart.reading == "Mean nDCG@5; bars begin at 0. Highest: ours for question, bm25 for browse, bm25 for macro."


def test_a_system_without_a_mean_for_an_intent_has_no_bar_there():
    chart = intent_bars({"question": {"bm25": 0.4, "ours": 0.5}, "browse": {"ours": 0.1}, "none": {}}, "RR")
    assert words(chart).count("bm25") == 1
    assert words(chart).count("ours") == 2
    assert "none" not in words(chart)


@pytest.mark.parametrize(
    "draw",
    [
        lambda text: head_tail_chart([SystemPoint(text, 0.1, 0.1, (0.0, 0.2), (0.1, 0.1)), BM25], head=text, tail=text),
        lambda text: scroll_chart({text: [(0.5, 0.0)], "other": [(0.0, 1.0), (0.99, 1.0)]}, measure=text),
        lambda text: intent_bars({text: {text: 0.0}}, text),
    ],
    ids=["head and tail", "patience", "intents"],
)
def test_odd_names_and_numbers_make_well_formed_drawings_that_come_out_the_same(draw):
    for text in HOSTILE:
        chart = draw(text)
        root = ET.fromstring(chart.svg)
        assert not {"script", "foreignObject", "image", "a"} & {element.tag.rpartition("}")[2] for element in root.iter()}
        assert "nan" not in "".join(root.itertext())
    assert draw("x") == draw("x")


@pytest.mark.parametrize(
    "draw",
    [lambda: head_tail_chart([]), lambda: scroll_chart({}), lambda: scroll_chart({"a": []}), lambda: scroll_chart({"a": [(1.0, 0.5)]}), lambda: intent_bars({"q": {}}, "RR")],
)
def test_nothing_to_draw_is_an_error(draw):
    with pytest.raises(ValueError, match=r"needs at least|below 1"):
        draw()
