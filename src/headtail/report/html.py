"""One self-contained HTML file: facts, measures, training curves, and results to look at with one's own eyes.

The page loads nothing, works without JavaScript, and treats every text that came from a collection as hostile.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from headtail.files import PathLike, atomic_writer
from headtail.report import drawing
from headtail.report.charts import training_charts
from headtail.report.drawing import Chart
from headtail.report.side_by_side import ShownDoc, ShownQuery, ShownRanking
from headtail.report.tables import Table, ir_number, one_line, printable
from headtail.training.advice import advice_of

EXCERPT = 400    # characters of a doc seen at once
SIZE_LIMIT = 2_000_000    # bytes of a page that still mails and opens well
UNFOLDED = (2000, 1200, 800, EXCERPT, 200)    # characters of a doc in the page; the next where the page gets too big

# Words too common to be worth a mark.
_COMMON = """
a about an and any are as at be by can did do does for from had has have how i if in into is it its my not of on or
should so than that the their them then there these they this to was we were what when where which who why will with
you your
"""
STOP_WORDS = frozenset(_COMMON.split())
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")    # written without spaces between words

# What the drawing calls by value, the page calls by name, so that it can follow a dark screen.
_THEMED = {
    drawing.INK: "--muted",
    drawing.GRID: "--line",
    drawing.TRAIN: "--train",
    drawing.VALIDATION: "--validation",
    **{colour: f"--series-{i}" for i, colour in enumerate(drawing.SERIES)},
}

MEANINGS = (
    (
        "RR@10",
        "One over the rank of the first relevant doc, 0 if none is among the first 10; its mean over queries is "
        "MRR@10. What someone with a question feels: 1 is first place, .5 second, .1 tenth.",
    ),
    (
        "nDCG@5",
        "How close the first 5 ranks come to the best order possible, more relevant docs first, each rank counting "
        "less than the one above it; 1 is the best order.",
    ),
    (
        "Separation",
        "Score of a positive minus score of a negative of the same list, averaged. It also grows when easy pairs are "
        "pushed ever further apart, so it means little without a measure beside it.",
    ),
    (
        "Tempered loss",
        "The validation loss after all scores are divided by the one number that makes it least, the temperature. A loss "
        "that rises while its tempered loss does not tells of scores too far apart, not of a worse order.",
    ),
    (
        "Unjudged",
        "Nobody looked at this doc for this query. It may well be relevant; measures count it as if it were not.",
    ),
)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A doc's text, marked up: what is seen at once, what unfolds, and how much is cut after that."""

    start: Markup
    rest: Markup
    cut: int


def write_report(
    path: PathLike,
    *,
    title: str,
    subtitle: str = "",
    facts: Sequence[tuple[str, str]] = (),
    tables: Sequence[Table] = (),
    ledger: Sequence[Mapping[str, Any]] = (),
    shown: Sequence[ShownQuery] = (),
    notes: Sequence[str] = (),
    shown_rule: str = "",
    best_by: str | None = None,
) -> Path:
    """Write the report; a reader finds the old file or the new one, never half of one.

    Args:
        path: the HTML file; its folder is made if need be.
        title: what was done, as heading and page title.
        subtitle: a line under it.
        facts: (name, value) pairs worth knowing first: data, encoder, loss, seed, commit.
        tables: measures first.
        ledger: records of the training run; empty for a report without training.
        shown: queries to look at, from `side_by_side`.
        notes: what a reader must know to read the numbers rightly.
        shown_rule: by what rule the queries were chosen.
        best_by: the dev measure that picks the best step in the curves.
    """
    page = render_report(
        title=title, subtitle=subtitle, facts=facts, tables=tables, ledger=ledger, shown=shown, notes=notes,
        shown_rule=shown_rule, best_by=best_by,
    )    # fmt: skip
    with atomic_writer(path) as out:
        out.write(page)
    return Path(path)


def render_report(
    *,
    title: str,
    subtitle: str = "",
    facts: Sequence[tuple[str, str]] = (),
    tables: Sequence[Table] = (),
    ledger: Sequence[Mapping[str, Any]] = (),
    shown: Sequence[ShownQuery] = (),
    notes: Sequence[str] = (),
    shown_rule: str = "",
    best_by: str | None = None,
) -> str:
    """The report as text; arguments as for `write_report`."""
    drawn = training_charts(ledger, best_by=best_by)
    said = advice_of(ledger)
    environment = page_environment()
    page = ""
    for unfolded in UNFOLDED:
        page = environment.get_template("report.html").render(
            title=title, subtitle=subtitle, facts=facts, tables=tables, charts=drawn, shown=shown, notes=notes, advice=said,
            shown_rule=shown_rule, meanings=MEANINGS, doc_text=_doc_text(shown, unfolded),
            script=Markup(_source(environment, "report.js")), script_hash=_hash(_source(environment, "report.js")),
        )    # fmt: skip
        if len(page.encode("utf-8")) <= SIZE_LIMIT:
            break
    return page


def page_environment() -> Environment:
    """Templates whose every value is escaped and holds no control character."""
    environment = Environment(
        loader=PackageLoader("headtail.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(str(value)),
    )
    environment.filters |= {
        "name": one_line,
        "number": ir_number,
        "themed": _themed,
        "judged": _judged,
        "strip": _strip_words,
    }
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _hash(script: str) -> str:
    """The page allows this one script by its hash, so that no other could run even if one got in."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _themed(chart: Chart) -> Markup:
    """The drawing in the page's colours and font; its labels were escaped when it was drawn."""
    svg = chart.svg
    for colour, name in _THEMED.items():
        svg = svg.replace(colour, f"var({name})")
    return Markup(svg.replace("'DejaVu Sans'", "var(--sans)"))


def _judged(doc: ShownDoc) -> str:
    """Which of the three things a doc can be: relevant, irrelevant, unjudged."""
    return "unjudged" if doc.label is None else "relevant" if doc.relevant else "irrelevant"


def _strip_words(ranking: ShownRanking) -> str:
    """The little squares of a ranking, in words."""
    ranks = [str(doc.rank) for doc in ranking.docs if doc.relevant]
    found = f"relevant at rank {', '.join(ranks)}" if ranks else "no doc judged relevant"
    return f"{found} in the first {len(ranking.docs)}"


def _doc_text(shown: Sequence[ShownQuery], unfolded: int) -> Mapping[tuple[str, str], _Shown]:
    """(query_id, doc_id) -> text ready for the page, with the words of the query marked."""
    return {
        (query.query_id, doc.doc_id): _cut(doc.text, query_pattern(query.text), unfolded)
        for query in shown
        for ranking in query.rankings
        for doc in ranking.docs
    }


def _cut(text: str, pattern: re.Pattern[str] | None, unfolded: int) -> _Shown:
    text = printable(text).strip()
    kept = text if len(text) <= unfolded else text[: _word_end(text, unfolded)]
    fits = len(kept) <= EXCERPT * 1.15    # a rest of a few words is not worth a click
    at = len(kept) if fits else _word_end(kept, EXCERPT)
    return _Shown(highlight(kept[:at], pattern), highlight(kept[at:], pattern), len(text) - len(kept))


def _word_end(text: str, at: int) -> int:
    """The last space shortly before a place, so that no word is cut; the place itself where there is none."""
    space = max(text.rfind(" ", at - 30, at), text.rfind("\n", at - 30, at))
    return space if space > 0 else at


def query_pattern(query: str) -> re.Pattern[str] | None:
    """What to mark in a doc: the query's words, singular or plural, but for the commonest; None if nothing is left."""
    words = dict.fromkeys(word for word in re.findall(r"\w+", query.casefold()) if len(word) > 1)
    parts = []
    for word in list(words)[:32]:
        runs = _CJK.findall(word)
        parts += [re.escape(run[i : i + 2]) for run in runs for i in range(min(len(run) - 1, 16))]
        if not runs and word not in STOP_WORDS and len(word) <= 40:
            stem = word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
            parts.append(rf"(?<!\w){re.escape(stem)}(?:s|es)?(?!\w)")
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def highlight(text: str, pattern: re.Pattern[str] | None) -> Markup:
    """Escaped text with every match in <mark>; pieces are escaped one by one, so no match can open a tag."""
    if pattern is None:
        return escape(text)
    pieces, at = [], 0
    for match in pattern.finditer(text):
        pieces += [escape(text[at : match.start()]), Markup("<mark>{}</mark>").format(match.group())]
        at = match.end()
    return Markup("").join([*pieces, escape(text[at:])])
