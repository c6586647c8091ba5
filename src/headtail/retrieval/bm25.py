"""BM25 through bm25s, set up to do what Lucene does.

The defaults are those of Lucene's English analysis as Anserini runs it: k1 .9, b .4, Lucene's 33 stop words, the Porter
stemmer. They give the baseline that published figures stand beside. `stemmer=None` is the plainer variant.

A doc that shares no term with the query has a score of 0 and is left out, as in Lucene: a ranking holds min(k, number
of docs that share a term) docs, and a query whose terms all are unknown or stop words has an empty one.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from headtail.errors import DataError, HeadtailError, unknown_name
from headtail.progress import Track, silent
from headtail.records import Doc, Query, Run, ScoredDoc
from headtail.retrieval.ranking import checked_queries, in_index_order, no_collection, scored_docs

# org.apache.lucene.analysis.en.EnglishAnalyzer.ENGLISH_STOP_WORDS_SET
LUCENE_STOP_WORDS = (
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
)
STOP_WORDS = {"lucene": LUCENE_STOP_WORDS}
TOKEN_PATTERN = r"\w+(?:[.']\w+)*"    # close to Lucene's StandardTokenizer: don't, 3.14 and U.S are one token

SETTINGS_FILE, DOC_IDS_FILE = "headtail.json", "doc_ids.json"
BM25S_FILES = (
    "data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy", "vocab.index.json", "params.index.json",
)
FORMAT = "headtail-bm25-1"    # changes whenever an older index would be read wrongly


class Analyzer:
    """Text -> terms: lower case, tokens, stop words out, stems.

    Args:
        stemmer: an algorithm of PyStemmer, such as porter or german, or None.
        stopwords: "lucene", words of one's own in lower case, or None.

    Raises:
        HeadtailError: an unknown stemmer or stop word list.
    """

    def __init__(self, stemmer: str | None, stopwords: str | Iterable[str] | None) -> None:
        self.stemmer = stemmer
        if isinstance(stopwords, str):
            if stopwords not in STOP_WORDS:
                raise HeadtailError(unknown_name("stop word list", stopwords, STOP_WORDS))
            stopwords = STOP_WORDS[stopwords]
        self.stopwords = frozenset(stopwords or ())
        self.words = re.compile(TOKEN_PATTERN).findall
        self.stem = _stem_function(stemmer)

    def terms(self, text: str) -> list[str]:
        """The terms of a text, in its order, repeated as often as they occur."""
        return [self.stem(word) for word in self.words(text.lower()) if word not in self.stopwords]


def _stem_function(stemmer: str | None) -> Any:
    if stemmer is None:
        return str
    import Stemmer

    if stemmer not in Stemmer.algorithms():
        raise HeadtailError(unknown_name("stemmer", stemmer, Stemmer.algorithms()))
    return Stemmer.Stemmer(stemmer).stemWord


class _TermIds(dict[str, int]):
    """Word -> id of its term, learnt as words come: a word of a collection is stemmed once."""

    def __init__(self, analyzer: Analyzer) -> None:
        super().__init__(dict.fromkeys(analyzer.stopwords, -1))
        self.analyzer = analyzer
        self.vocabulary = {"": 0}    # term -> id; bm25s wants an entry for the empty term, which no text holds

    def __missing__(self, word: str) -> int:
        self[word] = term_id = self.vocabulary.setdefault(self.analyzer.stem(word), len(self.vocabulary))
        return term_id

    def of(self, text: str) -> list[int]:
        """The ids of a text's terms, stop words left out."""
        return [term_id for term_id in map(self.__getitem__, self.analyzer.words(text.lower())) if term_id >= 0]


class BM25Index:
    """A collection under BM25; made by `build` or `load`.

    Attributes:
        doc_ids: of the docs in it, in descending order.
        settings: what it was built with.
    """

    def __init__(self, engine: Any, doc_ids: Sequence[str], analyzer: Analyzer) -> None:
        self.doc_ids = doc_ids
        self._engine = engine
        self._analyzer = analyzer

    def __len__(self) -> int:
        return len(self.doc_ids)

    @property
    def settings(self) -> dict[str, Any]:
        """All that a score depends on besides the docs."""
        return {
            "k1": self._engine.k1,
            "b": self._engine.b,
            "stemmer": self._analyzer.stemmer,
            "stopwords": sorted(self._analyzer.stopwords),
            "token_pattern": TOKEN_PATTERN,
        }

    @classmethod
    def build(
        cls,
        docs: Iterable[Doc],
        *,
        k1: float = 0.9,
        b: float = 0.4,
        stemmer: str | None = "porter",
        stopwords: str | Iterable[str] | None = "lucene",
        progress: Track = silent,
    ) -> BM25Index:
        """Index the docs.

        Args:
            docs: read once, in any order.
            k1: how much a term's second and later occurrences still count, 0 upward.
            b: how much long docs are held back, 0 to 1.
            stemmer: an algorithm of PyStemmer, such as porter or german; None leaves words as they are.
            stopwords: "lucene" for Lucene's 33 English ones, words of one's own in lower case, or None.
            progress: shows the docs as they are read.

        Raises:
            HeadtailError: no doc, a doc_id twice, a parameter out of its range, an unknown stemmer or stop word list.

        Source: Robertson et al., TREC-3, 1994; the variant is Lucene's, as in Kamphuis et al., ECIR 2020.
        """
        import bm25s
        import numpy as np

        if not (k1 >= 0 and 0 <= b <= 1):
            raise HeadtailError(f"BM25: expected k1 of 0 or more and b from 0 to 1, found k1 {k1} and b {b}")
        analyzer = Analyzer(stemmer, stopwords)
        term_ids = _TermIds(analyzer)
        doc_ids: list[str] = []
        contents: list[list[int]] = []
        for doc_id, text in progress(docs, "index"):
            doc_ids.append(doc_id)
            contents.append(term_ids.of(text))
        doc_ids, contents = in_index_order(doc_ids, contents)
        engine = bm25s.BM25(method="lucene", k1=k1, b=b, backend="numpy")
        tokenized = bm25s.tokenization.Tokenized(ids=contents, vocab=term_ids.vocabulary)
        with np.errstate(invalid="ignore"):    # bm25s divides by the mean length, 0 where every doc is empty
            engine.index(tokenized, show_progress=False)
        return cls(engine, doc_ids, analyzer)

    def search(self, queries: Iterable[Query], k: int, *, name: str = "bm25", progress: Track = silent) -> Run:
        """The k best docs of each query; every query has an entry, empty where no doc shares a term with it.

        Args:
            queries: with distinct query_ids.
            k: at most so many docs a query.
            name: of the run.
            progress: shows the queries as they are answered.

        Raises:
            HeadtailError: a query_id twice, or a k below 1.
        """
        listed = checked_queries(queries, k)
        with no_collection():
            shown = progress(listed, "search", len(listed))
            rankings = {query.query_id: self._ranking(query.text, k) for query in shown}
        return Run.in_given_order(rankings, name)

    def _ranking(self, text: str, k: int) -> tuple[ScoredDoc, ...]:
        terms = self._engine.get_tokens_ids(self._analyzer.terms(text))
        if not terms:
            return ()
        return scored_docs(self._engine.get_scores_from_ids(terms), self.doc_ids, k)    # from scores [D], float32

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the index as a folder that bm25s itself can load, with the settings and doc_ids beside it.

        JSON and npy only. The settings are written last: a folder without them is not an index.

        Raises:
            HeadtailError: the folder cannot be written.
        """
        folder = Path(folder)
        building = folder / ".building"
        try:
            building.mkdir(parents=True, exist_ok=True)
            self._engine.save(building, show_progress=False)
            _write_json(building / DOC_IDS_FILE, list(self.doc_ids))
            _write_json(building / SETTINGS_FILE, {"format": FORMAT, "docs": len(self), **self.settings})
            (folder / SETTINGS_FILE).unlink(missing_ok=True)
            # Renamed, not rewritten: another process may have the old arrays mapped.
            for name in (*BM25S_FILES, DOC_IDS_FILE, SETTINGS_FILE):
                (building / name).replace(folder / name)
            building.rmdir()
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise HeadtailError(f"{folder}: cannot write the index: {error}") from error

    @classmethod
    def load(cls, folder: str | PathLike[str], mmap: bool = True) -> BM25Index:
        """Read an index that `save` wrote.

        Args:
            folder: where it lies.
            mmap: leave the arrays on disk and let the system read what a query touches.

        Raises:
            DataError: no index there, one of another version, or a damaged one.
        """
        import bm25s

        folder = Path(folder)
        settings = _read_settings(folder)
        try:
            engine = bm25s.BM25.load(folder, mmap=mmap, load_corpus=False, show_progress=False, backend="numpy")
            doc_ids = json.loads((folder / DOC_IDS_FILE).read_text(encoding="utf-8"))
            analyzer = Analyzer(settings["stemmer"], settings["stopwords"])
            _check_engine(engine, doc_ids, settings)
        except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, HeadtailError) as error:
            raise DataError(
                folder, expected="a whole BM25 index", found=f"a damaged one ({error})", hint="build it again"
            ) from error
        return cls(engine, doc_ids, analyzer)


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS_FILE
    hint = "build the index again"
    if not path.is_file():
        raise DataError(folder, expected=f"a BM25 index with its {SETTINGS_FILE}", found="none", hint=hint)
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, expected="JSON", found=str(error), hint=hint) from error
    found = settings.get("format") if isinstance(settings, dict) else None
    if found != FORMAT:
        raise DataError(path, expected=f"format {FORMAT!r}", found=repr(found), hint=hint)
    pattern = settings.get("token_pattern")
    if pattern != TOKEN_PATTERN:
        raise DataError(path, expected=f"token_pattern {TOKEN_PATTERN!r}", found=repr(pattern), hint=hint)
    return dict(settings)


def _check_engine(engine: Any, doc_ids: Any, settings: dict[str, Any]) -> None:
    """Raise ValueError unless the parts belong together; looks at lengths, not at every number."""
    scores, docs = engine.scores, settings["docs"]
    checks = {
        "another k1 or b in its parts": (engine.k1, engine.b) == (settings["k1"], settings["b"]),
        "another scoring method in its parts": engine.method == "lucene" and engine.dtype == "float32",
        "the wrong number of doc_ids": isinstance(doc_ids, list) and len(doc_ids) == docs == scores["num_docs"],
        "the wrong number of terms": len(scores["indptr"]) == len(engine.vocab_dict) + 1,
        "arrays of the wrong length": len(scores["data"]) == len(scores["indices"]) == int(scores["indptr"][-1]),
    }
    for problem, fine in checks.items():
        if not fine:
            raise ValueError(problem)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
