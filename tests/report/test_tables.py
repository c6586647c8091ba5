import io
import re

import pytest
from rich.console import Console

from headtail.report.tables import (
    Column,
    MeasureRow,
    Table,
    ir_number,
    markdown,
    measures_table,
    one_line,
    print_table,
    printable,
)

QUESTION_RR, BROWSE_RR = ("question", "RR@10"), ("browse", "RR@10")


def rows():
    return [
        MeasureRow("bm25", {QUESTION_RR: 0.25, BROWSE_RR: 0.5, ("macro", "RR@10"): 0.375}, missing={"question": 3}),
        MeasureRow("ours", {QUESTION_RR: 0.5, BROWSE_RR: 0.4996, ("macro", "RR@10"): None}),
    ]


def as_text(table, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(table, console)
    return console.export_text()


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0.4121, ".412"), (1.0, "1.000"), (0.0, ".000"), (-0.0311, "-.031"), (-0.0001, ".000"), (0.9996, "1.000"), (None, "–"), (float("nan"), "–")],
)
def test_numbers_print_as_in_ir_papers(value, printed):
    assert ir_number(value) == printed


def test_the_best_value_of_a_column_is_marked_and_values_that_print_alike_share_it():
    bm25, ours = measures_table(rows()).cells()
    assert [cell.best for cell in bm25] == [False, False, True, True]
    assert [cell.best for cell in ours] == [False, True, True, False]    # .4996 prints as .500 too
    assert ours[3].text == "–"


def test_a_lone_system_is_not_the_best_of_anything():
    assert not any(cell.best for cell in measures_table(rows()[:1]).cells()[0])


def test_low_can_be_better():
    table = Table("loss", [Column("run", numeric=False), Column("loss", best="low")], [["a", 0.3], ["b", 0.2]])
    assert [row[1].best for row in table.cells()] == [False, True]


def test_footnotes_say_what_is_missing_and_what_macro_is():
    first, second = measures_table(rows(), counts={"question": 200}, missing_rule="left out").footnotes
    assert first == "bm25 has no ranking for 3 of 200 question queries; left out."
    assert second.startswith("macro: the mean of the groups")


def test_markdown_by_hand():
    table = measures_table(rows(), counts={"question": 1200, "browse": 7}, title="Test", note="first stage: bm25")
    lines = markdown(table).splitlines()
    assert lines[:4] == ["**Test**", "", "first stage: bm25", ""]
    assert lines[4] == "| system | question RR@10 (n=1,200) | browse RR@10 (n=7) | macro RR@10 |"
    assert lines[6] == "| bm25 | .250 | **.500** | **.375** |"
    assert lines[7] == "| ours | **.500** | **.500** | – |"


def test_markdown_of_a_name_with_markup_stays_one_cell():
    table = measures_table([MeasureRow("a|b\n<b>*c*", {QUESTION_RR: 0.1})])
    assert r"| a\|b \<b\>\*c\* | .100 |" in markdown(table)


def test_groups_stay_together_as_the_columns_are_ordered_by_group():
    row = MeasureRow("x", {("q", "RR"): 0.1, ("b", "RR"): 0.2, ("q", "nDCG"): 0.3})
    table = measures_table([row])
    assert [(group, len(places)) for group, _, places in table.groups()] == [("", 1), ("q", 2), ("b", 1)]
    assert table.rows[0] == ["x", 0.1, 0.3, 0.2]


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("systems", [1, 3])
def test_the_terminal_loses_no_value_and_stays_within_its_width(width, systems):
    groups = ["question", "browse", "a_long_data_set_name", "macro"]
    keys = [(group, measure) for group in groups for measure in ("RR@10", "nDCG@5", "R@100")]
    values = {key: (i + 1) / 100 for i, key in enumerate(keys)}
    table = measures_table([MeasureRow(f"system number {s} with a long name", values) for s in range(systems)], counts={"browse": 12345})
    text = as_text(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert sorted(re.findall(r"\.\d{3}", text)) == sorted([ir_number(v) for v in values.values()] * systems)
    assert "n=12,345" in text


def test_rich_markup_and_escape_codes_in_a_name_are_only_text():
    text = as_text(measures_table([MeasureRow("[red]x[/] \x1b[31m", {QUESTION_RR: 0.1})]))
    assert "[red]x[/]" in text
    assert "\x1b" not in text


def test_printable_replaces_what_no_page_should_hold_and_keeps_line_ends():
    assert printable("a\x00b\ud800c\x1bd\te\r\nf\u202eg") == "a\ufffdb\ufffdc\ufffdd\te\nf\u202eg"
    assert one_line(" a\n\tb\u202e ") == "a b\ufffd"


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 columns but a row of 1"):
        Table("t", [Column("a"), Column("b")], [["x"]])
