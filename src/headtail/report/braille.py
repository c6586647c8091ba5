"""Curves drawn with braille characters, two dots wide and four high a character, with axes that carry numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from headtail.report.tables import one_line
from headtail.training.curves import Point

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))    # of U+2800: [row][column]
AXIS = 6    # characters of the numbers at the left
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: (step, value) pairs by step, and its style in rich's words."""

    name: str
    points: Sequence[Point]
    style: str


def chart(title: str, lines: Sequence[Line], *, width: int, height: int) -> Text:
    """A chart of exactly `height` lines, each `width` characters wide: title and legend, plot, steps.

    Lines without points are left out; later lines are drawn over earlier ones.
    """
    lines = [line for line in lines if line.points]
    rows = max(1, height - 2)
    body = _plot(lines, width - AXIS - 2, rows) if lines else [Text("  nothing yet", "dim"), *[Text()] * rows]
    return Text("\n").join(_fit(line, width) for line in [_heading(title, lines, width), *body])


def _plot(lines: Sequence[Line], columns: int, rows: int) -> list[Text]:
    """The rows of the plot with the numbers at their left, and the steps below."""
    low, high = _range([value for line in lines for _, value in line.points])
    first, last = min(line.points[0][0] for line in lines), max(line.points[-1][0] for line in lines)
    canvas = _Canvas(max(1, columns), rows)
    for line in lines:
        canvas.draw([(_share(x, first, last), _share(y, low, high)) for x, y in line.points], line.style)
    body = []
    for row in range(rows):
        told = row in (0, rows // 2, rows - 1)
        value = number(high + (low - high) * row / max(1, rows - 1)) if told else ""
        body.append(Text.assemble((f"{value:>{AXIS}} {'┤' if told else '│'}", "dim"), canvas.row(row)))
    left, right = f"{first:,.0f}", f"step {last:,.0f}"
    return [*body, Text(" " * (AXIS + 2) + left + right.rjust(columns - len(left)), "dim")]


def spark(values: Sequence[float], most: float) -> str:
    """Values as bars between 0 and `most`, one character each; a larger one is a full bar."""
    return "".join(BARS[max(0, min(7, int(8 * value / most)))] if most > 0 else BARS[0] for value in values)


def number(value: float) -> str:
    """A number in at most six characters: .438, 2.53, -12.5, 5e-06."""
    size = abs(value)
    if size and (size < 1e-3 or size >= 99_999):
        return f"{value:.0e}"
    text = f"{value:.3f}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:.0f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _heading(title: str, lines: Sequence[Line], width: int) -> Text:
    """Title, and each line's name in its colour with its last value."""
    parts = [(one_line(title), "bold"), *((f"{one_line(line.name)} {number(line.points[-1][1])}", line.style) for line in lines)]
    space = "  " if sum(cell_len(text) + 2 for text, _ in parts) <= width + 2 else " "
    return Text(space).join(Text(text, style) for text, style in parts)


def _fit(text: Text, width: int) -> Text:
    """Cut or filled up to so many cells; a cut one ends with an ellipsis."""
    text = text.copy()
    text.truncate(width, overflow="ellipsis", pad=True)
    return text


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest, without the outermost hundredth at each end, so that one spike does not flatten the chart."""
    ordered = sorted(values)
    cut = len(ordered) // 100
    low, high = ordered[cut], ordered[-1 - cut]
    room = (high - low) * 0.04 or max(abs(high) * 0.1, 1e-3)
    return low - room, high + room


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0


class _Canvas:
    """Characters of dots; a character takes the style of what was drawn in it last."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._dots = [[0] * columns for _ in range(rows)]
        self._styles = [[""] * columns for _ in range(rows)]

    def draw(self, points: Sequence[Point], style: str) -> None:
        """Join points of the unit square by straight lines; of several in one column of dots the mean is drawn."""
        wide, high = self.columns * 2 - 1, self.rows * 4 - 1
        columns: dict[int, list[float]] = {}
        for x, y in points:
            columns.setdefault(round(x * wide), []).append(y)
        places = [(column, round((1 - sum(ys) / len(ys)) * high)) for column, ys in sorted(columns.items())]
        for (x0, y0), (x1, y1) in zip(places, places[1:] or places, strict=False):
            steps = max(x1 - x0, abs(y1 - y0), 1)
            for step in range(steps + 1):
                self._set(x0 + round((x1 - x0) * step / steps), y0 + round((y1 - y0) * step / steps), style)

    def _set(self, x: int, y: int, style: str) -> None:
        self._dots[y // 4][x // 2] |= DOTS[y % 4][x % 2]
        self._styles[y // 4][x // 2] = style

    def row(self, row: int) -> Text:
        """One line of characters."""
        text = Text()
        for dots, style in zip(self._dots[row], self._styles[row], strict=True):
            text.append(chr(0x2800 + dots) if dots else " ", style)
        return text
