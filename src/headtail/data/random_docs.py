"""Docs drawn from a whole collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from headtail.records import Texts


class RandomDocs:
    """Draws docs by their position in a collection, which is not read for it; a plain dict is listed once.

    Args:
        texts: doc_id -> text, best with a method `doc_id(position)` as `Collection` has.
    """

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self._doc_id: Callable[[int], str] = getattr(texts, "doc_id", None) or tuple(texts).__getitem__

    def draw(self, rng: Random, count: int, excluded: Iterable[str]) -> list[str]:
        """`count` different doc_ids that are not among the excluded, or as many as there are."""
        taken = set(excluded)
        most = len(self.texts) - len(taken)
        if most < count:    # a collection of few docs: look which of the excluded it holds at all
            most = len(self.texts) - sum(doc_id in self.texts for doc_id in taken)
        drawn: list[str] = []
        while len(drawn) < min(count, most):
            doc_id = self._doc_id(rng.randrange(len(self.texts)))
            if doc_id not in taken:
                taken.add(doc_id)
                drawn.append(doc_id)
        return drawn
