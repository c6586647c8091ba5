"""Measures by name, as ir_measures writes them: RR@10, nDCG@5, AP(rel=2), R@1000, RBP(p=.95), ERR@20, Judged@10.

A figure must not depend on what else is installed, so each measure has one source here: trec_eval's own code through
pytrec_eval-terrier; for RR with a cut-off, which trec_eval lacks, MS MARCO's evaluation script; for Judged, ir_measures
itself. Our own are RBP and ERR, which none of these have, and the measures of head and tail: TailnDCG, Scroll and nScroll
(docs/measures.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from headtail.errors import HeadtailError, shorten, unknown_name
from headtail.evaluation.user_models import (
    Value,
    expected_reciprocal_rank,
    normalised_scroll_value,
    rank_biased_precision,
    scroll_value,
)

DEFAULT_MEASURES = ("RR@10", "nDCG@5")    # the one answer wanted, and the order of the head
HEAD = 5    # ranks of the head

THROUGH_IR_MEASURES = (
    "AP", "Bpref", "IPrec", "Judged", "P", "R", "RR", "Rprec", "SetAP", "SetF", "SetP", "SetR", "Success",
    "infAP", "nDCG",
)
TAIL = "TailnDCG"
OWN: dict[str, tuple[Callable[..., Value], Mapping[str, float | None]]] = {    # function, its parameters and their defaults
    "ERR": (expected_reciprocal_rank, {}),
    "RBP": (rank_biased_precision, {"p": 0.8, "rel": None}),
    "Scroll": (scroll_value, {"p": 0.9}),
    "nScroll": (normalised_scroll_value, {"p": 0.9}),
}
KNOWN = (*THROUGH_IR_MEASURES, *OWN, TAIL)
ALIASES = {"MRR": "RR", "MAP": "AP", "NDCG": "nDCG", "Precision": "P", "Recall": "R"}
_OWN_NAME = re.compile(r"(?P<word>\w+)(?:\((?P<parameters>[^()]*)\))?(?:@(?P<cutoff>\d+))?")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure under the name the user gave it.

    Attributes:
        name: as asked for, such as MRR@10; the key of every table.
        exact: ir_measures' name with the threshold in it, such as RR(rel=2)@10; says what was computed.
        ir: the ir_measures object that computes it, or None.
        own: the function that computes it, or None.
        head: ranks taken out of ranking and judgments before it is computed: 0, but for the measures of the tail.
    """

    name: str
    exact: str
    ir: Any = None
    own: Value | None = None
    head: int = 0


def parse_measures(names: Iterable[str], relevant_from: int = 1) -> list[Measure]:
    """Measures of these names, in this order; a name given twice counts once.

    Args:
        names: as ir_measures writes them; MRR, MAP, NDCG, Precision and Recall are accepted as other names.
        relevant_from: lowest label that counts as relevant. A binary measure without a `rel` of its own takes it, and
            `exact` then shows it; graded measures use the labels as they are.

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
    word = _known_word(name)
    if word in OWN or word == TAIL:
        return _parse_own(name, relevant_from)
    import ir_measures

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


def _known_word(name: str) -> str:
    found = re.match(r"\w*", name)
    word = found.group() if found else ""
    if word in KNOWN or word in ALIASES:
        return word
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
    if not whole or min(measure.params.get("gains", {0: 0}).values()) < 0:    # a negative gain may hang trec_eval
        return False
    return min(thresholds) >= 1 and any(provider.supports(measure) for provider in providers())


def _malformed(name: str) -> str:
    return f"measure: expected a name such as RR@10, AP(rel=2) or nDCG(judged_only=True)@5, found {shorten(name)}"


def _parse_own(name: str, relevant_from: int) -> Measure:
    found = _OWN_NAME.fullmatch(name)
    if found is None:
        raise HeadtailError(_malformed_own(name))
    word, cutoff = found["word"], int(found["cutoff"]) if found["cutoff"] else None
    if cutoff == 0:
        raise HeadtailError(_malformed_own(name))
    if word == TAIL:
        return _tail_measure(name, _parameters(name, found["parameters"], {"k": HEAD}), cutoff)
    make, defaults = OWN[word]
    given = _parameters(name, found["parameters"], defaults)
    if "rel" in given:
        given["rel"] = given["rel"] or relevant_from
    return Measure(name, _exact(word, given, cutoff), own=make(cutoff, **given))


def _tail_measure(name: str, given: Mapping[str, Any], cutoff: int | None) -> Measure:
    import ir_measures

    ir: Any = ir_measures.nDCG if cutoff is None else ir_measures.nDCG @ cutoff
    return Measure(name, _exact(TAIL, given, cutoff), ir, head=given["k"])


def _parameters(name: str, text: str | None, defaults: Mapping[str, float | None]) -> dict[str, Any]:
    """p is a probability short of 1; k and rel are whole numbers from 1."""
    given: dict[str, Any] = dict(defaults)
    for part in filter(None, (text or "").split(",")):
        key, _, value = (word.strip() for word in part.partition("="))
        try:
            number = float(value) if key == "p" else int(value)
        except ValueError:
            raise HeadtailError(_malformed_own(name)) from None
        if key not in defaults or not (0 < number < 1 if key == "p" else number >= 1):
            raise HeadtailError(_malformed_own(name))
        given[key] = number
    return given


def _exact(word: str, given: Mapping[str, Any], cutoff: int | None) -> str:
    parameters = ",".join(f"{key}={value:g}" for key, value in given.items())
    return word + (f"({parameters})" if parameters else "") + (f"@{cutoff}" if cutoff else "")


def _malformed_own(name: str) -> str:
    examples = "RBP(p=.95), RBP(p=.8,rel=2)@100, ERR@20, TailnDCG(k=5)@20, Scroll(p=.9) or nScroll(p=.98)"
    return f"measure: expected a name such as {examples}, 0 < p < 1, k and rel from 1, found {shorten(name)}"


def providers() -> list[Any]:
    """Who computes: trec_eval where it can, then MS MARCO's script (RR with a cut-off), then ir_measures (Judged)."""
    import ir_measures

    return [ir_measures.pytrec_eval, ir_measures.msmarco, ir_measures.judged]
