"""A table of results, and how it looks in a terminal, in Markdown and in HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import rich.box
import rich.table
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Measured:
    """A mean with what is known of it: its interval, and a mark that says whether it differs from the baseline's."""

    value: float | None
    interval: tuple[float, float] | None = None
    mark: str = ""    # one of MARKS, or nothing


Value = str | int | float | Measured | None
BETTER, WORSE = "▲", "▼"
MARKS = (BETTER, WORSE)

MACRO = "macro"    # the group that is a mean of the other groups, so has no queries of its own
DASH = "–"

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Text with control characters and lone surrogates replaced by U+FFFD; tabs and line ends stay."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """A name or an id as one harmless line: as `printable`, and nothing that turns the writing direction."""
    return " ".join(_BIDI.sub("\ufffd", printable(text)).split())


def ir_number(value: float | None, digits: int = 3) -> str:
    """A measure the way IR papers print it: .412, 1.000, -.031; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")    # never "-.000"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, the group heading it stands under, and which value of it is the best."""

    name: str
    group: str = ""
    count: int | None = None    # queries behind the values; printed with the group
    best: Literal["high", "low"] | None = None    # None: nothing is marked
    digits: int = 3
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as printed."""

    text: str
    best: bool = False
    bar: float | None = None    # the value itself where it lies in 0 to 1: length of the bar in HTML
    mark: str = ""    # significantly better or worse than the baseline
    interval: str = ""    # such as .401–.423


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """Mean values of one system: (intent or data set, measure) -> mean, None where it was not measured."""

    system: str
    values: Mapping[tuple[str, str], float | Measured | None]
    missing: Mapping[str, int] = field(default_factory=dict)    # group -> judged queries without a ranking


@dataclass(frozen=True)
class Table:
    """Rows of values under columns; the first column, or the first few, name the row."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    footnotes: Sequence[str] = ()
    keys: int = 1    # columns that name the row, repeated where a terminal is too narrow for all
    folded: bool = False    # a page shows it when asked to

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: {len(self.columns)} columns but a row of {len(row)}: {row!r}")

    def cells(self) -> list[list[Cell]]:
        """Every value as printed. Values that print alike are equally good: both are marked."""
        by_column = [_cells(column, [row[i] for row in self.rows]) for i, column in enumerate(self.columns)]
        return [list(cells) for cells in zip(*by_column, strict=True)]

    def groups(self) -> list[tuple[str, int | None, list[int]]]:
        """Neighbouring columns of one group: its name, the number of its queries, the places of its columns."""
        keyed = groupby(range(len(self.columns)), key=lambda i: (self.columns[i].group, self.columns[i].count))
        return [(group, count, list(places)) for (group, count), places in keyed]

    def marked(self, place: int) -> bool:
        """Whether any value of a column bears a mark, so that the others need a space in its place."""
        return any(isinstance(value, Measured) and bool(value.mark) for value in (row[place] for row in self.rows))

    @property
    def grouped(self) -> bool:
        """Whether a heading row above the column names is worth its space."""
        return any(column.group for column in self.columns)


def _cells(column: Column, values: Sequence[Value]) -> list[Cell]:
    plain = [value.value if isinstance(value, Measured) else value for value in values]
    texts = [_printed(column, value) for value in plain]
    numbers = [float(v) for v in plain if isinstance(v, int | float) and math.isfinite(v)]
    best = ""
    if column.best and len(values) > 1 and numbers:    # a lone row has nothing to be better than
        best = _printed(column, max(numbers) if column.best == "high" else min(numbers))
    return [
        Cell(text, bool(best) and text == best, _bar(column, bare), *_known(column, value))
        for text, bare, value in zip(texts, plain, values, strict=True)
    ]


def _known(column: Column, value: Value) -> tuple[str, str]:
    """Mark and interval as printed."""
    if not isinstance(value, Measured):
        return "", ""
    low, high = value.interval or (math.nan, math.nan)
    both = f"{ir_number(low, column.digits)}{DASH}{ir_number(high, column.digits)}"
    return value.mark, "" if math.isnan(low) or math.isnan(high) else both


def _printed(column: Column, value: str | int | float | None) -> str:
    if value is None:
        return DASH
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int):
        return f"{value:,}" if column.best is None else ir_number(value, column.digits)
    return ir_number(value, column.digits)


def _bar(column: Column, value: str | int | float | None) -> float | None:
    return float(value) if column.best == "high" and isinstance(value, int | float) and 0 <= value <= 1 else None


def measures_table(
    rows: Sequence[MeasureRow],
    *,
    counts: Mapping[str, int] | None = None,
    title: str = "Measures",
    note: str = "",
    missing_rule: str = "scored as 0",
) -> Table:
    """One row a system, one column a measure under the heading of its group.

    Args:
        rows: systems in the order to show them; groups and measures stand as they first occur.
        counts: queries in each group; `macro` needs none.
        title: heading of the table.
        note: a line under the heading, such as what the first stage is.
        missing_rule: what became of judged queries that a system has no ranking for.
    """
    counts = counts or {}
    keys = dict.fromkeys(key for row in rows for key in row.values)
    groups = dict.fromkeys(group for group, _ in keys)
    ordered = [key for group in groups for key in keys if key[0] == group]
    columns = [Column("system", numeric=False)]
    columns += [Column(measure, group, counts.get(group), best="high") for group, measure in ordered]
    body = [[row.system, *(row.values.get(key) for key in ordered)] for row in rows]
    footnotes = list(_missing_lines(rows, counts, missing_rule))
    if MACRO in groups and len(groups) > 2:
        footnotes.append("macro: the mean of the groups, each group counting the same.")
    return Table(title, columns, body, note, footnotes)


def _missing_lines(rows: Sequence[MeasureRow], counts: Mapping[str, int], rule: str) -> Iterator[str]:
    for row in rows:
        for group, missing in row.missing.items():
            if missing:
                of = f" of {counts[group]:,}" if group in counts else ""
                named = f" {group}" if group else ""
                yield f"{one_line(row.system)} has no ranking for {missing:,}{of}{named} queries; {rule}."


def terminal(table: Table, width: int = 80) -> RenderableType:
    """The table for a terminal; groups that do not fit side by side stand below each other."""
    parts: list[RenderableType] = [Text(one_line(table.title), style="bold")]
    if table.note:
        parts.append(Text(one_line(table.note), style="dim"))
    parts += [_rich_block(table, places) for places in _blocks(table, width)]
    parts += [Text(one_line(line), style="dim") for line in table.footnotes]
    return Group(*parts)


def print_table(table: Table, console: Console | None = None) -> None:
    """Print to the terminal, as wide as it is."""
    console = console or Console()
    console.print(terminal(table, console.width))


def _blocks(table: Table, width: int) -> list[list[int]]:
    """Places of the columns of each block, filled group by group; a group wider than the screen is split."""
    cells = table.cells()
    wide = [2 + _text_width(table.columns[i], _with_marks([row[i] for row in cells])) for i in range(len(table.columns))]
    name_width = min(sum(wide[: table.keys]), max(width * (table.keys + 1) // (table.keys + 5), 14))
    blocks: list[list[int]] = [[]]
    room = width - name_width
    for _, _, places in table.groups():
        places = [place for place in places if place >= table.keys]
        fits_whole = sum(wide[i] for i in places) <= width - name_width
        if blocks[-1] and fits_whole and sum(wide[i] for i in places) > room:
            blocks.append([])
            room = width - name_width
        for place in places:
            if blocks[-1] and wide[place] > room:
                blocks.append([])
                room = width - name_width
            blocks[-1].append(place)
            room -= wide[place]
    return blocks


def _text_width(column: Column, texts: Sequence[str]) -> int:
    lines = [one_line(column.name), *_heading(column).splitlines(), *texts]
    return max(map(cell_len, lines))    # cells of the terminal: a CJK character takes two


def _rich_block(table: Table, places: Sequence[int]) -> rich.table.Table:
    block = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for column in table.columns[: table.keys]:
        block.add_column(Text(("\n\n" if table.grouped else "") + one_line(column.name)), overflow="fold")
    previous: tuple[str, int | None] | None = None
    for place in places:
        column = table.columns[place]
        group = (column.group, column.count)
        heading = "" if group == previous else _heading(column)    # said once, over its first column
        previous = group
        lines = f"{heading}\n{one_line(column.name)}" if table.grouped else one_line(column.name)
        justify: Literal["right", "left"] = "right" if column.numeric else "left"
        block.add_column(Text(lines), justify=justify, no_wrap=column.numeric, overflow="fold")
    cells = table.cells()
    shown = [*range(table.keys), *places]
    texts = {i: _with_marks([row[i] for row in cells]) for i in shown}
    for number, row in enumerate(cells):
        block.add_row(*(Text(texts[i][number], style="bold" if row[i].best else "") for i in shown))
    return block


def _with_marks(cells: Sequence[Cell]) -> list[str]:
    """The texts of a column; where one of them has a mark, the others have a space in its place, so that digits line up."""
    return [cell.text + (cell.mark or " ") for cell in cells] if any(cell.mark for cell in cells) else [cell.text for cell in cells]


def _heading(column: Column) -> str:
    return f"{one_line(column.group)}\n" + (f"n={column.count:,}" if column.count is not None else "")


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown; the best value of a column in bold."""
    lines = [f"**{_md(table.title)}**", ""]
    if table.note:
        lines += [_md(table.note), ""]
    names = [_md(" ".join(filter(None, (column.group, column.name)))) for column in table.columns]
    counts = [f" (n={column.count:,})" if column.count is not None else "" for column in table.columns]
    lines.append("| " + " | ".join(name + count for name, count in zip(names, counts, strict=True)) + " |")
    lines.append("|" + "|".join(" ---: " if column.numeric else " --- " for column in table.columns) + "|")
    for row in table.cells():
        lines.append("| " + " | ".join((f"**{_md(c.text)}**" if c.best else _md(c.text)) + c.mark for c in row) + " |")
    lines += [f"\n{_md(line)}" for line in table.footnotes]
    return "\n".join(lines) + "\n"


def _md(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", one_line(text))
