"""Training lists from a run and qrels: which docs stand in a list, and in which order lists are seen.

Everything random is a pure function of (seed, epoch, query_id), so that list i of epoch e is the same list in whatever
order, process or resumed run it is asked for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from headtail.errors import ConfigError, HeadtailError, unknown_name
from headtail.records import Doc, Qrels, Query, RankedList, Run, ScoredDoc, Texts

LIST_SOURCES = ("run", "judged")


class TrainingLists:
    """One list for each query that has a positive: judged positives, and negatives drawn from a window of a run.

    Args:
        queries: query_id -> Query; those without a positive in `qrels` are left out and counted in `without_positive`.
        qrels: labels above 0 are positives; what is not judged counts as 0.
        run: the first stage; its rank order is the order of the docs inside a list, docs it lacks stand last.
        texts: doc_id -> text.
        size: docs in a list at most.
        positives: judged positives in a list at most.
        depth: negatives come from ranks depth[0] to depth[1] of the run, counted from 1.
        source: "run", or "judged" to use judged docs alone (for collections whose unjudged docs are unknown).
        found_only: only positives that stand in the run, as when the run's docs are re-ranked. With the others a ranker
            learns that what answers a query looks unlike it, since every negative was found by its words.
        skip_empty: leave out queries that have a positive but no negative; else they are an error.
        teacher: a run of any ranker, whose scores travel with the lists; it has to know every doc that a list may draw.

    Raises:
        ConfigError: sizes that make no list.
        HeadtailError: no list has a positive, a query has no candidate, or a doc of a list has no text or no score of
            the teacher.
    """

    def __init__(
        self,
        queries: Mapping[str, Query],
        qrels: Qrels,
        run: Run,
        texts: Texts,
        *,
        size: int = 16,
        positives: int = 1,
        depth: tuple[int, int] = (1, 100),
        source: str = "run",
        seed: int = 0,
        found_only: bool = False,
        skip_empty: bool = False,
        teacher: Run | None = None,
    ) -> None:
        _check(size, positives, depth, source)
        self.queries, self.qrels, self.run, self.texts = queries, qrels, run, texts
        self.size, self.positives, self.depth, self.source, self.seed = size, positives, depth, source, seed
        self.found_only, self.teacher = found_only, teacher
        judged = [query_id for query_id in queries if query_id in qrels]
        usable = [query_id for query_id in judged if self._positives(query_id)]
        self.without_positive = len(queries) - len(usable)
        if not usable:
            raise HeadtailError(
                f"no list has a positive: of {len(queries)} queries, {len(judged)} are judged and none has a label above 0"
                f"{' on a doc of the run' if found_only else ''}; check that queries and qrels belong together"
            )
        empty = [query_id for query_id in usable if not self._negatives(query_id)]
        if empty and (not skip_empty or len(empty) == len(usable)):
            raise HeadtailError(
                f"run {run.name!r} gives no candidate between ranks {depth[0]} and {depth[1]} for {len(empty)} of"
                f" {len(usable)} queries (first: {empty[0]!r}); retrieve deeper, or set lists.skip_empty=true to leave them out"
            )
        left_out = set(empty)
        self.query_ids = [query_id for query_id in usable if query_id not in left_out]
        self._check_docs()
        self._check_teacher()

    def __len__(self) -> int:
        return len(self.query_ids)

    def get(self, index: int, epoch: int) -> RankedList:
        """List `index` as it is drawn in `epoch`."""
        query_id = self.query_ids[index]
        rng = random.Random(f"{self.seed}:{epoch}:{query_id}")
        labels = self.qrels[query_id]
        chosen = self._sample(rng, self._positives(query_id), self.positives)
        chosen += self._sample(rng, self._negatives(query_id), self.size - len(chosen))
        ranks = {doc.doc_id: rank for rank, doc in enumerate(self.run.get(query_id, ()))}
        chosen.sort(key=lambda doc_id: (ranks.get(doc_id, len(ranks)), doc_id))
        return RankedList(
            self.queries[query_id],
            tuple(Doc(doc_id, self.texts[doc_id]) for doc_id in chosen),
            tuple(float(max(labels.get(doc_id, 0), 0)) for doc_id in chosen),
            None if self.teacher is None else self._taught(self.teacher, query_id, chosen),
        )

    @staticmethod
    def _taught(teacher: Run, query_id: str, doc_ids: Sequence[str]) -> tuple[float, ...]:
        scores = dict(teacher[query_id])
        return tuple(scores[doc_id] for doc_id in doc_ids)

    def _check_docs(self) -> None:
        """Now rather than hours later, when a list with such a doc is first drawn."""
        for query_id in self.query_ids:
            for doc_id in (*self._positives(query_id), *self._negatives(query_id)):
                if doc_id not in self.texts:
                    where = f"run {self.run.name!r}" if doc_id not in self.qrels[query_id] else "the judgments"
                    raise HeadtailError(
                        f"{where}, query {query_id!r}: unknown doc_id {doc_id!r}; the collection has no such doc"
                    )

    def _check_teacher(self) -> None:
        if self.teacher is None:
            return
        drawn = {query_id: (*self._positives(query_id), *self._negatives(query_id)) for query_id in self.query_ids}
        missing = [
            (query_id, doc_id)
            for query_id, doc_ids in drawn.items()
            for doc_id in sorted(set(doc_ids) - {doc.doc_id for doc in self.teacher.get(query_id, ())})
        ]
        if missing:
            query_id, doc_id = missing[0]
            raise HeadtailError(
                f"the teacher's run {self.teacher.name!r} lacks {len(missing):,} of {sum(map(len, drawn.values())):,} docs"
                f" that lists may draw (first: query {query_id!r}, doc {doc_id!r});"
                " re-rank the same run to the same depth with the teacher, and set lists.found_only=true if those it"
                " lacks are positives that the first stage missed"
            )

    def _positives(self, query_id: str) -> list[str]:
        positives = sorted(doc_id for doc_id, label in self.qrels[query_id].items() if label > 0)
        if not self.found_only:
            return positives
        found = {doc.doc_id for doc in self.run.get(query_id, ())}
        return [doc_id for doc_id in positives if doc_id in found]

    def _negatives(self, query_id: str) -> list[str]:
        labels = self.qrels[query_id]
        if self.source == "judged":
            return sorted(doc_id for doc_id, label in labels.items() if label <= 0)
        window: Sequence[ScoredDoc] = self.run.get(query_id, ())[self.depth[0] - 1 : self.depth[1]]
        return [doc.doc_id for doc in window if labels.get(doc.doc_id, 0) <= 0]

    @staticmethod
    def _sample(rng: random.Random, doc_ids: list[str], most: int) -> list[str]:
        return list(doc_ids) if len(doc_ids) <= most else rng.sample(doc_ids, most)


class MixedLists:
    """Several sources of lists as one: source s stands `repeat` times in an epoch, its lists drawn anew each time."""

    def __init__(self, sources: Sequence[tuple[TrainingLists, int]], *, seed: int = 0) -> None:
        self.seed = seed
        self.without_positive = sum(lists.without_positive for lists, _ in sources)
        self._entries = [
            (lists, index, turn, repeat)
            for lists, repeat in sources
            for turn in range(repeat)
            for index in range(len(lists))
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[RankedList]:
        """The lists of an epoch in its own seeded order, over the whole of them, from position `start`."""
        order = list(range(len(self._entries)))
        random.Random(f"{self.seed}:{epoch}").shuffle(order)
        for position in order[start:]:
            lists, index, turn, repeat = self._entries[position]
            yield lists.get(index, epoch * repeat + turn)

    def stream(self, start: int = 0) -> Iterator[RankedList]:
        """Epoch after epoch without end, from the `start`-th list on."""
        epoch, skip = divmod(start, len(self))
        while True:
            yield from self.epoch(epoch, skip)
            epoch, skip = epoch + 1, 0


def _check(size: int, positives: int, depth: tuple[int, int], source: str) -> None:
    if source not in LIST_SOURCES:
        raise ConfigError(unknown_name("list source", source, LIST_SOURCES))
    if not (size >= 2 and 1 <= positives < size and 1 <= depth[0] <= depth[1]):
        raise ConfigError(
            f"expected lists of at least 2 docs, fewer positives than docs, and depths that grow from 1,"
            f" found size={size}, positives={positives}, depth={list(depth)}"
        )
