"""Measures by name, as ir_measures writes them: RR@10, nDCG@5, AP(rel=2), R@1000, P@5, Judged@10.

Only measures whose values come from three pieces of code that are always installed are known here, so that a figure
does not depend on what else is: trec_eval's own code through pytrec_eval-terrier; for RR with a cut-off, which
trec_eval lacks, MS MARCO's evaluation script; for Judged, ir_measures itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headtail.errors import HeadtailError, shorten, unknown_name

DEFAULT_MEASURES = ("RR@10", "nDCG@5")    # the one answer wanted, and the order of the head

KNOWN = (
    "AP", "Bpref", "IPrec", "Judged", "P", "R", "RR", "Rprec", "SetAP", "SetF", "SetP", "SetR", "Success",
    "infAP", "nDCG",
)
ALIASES = {"MRR": "RR", "MAP": "AP", "NDCG": "nDCG", "Precision": "P", "Recall": "R"}


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure under the name the user gave it.

    Attributes:
        name: as asked for, such as MRR@10; the key of every table.
        exact: ir_measures' name with the threshold in it, such as RR(rel=2)@10; says what was computed.
        ir: the ir_measures object.
    """

    name: str
    exact: str
    ir: Any


def parse_measures(names: Iterable[str], relevant_from: int = 1) -> list[Measure]:
    """Measures of these names, in this order; a name given twice counts once.

    Args:
        names: as ir_measures writes them; MRR, MAP, NDCG, Precision and Recall are accepted as other names.
        relevant_from: lowest label that counts as relevant. A binary measure without a `rel` of its own takes it, and
            `exact` then shows it; nDCG uses the labels as they are.

    Raises:
        HeadtailError: an unknown measure, with the nearest name; parameters that it does not have; no name at all.
    """
    if relevant_from < 1:
        raise HeadtailError(f"relevant_from: expected a label of 1 or more, found {relevant_from}")
    measures = [_parse(name.strip(), relevant_from) for name in dict.fromkeys(names)]
    if not measures:
        usual = ", ".join(DEFAULT_MEASURES)
        raise HeadtailError(f"expected at least one measure, found none; the usual ones are {usual}")
    return measures


def _parse(name: str, relevant_from: int) -> Measure:
    import ir_measures

    _check_known(name)
    try:
        measure = ir_measures.parse_measure(name)
        supported = _supported(measure)
    except (ValueError, NameError, KeyError, AssertionError, TypeError) as error:    # what ir_measures raises
        raise HeadtailError(_malformed(name)) from error
    if not supported:
        raise HeadtailError(_malformed(name))
    if relevant_from > 1 and "rel" in measure.SUPPORTED_PARAMS and "rel" not in measure.params:
        measure = measure(rel=relevant_from)
    return Measure(name, repr(measure), measure)


def _check_known(name: str) -> None:
    found = re.match(r"\w*", name)
    word = found.group() if found else ""
    if word in KNOWN or word in ALIASES:
        return
    by_folded = {known.casefold(): known for known in [*ALIASES, *KNOWN]}    # KNOWN last: its spelling wins
    if word.casefold() in by_folded:    # case matters to ir_measures, and difflib would not find nDCG from NDcg
        near = by_folded[word.casefold()] + name[len(word) :]
        raise HeadtailError(f"unknown measure {name!r}, did you mean {near!r}? known: {', '.join(sorted(KNOWN))}")
    raise HeadtailError(unknown_name("measure", word or name, KNOWN))


def _supported(measure: Any) -> bool:
    measure.validate_params()
    thresholds = [measure.params.get("cutoff", 1), measure.params.get("rel", 1)]
    gains = [part for pair in measure.params.get("gains", {}).items() for part in pair]
    whole = all(type(number) is int for number in thresholds + gains)    # ir_measures lets rel=True and gains of str by
    return whole and min(thresholds) >= 1 and any(provider.supports(measure) for provider in providers())


def _malformed(name: str) -> str:
    return f"measure: expected a name such as RR@10, AP(rel=2) or nDCG(judged_only=True)@5, found {shorten(name)}"


def providers() -> list[Any]:
    """Who computes: trec_eval where it can, then MS MARCO's script (RR with a cut-off), then ir_measures (Judged)."""
    import ir_measures

    return [ir_measures.pytrec_eval, ir_measures.msmarco, ir_measures.judged]
