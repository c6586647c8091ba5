"""The screen of a run: it fits, it says what the ledger says, and no name can harm a terminal."""

import io
import re

import pytest
from rich.console import Console
from tests.ledgers import fake_run, old

from headtail.report.braille import Line, chart, number, spark
from headtail.report.terminal import progress, screen

RUNS = {
    "healthy": fake_run(),
    "over-fitting": fake_run("over-fitting"),
    "just begun": fake_run()[:1],
    "first line": fake_run()[:2],
    "old": old(fake_run()),
    "empty": [],
    "24 layers": fake_run(layers=24, steps=300),
}


def printed(records, width=80, height=None, colour=False, **options):
    out = io.StringIO()
    console = Console(file=out, width=width, height=height or 200, force_terminal=colour, color_system="truecolor" if colour else None)
    console.print(screen(records, **{"name": "fake", "width": width, "height": height, **options}))
    return out.getvalue()


@pytest.mark.parametrize("size", [(80, 24), (80, 50), (100, 30), (130, 40), (200, 60), (60, 24)], ids=str)
@pytest.mark.parametrize("records", RUNS.values(), ids=RUNS)
def test_every_run_fits_every_screen(records, size):
    width, height = size
    lines = printed(records, width, height).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= (height if width >= 64 else 10**6)    # on a narrow screen charts stand below each other


def test_a_screen_says_where_the_run_is_and_what_is_wrong():
    text = printed([r for r in RUNS["over-fitting"] if r["step"] <= 1000], 130, 40)
    assert "fake  running  step 1,000 of 2,000  15:00 left  8.9 lists/s" in text
    for word in ("Loss", "tempered", "RR@10", "Separation", "Wrong pairs", "ranks 1-5", "layer_11", "embeddings", "drift"):
        assert word in text
    assert "over-fitting: validation loss rose" in printed(RUNS["over-fitting"])
    assert "best at step 800" in printed(RUNS["over-fitting"], state="finished")


def test_recorded_advice_and_warnings_are_shown_as_they_were_said():
    more = [{"kind": "advice", "step": 7, "about": "gap", "text": "mind the gap"}, {"kind": "warning", "step": 9, "text": "wandb is off"}]
    text = printed(RUNS["over-fitting"] + more)
    assert "▲ step 7: mind the gap" in text
    assert "! step 9: wandb is off" in text
    assert "over-fitting" not in text


def test_time_left_is_steps_left_at_the_recent_speed():
    records = [{"kind": "start", "step": 0, "steps": 100, "lists_per_step": 8}]
    assert progress(records) == (0, 100, None)
    assert progress([*records, {"kind": "train", "step": 40, "lists_per_second": 4.0}]) == (40, 100, 120.0)
    assert progress([{"kind": "train", "step": 3, "loss": 1.0}]) == (3, None, None)


def test_no_control_character_of_a_name_reaches_the_terminal():
    evil = "x\x1b]0;owned\x07\x1b[31m\r\n\u202e"
    records = [
        {"kind": "start", "step": 0, "name": evil, "best_by": evil},
        {"kind": "train", "step": 1, "loss": 1.0, "layers": {evil: {"lr": 1.0, "norm": 1.0, "drift": 1.0}}},
        {"kind": "validation", "step": 1, "measures": {evil: 0.5}},
        {"kind": "advice", "step": 1, "text": evil},
        {"kind": "warning", "step": 1, "text": evil},
    ]
    text = printed(records, 130, name=evil)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)


@pytest.mark.parametrize(
    "records",
    [
        [{"kind": "train", "step": 1, "loss": None, "layers": {"a": None, "b": {}}}],
        [{"kind": "train", "step": 1, "loss": 1e30}, {"kind": "train", "step": 2, "loss": -1e30}],
        [{"kind": "train"}, {}, {"kind": "validation", "step": 2, "measures": None}],
    ],
    ids=["holes", "huge", "bare"],
)
def test_odd_ledgers_are_drawn(records):
    assert "fake" in printed(records, 80, 24)


# ---- braille by hand


def test_a_falling_line_goes_from_the_top_left_to_the_bottom_right():
    text = chart("Loss", [Line("train", [(0, 1.0), (100, 0.0)], "blue")], width=18, height=6).plain.splitlines()
    assert text[0].strip() == "Loss  train .000"
    assert len(text) == 6
    assert {len(line) for line in text} == {18}
    rows = [line[8:] for line in text[1:5]]
    assert rows[0][0] != " " == rows[0][-1]
    assert rows[-1][-1] != " " == rows[-1][0]
    assert text[1].startswith("  1.04 ┤")
    assert re.fullmatch(r" +0 +step 100", text[5]) or "step" in text[5]


def test_later_lines_lie_over_earlier_ones_and_one_point_is_a_dot():
    drawn = chart("t", [Line("a", [(1, 1.0)], "blue"), Line("b", [(1, 1.0)], "red")], width=20, height=5)
    assert sum(0x2800 < ord(c) < 0x2900 for c in drawn.plain) == 1
    place = next(at for at, c in enumerate(drawn.plain) if 0x2800 < ord(c) < 0x2900)
    assert [span.style for span in drawn.spans if span.start <= place < span.end] == ["red"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.438, ".438"), (2.534, "2.53"), (-12.52, "-12.5"), (5e-6, "5e-06"), (0, ".000"), (-0.5, "-.500"), (12345, "12345"), (1e6, "1e+06")]
)
def test_numbers_take_at_most_six_characters(value, text):
    assert number(value) == text
    assert len(text) <= 6


def test_sparks_by_hand():
    assert spark([0, 0.5, 1, 9], 1) == "▁▅██"
    assert spark([0, 0], 0) == "▁▁"
