"""Training curves of a run, each with a sentence that says what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headtail.report.drawing import SERIES, TRAIN, VALIDATION, Chart, Curve, draw, figure_of
from headtail.report.tables import one_line
from headtail.training.curves import Point, Records, best_step, dev_measures, finite, series, smooth

RANKS = {"gradient_1_5": "ranks 1–5", "gradient_6_20": "ranks 6–20", "gradient_21_up": "ranks 21 up"}

PARTS = ("embeddings", "encoder", "head")


def training_charts(ledger: Records, *, best_by: str | None = None) -> list[Chart]:
    """Loss, separation, dev measures, and what layers and ranks get, by step; a chart with nothing to show is left out.

    Args:
        ledger: records of a run's ledger; of two records of a kind and step the later one counts, as after a resume.
        best_by: the dev measure that names the best step; the first one recorded by default.
    """
    best = best_step(ledger, best_by)
    charts = [
        _loss_chart(ledger, best),
        _separation_chart(ledger, best),
        _measures_chart(ledger, best_by, best),
        _spread_chart(ledger, best),
        _ranks_chart(ledger),
        _rates_chart(ledger),
        _layers_chart(ledger, "norm", "Gradient by layer"),
        _layers_chart(ledger, "drift", "Drift by layer"),
    ]
    return [chart for chart in charts if chart is not None]


def _train_and_dev(train: Sequence[Point], validation: Sequence[Point], best: float | None) -> list[Curve]:
    """Training as light dots under a smoothed line, validation as a line through its dots."""
    curves = [Curve("training", smooth(train), TRAIN, behind=train)] if train else []
    return curves + ([Curve("validation", validation, VALIDATION, marked=True, ring_at=best)] if validation else [])


def _loss_chart(ledger: Records, best: float | None) -> Chart | None:
    train, validation = series(ledger, "train", "loss"), series(ledger, "validation", "loss")
    tempered = series(ledger, "validation", "loss_tempered")
    curves = _train_and_dev(train, validation, best)
    if not curves:
        return None
    if tempered:
        curves.append(Curve("tempered", tempered, VALIDATION, dashed=True, opacity=0.75))
    reading = _read_loss(ledger, train, validation)
    return Chart("loss", "Loss", draw("loss", "Loss by step", curves, best=best), reading + _read_tempered(ledger, tempered))


def _separation_chart(ledger: Records, best: float | None) -> Chart | None:
    train, validation = series(ledger, "train", "separation"), series(ledger, "validation", "separation")
    curves = _train_and_dev(train, validation, best)
    if not curves:
        return None
    svg = draw("separation", "Separation by step", curves, best=best)
    return Chart("separation", "Separation", svg, _read_separation(train, validation))


def _spread_chart(ledger: Records, best: float | None) -> Chart | None:
    train, validation = series(ledger, "train", "d_prime"), series(ledger, "validation", "d_prime")
    curves = _train_and_dev(train, validation, best)
    if not curves:
        return None
    wrong = series(ledger, "validation", "wrong_pairs") or series(ledger, "train", "wrong_pairs")
    reading = "Separation in standard deviations of the scores, which no mere stretching of them makes larger."
    if len(wrong) > 1:
        reading += f" The share of pairs in the wrong order {_went(wrong[0][1], wrong[-1][1])}."
    return Chart("d_prime", "Separation in spreads, d′", draw("d_prime", "d prime by step", curves, best=best), reading)


def _measures_chart(ledger: Records, best_by: str | None, best: float | None) -> Chart | None:
    measures = dev_measures(ledger)
    if not measures or best is None:
        return None
    if best_by in measures:    # the one that decides comes first and is always among those drawn
        measures = {best_by: measures[best_by], **measures}
    drawn = dict(list(measures.items())[: len(SERIES)])
    curves = [Curve(*named, colour, marked=True, ring_at=best) for named, colour in zip(drawn.items(), SERIES, strict=False)]
    left_out = len(measures) - len(drawn)
    more = f" {left_out} more measures are in the ledger." if left_out else ""
    svg = draw("measures", "Dev measures by step", curves, best=best)
    return Chart("measures", "Dev measures", svg, _read_measures(drawn) + more)


def _ranks_chart(ledger: Records) -> Chart | None:
    shares = {said: series(ledger, "train", name) for name, said in RANKS.items()}
    if not all(shares.values()):
        return None
    curves = [Curve(said, smooth(shares[said]), colour, behind=shares[said]) for said, colour in zip(shares, SERIES, strict=False)]
    first, last = curves[0].points[0][1], curves[0].points[-1][1]
    reading = f"Where the loss pushes: the share of its gradient on docs that the ranker puts at ranks 1–5 {_went(first, last)}."
    return Chart("ranks", "Gradient by rank", draw("ranks", "Share of the gradient by rank and step", curves), reading)


def _layers_chart(ledger: Records, key: str, title: str) -> Chart | None:
    """A line for each layer, the deeper the fainter, with embeddings and head in colours of their own."""
    names = dict.fromkeys(str(name) for record in ledger if isinstance(record.get("layers"), Mapping) for name in record["layers"])
    found = {name: smooth(series(ledger, "train", f"layers/{name}/{key}")) for name in names}
    found = {name: [point for point in points if point[1] > 0] for name, points in found.items()}
    found = {name: points for name, points in found.items() if points}
    if not found:
        return None
    middle = [name for name in found if name not in ("embeddings", "head")]
    curves = [
        Curve(name, found[name], TRAIN, opacity=0.25 + 0.75 * (place + 1) / len(middle), labelled=name in (middle[0], middle[-1]))
        for place, name in enumerate(middle)
    ]
    ends = {"embeddings": SERIES[0], "head": VALIDATION}
    curves += [Curve(name, found[name], colour) for name, colour in ends.items() if name in found]
    most = max(found, key=lambda name: found[name][-1][1])
    what = "distance from the weights training began with, as a share of their length" if key == "drift" else "norm of the gradient"
    reading = f"The {what}; at the end it is largest for {one_line(most)}, {figure_of(found[most][-1][1])}."
    return Chart(key, title, draw(key, f"{title} and step", curves, log=True), reading)


def _rates_chart(ledger: Records) -> Chart | None:
    """Learning rates as they were set, neither smoothed nor repeated: layers with one and the same rate share a line."""
    names = dict.fromkeys(str(name) for record in ledger if isinstance(record.get("layers"), Mapping) for name in record["layers"])
    found = {name: series(ledger, "train", f"layers/{name}/lr") for name in names}
    if not any(found.values()):    # ledgers of old tell the highest rate of each part alone
        found = {part: series(ledger, "train", f"lr_{part}") for part in PARTS}
    together: dict[tuple[Point, ...], list[str]] = {}
    for name, points in found.items():
        rates = tuple(point for point in points if point[1] > 0)
        if rates:
            together.setdefault(rates, []).append(name)
    if not together:
        return None
    curves = [
        Curve(same[0] if len(same) == 1 else f"{same[0]}…{same[-1]}", rates, TRAIN, opacity=0.3 + 0.7 * (place + 1) / len(together),
              labelled=len(together) <= 6 or place in (0, len(together) - 1))
        for place, (rates, same) in enumerate(together.items())
    ]    # fmt: skip
    peak = max(curves, key=lambda curve: max(rate for _, rate in curve.points))
    highest = max(rate for _, rate in peak.points)
    reading = f"The rate of each layer as it was set; it is highest for {one_line(peak.name)}, {figure_of(highest)}."
    return Chart("rates", "Learning rate by layer", draw("rates", "Learning rate by layer and step", curves, log=True), reading)


def _read_tempered(ledger: Records, tempered: Sequence[Point]) -> str:
    temperatures = series(ledger, "validation", "temperature")
    if not tempered or not temperatures:
        return ""
    loss = figure_of(tempered[-1][1])
    return f" With all scores divided by {temperatures[-1][1]:.2g}, the best temperature, the last one is {loss}."


def _read_loss(ledger: Records, train: Sequence[Point], validation: Sequence[Point]) -> str:
    said = []
    if len(train) > 1:
        smoothed = smooth(train)
        said.append(f"Training loss {_went(smoothed[0][1], smoothed[-1][1])}.")
    if len(validation) > 1:
        said.append(_read_validation_loss(validation))
    elif validation:
        said.append(f"One validation, at step {validation[0][0]:,.0f}: loss {figure_of(validation[0][1])}.")
    else:
        said.append("No validation was recorded.")
    lost = sum("loss" in record and finite(record["loss"]) is None for record in ledger)
    if lost:
        said.append(f"{lost:,} record{'s hold' if lost > 1 else ' holds'} no finite loss and cannot be drawn.")
    return " ".join(said)


def _read_validation_loss(validation: Sequence[Point]) -> str:
    step, low = min(validation, key=lambda point: (point[1], point[0]))
    last_step, last = validation[-1]
    start = f"Validation loss is lowest, {figure_of(low)}, at step {step:,.0f}"
    if step == last_step:
        return f"{start}, the last one: it had not begun to rise."
    spread = max(value for _, value in validation) - low
    if last - low > 0.1 * spread:    # less is noise on the scale of what was seen
        return (
            f"{start}, and rises after it to {figure_of(last)} at step {last_step:,.0f}:"
            " over-fitting if the dev measures fall as well, over-confidence if they still rise."
        )
    return f"{start}, and stays close to it until step {last_step:,.0f} ({figure_of(last)})."


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
    if figure_of(start) == figure_of(end):
        return f"stays at {figure_of(end)}"
    return f"{'rises' if end > start else 'falls'} from {figure_of(start)} to {figure_of(end)}"


def _read_measures(measures: Mapping[str, Sequence[Point]]) -> str:
    name, points = next(iter(measures.items()))
    step, best = max(points, key=lambda point: (point[1], -point[0]))
    last_step, last = points[-1]
    start = f"{one_line(name)} is best, {figure_of(best)}, at step {step:,.0f}"
    if len(points) == 1:
        return f"{start}, the only validation."
    if step == last_step:
        return f"{start}, the last one: longer training may still help."
    return f"{start} of {last_step:,.0f}; at the last step it is {figure_of(last)}."
