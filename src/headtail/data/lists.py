"""Training lists from a run and qrels: which docs stand in a list.

Everything random is a pure function of (seed, epoch, query_id), so that list i of epoch e is the same list in whatever
order, process or resumed run it is asked for. `mixing` says in which order lists are seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from headtail.data.random_docs import RandomDocs
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
        random: share of a list's negatives, halves rounded up, that is drawn from the whole of `texts` in place of the window.
        filter_by: a run of any ranker that knows positives and window, to tell negatives that are relevant but not judged.
        margin: negatives that `filter_by` scores above the worst positive of their query less this margin are left out,
            and counted in `left_out`: the `absolute_margin` of sentence-transformers' `mine_hard_negatives`.

    Raises:
        ConfigError: sizes that make no list, or options that contradict each other.
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
        random: float = 0.0,
        filter_by: Run | None = None,
        margin: float | None = None,
    ) -> None:
        _check(size, positives, depth, source)
        _check_random(random, size - positives, source, teacher)
        if (margin is None) != (filter_by is None) or (margin is not None and not math.isfinite(margin)):
            raise ConfigError(f"expected a finite margin and a run to filter by, or neither, found margin={margin} and"
                              f" {'no run' if filter_by is None else f'run {filter_by.name!r}'}")
        self.queries, self.qrels, self.run, self.texts = queries, qrels, run, texts
        self.size, self.positives, self.depth, self.source, self.seed = size, positives, depth, source, seed
        self.found_only, self.teacher, self.filter_by, self.margin = found_only, teacher, filter_by, margin
        self.random, self._random_docs = random, RandomDocs(texts) if random else None
        self._refreshed: Run = Run({})
        self._refreshed_depth = depth
        judged = [query_id for query_id in queries if query_id in qrels]
        usable = [query_id for query_id in judged if self.positives_of(query_id)]
        self.without_positive = len(queries) - len(usable)
        if not usable:
            raise HeadtailError(
                f"no list has a positive: of {len(queries)} queries, {len(judged)} are judged and none has a label above 0"
                f"{' on a doc of the run' if found_only else ''}; check that queries and qrels belong together"
            )
        self._check_scores(filter_by, usable, self._candidates)
        self.left_out = sum(len(self._candidates(query_id)) - len(self.negatives_of(query_id)) for query_id in usable)
        empty = [query_id for query_id in usable if not self._has_negatives(query_id)]
        if empty and (not skip_empty or len(empty) == len(usable)):
            raise HeadtailError(
                f"run {run.name!r} gives no candidate between ranks {depth[0]} and {depth[1]}"
                f"{f' that a margin of {margin:g} leaves' if margin is not None else ''} for {len(empty)} of"
                f" {len(usable)} queries (first: {empty[0]!r}); retrieve deeper"
                f"{', or set lists.skip_empty=true to leave them out' if not skip_empty else ''}"
            )
        without = set(empty)
        self.query_ids = [query_id for query_id in usable if query_id not in without]
        self._check_docs()
        self._check_scores(teacher, self.query_ids, self.negatives_of)

    def __len__(self) -> int:
        return len(self.query_ids)

    def get(self, index: int, epoch: int) -> RankedList:
        """List `index` as it is drawn in `epoch`."""
        query_id = self.query_ids[index]
        rng = Random(f"{self.seed}:{epoch}:{query_id}")
        labels = self.qrels[query_id]
        chosen = self._sample(rng, self.positives_of(query_id), self.positives)
        room = self.size - len(chosen)
        from_all = _share(self.random, room)
        chosen += self._sample(rng, self.negatives_of(query_id), room - from_all)
        if self._random_docs is not None:
            chosen += self._random_docs.draw(rng, from_all, self.relevant_to(query_id) | set(chosen))
        ranks = {doc.doc_id: rank for rank, doc in enumerate(self._ranking(query_id))}
        chosen.sort(key=lambda doc_id: (ranks.get(doc_id, len(ranks)), doc_id))
        return RankedList(
            self.queries[query_id],
            tuple(Doc(doc_id, self.texts[doc_id]) for doc_id in chosen),
            tuple(float(max(labels.get(doc_id, 0), 0)) for doc_id in chosen),
            None if self.teacher is None else self._taught(self.teacher, query_id, chosen),
        )

    def window(self, indices: Iterable[int] | None = None) -> Run:
        """What a ranker has to order anew before `refresh`: the docs of the first stage that lists may draw.

        Found positives and the window's negatives that the margin left, in the order of the first stage; queries that have
        neither are left out.

        Args:
            indices: of the lists that will be drawn; none: all.
        """
        chosen = [self.query_ids[index] for index in (range(len(self)) if indices is None else indices)]
        windows = {query_id: docs for query_id in chosen if (docs := self._first_window(query_id))}
        return Run.in_given_order(windows, self.run.name)

    def refresh(self, run: Run, depth: tuple[int, int]) -> None:
        """From now on draw the negatives from ranks `depth` of `run`, which also gives the order of the docs inside a list.

        The run takes the place of one given before; queries that it lacks go back to the first stage. A query that has no
        negative at these ranks draws from all ranks of `run`.

        Args:
            run: the docs of `window()`, for all queries or some, scored anew: by the ranker as it is now.
            depth: first and last rank, counted from 1; positives have ranks too.

        Raises:
            ConfigError: lists of judged docs, which have no window, or a depth that does not grow from 1.
            HeadtailError: a query or its docs are not those of `window()`.
        """
        if self.source == "judged" or not 1 <= depth[0] <= depth[1]:
            raise ConfigError(f"expected a source of lists that is a run and a depth that grows from 1, found source="
                              f"{self.source!r}, depth={list(depth)}")
        known = set(self.query_ids)
        for query_id, ranking in run.items():
            docs = {doc.doc_id for doc in ranking}
            if query_id not in known or docs != {doc.doc_id for doc in self._first_window(query_id)}:
                raise HeadtailError(
                    f"run {run.name!r}, query {query_id!r}: expected the docs of the window of run {self.run.name!r}, found"
                    f" {len(docs)} docs that are not those; score what window() gives"
                )
        self._refreshed, self._refreshed_depth = run, depth

    def positives_of(self, query_id: str) -> list[str]:
        """Docs that a list of the query may hold as positives, in the order of their ids."""
        positives = sorted(doc_id for doc_id, label in self.qrels[query_id].items() if label > 0)
        if not self.found_only:
            return positives
        found = {doc.doc_id for doc in self.run.get(query_id, ())}
        return [doc_id for doc_id in positives if doc_id in found]

    def negatives_of(self, query_id: str) -> list[str]:
        """Docs of the window, or those judged, that a list of the query may hold as negatives, best rank first."""
        suspects = self.suspects_of(query_id)
        return [doc_id for doc_id in self._candidates(query_id) if doc_id not in suspects]

    def suspects_of(self, query_id: str) -> set[str]:
        """Docs that the margin takes for relevant: scored above the worst positive less the margin; none without a margin."""
        if self.filter_by is None or self.margin is None:
            return set()
        scores = dict(self.filter_by.get(query_id, ()))
        bar = min((scores[doc_id] for doc_id in self.positives_of(query_id) if doc_id in scores), default=math.inf) - self.margin
        return {doc_id for doc_id, score in scores.items() if score > bar}

    def relevant_to(self, query_id: str) -> set[str]:
        """Docs that are relevant, and those that the margin takes for it."""
        return {doc_id for doc_id, label in self.qrels[query_id].items() if label > 0} | self.suspects_of(query_id)

    @staticmethod
    def _taught(teacher: Run, query_id: str, doc_ids: Sequence[str]) -> tuple[float, ...]:
        scores = dict(teacher[query_id])
        return tuple(scores[doc_id] for doc_id in doc_ids)

    def _check_docs(self) -> None:
        """Now rather than hours later, when a list with such a doc is first drawn."""
        for query_id in self.query_ids:
            for doc_id in (*self.positives_of(query_id), *self.negatives_of(query_id)):
                if doc_id not in self.texts:
                    where = f"run {self.run.name!r}" if doc_id not in self.qrels[query_id] else "the judgments"
                    raise HeadtailError(
                        f"{where}, query {query_id!r}: unknown doc_id {doc_id!r}; the collection has no such doc"
                    )

    def _check_scores(self, teacher: Run | None, query_ids: Sequence[str], negatives: Callable[[str], list[str]]) -> None:
        """The teacher knows the positives of each query that has negatives, and these."""
        if teacher is None:
            return
        missing, count = [], 0
        for query_id in query_ids:
            if others := negatives(query_id):
                drawn = {*self.positives_of(query_id), *others}
                count += len(drawn)
                missing += [(query_id, doc_id) for doc_id in sorted(drawn - {doc.doc_id for doc in teacher.get(query_id, ())})]
        if missing:
            query_id, doc_id = missing[0]
            raise HeadtailError(
                f"the teacher's run {teacher.name!r} lacks {len(missing):,} of {count:,} docs"
                f" that lists may draw (first: query {query_id!r}, doc {doc_id!r});"
                " re-rank the same run to the same depth with the teacher, and set lists.found_only=true if those it"
                " lacks are positives that the first stage missed"
            )

    def _ranking(self, query_id: str) -> tuple[ScoredDoc, ...]:
        """The docs of a query as they are ordered now."""
        return self._refreshed[query_id] if query_id in self._refreshed else self.run.get(query_id, ())

    def _has_negatives(self, query_id: str) -> bool:
        strangers = self._random_docs is not None and len(self.texts) > len(self.relevant_to(query_id))
        return strangers or bool(self.negatives_of(query_id))

    def _candidates(self, query_id: str) -> list[str]:
        """What may be a negative if the margin lets it: docs not judged relevant, of the window or among those judged."""
        labels = self.qrels[query_id]
        if self.source == "judged":
            return sorted(doc_id for doc_id, label in labels.items() if label <= 0)
        first, last = self._refreshed_depth if query_id in self._refreshed else self.depth
        ranking = self._ranking(query_id)
        if query_id in self._refreshed and all(labels.get(doc.doc_id, 0) > 0 for doc in ranking[first - 1 : last]):
            first, last = 1, len(ranking)
        return [doc.doc_id for doc in ranking[first - 1 : last] if labels.get(doc.doc_id, 0) <= 0]

    def _first_window(self, query_id: str) -> tuple[ScoredDoc, ...]:
        labels, suspects = self.qrels[query_id], self.suspects_of(query_id)
        return tuple(
            doc
            for rank, doc in enumerate(self.run.get(query_id, ()), start=1)
            if labels.get(doc.doc_id, 0) > 0 or (self.depth[0] <= rank <= self.depth[1] and doc.doc_id not in suspects)
        )

    @staticmethod
    def _sample(rng: Random, doc_ids: list[str], most: int) -> list[str]:
        return list(doc_ids) if len(doc_ids) <= most else rng.sample(doc_ids, most)


def _check(size: int, positives: int, depth: tuple[int, int], source: str) -> None:
    if source not in LIST_SOURCES:
        raise ConfigError(unknown_name("list source", source, LIST_SOURCES))
    if not (size >= 2 and 1 <= positives < size and 1 <= depth[0] <= depth[1]):
        raise ConfigError(
            f"expected lists of at least 2 docs, fewer positives than docs, and depths that grow from 1,"
            f" found size={size}, positives={positives}, depth={list(depth)}"
        )


def _check_random(random: float, room: int, source: str, teacher: Run | None) -> None:
    if not random:
        return
    if source == "judged":
        raise ConfigError(f"expected random=0 with lists of judged docs alone, found random={random:g}")
    if teacher is not None:
        raise ConfigError(f"expected random=0 with a loss that has a teacher, whose run lacks most docs, found random={random:g}")
    if not 0 < random <= 1 or not _share(random, room):
        raise ConfigError(f"expected random to be a share that makes at least 1 of {room} negatives, found random={random:g}")


def _share(share: float, count: int) -> int:
    """So many of `count`, halves rounded up."""
    return int(share * count + 0.5)
