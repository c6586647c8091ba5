"""Lucene's BM25 and BM25+RM3 through Anserini, as Pyserini runs them: the first stage of most published figures.

An index is a plain Anserini index: Pyserini opens what is built here, and what Pyserini built is opened here. Scores are
Lucene's own float32. Anserini's searchers then round them to four decimals and take 1e-6 from each further doc of a tie, so
that trec_eval keeps their order; that step is left out, since ties are settled by `records.Run`'s rule here: a ranking equals
Pyserini's but for docs whose scores Anserini takes for tied.

Texts go through Anserini's default analysis (Lucene's English tokenizer, 33 stop words, Porter), queries as bags of words: no
character of a query is syntax. A doc that shares no term with the query is left out, as in BM25.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, overload

from headtail.errors import DataError, HeadtailError
from headtail.progress import Track, silent
from headtail.records import Doc, Query, Run, ScoredDoc
from headtail.retrieval.java import Java, java
from headtail.retrieval.ranking import checked_queries, doc_twice, no_collection, no_docs

FIELD = "contents"    # where Anserini keeps a doc's text
SHARD = 50_000        # docs in one JSONL file; Anserini gives each file to one thread
MARGIN = 50           # docs fetched beyond k, so that a tie at the cut is seldom longer than what was fetched
MEMORY_SHARE = 4      # a writer's buffer is this part of Java's memory; Anserini's own 4 GB may be more than there is
MANY_TERMS = 2**31 - 1    # Lucene refuses queries of more than 1,024 terms unless told


@dataclass(frozen=True)
class Scoring:
    """How Lucene scores; nothing of it is in the index.

    Args:
        k1: how much a term's second and later occurrences still count, 0 upward.
        b: how much long docs are held back, 0 to 1.
        rm3: expand each query with terms of the docs that it finds first, and search again.
        fb_docs: RM3: so many first docs give terms; 10 unless said, as in Anserini.
        fb_terms: RM3: so many terms are added; 10 unless said.
        original_weight: RM3: the query's own share, 0 to 1; .5 unless said.

    Raises:
        HeadtailError: a value out of its range, or one of RM3's without `rm3`.

    Source: Jaleel et al., "UMass at TREC 2004: Novelty and HARD", 2004, for RM3.
    """

    k1: float = 0.9
    b: float = 0.4
    rm3: bool = False
    fb_docs: int | None = None
    fb_terms: int | None = None
    original_weight: float | None = None

    def __post_init__(self) -> None:
        if not (self.k1 >= 0 and 0 <= self.b <= 1):
            raise HeadtailError(f"BM25: expected k1 of 0 or more and b from 0 to 1, found k1 {self.k1} and b {self.b}")
        of_rm3 = {name: getattr(self, name) for name in ("fb_docs", "fb_terms", "original_weight")}
        given = [name for name, value in of_rm3.items() if value is not None]
        if given and not self.rm3:
            raise HeadtailError(f"{given[0]} is RM3's and has no effect without rm3")
        fb_docs, fb_terms, weight = self.feedback
        if fb_docs < 1 or fb_terms < 1 or not 0 <= weight <= 1:
            raise HeadtailError(
                "RM3: expected fb_docs and fb_terms of 1 or more and original_weight from 0 to 1,"
                f" found {fb_docs}, {fb_terms} and {weight}"
            )

    @property
    def feedback(self) -> tuple[int, int, float]:
        """RM3's docs, terms and weight of the query itself, Anserini's defaults where nothing is said."""
        weight = 0.5 if self.original_weight is None else self.original_weight
        return 10 if self.fb_docs is None else self.fb_docs, 10 if self.fb_terms is None else self.fb_terms, weight


class LuceneIndex:
    """A collection in Lucene; made by `build` or `load`.

    Attributes:
        doc_ids: of the docs in it, in Lucene's order, each read when it is asked for.
        scoring: how it scores.
    """

    def __init__(self, folder: Path, scoring: Scoring) -> None:
        self.scoring = scoring
        self._folder = folder
        self._java = java()
        self._reader = _open(self._java, folder)
        self.doc_ids: Sequence[str] = _StoredIds(self._java, self._reader)
        self._searcher = self._java.of("org.apache.lucene.search.IndexSearcher")(self._reader)
        self._searcher.setMaxClauseCount(MANY_TERMS)
        self._searcher.setSimilarity(self._java.of("org.apache.lucene.search.similarities.BM25Similarity")(scoring.k1, scoring.b))
        self._analyzer = self._java.of("io.anserini.index.IndexCollection").DEFAULT_ANALYZER
        self._queries = self._java.of("io.anserini.search.query.BagOfWordsQueryGenerator")()
        self._rm3: Any = self._expander() if scoring.rm3 else None

    def __len__(self) -> int:
        return len(self.doc_ids)

    @classmethod
    def build(cls, docs: Iterable[Doc], *, progress: Track = silent, **scoring: Any) -> LuceneIndex:
        """Index the docs, in one segment with doc vectors (which RM3 reads), in a temporary folder that `save` copies.

        Anserini leaves out docs whose text is empty, which no query finds in any case.

        Args:
            docs: read once, in any order; written as JSONL beside the index while it is built.
            progress: shows the docs as they are read.
            scoring: the fields of `Scoring`, such as k1, b and rm3.

        Raises:
            HeadtailError: no Java or no Anserini, no doc, a doc_id twice, a value of `scoring` out of its range.
        """
        asked = Scoring(**scoring)
        machine = java()    # what is missing is said before the docs are read
        folder = Path(tempfile.mkdtemp(prefix="headtail-lucene-"))
        try:
            count = _write_shards(progress(docs, "index"), folder / "docs")
            _index(machine, folder / "docs", folder / "index", count)
            shutil.rmtree(folder / "docs")
            built = cls(folder / "index", asked)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(built, shutil.rmtree, folder, ignore_errors=True)
        return built

    def search(
        self, queries: Iterable[Query], k: int, *, name: str | None = None, progress: Track = silent
    ) -> Run:
        """The k best docs of each query; every query has an entry, empty where no doc shares a term with it.

        Args:
            queries: with distinct query_ids.
            k: at most so many docs a query.
            name: of the run; lucene or lucene-rm3 unless said.
            progress: shows the queries as they are answered.

        Raises:
            HeadtailError: a query_id twice, a k below 1, or an index that turns out damaged.
        """
        listed = checked_queries(queries, k)
        with no_collection(), self._java.errors(f"{self._folder}: Lucene's search failed"):
            shown = progress(listed, "search", len(listed))
            rankings = {query.query_id: self._ranking(query.text, k) for query in shown}
        return Run.in_given_order(rankings, name or ("lucene-rm3" if self.scoring.rm3 else "lucene"))

    def _ranking(self, text: str, k: int) -> tuple[ScoredDoc, ...]:
        """Lucene cuts a tie by its internal order: so many docs are fetched that the last scores below the k-th."""
        wanted = k + MARGIN
        doc_ids, scores = self._best(text, wanted)
        while len(scores) == wanted and scores[-1] == scores[k - 1] > 0:
            wanted *= 2
            doc_ids, scores = self._best(text, wanted)
        best = sorted(zip(scores, doc_ids, strict=True), reverse=True)[:k]
        return tuple(ScoredDoc(doc_id, score) for score, doc_id in best if score > 0)    # 0: terms that RM3 weighs with 0

    def _best(self, text: str, count: int) -> tuple[list[str], list[float]]:
        """Ids and scores of the best docs, falling scores; ties as Lucene has them."""
        typed = self._java.string(text)
        query = self._queries.buildQuery(FIELD, self._analyzer, typed)
        found = self._again(query, typed, count) if self._rm3 else self._scored(self._searcher.search(query, count))
        return (found.docids, found.scores) if found is not None else ([], [])

    def _scored(self, top_docs: Any) -> Any:
        return self._java.of("io.anserini.search.ScoredDocs").fromTopDocs(top_docs, self._searcher)

    def _again(self, query: Any, typed: Any, count: int) -> Any:
        """RM3: the best docs of the expanded query; None where the query itself finds nothing to expand it with.

        Ties among the docs that give terms are Anserini's (doc_id ascending), so that the expansion is Pyserini's.
        """
        by_score = self._java.of("io.anserini.search.SearchCollection").BREAK_SCORE_TIES_BY_DOCID
        first = self._scored(self._searcher.search(query, self.scoring.feedback[0], by_score, True))
        if not first.scores:
            return None
        arguments = self._java.of("io.anserini.search.SearchCollection$Args")()
        arguments.hits, arguments.arbitraryScoreTieBreak = count, True    # ties are settled above
        terms = self._java.of("io.anserini.analysis.AnalyzerUtils").analyze(self._analyzer, typed)
        context = self._java.of("io.anserini.rerank.RerankerContext")
        return self._rm3.rerank(first, context(self._searcher, "q", query, None, typed, terms, None, arguments))

    def _expander(self) -> Any:
        fields = self._java.of("org.apache.lucene.index.FieldInfos").getMergedFieldInfos(self._reader)
        text = fields.fieldInfo(FIELD)
        if text is not None and not text.hasVectors():
            raise HeadtailError(
                f"{self._folder}: RM3 needs an index with doc vectors (Anserini's -storeDocvectors), found one without;"
                " build it here, or use another, of Pyserini's prebuilt ones one whose name ends in -full"
            )
        fb_docs, fb_terms, weight = self.scoring.feedback
        rm3 = self._java.of("io.anserini.rerank.lib.Rm3Reranker")
        return rm3(self._analyzer, None, FIELD, fb_terms, fb_docs, weight, False, True)

    def save(self, folder: str | PathLike[str]) -> None:
        """Copy the index to a folder, in place of a Lucene index that stands there.

        Lucene's list of segments is moved there last: a folder without it is not an index.

        Raises:
            HeadtailError: the folder cannot be written.
        """
        folder = Path(folder)
        building = folder / ".building"
        try:
            shutil.rmtree(building, ignore_errors=True)
            shutil.copytree(self._folder, building, ignore=shutil.ignore_patterns("write.lock", ".building"))
            for old in (*folder.glob("segments*"), *folder.glob("_*")):    # the list of segments first
                old.unlink()
            for file in sorted(building.iterdir()):    # "_0.fdt" sorts before "segments_1"
                file.replace(folder / file.name)
            building.rmdir()
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise HeadtailError(f"{folder}: cannot write the index: {error}") from error

    @classmethod
    def load(cls, folder: str | PathLike[str], **scoring: Any) -> LuceneIndex:
        """Open an index that `save`, Anserini or Pyserini wrote, or fetch one of Pyserini's prebuilt ones.

        Queries are analyzed as `build` analyzes docs; an index of another analysis or language finds little.

        Args:
            folder: where it lies, or the name of a prebuilt index, such as msmarco-v1-passage, which Anserini downloads
                and keeps in ~/.cache/pyserini.
            scoring: the fields of `Scoring`.

        Raises:
            DataError: no index there, or a damaged one.
            HeadtailError: no Java or no Anserini, a download that fails, RM3 on an index without doc vectors.
        """
        asked = Scoring(**scoring)
        path = Path(folder)
        if not path.exists() and cls.is_prebuilt(str(folder)):
            path = _fetch(java(), str(folder))
        if not any(path.glob("segments_*")):
            raise DataError(path, expected="a Lucene index", found="no list of segments", hint="build the index again")
        return cls(path, asked)

    @staticmethod
    def is_prebuilt(name: str) -> bool:
        """Whether Anserini knows a prebuilt index of that name for BM25."""
        return java().of("io.anserini.index.prebuilt.PrebuiltInvertedIndex").get(name) is not None


class _StoredIds(Sequence[str]):
    """doc_ids in Lucene's order, read one by one: a prebuilt index may hold a hundred million."""

    def __init__(self, machine: Java, reader: Any) -> None:
        self._id_of = machine.of("io.anserini.index.IndexReaderUtils").convertLuceneDocidToDocid
        self._reader = reader
        self._count = int(reader.maxDoc())

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(self._count))]
        return str(self._id_of(self._reader, range(self._count)[place]))


def _write_shards(docs: Iterable[Doc], folder: Path) -> int:
    """Write docs as Anserini's JsonCollection reads them; how many."""
    folder.mkdir()
    seen: set[str] = set()
    shard = None
    try:
        for doc_id, text in docs:
            if doc_id in seen:
                raise doc_twice(doc_id)
            if len(seen) % SHARD == 0:
                if shard is not None:
                    shard.close()
                shard = (folder / f"{len(seen) // SHARD}.jsonl").open("w", encoding="ascii")
            seen.add(doc_id)
            shard.write(json.dumps({"id": doc_id, "contents": text}) + "\n")    # type: ignore[union-attr]
    finally:
        if shard is not None:
            shard.close()
    if not seen:
        raise no_docs()
    return len(seen)


def _index(machine: Java, docs: Path, folder: Path, count: int) -> None:
    """Let Anserini index JSONL files; raise HeadtailError unless it took them all."""
    memory = machine.of("java.lang.Runtime").getRuntime().maxMemory() // 2**20    # MiB
    typed = [    # as a person types it for Anserini
        "-collection", "JsonCollection", "-input", docs, "-index", folder, "-storeDocvectors", "-optimize", "-quiet",
        "-threads", min(os.cpu_count() or 1, -(-count // SHARD)),
        "-memoryBuffer", max(16, min(2047, memory // MEMORY_SHARE)),
    ]
    arguments, words = machine.of("io.anserini.index.IndexCollection$Args")(), machine.of("java.util.ArrayList")()
    for word in typed:
        words.add(machine.string(str(word)))
    with machine.errors("Anserini could not build the index"):
        machine.of("org.kohsuke.args4j.CmdLineParser")(arguments).parseArgument(words)
        indexer = machine.of("io.anserini.index.IndexCollection")(arguments)
        indexer.run()
        counters = indexer.getCounters()
        taken, empty = counters.indexed.get(), counters.empty.get()
    if taken + empty != count:
        raise HeadtailError(f"Anserini indexed {taken:,} docs and found {empty:,} empty, of {count:,}; is there room on disk?")


def _open(machine: Java, folder: Path) -> Any:
    """An IndexReader on a folder."""
    try:
        with machine.errors("Lucene"):
            path = machine.of("java.io.File")(machine.string(str(folder))).toPath()
            directory = machine.of("org.apache.lucene.store.FSDirectory").open(path)
            opened = machine.of("org.apache.lucene.index.DirectoryReader").open(directory)
    except HeadtailError as error:
        found = f"a damaged one ({error})"
        raise DataError(folder, expected="a whole Lucene index", found=found, hint="build it again") from None
    return machine.cast("org.apache.lucene.index.IndexReader", opened)    # IndexSearcher has several constructors


def _fetch(machine: Java, name: str) -> Path:
    with machine.errors(f"the prebuilt index {name} could not be fetched; is there a network?"):
        found = machine.of("io.anserini.index.IndexReaderUtils").getIndex(machine.string(name))
        return Path(str(found.toString()))
