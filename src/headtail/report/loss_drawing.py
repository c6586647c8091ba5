"""What each loss does to each rank of three lists, as one drawing: whom it pushes down, and how hard it pushes up.

A list has 36 docs whose scores fall evenly by .1 from rank to rank, and one positive: at rank 1, 6 or 20.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import NullLocator

from headtail.losses import LOSSES, options_of
from headtail.report.drawing import GRID, INK, RC
from headtail.report.tables import ir_number

DOCS, STEP, HEAD = 36, 0.1, 5
POSITIVE_AT = (1, 6, 20)    # ranks
VARIANTS: dict[str, list[dict[str, Any]]] = {    # drawn besides the defaults
    "lambda_loss": [{"top_k": 5}],
    "hybrid": [{"head_by": "scores"}, {"head_by": "disjoint"}],
}
DRAWS = 4000                # of the ties that list_mle and plackett_luce_head_tail break at random
HEAD_COLOUR, TAIL_COLOUR, UP_COLOUR = "#0072b2", "#8fb8d6", "#c44f00"
ROW, LEFT, WIDTH = 0.56, 1.75, 8.6    # inches
BAR = 3.3    # points


@dataclass(frozen=True, slots=True)
class Push:
    """-dL/ds of one list: above 0 a doc is pushed up, below 0 down."""

    by_rank: tuple[float, ...]    # of each rank, best first
    positive_at: int              # rank

    @property
    def up(self) -> float:
        """The positive's own push."""
        return self.by_rank[self.positive_at - 1]

    @property
    def shares(self) -> tuple[float, ...]:
        """What each other rank is pushed down by, as a share of all pushes on them; 0 for the positive itself."""
        others = [0.0 if rank == self.positive_at else -push for rank, push in enumerate(self.by_rank, start=1)]
        total = sum(map(abs, others))
        return tuple(push / total if total else 0.0 for push in others)

    @property
    def head(self) -> float:
        """Share of the pushes on other docs that falls on the first 5 ranks."""
        return sum(map(abs, self.shares[:HEAD]))


def push(loss: str, positive_at: int, **given: Any) -> Push:
    """What a loss, with its defaults unless options are given, does to each rank of the list whose positive stands there.

    A teacher gives the positive 3 and every other doc 0. Ties broken at random are averaged over 4,000 seeded draws.
    """
    scores = (torch.arange(DOCS - 1, -1, -1, dtype=torch.float64) - (DOCS - 1) / 2)[None] * STEP    # [1, L]
    labels = torch.zeros_like(scores)
    labels[0, positive_at - 1] = 1
    mask = torch.ones_like(labels, dtype=torch.bool)
    options = options_of(loss)
    more = {"teacher": 3 * labels} if "teacher" in options else {}
    if "ties" in options:    # a loss is the mean over its lists: the same list with other ties is another list
        scores, labels, mask = (values.expand(DRAWS, DOCS) for values in (scores, labels, mask))
        more["ties"] = torch.rand(DRAWS, DOCS, generator=torch.Generator().manual_seed(0))
    leaf = scores.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[loss](leaf, labels, mask, **given, **more), leaf)
    return Push(tuple((-gradient.sum(0)).tolist()), positive_at)


def draw_losses(losses: Sequence[str] = tuple(LOSSES)) -> str:
    """The drawing as a whole SVG file, a row for each loss and for each of its VARIANTS."""
    rows = [(loss, options) for loss in losses for options in ({}, *VARIANTS.get(loss, []))]
    height = ROW * len(rows) + 0.95
    with matplotlib.rc_context(RC | {"svg.hashsalt": "headtail-losses"}):
        figure = Figure(figsize=(WIDTH, height))
        width = (WIDTH - LEFT - 0.15) / len(POSITIVE_AT)
        for row, (loss, options) in enumerate(rows):
            bottom = height - 0.55 - ROW * (row + 1)
            x = 0.25 if options else 0.1
            figure.text(x / WIDTH, (bottom + 0.2) / height, _told(loss, options), fontsize=8.5, va="center")
            for column, at in enumerate(POSITIVE_AT):
                box = ((LEFT + column * width) / WIDTH, bottom / height, (width - 0.2) / WIDTH, (ROW - 0.16) / height)
                _panel(figure.add_axes(box), push(loss, at, **options), last=row == len(rows) - 1)
                if row == 0:
                    figure.text(box[0], (height - 0.5) / height, f"positive at rank {at}", fontsize=9, weight="bold")
        _legend(figure, height)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    return re.sub(r"(\d\.\d\d)\d\d+", r"\1", stream.getvalue())    # hundredths of a point draw as well and weigh less


def _told(loss: str, options: dict[str, Any]) -> str:
    return loss if not options else ", ".join(f"{name}={value}" for name, value in options.items())


def _panel(axes: Axes, pushed: Push, *, last: bool) -> None:
    shares, ranks = pushed.shares, range(1, DOCS + 1)
    axes.axvspan(0.5, HEAD + 0.5, color="#f1efe6", linewidth=0, zorder=0)
    axes.add_patch(_bars(ranks[:HEAD], shares[:HEAD], HEAD_COLOUR))
    axes.add_patch(_bars(ranks[HEAD:], shares[HEAD:], TAIL_COLOUR))
    axes.axhline(0, color=GRID, linewidth=0.8, zorder=1)
    low, high = min(0.0, *shares), max(0.0, *shares) or 1.0
    axes.set_ylim(low - 0.08 * (high - low), high + 0.5 * (high - low))
    axes.set_xlim(0.2, DOCS + 0.8)
    marker = "^" if pushed.up > 0 else "v"
    axes.plot([pushed.positive_at], [0], marker, color=UP_COLOUR, markersize=5.5, markeredgewidth=0, clip_on=False, zorder=4)
    said = f"{_number(abs(pushed.up))} {'up' if pushed.up > 0 else 'down'} · head {pushed.head:.0%}"
    axes.text(1, 1, said, transform=axes.transAxes, ha="right", va="top", fontsize=7.5)
    axes.yaxis.set_major_locator(NullLocator())
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([1, 5, 10, 20, 30, 36] if last else [])
    axes.tick_params(length=0, labelsize=7, pad=3)


def _bars(ranks: Sequence[int], heights: Sequence[float], colour: str) -> PathPatch:
    """All bars of one colour as one path of thick strokes: a drawing of 1,800 bars stays small."""
    ends = [point for rank, height in zip(ranks, heights, strict=True) for point in ((rank, 0.0), (rank, height))]
    path = Path(ends, [Path.MOVETO, Path.LINETO] * len(ranks))
    return PathPatch(path, edgecolor=colour, facecolor="none", linewidth=BAR, capstyle="butt", zorder=2)


def _number(value: float) -> str:
    return ir_number(value) if abs(value) < 1 else f"{value:.2f}"


def _legend(figure: Figure, height: float) -> None:
    said = (
        (UP_COLOUR, "▲ the positive, and how hard it is pushed up (▼ down)"),
        (HEAD_COLOUR, "▮ pushed down, ranks 1 to 5"),
        (TAIL_COLOUR, "▮ ranks 6 to 36: each bar a share of its panel"),
    )
    for (colour, words), at in zip(said, (0.1, 3.35, 5.35), strict=True):
        figure.text(at / WIDTH, (height - 0.2) / height, words, color=colour, fontsize=8)
    figure.text((LEFT - 0.42) / WIDTH, 0.2 / height, "rank", color=INK, fontsize=7)
