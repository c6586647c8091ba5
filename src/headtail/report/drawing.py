"""Curves as SVG that stand inside a page, each line with its name and last value at its end.

Same curves, same bytes. Figures are built without pyplot, so no display and no global state are involved.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from headtail.report.tables import ir_number, one_line
from headtail.training.curves import Point

INK, GRID = "#55585e", "#d8d8d2"
TRAIN, VALIDATION = "#0072b2", "#c44f00"
SERIES = ("#00785a", "#9c4a84", "#2f6bd0", "#8a6d00", "#b0343c", "#4d6b7a")    # told apart by the colour-blind too
SIZE = (4.2, 2.9)    # inches; the page scales it
LEFT, CHARACTER = 0.115, 0.0182    # of the figure's width: room for the axis, for one character of a label
DOTS = 400    # more than there are pixels tell nothing and weigh much

RC: dict[Any, Any] = {
    "text.parse_math": False,    # a dollar sign in a name is a dollar sign
    "svg.fonttype": "none",    # text stays text: small, searchable, in the page's own font
    "font.family": "DejaVu Sans",    # ships with matplotlib, so measuring text is the same everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.xmargin": 0.02,
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its title and its reading in words."""

    name: str
    title: str
    svg: str
    reading: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart, by step."""

    name: str
    points: Sequence[Point]
    colour: str
    behind: Sequence[Point] = ()     # light dots under a smoothed line
    marked: bool = False             # its points as dots, where they are few
    labelled: bool = True            # its name at its end
    opacity: float = 1.0
    dashed: bool = False
    ring_at: float | None = None     # the step to put a ring around


def draw(name: str, label: str, curves: Sequence[Curve], *, best: float | None = None, log: bool = False) -> str:
    """The SVG of some curves, none of them empty.

    Args:
        name: unlike that of any other drawing in the page: ids are made from it.
        label: what a screen reader says.
        best: a step to mark by a vertical line.
        log: values on a logarithmic axis; those that are not above 0 are left out.
    """
    shown: Callable[[float], float] = (lambda value: 10.0**value) if log else (lambda value: value)
    curves = [_logarithm(curve) for curve in curves] if log else curves
    with matplotlib.rc_context(RC | {"svg.hashsalt": f"headtail-{name}"}):
        figure = Figure(figsize=SIZE)
        room = CHARACTER * (5 + max(len(fit(curve.name)) for curve in curves if curve.labelled))
        axes = figure.add_axes((LEFT, 0.15, 1 - LEFT - room, 0.77))
        for curve in curves:
            _draw_curve(axes, curve)
        if best is not None:
            _mark_best(axes, best)
        _frame(axes, [value for curve in curves for value in (*(y for _, y in curve.points), *_inner(curve.behind))], shown)
        if log:
            axes.yaxis.set_major_locator(FixedLocator(_round_logarithms(*axes.get_ylim())))
        label_ends(axes, [(c.points[-1][1], fit(c.name), c.colour) for c in curves if c.labelled and c.points], shown)
        return to_svg(figure, label)


def _round_logarithms(low: float, high: float) -> list[float]:
    """Where 1, 2 and 5 times the powers of ten lie between two logarithms; where those are many the powers alone."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1, 2, 5), (1,)):
        found = [at for at in (power + math.log10(digit) for power in powers for digit in digits) if low <= at <= high]
        if len(found) <= 6:
            break
    return found


def _logarithm(curve: Curve) -> Curve:
    points, behind = ([(x, math.log10(y)) for x, y in some if y > 0] for some in (curve.points, curve.behind))
    return Curve(
        curve.name, points, curve.colour, behind, curve.marked, curve.labelled, curve.opacity, curve.dashed, curve.ring_at
    )


def _draw_curve(axes: Axes, curve: Curve) -> None:
    if curve.behind:
        thin = curve.behind[:: max(1, len(curve.behind) // DOTS)]
        axes.plot(*_xy(thin), "o", color=curve.colour, alpha=0.22, markersize=2.6, markeredgewidth=0, zorder=2)
    line = list(curve.points[:: max(1, len(curve.points) // DOTS)])
    if line and line[-1] != curve.points[-1]:
        line.append(curve.points[-1])
    marker = "o" if len(line) == 1 or (curve.marked and len(line) <= 60) else ""
    axes.plot(
        *_xy(line), color=curve.colour, linewidth=1.6, marker=marker, markersize=3.2, zorder=3, alpha=curve.opacity,
        linestyle=(0, (3, 1.6)) if curve.dashed else "-",
    )    # fmt: skip
    ring = [point for point in curve.points if point[0] == curve.ring_at]
    if ring:
        axes.plot(*_xy(ring), "o", markersize=7, markerfacecolor="none", markeredgecolor=curve.colour, zorder=4)


def _mark_best(axes: Axes, best: float) -> None:
    axes.axvline(best, color=INK, linewidth=0.8, dashes=(2, 2), zorder=1)
    axes.annotate(
        f"best, step {best:,.0f}", (best, 1), xycoords=("data", "axes fraction"), xytext=(0, 4),
        textcoords="offset points", ha="center", va="bottom", fontsize=8,
    )    # fmt: skip


def _inner(points: Sequence[Point]) -> list[float]:
    """Values without the outermost hundredth at each end, so that one spike does not flatten the chart."""
    values = sorted(value for _, value in points)
    cut = len(values) // 100
    return values[cut : len(values) - cut]


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _frame(axes: Axes, values: Sequence[float], shown: Callable[[float], float]) -> None:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = (high - low) * 0.06 or max(abs(high) * 0.1, 1e-3)
    axes.set_ylim(low - pad, high + pad)
    axes.set_xlabel("step", loc="right", labelpad=2)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: short(shown(value)))


def short(value: float) -> str:
    """An axis label: .05, .5, 2, 2.5, 1e+06."""
    text = f"{value:.4g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]], shown: Callable[[float], float]) -> None:
    """Name and last value beside the end of each line, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = 0.085    # of the height of the plot: one line of text
    at: list[float] = []
    ordered = sorted(labels)
    for value, _, _ in ordered:
        spot = min(max((value - low) / (high - low), 0.0), 1.0)
        at.append(max(spot, at[-1] + gap) if at else spot)
    over = max(0.0, (at[-1] if at else 0.0) - 1.0)
    for spot, (value, name, colour) in zip(at, ordered, strict=True):
        axes.text(1.025, spot - over, f"{figure_of(shown(value))} {name}", color=colour, transform=axes.transAxes, va="center")


def fit(name: str, width: int = 17) -> str:
    """A name as one line that is short enough for the end of a curve; both its ends stay."""
    name = one_line(name)
    return name if len(name) <= width else f"{name[: width // 2]}…{name[-(width // 2) :]}"


def figure_of(value: float) -> str:
    """A value in three figures: .412, 2.53; a very small one in two: 2.0e−05."""
    if 0 < abs(value) < 5e-4:
        return f"{value:.1e}".replace("-", "−")    # which no line breaks after
    return ir_number(value) if abs(value) < 1 else f"{value:.3g}"


def to_svg(figure: Figure, label: str) -> str:
    """SVG to stand inside a page: no prologue, no metadata, no style that leaks, no id that could occur twice."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    width, height = figure.get_size_inches()
    view_box = f"0 0 {width * 72:g} {height * 72:g}"
    opening = f'<svg class="chart" viewBox="{view_box}" role="img" aria-label="{escape(one_line(label))}" xmlns="http://www.w3.org/2000/svg"'
    opening += ' xmlns:xlink="http://www.w3.org/1999/xlink">'
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)    # not as a pattern: a label may hold a backslash
    return re.sub(r"\n\s*", "\n", svg).strip()
