"""One self-contained HTML file: facts, measures, training curves, and results to look at with one's own eyes.

The page loads nothing, tells its tables and charts without JavaScript, and treats every text that came from a collection as
hostile: what the template prints is escaped, and what the script shows it shows as text.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from headtail.files import PathLike, atomic_writer
from headtail.report import drawing
from headtail.report.charts import training_charts
from headtail.report.drawing import Chart
from headtail.report.payload import Packed, pack_results
from headtail.report.results import Results
from headtail.report.tables import Table, one_line, printable
from headtail.training.advice import advice_of

SIZE_LIMIT = 2_000_000    # bytes of a page that still mails and opens well
SCRIPTS = ("dom", "unpack", "text", "query", "gains", "filters", "list", "keys", "main")    # one script in the page, in this order
SPACE_FOR_RULES = "x" * 2000    # more than the page says of how its queries were chosen and its texts cut

# What the drawing calls by value, the page calls by name, so that it can follow a dark screen.
_THEMED = {
    drawing.INK: "--muted",
    drawing.GRID: "--line",
    drawing.TRAIN: "--train",
    drawing.VALIDATION: "--validation",
    **{colour: f"--series-{i}" for i, colour in enumerate(drawing.SERIES)},
}

MEANINGS = (    # what a page with rankings shows
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
        "TailnDCG",
        "The same behind the head: the system's own first 5 docs are taken out of its ranking and of the judgments. Each system "
        "is measured on what it left behind, so look at it together with the head; a query with nothing relevant left has none.",
    ),
    (
        "Share of the best gain, by patience",
        "A user goes on to the next rank with probability p. What they gain is the sum of the labels they see; it is divided by "
        "what the best order would have given them.",
    ),
    (
        "Interval, ▲ and ▼",
        "In small figures under a mean: 95 %, by a bootstrap over the queries. ▲ and ▼ mark what a paired randomisation test "
        "still calls better or worse than the baseline after Holm's correction for all comparisons. A mean without a mark is not "
        "shown to be equal.",
    ),
    (
        "Unjudged",
        "Nobody looked at this doc for this query. It may well be relevant; measures count it as if it were not.",
    ),
)
TRAINING_MEANINGS = (
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
)


def write_report(
    path: PathLike,
    *,
    title: str,
    subtitle: str = "",
    facts: Sequence[tuple[str, str]] = (),
    tables: Sequence[Table] = (),
    charts: Sequence[Chart] = (),
    ledger: Sequence[Mapping[str, Any]] = (),
    results: Results | None = None,
    notes: Sequence[str] = (),
    best_by: str | None = None,
) -> Path:
    """Write the report; a reader finds the old file or the new one, never half of one.

    Args:
        path: the HTML file; its folder is made if need be.
        title: what was done, as heading and page title.
        subtitle: a line under it.
        facts: (name, value) pairs worth knowing first: data, encoder, loss, seed, commit.
        tables: measures first.
        charts: drawings of the measures, each with a name of its own.
        ledger: records of the training run; empty for a report without training.
        results: what the systems returned, to be looked at query by query; texts are cut until the page is under SIZE_LIMIT.
        notes: what a reader must know to read the numbers rightly.
        best_by: the dev measure that picks the best step in the curves.
    """
    page = render_report(
        title=title, subtitle=subtitle, facts=facts, tables=tables, charts=charts, ledger=ledger, results=results, notes=notes,
        best_by=best_by,
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
    charts: Sequence[Chart] = (),
    ledger: Sequence[Mapping[str, Any]] = (),
    results: Results | None = None,
    notes: Sequence[str] = (),
    best_by: str | None = None,
) -> str:
    """The report as text; arguments as for `write_report`."""
    environment = page_environment()
    script = page_script(environment)
    render = functools.partial(
        environment.get_template("report.html").render,
        title=title, subtitle=subtitle, facts=facts, notes=notes, tables=tables, charts=charts,
        training=training_charts(ledger, best_by=best_by), advice=advice_of(ledger),
        meanings=(*MEANINGS, *(TRAINING_MEANINGS if ledger else ())),
        script=Markup(script), script_hash=_hash(script),
    )    # fmt: skip
    if results is None:
        return render(packed=None)
    around = render(packed=Packed("", SPACE_FOR_RULES, ""))
    return render(packed=pack_results(results, SIZE_LIMIT - len(around.encode("utf-8"))))


def page_script(environment: Environment) -> str:
    """The page's own script, whole, in a scope of its own."""
    return "\n".join(['(() => {\n"use strict";', *(_source(environment, f"{name}.js") for name in SCRIPTS), "})();\n"])


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
    environment.filters |= {"name": one_line, "themed": _themed}
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
