"""What a run tells of itself: faults of training found in its ledger, each told once, in words.

Every rule looks at the ledger as it stood after each validation (or epoch) and speaks the first time it is sure, so that
more records add advice and change none. "Sure" is measured against the run's own noise: see `wobble`.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headtail.training.curves import Point, Records, dev_measures, finite, first_of, series

SURE = 4.0           # times its own noise a figure has to move
LOSS_MATTERS = 0.03    # share of the lowest validation loss; less is not worth a word
MEASURE_MATTERS = 0.03    # share of the best dev measure
GAP_MATTERS = 0.15    # share of the lowest validation loss
EASY_MATTERS = 0.1     # share by which separation grows
JUMP_MATTERS = 0.02    # share of the training loss
FALLS = 3            # validations in a row
BLOCK = 10           # log lines that make one point of a training curve


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing worth knowing: what kind of fault, the step where it began, and what it means and what helps, in words."""

    kind: str
    step: int
    text: str


@dataclass(frozen=True, slots=True)
class _Dev:
    """Validations with a loss, by step; the last two are empty where a record lacks them."""

    steps: list[int]
    losses: list[float]
    tempered: list[float]
    temperatures: list[float]
    best_by: str
    measure: list[float]


def advise(records: Records) -> list[Advice]:
    """Everything a ledger gives reason to say, in the order of the steps where it began; each kind at most once.

    Args:
        records: of a ledger. Read are `lists`, `lists_per_step` and `best_by` of "start"; `loss`, `separation` and
            `wrong_pairs` of "train"; `loss`, `loss_tempered`, `temperature`, `separation`, `wrong_pairs`, `d_prime`, `gap`
            and `measures` of "validation". A rule whose fields are missing says nothing.
    """
    found = [rule(records) for rule in RULES.values()]
    return sorted((one for one in found if one is not None), key=lambda one: (one.step, list(RULES).index(one.kind)))


def wobble(values: Sequence[float]) -> float:
    """Standard deviation of what a curve does besides going straight on: from its second differences, robust to outliers.

    Few values tell little of their own noise: the estimate is raised by 1 + 3 / (number of second differences). Infinite
    below three values.
    """
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    if not bends:
        return math.inf
    return statistics.median(bends) / 0.6745 / math.sqrt(6) * (1 + 3 / len(bends))


def risen(values: Sequence[float], matters: float) -> bool:
    """Whether the last two values both stand above the lowest one before them: by more than noise, and enough to matter."""
    low = min(values)
    if len(values) < 4 or low in values[-2:]:
        return False
    return min(values[-2:]) - low > max(SURE * wobble(values), matters * abs(low))


def fallen(values: Sequence[float], matters: float) -> bool:
    """`risen`, upside down."""
    return risen([-value for value in values], matters)


def rise(values: Sequence[float]) -> float:
    """From the lowest value to the mean of the last two."""
    return sum(values[-2:]) / len(values[-2:]) - min(values)


# ---- rules


def over_confidence(records: Records) -> Advice | None:
    """Validation loss rises, and neither its tempered loss nor the order of the docs has got worse."""
    dev = _dev(records)
    for end in range(4, len(dev.steps) + 1):
        losses, tempered, measure = dev.losses[:end], dev.tempered[:end], dev.measure[:end]
        same_order = not measure or rise([-value for value in measure]) < max(2 * wobble(measure), MEASURE_MATTERS * max(measure))
        same_tempered = not tempered or rise(tempered) < rise(losses) / 3
        if (measure or tempered) and risen(losses, LOSS_MATTERS) and same_order and same_tempered:
            low = losses.index(min(losses))
            holds = [f"{dev.best_by} holds ({_n(measure[-1])}, best {_n(max(measure))})"] if measure else []
            if tempered:
                holds.append(f"with all scores divided by {dev.temperatures[end - 1]:.2g} the loss is {_n(tempered[-1])}")
            return Advice(
                "over-confidence",
                dev.steps[low],
                f"over-confidence, not over-fitting: validation loss rose from {_n(losses[low])} (step {dev.steps[low]:,}) to"
                f" {_n(losses[-1])} (step {dev.steps[end - 1]:,}), but {' and '.join(holds)}. The order of the docs is as good as"
                " before, their scores lie too far apart for the loss. No ranking is harmed; what keeps scores closer: a capped"
                " loss (loss.options.cap), lower learning rates, training.ema.",
            )
    return None


def over_fitting(records: Records) -> Advice | None:
    """Validation loss rises, at its best temperature too, and the dev measure that chooses the best falls."""
    dev = _dev(records)
    for end in range(4, len(dev.steps) + 1):
        losses, tempered, measure = dev.losses[:end], dev.tempered[:end], dev.measure[:end]
        if not (measure and risen(losses, LOSS_MATTERS) and fallen(measure, MEASURE_MATTERS)):
            continue
        if tempered and not risen(tempered, LOSS_MATTERS / 2):
            continue
        low = losses.index(min(losses))
        also = f", at its best temperature too ({_n(min(tempered))} to {_n(tempered[-1])})" if tempered else ""
        return Advice(
            "over-fitting",
            dev.steps[low],
            f"over-fitting: validation loss rose from {_n(losses[low])} (step {dev.steps[low]:,}) to {_n(losses[-1])} (step"
            f" {dev.steps[end - 1]:,}){also}, and {dev.best_by} fell from {_n(max(measure))} to {_n(measure[-1])}. The model of the"
            " best step is kept. What helps: fewer steps or validation.patience, more lists, ranker.dropout, a capped loss"
            " (loss.options.cap), training.ema, lower learning rates, optimizer.layer_decay or freeze_layers.",
        )
    return None


def gap_opens(records: Records) -> Advice | None:
    """Training loss goes on falling and validation loss does not follow."""
    losses = series(records, "validation", "loss")
    gaps = _gaps(records, losses)
    for end in range(4, len(gaps) + 1):
        values = [value for _, value in gaps[:end]]
        so_far = [value for step, value in losses if step <= gaps[end - 1][0]]
        stuck = min(so_far) not in so_far[-2:]
        if stuck and risen(values, 0.0) and rise(values) > GAP_MATTERS * min(so_far):
            low = values.index(min(values))
            return Advice(
                "gap",
                int(gaps[low][0]),
                f"the gap between training and validation loss opens: {_n(values[low])} at step {gaps[low][0]:,.0f},"
                f" {_n(values[-1])} at step {gaps[end - 1][0]:,.0f}. What training still learns does not carry over to queries it"
                " has not seen: more lists, ranker.dropout, fewer steps.",
            )
    return None


def saw_tooth(records: Records) -> Advice | None:
    """Training loss drops at each border of an epoch, by more than it moves inside one: lists are learnt by heart."""
    start = first_of(records, "start")
    lists, a_step = finite(start.get("lists")), finite(start.get("lists_per_step"))
    points = series(records, "train", "loss")
    if not lists or not a_step or len(points) < 8:
        return None
    jumps = _Jumps.of(points, epoch=lists / a_step)
    for borders in range(2, len(jumps.at_borders) + 1):
        excess, noise = jumps.compared(borders)
        drop = -float(np.mean(excess))
        often = float(np.mean(excess < 0)) >= 0.75
        if often and drop > max(SURE * noise / math.sqrt(borders), JUMP_MATTERS * jumps.level):
            return Advice(
                "saw-tooth",
                int(jumps.borders[0]),
                f"saw-tooth at epoch borders: training loss drops by {_n(drop)} on average at each of the first {borders} borders of"
                f" an epoch ({lists / a_step:,.0f} steps), where inside an epoch it moves by {_n(noise)}. Lists are known by heart"
                " when they come again: more lists, other negatives each time (lists.depth, lists.random), fewer epochs,"
                " ranker.dropout.",
            )
    return None


def measure_falls(records: Records) -> Advice | None:
    """The dev measure that chooses the best falls several validations in a row, by more than noise."""
    name, points = _chosen(records)
    values = [value for _, value in points]
    for end in range(FALLS + 1, len(values) + 1):
        last = values[end - FALLS - 1 : end]
        fell = last[0] - last[-1]
        if all(a > b for a, b in itertools.pairwise(last)) and fell > max(SURE * wobble(values[:end]), MEASURE_MATTERS * max(values[:end])):
            return Advice(
                "measure falls",
                int(points[end - FALLS - 1][0]),
                f"{name} falls for {FALLS} validations in a row: from {_n(last[0])} (step {points[end - FALLS - 1][0]:,.0f}) to"
                f" {_n(last[-1])} (step {points[end - 1][0]:,.0f}). Nothing is lost, the best step is kept; going on is likely to cost"
                " time alone: validation.patience stops such a run, lower learning rates may save it.",
            )
    return None


def easy_pairs(records: Records) -> Advice | None:
    """Separation keeps growing while no fewer pairs are in the wrong order."""
    kind, apart, wrong = _pairs_curves(records)
    spreads = dict(series(records, "validation", "d_prime")) if kind == "validation" else {}
    for end in range(FALLS + 1, len(apart) + 1):
        (before, near), (after, far) = apart[end - FALLS - 1], apart[end - 1]
        last = [value for _, value in apart[end - FALLS - 1 : end]]
        grown = (far - near) / abs(near) if near else math.inf
        grows = all(a < b for a, b in itertools.pairwise(last)) and far - near > SURE * wobble([v for _, v in apart[:end]])
        mistakes = [wrong[step] for step, _ in apart[end - FALLS - 1 : end]]
        stays = sum(mistakes[2:]) >= 0.97 * sum(mistakes[:2])
        detects = spreads.get(before) and spreads.get(after) and spreads[after] / spreads[before] - 1 > grown / 3
        if near > 0 and grows and grown > EASY_MATTERS and stays and not detects:
            return Advice(
                "easy pairs",
                int(before),
                f"easy pairs are driven apart: from step {before:,.0f} to {after:,.0f} separation grew from {_n(near)} to {_n(far)} while"
                f" {mistakes[0]:.1%} and then {mistakes[-1]:.1%} of the pairs stood in the wrong order. Pairs that are right already are"
                " pushed further: a capped loss (loss.options.cap), a margin loss (hinge) or harder negatives (lists.depth).",
            )
    return None


RULES: dict[str, Callable[[Records], Advice | None]] = {
    "over-confidence": over_confidence,
    "over-fitting": over_fitting,
    "gap": gap_opens,
    "saw-tooth": saw_tooth,
    "measure falls": measure_falls,
    "easy pairs": easy_pairs,
}


# ---- what the rules look at


def _n(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def _chosen(records: Records) -> tuple[str, list[Point]]:
    """The dev measure that chooses the best, and its curve; the first one recorded where none is named."""
    measures = dev_measures(records)
    name = next((str(r["best_by"]) for r in records if r.get("best_by") in measures), next(iter(measures), ""))
    return name, measures.get(name, [])


def _dev(records: Records) -> _Dev:
    losses = series(records, "validation", "loss")
    name, points = _chosen(records)
    others = [dict(series(records, "validation", key)) for key in ("loss_tempered", "temperature")]
    tempered, temperatures, measure = ([of[step] for step, _ in losses if step in of] for of in (*others, dict(points)))
    whole = len(tempered) == len(temperatures) == len(losses)
    return _Dev(
        [int(step) for step, _ in losses],
        [loss for _, loss in losses],
        tempered if whole else [],
        temperatures if whole else [],
        name,
        measure if len(measure) == len(losses) else [],
    )


def _gaps(records: Records, losses: Sequence[Point]) -> list[Point]:
    """Validation loss less the mean training loss since the validation before, as recorded or else from both curves."""
    recorded = series(records, "validation", "gap")
    if recorded:
        return recorded
    train, gaps, before = series(records, "train", "loss"), [], 0.0
    for step, loss in losses:
        since = [value for at, value in train if before < at <= step]
        if since:
            gaps.append((step, loss - sum(since) / len(since)))
        before = step
    return gaps


def _pairs_curves(records: Records) -> tuple[str, list[Point], dict[float, float]]:
    """Separation and wrong pairs by step: of validations, whose lists stay the same, or else of training, ten lines a point."""
    for kind, size in (("validation", 1), ("train", BLOCK)):
        apart, wrong = (_blocks(series(records, kind, name), size) for name in ("separation", "wrong_pairs"))
        both = dict(wrong)
        if wrong:
            return kind, [point for point in apart if point[0] in both], both
    return "train", [], {}


def _blocks(points: Sequence[Point], size: int) -> list[Point]:
    """Means of so many points each, at the step of the last; a block that is not full is left out."""
    whole = [points[at : at + size] for at in range(0, len(points) - size + 1, size)]
    return [(block[-1][0], sum(value for _, value in block) / size) for block in whole]


@dataclass(frozen=True, slots=True)
class _Jumps:
    """What training loss does from a few log lines to the next few: across borders of an epoch, and inside epochs."""

    borders: np.ndarray       # steps
    at_borders: np.ndarray    # mean after less mean before
    ends: np.ndarray          # last step that each of them looks at
    inside: np.ndarray
    inside_ends: np.ndarray
    window: int               # log lines of one mean
    level: float              # median training loss

    @classmethod
    def of(cls, points: Sequence[Point], epoch: float) -> _Jumps:
        steps, losses = np.array([x for x, _ in points]), np.array([y for _, y in points])
        every = float(np.median(np.diff(steps)))
        begins = np.concatenate([[max(0.0, steps[0] - every)], steps[:-1]])    # a line is the mean of what follows that step
        size = min(5, int(epoch / every / 4))
        borders = np.arange(1, int(steps[-1] // epoch) + 1) * epoch
        empty = np.array([])
        if size < 1 or not len(borders):
            return cls(empty, empty, empty, empty, empty, 1, 0.0)
        sums = np.concatenate([[0.0], np.cumsum(losses)])
        last = np.searchsorted(steps, borders, side="right")      # lines that end before the border
        first = np.searchsorted(begins, borders, side="left")     # the first line that begins after it; one may lie across
        whole = (last >= size) & (first + size <= len(steps))
        last, first, borders = last[whole], first[whole], borders[whole]
        after, before = (sums[first + size] - sums[first]) / size, (sums[last] - sums[last - size]) / size
        middle = np.arange(size, len(steps) - size + 1)
        crossed = np.floor(begins[middle - size] / epoch) != np.floor((steps[middle + size - 1] - 1e-9) / epoch)
        middle = middle[~crossed]
        inside = (sums[middle + size] + sums[middle - size] - 2 * sums[middle]) / size
        ends = steps[first + size - 1]
        return cls(borders, after - before, ends, inside, steps[middle + size - 1], size, float(np.median(losses)))

    def compared(self, borders: int) -> tuple[np.ndarray, float]:
        """Of the first so many borders what they have beyond the jumps inside, and the standard deviation of those."""
        inside = self.inside[self.inside_ends <= self.ends[borders - 1]]
        if len(inside) < 4:
            return np.zeros(borders), math.inf
        usual = float(np.median(inside))
        apart = len(inside) / (2 * self.window)    # jumps that share no line
        noise = 1.4826 * float(np.median(np.abs(inside - usual))) * (1 + 3 / apart)
        return self.at_borders[:borders] - usual, noise
