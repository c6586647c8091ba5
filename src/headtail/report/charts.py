"""Training curves as SVG, each with a sentence that says what it shows.

Same ledger, same bytes. Figures are built without pyplot, so no display and no global state are involved.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headtail.report.tables import ir_number, one_line
from headtail.training.curves import Point, Records, best_step, dev_measures, finite, series, smooth

INK, GRID = "#55585e", "#d8d8d2"
TRAIN, VALIDATION = "#0072b2", "#c44f00"
MEASURES = ("#00785a", "#9c4a84", "#2f6bd0", "#8a6d00", "#b0343c", "#4d6b7a")    # told apart by the colour-blind too
SIZE = (4.2, 2.9)    # inches; the page scales it
LEFT, CHARACTER = 0.115, 0.0182    # of the figure's width: room for the axis, for one character of a label

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


def training_charts(ledger: Records, *, best_by: str | None = None) -> list[Chart]:
    """Loss, separation and dev measures by step; a chart that has nothing to show is left out.

    Args:
        ledger: records of a run's ledger; of two records of a kind and step the later one counts, as after a resume.
        best_by: the dev measure that names the best step; the first one recorded by default.
    """
    best = best_step(ledger, best_by)
    charts = [_loss_chart(ledger, best), _separation_chart(ledger, best), _measures_chart(ledger, best_by, best)]
    return [chart for chart in charts if chart is not None]


def _loss_chart(ledger: Records, best: float | None) -> Chart | None:
    train, validation = series(ledger, "train", "loss"), series(ledger, "validation", "loss")
    if not train and not validation:
        return None
    svg = _curves("loss", train, validation, best)
    return Chart("loss", "Loss", svg, _read_loss(ledger, train, validation))


def _separation_chart(ledger: Records, best: float | None) -> Chart | None:
    train, validation = series(ledger, "train", "separation"), series(ledger, "validation", "separation")
    if not train and not validation:
        return None
    svg = _curves("separation", train, validation, best)
    return Chart("separation", "Separation", svg, _read_separation(train, validation))


def _measures_chart(ledger: Records, best_by: str | None, best: float | None) -> Chart | None:
    measures = dev_measures(ledger)
    if not measures or best is None:
        return None
    if best_by in measures:    # the one that decides comes first and is always among those drawn
        measures = {best_by: measures[best_by], **measures}
    drawn = dict(list(measures.items())[: len(MEASURES)])
    with matplotlib.rc_context(RC | {"svg.hashsalt": "headtail-measures"}):
        figure, axes = _blank(drawn)
        labels = []
        for (name, points), colour in zip(drawn.items(), MEASURES, strict=False):
            _line(axes, points, colour, dots=True)
            labels.append((points[-1][1], one_line(name), colour))
        _mark_best(axes, best, [(points, colour) for points, colour in zip(drawn.values(), MEASURES, strict=False)])
        _frame(axes, [value for points in drawn.values() for _, value in points])
        _label_lines(axes, labels)
        svg = _to_svg(figure, "Dev measures by step")
    left_out = len(measures) - len(drawn)
    more = f" {left_out} more measures are in the ledger." if left_out else ""
    return Chart("measures", "Dev measures", svg, _read_measures(drawn) + more)


def _mark_best(axes: Axes, best: float, lines: Sequence[tuple[Sequence[Point], str]]) -> None:
    axes.axvline(best, color=INK, linewidth=0.8, dashes=(2, 2), zorder=1)
    for points, colour in lines:
        at = dict(points).get(best)
        if at is not None:
            axes.plot([best], [at], "o", markersize=7, markerfacecolor="none", markeredgecolor=colour, zorder=4)
    axes.annotate(
        f"best, step {best:,.0f}", (best, 1), xycoords=("data", "axes fraction"), xytext=(0, 4),
        textcoords="offset points", ha="center", va="bottom", fontsize=8,
    )    # fmt: skip


def _curves(name: str, train: Sequence[Point], validation: Sequence[Point], best: float | None) -> str:
    """Training as light dots under a smoothed line, validation as a line through its dots."""
    with matplotlib.rc_context(RC | {"svg.hashsalt": f"headtail-{name}"}):
        figure, axes = _blank(["validation"])
        smoothed, labels, seen = smooth(train), [], [value for _, value in validation]
        if train:
            thin = train[:: max(1, len(train) // 400)]    # more dots than pixels tell nothing and weigh much
            axes.plot(*_xy(thin), "o", color=TRAIN, alpha=0.22, markersize=2.6, markeredgewidth=0, zorder=2)
            line = smoothed[:: max(1, len(smoothed) // 400)]
            if line[-1] != smoothed[-1]:
                line.append(smoothed[-1])
            _line(axes, line, TRAIN, dots=len(train) == 1)
            labels.append((smoothed[-1][1], "training", TRAIN))
            seen += [value for _, value in smoothed] + _inner(train)
        if validation:
            _line(axes, validation, VALIDATION, dots=True)
            labels.append((validation[-1][1], "validation", VALIDATION))
        if best is not None:
            _mark_best(axes, best, [(validation, VALIDATION)])
        _frame(axes, seen)
        _label_lines(axes, labels)
        return _to_svg(figure, f"{name.capitalize()} by step")


def _inner(points: Sequence[Point]) -> list[float]:
    """Values without the outermost hundredth at each end, so that one spike does not flatten the chart."""
    values = sorted(value for _, value in points)
    cut = len(values) // 100
    return values[cut : len(values) - cut]


def _blank(names: Iterable[str]) -> tuple[Figure, Axes]:
    """An empty chart with room at its right for the lines' names and last values."""
    figure = Figure(figsize=SIZE)
    room = CHARACTER * (5 + max(len(_fit(name)) for name in names))
    return figure, figure.add_axes((LEFT, 0.15, 1 - LEFT - room, 0.77))


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _line(axes: Axes, points: Sequence[Point], colour: str, *, dots: bool) -> None:
    marker = "o" if dots and len(points) <= 60 else ""
    axes.plot(*_xy(points), color=colour, linewidth=1.6, marker=marker, markersize=3.2, zorder=3)


def _frame(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    pad = (high - low) * 0.06 or max(abs(high) * 0.1, 1e-3)
    axes.set_ylim(low - pad, high + pad)
    axes.set_xlabel("step", loc="right", labelpad=2)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))


def _short(value: float) -> str:
    """An axis label: .05, .5, 2, 2.5, 1e+06."""
    text = f"{value:.4g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _label_lines(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
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
        axes.text(
            1.025, spot - over, f"{_number(value)} {_fit(name)}", color=colour, transform=axes.transAxes, va="center"
        )


def _fit(name: str, width: int = 17) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"


def _number(value: float) -> str:
    return ir_number(value) if abs(value) < 1 else f"{value:.3g}"


def _to_svg(figure: Figure, label: str) -> str:
    """SVG to stand inside a page: no prologue, no metadata, no style that leaks, no id that could occur twice."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    view_box = f"0 0 {SIZE[0] * 72:g} {SIZE[1] * 72:g}"
    opening = f'<svg class="chart" viewBox="{view_box}" role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg"'
    svg = re.sub(r"<svg[^>]*>", opening + ' xmlns:xlink="http://www.w3.org/1999/xlink">', svg, count=1)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _read_loss(ledger: Records, train: Sequence[Point], validation: Sequence[Point]) -> str:
    said = []
    if len(train) > 1:
        smoothed = smooth(train)
        said.append(f"Training loss {_went(smoothed[0][1], smoothed[-1][1])}.")
    if len(validation) > 1:
        said.append(_read_validation_loss(validation))
    elif validation:
        said.append(f"One validation, at step {validation[0][0]:,.0f}: loss {_number(validation[0][1])}.")
    else:
        said.append("No validation was recorded.")
    lost = sum("loss" in record and finite(record["loss"]) is None for record in ledger)
    if lost:
        said.append(f"{lost:,} record{'s hold' if lost > 1 else ' holds'} no finite loss and cannot be drawn.")
    return " ".join(said)


def _read_validation_loss(validation: Sequence[Point]) -> str:
    step, low = min(validation, key=lambda point: (point[1], point[0]))
    last_step, last = validation[-1]
    start = f"Validation loss is lowest, {_number(low)}, at step {step:,.0f}"
    if step == last_step:
        return f"{start}, the last one: it had not begun to rise."
    spread = max(value for _, value in validation) - low
    if last - low > 0.1 * spread:    # less is noise on the scale of what was seen
        return (
            f"{start}, and rises after it to {_number(last)} at step {last_step:,.0f}:"
            " over-fitting if the dev measures fall as well, over-confidence if they still rise."
        )
    return f"{start}, and stays close to it until step {last_step:,.0f} ({_number(last)})."


def _read_separation(train: Sequence[Point], validation: Sequence[Point]) -> str:
    parts = []
    if len(train) > 1:
        smoothed = smooth(train)
        parts.append(f"in training it {_went(smoothed[0][1], smoothed[-1][1])}")
    if len(validation) > 1:
        parts.append(f"in validation it {_went(validation[0][1], validation[-1][1])}")
    start = "Score of a positive minus score of a negative of its list"
    return f"{start}: {' and '.join(parts)}." if parts else f"{start}; one record."


def _went(start: float, end: float) -> str:
    if _number(start) == _number(end):
        return f"stays at {_number(end)}"
    return f"{'rises' if end > start else 'falls'} from {_number(start)} to {_number(end)}"


def _read_measures(measures: Mapping[str, Sequence[Point]]) -> str:
    name, points = next(iter(measures.items()))
    step, best = max(points, key=lambda point: (point[1], -point[0]))
    last_step, last = points[-1]
    start = f"{one_line(name)} is best, {_number(best)}, at step {step:,.0f}"
    if len(points) == 1:
        return f"{start}, the only validation."
    if step == last_step:
        return f"{start}, the last one: longer training may still help."
    return f"{start} of {last_step:,.0f}; at the last step it is {_number(last)}."
