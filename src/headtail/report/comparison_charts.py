"""Charts that set systems beside each other: head against tail, by patience, by intent. From plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from matplotlib.transforms import Bbox

from headtail.report.drawing import CHARACTER, GRID, INK, LEFT, RC, SERIES, SIZE, Chart, figure_of, fit, label_ends, short, to_svg
from headtail.report.tables import ir_number, one_line

Interval = tuple[float, float]

MARKERS = ("o", "s", "^", "D", "v", "P")    # with six colours, 36 systems look different
PATIENCE = (0.5, 0.8, 0.9, 0.95, 0.98)      # ticks, as far as the curves reach
QUESTION_USER, BROWSER = "question user", "browser"


@dataclass(frozen=True, slots=True)
class SystemPoint:
    """One system: its value at the head and at the tail, and the 95 % intervals (low, high) where they are known."""

    system: str
    head: float
    tail: float
    head_interval: Interval | None = None
    tail_interval: Interval | None = None


def head_tail_chart(points: Sequence[SystemPoint], *, head: str = "nDCG@5", tail: str = "TailnDCG") -> Chart:
    """A scatter: further right is better at the head, further up better down the tail.

    Args:
        points: one a system, all values finite.
        head, tail: names of the two measures.

    Raises:
        ValueError: no point.
    """
    if not points:
        raise ValueError("a chart of head and tail needs at least one system")
    with matplotlib.rc_context(RC | {"svg.hashsalt": "headtail-head-tail"}):
        figure = Figure(figsize=(SIZE[0], 3.6))
        axes = figure.add_axes((0.125, 0.125, 0.85, 0.85))
        for place, point in enumerate(points):
            _draw_point(axes, point, *_look(place))
        _frame_scatter(axes, points, one_line(head), one_line(tail))
        _label_points(figure, axes, points)
        svg = to_svg(figure, f"{one_line(tail)} by {one_line(head)}, a point a system")
    return Chart("head-tail", "Head and tail", svg, _read_head_tail(points, one_line(head), one_line(tail)))


def _look(place: int) -> tuple[str, str]:
    """Colour and marker."""
    return SERIES[place % len(SERIES)], MARKERS[place // len(SERIES) % len(MARKERS)]


def _draw_point(axes: Axes, point: SystemPoint, colour: str, marker: str) -> None:
    if point.head_interval:
        axes.plot(point.head_interval, (point.tail, point.tail), color=colour, linewidth=1.1, alpha=0.55, zorder=2)
    if point.tail_interval:
        axes.plot((point.head, point.head), point.tail_interval, color=colour, linewidth=1.1, alpha=0.55, zorder=2)
    axes.plot([point.head], [point.tail], marker, color=colour, markersize=6, markeredgewidth=0, zorder=3)


def _frame_scatter(axes: Axes, points: Sequence[SystemPoint], head: str, tail: str) -> None:
    """Axes as wide as points and intervals, with room for the labels, and never beyond 0 and 1 where no value is."""
    across = [value for point in points for value in (point.head, *(point.head_interval or ()))]
    up = [value for point in points for value in (point.tail, *(point.tail_interval or ()))]
    axes.set_xlim(*_limits(across, 0.16))
    axes.set_ylim(*_limits(up, 0.14))
    axes.spines["left"].set_visible(True)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.set_xlabel(f"{head} →", loc="right", labelpad=2)
    axes.set_ylabel(f"{tail} →", loc="top", labelpad=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(lambda value, _: short(value))


def _limits(values: Sequence[float], share: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max((high - low) * share, 0.02)
    return low - room, high + room


def _label_points(figure: Figure, axes: Axes, points: Sequence[SystemPoint]) -> None:
    """Each name beside its point, where it covers least of points, intervals and other names."""
    renderer: Any = FigureCanvasAgg(figure).get_renderer()    # type: ignore[no-untyped-call]
    frame = axes.get_window_extent(renderer)
    taken = [box for point in points for box in _boxes(axes, point)]
    for place, point in enumerate(points):
        best: tuple[float, Any, Bbox] | None = None
        for rank, ((x, y), across, up) in enumerate(_PLACES):
            text = axes.annotate(
                fit(point.system, 24), (point.head, point.tail), xytext=(x, y), textcoords="offset points", ha=across, va=up,
                color=_look(place)[0], zorder=4,
            )    # fmt: skip
            box = text.get_window_extent(renderer)
            cost = sum(_overlap(box, other) for other in taken) + 4 * (box.width * box.height - _overlap(box, frame)) + rank
            if best is None or cost < best[0] - 1e-6:
                if best is not None:
                    best[1].remove()
                best = (cost, text, box)
            else:
                text.remove()
        if best is not None:
            taken.append(best[2])


_PLACES = (    # offset in points and how the text is aligned there, the best place first
    ((6, 4), "left", "bottom"), ((6, -4), "left", "top"), ((-6, 4), "right", "bottom"), ((-6, -4), "right", "top"),
    ((8, 0), "left", "center"), ((-8, 0), "right", "center"), ((0, 10), "center", "bottom"), ((0, -10), "center", "top"),
    ((6, 17), "left", "bottom"), ((6, -17), "left", "top"), ((-6, 17), "right", "bottom"), ((-6, -17), "right", "top"),
)    # fmt: skip


def _boxes(axes: Axes, point: SystemPoint) -> list[Bbox]:
    """What a point and its intervals cover, in pixels."""
    across, up = point.head_interval or (point.head, point.head), point.tail_interval or (point.tail, point.tail)
    ends = axes.transData.transform([(across[0], point.tail), (across[1], point.tail), (point.head, up[0]), (point.head, up[1])])
    x, y = axes.transData.transform((point.head, point.tail))
    return [
        Bbox.from_extents(x - 4, y - 4, x + 4, y + 4),
        Bbox.from_extents(ends[0][0], y - 1, ends[1][0], y + 1),
        Bbox.from_extents(x - 1, ends[2][1], x + 1, ends[3][1]),
    ]


def _overlap(one: Bbox, other: Any) -> float:
    both = Bbox.intersection(one, other)
    return float(both.width * both.height) if both is not None else 0.0


def _read_head_tail(points: Sequence[SystemPoint], head: str, tail: str) -> str:
    at_head, down = max(points, key=lambda point: point.head), max(points, key=lambda point: point.tail)
    intervals = any(point.head_interval or point.tail_interval for point in points)
    cross = " The crosses are 95 % intervals." if intervals else ""
    zoomed = " The axes show the range that is used and do not begin at 0."
    if len(points) == 1:
        return f"{one_line(at_head.system)}: {head} {figure_of(at_head.head)}, {tail} {figure_of(at_head.tail)}.{cross}{zoomed}"
    if at_head is down:
        start = f"{one_line(at_head.system)} is best at both: {head} {figure_of(at_head.head)}, {tail} {figure_of(at_head.tail)}."
    else:
        start = (
            f"Best at the head: {one_line(at_head.system)}, {head} {figure_of(at_head.head)}; "
            f"best down the tail: {one_line(down.system)}, {tail} {figure_of(down.tail)}."
        )
    return start + cross + zoomed


def scroll_chart(curves: Mapping[str, Sequence[tuple[float, float]]], *, measure: str = "value") -> Chart:
    """Value over patience: what each system is worth to users who read further and further down.

    Args:
        curves: system -> (patience p, value) pairs, 0 <= p < 1; a user with patience p reads 1 / (1 - p) ranks on average.
        measure: what the values are.

    Raises:
        ValueError: no curve, an empty curve, or a patience outside its range.
    """
    if not curves or not all(curves.values()):
        raise ValueError("a chart over patience needs at least one curve, and a point in each")
    if any(not 0 <= p < 1 for points in curves.values() for p, _ in points):
        raise ValueError("patience p is at least 0 and below 1")
    placed = {system: sorted((_depth(p), value) for p, value in points) for system, points in curves.items()}
    with matplotlib.rc_context(RC | {"svg.hashsalt": "headtail-scroll"}):
        figure = Figure(figsize=(SIZE[0], 3.2))
        room = CHARACTER * (5 + max(len(fit(system)) for system in placed))
        axes = figure.add_axes((LEFT, 0.255, 1 - LEFT - room, 0.7))
        for place, points in enumerate(placed.values()):
            style = "-" if place < len(SERIES) else (0, (3, 1.6))
            axes.plot(*zip(*points, strict=True), color=SERIES[place % len(SERIES)], linewidth=1.6, linestyle=style, zorder=3)
        _frame_scroll(axes, placed)
        ends = [(points[-1][1], fit(system), SERIES[i % len(SERIES)]) for i, (system, points) in enumerate(placed.items())]
        label_ends(axes, ends, lambda value: value)
        svg = to_svg(figure, f"{one_line(measure)} by patience")
    return Chart("scroll", f"{_capital(one_line(measure))} by patience", svg, _read_scroll(placed, one_line(measure)))


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _depth(patience: float) -> float:
    """Where a patience stands on the axis: the logarithm of the ranks seen on average."""
    return -math.log10(1 - patience)


def _frame_scroll(axes: Axes, placed: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    low, high = min(points[0][0] for points in placed.values()), max(points[-1][0] for points in placed.values())
    axes.set_xlim(low - 0.02 * (high - low or 1), high + 0.01 * (high - low or 1))
    axes.set_ylim(*_limits([value for points in placed.values() for _, value in points], 0.06))
    ticks = [p for p in PATIENCE if low - 1e-9 <= _depth(p) <= high + 1e-9]
    axes.xaxis.set_major_locator(FixedLocator([_depth(p) for p in ticks]))
    axes.set_xticklabels([f"{short(p)}\n{1 / (1 - p):.0f}" for p in ticks], linespacing=1.35)
    for line, word in enumerate(("p", "ranks")):    # what the two lines of numbers are
        axes.annotate(
            word, (0, 0), xycoords="axes fraction", xytext=(-8, -5 - 12.2 * line), textcoords="offset points", ha="right", va="top"
        )
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: short(value))
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for at, word, side in ((0, f"← {QUESTION_USER}", "left"), (1, f"{BROWSER} →", "right")):
        axes.text(at, -0.31, word, transform=axes.transAxes, ha=side, va="bottom", color=INK, fontstyle="italic")


def _read_scroll(placed: Mapping[str, Sequence[tuple[float, float]]], measure: str) -> str:
    start = "From left to right users read further down: ticks name their patience p and the ranks they see on average, 1/(1−p). "
    at_once, late = (max(placed, key=lambda system: placed[system][end][1]) for end in (0, -1))
    first, last = figure_of(placed[at_once][0][1]), figure_of(placed[late][-1][1])
    if len(placed) == 1:
        return f"{start}{_capital(measure)} goes from {first} to {last}."
    if at_once == late:
        return f"{start}{one_line(at_once)} leads at both ends, {first} and {last}."
    return f"{start}For the {QUESTION_USER} {one_line(at_once)} leads, {first}; for the {BROWSER} {one_line(late)}, {last}."


def intent_bars(values: Mapping[str, Mapping[str, float]], measure: str) -> Chart:
    """Bars from 0, grouped by intent, the value printed at the end of each.

    Args:
        values: intent -> system -> mean, `macro` included where there is one; a mean may be absent.
        measure: what the means are of.

    Raises:
        ValueError: no mean at all.
    """
    systems = list(dict.fromkeys(system for means in values.values() for system in means))
    if not systems:
        raise ValueError("a chart by intent needs at least one mean")
    rows = sum(1.5 + len(means) for means in values.values() if means)
    with matplotlib.rc_context(RC | {"svg.hashsalt": "headtail-intents"}):
        figure = Figure(figsize=(SIZE[0], 0.2 * rows + 0.1))
        left = CHARACTER * (1.5 + max(len(fit(system, 20)) for system in systems))
        axes = figure.add_axes((left, 0.0, 1 - left - 0.09, 1.0))
        bottom = _draw_groups(axes, values, systems)
        axes.set_ylim(bottom, -0.2)
        axes.set_xlim(min(0.0, *_all(values)) * 1.05, max(_all(values)) or 1.0)
        axes.set_axis_off()
        svg = to_svg(figure, f"{one_line(measure)} by intent and system")
    return Chart("intents", f"{one_line(measure)} by intent", svg, _read_bars(values, one_line(measure)))


def _all(values: Mapping[str, Mapping[str, float]]) -> list[float]:
    return [mean for means in values.values() for mean in means.values()]


def _draw_groups(axes: Axes, values: Mapping[str, Mapping[str, float]], systems: Sequence[str]) -> float:
    """Groups from top to bottom; returns where the last one ends, in rows."""
    row = 0.0
    for intent, means in values.items():
        if not means:
            continue
        axes.text(0, row + 0.4, one_line(intent), fontweight="bold", va="center", color=INK)
        row += 1.1
        best = max(map(ir_number, means.values()))
        for place, system in enumerate(systems):
            if system not in means:
                continue
            mean, colour = means[system], SERIES[place % len(SERIES)]
            axes.barh(row + 0.3, mean, height=0.66, color=colour, alpha=1.0 if place < len(SERIES) else 0.6, linewidth=0)
            name: dict[str, Any] = {"xytext": (-5, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(fit(system, 20), (0, row + 0.3), ha="right", color=INK, **name)
            told = ir_number(mean)
            weight = "bold" if told == best and len(means) > 1 else "normal"
            axes.annotate(told, (max(mean, 0.0), row + 0.3), ha="left", color=INK, fontweight=weight, **(name | {"xytext": (4, 0)}))
            row += 1.0
        row += 0.4
    return row


def _read_bars(values: Mapping[str, Mapping[str, float]], measure: str) -> str:
    best = [
        f"{one_line(max(means, key=lambda system: means[system]))} for {one_line(intent)}"
        for intent, means in values.items()
        if len(means) > 1
    ]
    return f"Mean {measure}; bars begin at 0." + (f" Highest: {', '.join(best)}." if best else "")
