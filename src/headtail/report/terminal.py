"""A run as a screen of text, made from the records of its ledger; loads neither torch nor matplotlib."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headtail.progress import clock
from headtail.report.braille import Line, chart, number, spark
from headtail.report.tables import one_line
from headtail.training.advice import advice_of
from headtail.training.curves import Records, dev_measures, finite, first_of, latest, series

TRAIN, VALIDATION, TEMPERED = "dodger_blue1", "dark_orange", "medium_orchid"
MEASURES = ("spring_green3", "medium_orchid", "gold3")
RANKS = {    # of log lines: what the bar calls them
    "gradient_1_5": ("ranks 1-5", "dodger_blue1"),
    "gradient_6_20": ("6-20", "dark_orange"),
    "gradient_21_up": ("21 up", "medium_orchid"),
}
STATES = {"running": "green", "finished": "cyan", "interrupted": "yellow", "silent": "yellow"}
RECENT = 20        # log lines that tell the speed
ROOMY = 8          # lines of a chart where there is no screen to fill
TABLE_WIDE = 52    # characters of the table of layers
WIDE = 125         # from here on the table of layers stands beside the charts


def screen(records: Records, *, name: str, state: str = "running", width: int = 80, height: int | None = None) -> RenderableType:
    """Everything worth seeing of a run, fitted to a terminal.

    Args:
        records: of the ledger.
        name: of the run; control characters in it are not printed.
        state: one of STATES.
        width, height: characters and lines there are; without a height as much as there is to show.
    """
    head = [_title(records, name, state, width), _bar(records, width)]
    layers = _last_layers(records)
    share = _gradient_line(records, width)
    beside = width >= WIDE and bool(layers) and (height is None or height >= len(layers) + 5)
    below = bool(layers) and not beside and (height is None or height >= 24 + len(layers))
    short = [] if beside or below or not layers else _layer_lines(layers, width)
    fixed = len(head) + len(share) + len(short) + (len(layers) + 3 if below else 0)
    said = _advice(records, width, None if height is None else max(2, min(height // 4, height - fixed - 11)))
    each = ROOMY if height is None else max(4, (height - fixed - len(said) - 1) // 2)
    charts = _charts(records, width - (TABLE_WIDE + 2 if beside else 0), each)
    if beside:
        charts = _side_by_side(charts, _layer_table(layers), width - TABLE_WIDE - 2, TABLE_WIDE)
    return Group(*head, charts, *share, *short, *([_layer_table(layers)] if below else []), *said)


def _side_by_side(left: RenderableType, right: RenderableType, *widths: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for width in widths:
        grid.add_column(width=width, no_wrap=True)
    grid.add_row(left, right)
    return grid


def progress(records: Records) -> tuple[int, int | None, float | None]:
    """Steps done, steps there are, and seconds left as far as the last log lines tell."""
    done = max((int(step) for step in (finite(r.get("step")) for r in records) if step is not None), default=0)
    start = first_of(records, "start")
    steps, a_step = finite(start.get("steps")), finite(start.get("lists_per_step"))
    rates = [rate for _, rate in series(records, "train", "lists_per_second")[-RECENT:] if rate > 0]
    if steps is None or a_step is None or not rates:
        return done, None if steps is None else int(steps), None
    return done, int(steps), max(0.0, steps - done) * a_step / statistics.median(rates)


def _title(records: Records, name: str, state: str, width: int) -> Text:
    done, steps, left = progress(records)
    text = Text(one_line(name), "bold", no_wrap=True, overflow="ellipsis")
    text.append(f"  {state}", STATES.get(state, ""))
    text.append(f"  step {done:,}" + (f" of {steps:,}" if steps else ""))
    if state == "running" and left is not None:
        text.append(f"  {clock(left)} left")
    seconds, best = latest(records, "end", "seconds"), latest(records, "end", "best_step")
    if state in ("finished", "interrupted"):
        text.append(f"  in {clock(seconds)}" if seconds is not None else "")
        text.append(f"  best at step {best:,.0f}" if best is not None else "")
    rate = latest(records, "train", "lists_per_second")
    text.append(f"  {rate:.1f} lists/s" if rate is not None else "", "dim")
    text.truncate(width, overflow="ellipsis")
    return text


def _bar(records: Records, width: int) -> Text:
    done, steps, _ = progress(records)
    share = min(1.0, done / steps) if steps else 0.0
    full = round(share * width)
    return Text("━" * full, STATES["running"]) + Text("━" * (width - full), "grey37")


def _charts(records: Records, width: int, height: int) -> RenderableType:
    """Two by two, or one below the other on a narrow screen."""
    each = (width - 2) // 2 if width >= 64 else width
    measures, best_by = dev_measures(records), first_of(records, "start").get("best_by")
    if best_by in measures:
        measures = {best_by: measures[best_by], **measures}
    drawn = [
        ("Loss", [
            Line("train", series(records, "train", "loss"), TRAIN),
            Line("dev", series(records, "validation", "loss"), VALIDATION),
            Line("tempered", series(records, "validation", "loss_tempered"), TEMPERED),
        ]),
        ("Measures", [Line(of, points, style) for (of, points), style in zip(measures.items(), MEASURES, strict=False)]),
        ("Separation", _both(records, "separation")),
        ("Wrong pairs", _both(records, "wrong_pairs")),
    ]    # fmt: skip
    texts = [chart(title, lines, width=each, height=height) for title, lines in drawn]
    if each == width:
        return Group(*texts)
    return Group(_side_by_side(texts[0], texts[1], each, each), _side_by_side(texts[2], texts[3], each, each))


def _both(records: Records, name: str) -> list[Line]:
    return [Line("train", series(records, "train", name), TRAIN), Line("dev", series(records, "validation", name), VALIDATION)]


def _gradient_line(records: Records, width: int) -> list[Text]:
    """On which ranks the loss pushed at the last log line, as one bar."""
    shares = {name: latest(records, "train", name) for name in RANKS}
    if any(share is None for share in shares.values()):
        return []
    words = [f" {said} {shares[name]:.0%}" for name, (said, _) in RANKS.items()]
    start = "gradient on "
    words = [f" {said} {shares[name]:.0%} " for name, (said, _) in RANKS.items()]
    room = max(0, width - len(start) - sum(map(len, words)))
    line = Text.assemble((start, "dim"))
    for (name, (_, style)), word in zip(RANKS.items(), words, strict=True):
        line.append("█" * int(room * (shares[name] or 0.0)) + word, style)
    line.truncate(width)
    return [line]


def _last_layers(records: Records) -> dict[str, Mapping[str, Any]]:
    """Layer -> lr, norm and drift of the last log line that has them."""
    for record in reversed(records):
        found = record.get("layers")
        if record.get("kind") == "train" and isinstance(found, Mapping):
            return {str(name): row for name, row in found.items() if isinstance(row, Mapping)}
    return {}


def _layer_lines(layers: Mapping[str, Mapping[str, Any]], width: int) -> list[Text]:
    """Norm and drift of all layers, one character each, where a table has no room."""
    lines = []
    for key, said in (("norm", "gradient by layer, embeddings to head"), ("drift", "drift by layer, embeddings to head   ")):
        values, most = [finite(row.get(key)) or 0.0 for row in layers.values()], _most(layers, key)
        line = Text.assemble((f"{said} ", "dim"), (spark(values, most), TRAIN), (f" up to {number(most)} below the head", "dim"))
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


def _most(layers: Mapping[str, Mapping[str, Any]], key: str) -> float:
    """The largest below the head, which starts at random, moves furthest and would flatten all others."""
    return max((finite(row.get(key)) or 0.0 for name, row in layers.items() if name != "head"), default=0.0)


def _layer_table(layers: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("layer", max_width=12, no_wrap=True)
    for name in ("rate", "gradient", "drift"):
        table.add_column(name, justify="right", min_width=8, no_wrap=True)
    table.add_column("", width=8)
    most = _most(layers, "drift")
    for name, row in layers.items():
        rate, norm, drift = (finite(row.get(key)) for key in ("lr", "norm", "drift"))
        bar = "▆" * min(8, round(8 * (drift or 0.0) / most)) if most else ""
        numbers = ["–" if value is None else number(value) for value in (norm, drift)]
        table.add_row(one_line(name), "–" if rate is None else f"{rate:.1e}", *numbers, Text(bar, VALIDATION))
    return table


def _advice(records: Records, width: int, room: int | None) -> list[RenderableType]:
    """What the run tells of itself and its last two warnings, each cut to what there is room for."""
    told: list[tuple[Any, Any]] = [(one.step, one.text) for one in advice_of(records)]
    warned = [(r.get("step"), r.get("text")) for r in records if r.get("kind") == "warning"][-2:]
    signs = ["▲"] * len(told) + ["!"] * len(warned)
    texts = [
        f"{sign} {f'step {step:,}: ' if isinstance(step, int) else ''}{one_line(str(text))}"
        for sign, (step, text) in zip(signs, [*told, *warned], strict=True)
    ]
    lines = [textwrap.wrap(text, width, subsequent_indent="  ") for text in texts]
    if room is not None and sum(map(len, lines)) > room:
        each = max(1, room // len(lines))
        lines = [_cut(several, each, width) for several in lines][:room]
    return [Text(line, "yellow") for several in lines for line in several]


def _cut(lines: list[str], most: int, width: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1][: width - 2] + " …"]
