"""Whose code computes a measure: ENGINES, name -> function.

An engine is given the measures that ir_measures names, rankings (query_id -> doc_ids, best first, none empty) and
judgments, and yields (exact name, query_id, value). A query it says nothing about counts as 0. It is given ranks and
not scores, so that no tie rule of its own matters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from headtail.errors import HeadtailError, unknown_name
from headtail.evaluation.measures import Measure, providers
from headtail.records import Qrels

Rankings = Mapping[str, Sequence[str]]
Engine = Callable[[Sequence[Measure], Rankings, Qrels], Iterator[tuple[str, str, float]]]

RANX = {    # ir_measures' word -> ranx's, where both mean the same
    "AP": "map", "P": "precision", "R": "recall", "RR": "mrr", "Rprec": "r-precision", "Success": "hit_rate",
    "nDCG": "ndcg",
}


def engine_of(name: str) -> Engine:
    """The engine of that name.

    Raises:
        HeadtailError: an unknown one.
    """
    if name not in ENGINES:
        raise HeadtailError(unknown_name("engine", name, ENGINES))
    return ENGINES[name]


def trec_eval(measures: Sequence[Measure], rankings: Rankings, qrels: Qrels) -> Iterator[tuple[str, str, float]]:
    """trec_eval's own code, through ir_measures and pytrec_eval-terrier; see `measures.providers`."""
    from ir_measures.providers import FallbackProvider

    first_that_can: Any = FallbackProvider
    ranked = {query_id: _falling(doc_ids) for query_id, doc_ids in rankings.items()}
    qrels = {query_id: _safe(labels) for query_id, labels in qrels.items()}
    for group in _groups(measures):
        for metric in first_that_can(providers()).evaluator([measure.ir for measure in group], qrels).iter_calc(ranked):
            yield repr(metric.measure), metric.query_id, float(metric.value)


def _safe(labels: Mapping[str, int]) -> Mapping[str, int]:
    """The labels; 0 in place of them where all are negative, as trec_eval's nDCG then reads beyond its array and may never end."""
    return labels if max(labels.values()) >= 0 else dict.fromkeys(labels, 0)


def _falling(doc_ids: Sequence[str]) -> dict[str, float]:
    """Strictly falling scores: whole numbers, which float32 holds exactly up to 16 million docs."""
    return dict(zip(doc_ids, map(float, range(len(doc_ids), 0, -1)), strict=True))


def _groups(measures: Sequence[Measure]) -> list[list[Measure]]:
    """Measures that one evaluator may compute together.

    ir_measures lets nDCG share the qrels of whatever stands first, mapped gains included; a measure with gains of its
    own is therefore kept to itself.
    """
    plain = [measure for measure in measures if "gains" not in measure.ir.params]
    return [*([plain] if plain else []), *([m] for m in measures if "gains" in m.ir.params)]


def ranx(measures: Sequence[Measure], rankings: Rankings, qrels: Qrels) -> Iterator[tuple[str, str, float]]:
    """ranx (extra `ranx`), compiled by numba: the first call takes a while."""
    try:
        import ranx as library
    except ImportError:
        raise HeadtailError("engine 'ranx': ranx is not installed; pip install 'headtail[ranx]'") from None
    names = {measure.exact: _ranx_name(measure) for measure in measures}
    positive = {query_id: {d: label for d, label in qrels[query_id].items() if label > 0} for query_id in rankings}
    judged = {query_id: labels for query_id, labels in positive.items() if labels}    # ranx would give NaN to the others
    if not judged:
        return
    run = library.Run({query_id: _falling(rankings[query_id]) for query_id in judged})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")    # numba's, about integers without a sign
        library.evaluate(library.Qrels(judged), run, [*dict.fromkeys(names.values())], return_mean=False)
    for measure in measures:
        for query_id, value in run.scores[names[measure.exact]].items():
            yield repr(measure.ir), query_id, float(value)


def _ranx_name(measure: Measure) -> str:
    """ranx's name of a measure, such as ndcg@5 or map-l2."""
    parameters = dict(measure.ir.params)
    cutoff, rel = parameters.pop("cutoff", None), parameters.pop("rel", 1)
    if measure.ir.NAME not in RANX or parameters:
        raise HeadtailError(f"engine 'ranx' lacks {measure.name}; it has {', '.join(RANX)}, with rel and a cut-off")
    return RANX[measure.ir.NAME] + (f"@{cutoff}" if cutoff else "") + (f"-l{rel}" if rel > 1 else "")


ENGINES: dict[str, Engine] = {"trec_eval": trec_eval, "ranx": ranx}
