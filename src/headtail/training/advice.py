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

from headtail.training.curves import Point, Records, dev_measures, finite, first_of, series
from headtail.training.epochs import EpochJumps

SURE = 4.5                # times its own noise a figure has to move
SURE_OF_MEANS = 3.5       # the same between two means, each with the noise of a mean
LOSS_MATTERS = 0.03       # share of the lowest validation loss; less is not worth a word
MEASURE_MATTERS = 0.03    # share of the best dev measure
FALL_MATTERS = 0.05       # the same where nothing but the measure tells it
GAP_MATTERS = 0.15        # share of the lowest validation loss
EASY_MATTERS = 0.1        # share by which separation grows
JUMP_MATTERS = 0.02       # share of the training loss
FALLS = 3                 # validations in a row
BLOCK = 10                # log lines that make one point of a training curve


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
            `wrong_pairs` of "train"; `loss`, `loss_tempered`, `temperature`, `separation`, `wrong_pairs`, `d_prime` and
            `measures` of "validation". A rule whose fields are missing says nothing.
    """
    found = [rule(records) for rule in RULES.values()]
    return sorted((one for one in found if one is not None), key=lambda one: (one.step, list(RULES).index(one.kind)))


def advice_of(records: Records) -> list[Advice]:
    """What was said while the run went on; of a ledger that holds no advice, what there is to say now."""
    said = [
        Advice(str(record.get("about")), int(finite(record.get("step")) or 0), str(record.get("text")))
        for record in records
        if record.get("kind") == "advice"
    ]
    return list(dict.fromkeys(said)) or advise(records)


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
    """Whether values have risen since their lowest one, by more than noise and enough to matter.

    Compared are the later half of those after the lowest one, two at least, with the lowest and its two neighbours.
    """
    low = values.index(min(values))
    late = max(2, (len(values) - 1 - low) // 2)
    if low >= len(values) - 2 or len(values) < 4:
        return False
    near = values[max(0, low - 1) : low + 2]
    base, level = sum(near) / len(near), sum(values[-late:]) / late
    noise = wobble(values) * math.sqrt(1 / late + 1 / len(near))
    return min(level, *values[-2:]) - base > matters * abs(values[low]) and level - base > SURE_OF_MEANS * noise


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
        if (measure or tempered) and risen(losses, 1.5 * LOSS_MATTERS) and same_order and same_tempered:
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
    """Since validation loss was lowest, training loss has gone on falling and validation loss has not followed."""
    losses = series(records, "validation", "loss")
    gaps = _gaps(series(records, "train", "loss"), losses)
    for end in range(4, len(gaps) + 1):
        so_far, values = [loss for _, loss in losses[:end]], [gap for _, gap in gaps[:end]]
        low = so_far.index(min(so_far))
        if low >= end - 2:
            continue
        near = values[max(0, low - 1) : min(low + 2, end - 2)]    # the lowest loss and its neighbours, against its luck
        at_low = sum(near) / len(near)
        if min(values[-2:]) - at_low > max(SURE * wobble(values), GAP_MATTERS * so_far[low]):
            return Advice(
                "gap",
                int(gaps[low][0]),
                f"the gap between training and validation loss opens: {_n(at_low)} about step {gaps[low][0]:,.0f}, where validation"
                f" loss was lowest, {_n(values[-1])} at step {gaps[end - 1][0]:,.0f}. What training still learns does not carry"
                " over to queries it has not seen: more lists, ranker.dropout, fewer steps.",
            )
    return None


def saw_tooth(records: Records) -> Advice | None:
    """Training loss drops at each border of an epoch, by more than it moves inside one: lists are learnt by heart."""
    start = first_of(records, "start")
    lists, a_step = finite(start.get("lists")), finite(start.get("lists_per_step"))
    points = series(records, "train", "loss")
    if not lists or not a_step or len(points) < 8:
        return None
    jumps = EpochJumps.of(points, epoch=lists / a_step)
    for borders in range(2, len(jumps.borders) + 1):
        excess, noise = jumps.excess[:borders], jumps.noise(borders)
        drop, often = -statistics.fmean(excess), sum(jump < 0 for jump in excess) >= 0.75 * borders
        if often and drop > max(SURE * noise / math.sqrt(borders), JUMP_MATTERS * statistics.median(jumps.levels[:borders])):
            return Advice(
                "saw-tooth",
                int(jumps.borders[0]),
                f"saw-tooth at epoch borders: training loss drops by {_n(drop)} on average at each of the first {borders} borders"
                f" of an epoch ({lists / a_step:,.0f} steps), where inside an epoch it moves by {_n(noise)}. Lists are known by"
                " heart when they come again: more lists, other negatives each time (lists.depth, lists.random), fewer epochs,"
                " ranker.dropout.",
            )
    return None


def measure_falls(records: Records) -> Advice | None:
    """The dev measure that chooses the best falls several validations in a row, by more than noise."""
    name, points = _chosen(records)
    for end in range(FALLS + 1, len(points) + 1):
        values = [value for _, value in points[:end]]
        top = end - 1
        while top and values[top - 1] > values[top]:
            top -= 1
        falls, fell = end - 1 - top, values[top] - values[-1]
        if falls >= FALLS and fell > max(SURE * wobble(values), FALL_MATTERS * max(values)):
            began, now = points[top][0], points[end - 1][0]
            return Advice(
                "measure falls",
                int(began),
                f"{name} falls for {falls} validations in a row: from {_n(values[top])} (step {began:,.0f}) to {_n(values[-1])}"
                f" (step {now:,.0f}). Nothing is lost, the best step is kept; going on is likely to cost time alone:"
                " validation.patience stops such a run, lower learning rates may save it.",
            )
    return None


def easy_pairs(records: Records) -> Advice | None:
    """Separation keeps growing while no fewer pairs are in the wrong order, and d' does not grow with it."""
    kind = "validation" if series(records, "validation", "wrong_pairs") else "train"    # lists of validation stay the same
    size = 1 if kind == "validation" else BLOCK
    apart, wrong, spreads = (
        _blocks(series(records, kind, name), size) for name in ("separation", "wrong_pairs", "d_prime")
    )
    if len(apart) != len(wrong):
        return None
    for end in range(FALLS + 1, len(apart) + 1):
        begin = end - FALLS - 1
        values, mistakes = [value for _, value in apart[:end]], [value for _, value in wrong[:end]]
        near, far = values[begin], values[-1]
        grown = far / near - 1 if near > 0 else 0.0
        grows = all(a < b for a, b in itertools.pairwise(values[begin:])) and far - near > SURE * wobble(values)
        if not grows or grown < EASY_MATTERS or _halves(mistakes[begin:]) < -max(wobble(mistakes) / 2, 0.03 * mistakes[begin]):
            continue
        sharper = [value for _, value in spreads[:end]] if len(spreads) == len(apart) else []
        if sharper and _halves(sharper[begin:]) + wobble(sharper) > grown / 4 * sharper[begin]:
            continue    # scores are not blown up, docs are told apart better
        return Advice(
            "easy pairs",
            int(apart[begin][0]),
            f"easy pairs are driven apart: from step {apart[begin][0]:,.0f} to {apart[end - 1][0]:,.0f} separation grew from"
            f" {_n(near)} to {_n(far)} while {mistakes[begin]:.1%} and then {mistakes[-1]:.1%} of the pairs stood in the wrong"
            " order. Pairs that are right already are pushed further: a capped loss (loss.options.cap), a margin loss (hinge)"
            " or harder negatives (lists.depth).",
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


def _gaps(train: Sequence[Point], losses: Sequence[Point]) -> list[Point]:
    """Validation loss less the mean of the ten lines of training loss before it, or of fewer where validations lie closer.

    Not of all lines since the validation before: while the loss still falls fast, their mean lies far above where it is.
    """
    gaps, before = [], 0.0
    for step, loss in losses:
        near = [value for at, value in train if before < at <= step][-BLOCK:]
        gaps += [(step, loss - sum(near) / len(near))] if near else []
        before = step
    return gaps if len(gaps) == len(losses) else []


def _halves(values: Sequence[float]) -> float:
    """Mean of the second half less mean of the first."""
    half = len(values) // 2
    return sum(values[-half:]) / half - sum(values[:half]) / half


def _blocks(points: Sequence[Point], size: int) -> list[Point]:
    """Means of so many points each, at the step of the last; a block that is not full is left out."""
    whole = [points[at : at + size] for at in range(0, len(points) - size + 1, size)]
    return [(block[-1][0], sum(value for _, value in block) / size) for block in whole]
