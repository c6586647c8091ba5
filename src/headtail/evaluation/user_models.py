"""Measures that follow a person down the ranking and ask what they gain: RBP, ERR, scroll value.

trec_eval has none of them. Each is a function of the labels of a ranking, best rank first (None: unjudged), and of all
labels judged for the query. A label below 1 and a missing one give no gain. docs/measures.md works an example of each
by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

Labels = Sequence[int | None]
Value = Callable[[Labels, Collection[int]], float]

ERR_HIGHEST = 4    # gdeval's constant: a doc of this label satisfies with probability 15/16


def rank_biased_precision(cutoff: int | None, *, p: float, rel: int) -> Value:
    """RBP: share of relevant docs among those seen by a user who goes on to the next rank with probability p.

    Source: Moffat and Zobel, "Rank-Biased Precision for Measurement of Retrieval Effectiveness", TOIS 2008; binary, as
    in ir_measures' RBP(rel=…).
    """
    def value(labels: Labels, _: Collection[int]) -> float:
        relevant = ((place, label) for place, label in enumerate(labels[:cutoff]) if label is not None and label >= rel)
        return (1 - p) * sum(p**place for place, _ in relevant)

    return value


def expected_reciprocal_rank(cutoff: int | None) -> Value:
    """ERR: expected 1 / rank at which a user is satisfied, who reads down from the top and stops at a good doc.

    A doc of label g satisfies with probability (2^g - 1) / 2^4; a label above 4 counts as 4, as the constant is gdeval's.

    Source: Chapelle et al., "Expected Reciprocal Rank for Graded Relevance", CIKM 2009; TREC's gdeval.pl.
    """
    def value(labels: Labels, _: Collection[int]) -> float:
        total, unsatisfied = 0.0, 1.0
        for rank, label in enumerate(labels[:cutoff], start=1):
            if label is not None and label > 0:
                satisfied = (2.0 ** min(label, ERR_HIGHEST) - 1) / 2**ERR_HIGHEST
                total += unsatisfied * satisfied / rank
                unsatisfied *= 1 - satisfied
        return total

    return value


def scroll_value(cutoff: int | None, *, p: float) -> Value:
    """Scroll: expected gain, the sum of the labels seen, of a user who stops at rank r with probability (1 - p) p^(r-1).

    A doc at rank i is seen by those who have not stopped before it, so the value is the sum of label_i p^(i-1). On
    average 1 / (1 - p) ranks are seen.
    """
    return lambda labels, _: discounted_gain(labels[:cutoff], p)


def normalised_scroll_value(cutoff: int | None, *, p: float) -> Value:
    """nScroll: the scroll value as a share of the best possible one, that of the judged docs by falling label."""
    def value(labels: Labels, judged: Collection[int]) -> float:
        best = discounted_gain(sorted(judged, reverse=True)[:cutoff], p)
        return discounted_gain(labels[:cutoff], p) / best if best else 0.0

    return value


def discounted_gain(labels: Labels, p: float) -> float:
    """Sum of label_i p^(i-1) over the ranks i with a label above 0."""
    return sum(label * p**place for place, label in enumerate(labels) if label is not None and label > 0)
