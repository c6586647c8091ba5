"""A data set by name: "pydocs", a folder, "beir:FOLDER", "irds:msmarco-passage/dev/small".

A folder data set, each file plain or gzip (add `.gz`):

    collection.tsv        doc_id TAB text
    queries.SPLIT.tsv     query_id TAB text
    qrels.SPLIT.tsv       query_id 0 doc_id label
    intents.SPLIT.tsv     query_id TAB question|browse; optional, a query it leaves out has the data set's intent
    dataset.toml          optional: intent (of all queries), relevant_from, note

Qrels may judge queries whose text is not there, as MS MARCO's do: they are handed out as they stand in the file, and
`check_dataset` counts them.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from headtail.data import pydocs
from headtail.data.collection import Collection, cached_collection, open_collection, short_hash
from headtail.data.formats import read_beir_corpus, read_beir_queries, read_qrels, read_queries
from headtail.data.lines import numbered_lines
from headtail.errors import DataError, HeadtailError, shorten, unknown_name
from headtail.records import INTENTS, QUESTION, Doc, Query

KNOWN_SPLITS = ("train", "dev", "test")    # in this order before all others
OPTIONS = {"intent": str, "relevant_from": int, "note": str}    # keys of dataset.toml

DATASETS = {
    "pydocs": pydocs.DESCRIPTION,
    "FOLDER": "collection.tsv, queries.SPLIT.tsv and qrels.SPLIT.tsv, plain or .gz, with an optional dataset.toml",
    "beir:FOLDER": "a BEIR folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv",
    "irds:ID": "any data set of ir_datasets, such as irds:msmarco-passage/dev/small; may download",
}


class NoJudgmentsError(HeadtailError):
    """A split that has queries but no qrels, such as MS MARCO's eval."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Docs, and for each split queries with their judgments and intents; files are read when they are asked for.

    `relevant_from` is the smallest label that counts as relevant where a measure knows only yes and no. `note` is a
    line to show beside every figure, empty if there is nothing to say.
    """

    name: str
    splits: tuple[str, ...]
    intent: str
    relevant_from: int
    note: str
    _open: Callable[[], Collection]
    _queries: Callable[[str], dict[str, Query]]
    _qrels: Callable[[str], dict[str, dict[str, int]]]
    _intents: Callable[[str], dict[str, str]]

    @cached_property
    def collection(self) -> Collection:
        """doc_id -> text; built in the cache the first time, which takes a while for millions of docs."""
        return self._open()

    def queries(self, split: str) -> dict[str, Query]:
        """query_id -> Query, in the order of the file."""
        return self._queries(self._known(split))

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """query_id -> doc_id -> label; may judge queries that have no text here.

        Raises:
            NoJudgmentsError: the split has none.
        """
        return self._qrels(self._known(split))

    def intents(self, split: str) -> dict[str, str]:
        """query_id -> "question" or "browse", for every query of `queries(split)`."""
        return dict.fromkeys(self.queries(split), self.intent) | self._intents(split)

    def _known(self, split: str) -> str:
        if split not in self.splits:
            raise HeadtailError(f"data set {self.name!r}: {unknown_name('split', split, self.splits)}")
        return split


def load_dataset(name: str | Path, *, intent: str | None = None, relevant_from: int | None = None) -> Dataset:
    """Find a data set by name; reads no docs and no queries yet.

    Args:
        name: "pydocs" (a folder of that name is "./pydocs"), a folder, "beir:FOLDER" or "irds:ID".
        intent: "question" or "browse" for all its queries, whatever its files say.
        relevant_from: smallest label that counts as relevant, whatever its files say.

    Raises:
        HeadtailError: an unknown name or intent, a folder that is no data set.
        DataError: a dataset.toml that does not say what can be done.
    """
    if intent is not None and intent not in INTENTS:
        raise HeadtailError(unknown_name("intent", intent, INTENTS))
    scheme, _, rest = str(name).partition(":")
    if name == "pydocs":
        loaded = _folder_dataset("pydocs", pydocs.pydocs_folder())
    elif scheme == "beir" and rest:
        loaded = _beir_dataset(str(name), Path(rest))
    elif scheme == "irds" and rest:
        loaded = _irds_dataset(str(name), rest)
    elif Path(name).is_dir():
        loaded = _folder_dataset(str(name), Path(name))
    else:
        raise HeadtailError(f"{unknown_name('data set', str(name), DATASETS)}; {name} is no folder either")
    values: dict[str, Any] = {key: value for key, value in vars(loaded).items() if key != "collection"}
    if intent is not None:
        values |= {"intent": intent, "_intents": _no_intents}
    if relevant_from is not None:
        values["relevant_from"] = relevant_from
    return Dataset(**values)


def list_datasets() -> dict[str, str]:
    """Name, or pattern of a name -> one line about it."""
    return dict(DATASETS)


def _no_intents(split: str) -> dict[str, str]:
    return {}


def _in_order(splits: Iterable[str]) -> tuple[str, ...]:
    known = {split: place for place, split in enumerate(KNOWN_SPLITS)}
    return tuple(sorted(splits, key=lambda split: (known.get(split, len(known)), split)))


# ---- a folder


def _folder_dataset(name: str, folder: Path) -> Dataset:
    files = _named_files(folder)
    splits = _in_order(part.removeprefix("queries.") for part in files if part.startswith("queries."))
    if "collection" not in files or not splits:
        lacking = "queries.SPLIT.tsv" if "collection" in files else "collection.tsv"
        raise HeadtailError(f"{folder} is no data set: expected collection.tsv, queries.SPLIT.tsv and qrels.SPLIT.tsv "
                            f"(plain or .gz), found no {lacking} but {_content(folder)}")
    options = _read_options(folder / "dataset.toml") if (folder / "dataset.toml").exists() else {}
    return Dataset(
        name, splits, options.get("intent", QUESTION), options.get("relevant_from", 1), options.get("note", ""),
        _open=partial(open_collection, files["collection"]),
        _queries=lambda split: read_queries(files[f"queries.{split}"]),
        _qrels=lambda split: _read_split_qrels(name, split, files.get(f"qrels.{split}"), f"qrels.{split}.tsv"),
        _intents=lambda split: _read_intents(files, split),
    )


def _named_files(folder: Path) -> dict[str, Path]:
    """Name without `.tsv` and `.gz` -> file, for the files of a folder data set."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = path.name.removesuffix(".gz").removesuffix(".tsv")
        if path.name.removesuffix(".gz").endswith(".tsv") and stem in files:
            raise HeadtailError(f"{folder} holds both {files[stem].name} and {path.name}; keep one of them")
        if path.name.removesuffix(".gz").endswith(".tsv"):
            files[stem] = path
    return files


def _content(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"


def _read_split_qrels(name: str, split: str, path: Path | None, expected: str) -> dict[str, dict[str, int]]:
    if path is None:
        raise NoJudgmentsError(f"data set {name!r} has no judgments for split {split!r}: expected a file {expected}")
    return read_qrels(path)


def _read_options(path: Path) -> dict[str, Any]:
    try:
        options = tomllib.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(path, expected="TOML", found=str(error)) from None
    for key, value in options.items():
        if key not in OPTIONS:
            raise DataError(path, expected=f"the keys {', '.join(OPTIONS)}", found=repr(key))
        if type(value) is not OPTIONS[key]:
            raise DataError(path, expected=f"{key} of type {OPTIONS[key].__name__}", found=shorten(str(value)))
    if options.get("intent", QUESTION) not in INTENTS:
        raise DataError(path, expected=f"intent {' or '.join(INTENTS)}", found=repr(options["intent"]))
    return options


def _read_intents(files: Mapping[str, Path], split: str) -> dict[str, str]:
    path = files.get(f"intents.{split}")
    if path is None:
        return {}
    queries = read_queries(files[f"queries.{split}"])
    intents: dict[str, str] = {}
    for number, line in numbered_lines(path):
        query_id, _, intent = line.partition("\t")
        if query_id not in queries:
            raise DataError(path, number, expected=f"a query_id of split {split!r}", found=shorten(query_id))
        if intent not in INTENTS:
            raise DataError(path, number, expected="query_id TAB " + "|".join(INTENTS), found=shorten(line))
        if query_id in intents:
            raise DataError(path, number, expected="each query_id once", found=f"{query_id!r} again")
        intents[query_id] = intent
    return intents


# ---- BEIR


def _beir_dataset(name: str, folder: Path) -> Dataset:
    corpus, queries = (_either(folder / file) for file in ("corpus.jsonl", "queries.jsonl"))
    qrels = {path.stem: path for path in sorted((folder / "qrels").glob("*.tsv"))}
    if corpus is None or queries is None or not qrels:
        found = _content(folder) if folder.is_dir() else "no such folder"
        raise HeadtailError(f"{folder} is no BEIR data set: expected corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, "
                            f"found {found}")

    def split_queries(split: str) -> dict[str, Query]:
        judged = read_qrels(qrels[split])    # queries.jsonl holds all splits; the judgments tell them apart
        return {query_id: query for query_id, query in read_beir_queries(queries).items() if query_id in judged}

    return Dataset(
        name, _in_order(qrels), QUESTION, 1, "",
        _open=partial(open_collection, corpus, read=read_beir_corpus),
        _queries=split_queries,
        _qrels=lambda split: read_qrels(qrels[split]),
        _intents=_no_intents,
    )


def _either(path: Path) -> Path | None:
    """The file plain or gzip, whichever is there."""
    return next((file for file in (path, path.with_name(path.name + ".gz")) if file.is_file()), None)


# ---- ir_datasets


def _irds_dataset(name: str, dataset_id: str) -> Dataset:
    """Wrap an ir_datasets id; its parts ID/train, ID/dev and ID/test are the splits, else it is one split itself.

    That one is called train, dev or test after the last such word of the id, and "all" where there is none.
    """
    import ir_datasets  # slow and seldom needed

    try:
        whole = ir_datasets.load(dataset_id)
    except KeyError:
        raise HeadtailError(_unknown_irds(dataset_id, list(ir_datasets.registry))) from None
    if not whole.has_docs():
        raise HeadtailError(f"ir_datasets' {dataset_id} has no docs; name one of its parts that has")
    known = set(ir_datasets.registry)
    parts = {split: ir_datasets.load(part) for split in KNOWN_SPLITS if (part := f"{dataset_id}/{split}") in known}
    parts = {split: part for split, part in parts.items() if part.has_queries() and part.has_qrels()}
    if whole.has_queries() and whole.has_qrels():
        words = [word for word in dataset_id.split("/") if word in KNOWN_SPLITS]
        parts = {words[-1] if words else "all": whole}
    if not parts:
        raise HeadtailError(f"ir_datasets' {dataset_id} has no judged queries; name one of its parts that has")
    docs_id = ir_datasets.docs_parent_id(dataset_id)    # the parts of a collection share one copy in the cache
    stem = f"irds-{docs_id.replace('/', '-')[:60]}-{short_hash(docs_id)}"
    version = short_hash(ir_datasets.__version__)
    return Dataset(
        name, tuple(parts), QUESTION, 1, "",
        _open=lambda: cached_collection(stem, version, lambda: _irds_docs(whole)),
        _queries=lambda split: _irds_queries(name, parts[split]),
        _qrels=lambda split: _irds_qrels(name, parts[split]),
        _intents=_no_intents,
    )


def _unknown_irds(dataset_id: str, known: list[str]) -> str:
    """One line with the nearest name, without the 800 known ones."""
    return unknown_name("ir_datasets id", dataset_id, known).partition(" known: ")[0].rstrip(";")


def _irds_text(record: Any) -> str:
    text = record.default_text() if hasattr(record, "default_text") else record.text
    return " ".join(text.split())


def _irds_docs(whole: Any) -> Iterator[Doc]:
    return (Doc(record.doc_id, _irds_text(record)) for record in whole.docs_iter())


def _irds_queries(name: str, part: Any) -> dict[str, Query]:
    queries = {record.query_id: Query(record.query_id, _irds_text(record)) for record in part.queries_iter()}
    for query in queries.values():
        if not query.text:
            raise HeadtailError(f"data set {name!r}: query {query.query_id!r} has an empty text")
    return queries


def _irds_qrels(name: str, part: Any) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for record in part.qrels_iter():
        judged = qrels.setdefault(record.query_id, {})
        if judged.get(record.doc_id, record.relevance) != record.relevance:
            raise HeadtailError(f"data set {name!r}: query {record.query_id!r}, doc {record.doc_id!r} has two labels")
        judged[record.doc_id] = record.relevance
    return qrels


# ---- checking


@dataclass(frozen=True)
class SplitSummary:
    """What a split holds.

    `relevant_per_query` is the mean over judged queries, `mean_words` over query texts; `labels` and `intents` count;
    `unknown_docs` counts judgments of docs that the collection lacks, `unknown_queries` judged queries without a text.
    """

    queries: int
    judged_queries: int
    judgments: int
    relevant_per_query: float
    mean_words: float
    labels: dict[int, int]
    intents: dict[str, int]
    unknown_docs: int
    unknown_queries: int
    example_ids: tuple[str, ...]


@dataclass(frozen=True)
class DatasetSummary:
    """What a data set holds, and in `problems` one line for everything that should be looked into."""

    name: str
    note: str
    relevant_from: int
    docs: int
    mean_words: float
    example_ids: tuple[str, ...]
    splits: dict[str, SplitSummary]
    problems: tuple[str, ...]


def check_dataset(name: str | Path | Dataset) -> DatasetSummary:
    """Read everything a data set holds, count it and look for what does not fit together.

    Raises:
        HeadtailError: what a reader refuses; the first error ends the check.
    """
    dataset = name if isinstance(name, Dataset) else load_dataset(name)
    docs = words = 0
    examples: list[str] = []
    for doc in dataset.collection.docs():
        docs, words = docs + 1, words + len(doc.text.split())
        examples += [doc.doc_id] if docs <= 3 else []
    queries = {split: dataset.queries(split) for split in dataset.splits}
    splits = {split: _summarize(dataset, split, queries[split]) for split in dataset.splits}
    problems = chain(_split_problems(splits), _shared_texts(queries))
    return DatasetSummary(
        dataset.name, dataset.note, dataset.relevant_from, docs, words / docs, tuple(examples), splits, tuple(problems)
    )


def _summarize(dataset: Dataset, split: str, queries: dict[str, Query]) -> SplitSummary:
    try:
        qrels = dataset.qrels(split)
    except NoJudgmentsError:
        qrels = {}
    labels = Counter(label for judged in qrels.values() for label in judged.values())
    judged_here = [judged for query_id, judged in qrels.items() if query_id in queries]
    relevant = sum(label >= dataset.relevant_from for judged in judged_here for label in judged.values())
    return SplitSummary(
        queries=len(queries),
        judged_queries=len(judged_here),
        judgments=labels.total(),
        relevant_per_query=relevant / len(judged_here) if judged_here else 0.0,
        mean_words=sum(len(query.text.split()) for query in queries.values()) / len(queries) if queries else 0.0,
        labels=dict(sorted(labels.items())),
        intents=dict(Counter(dataset.intents(split).values())),
        unknown_docs=sum(doc_id not in dataset.collection for judged in qrels.values() for doc_id in judged),
        unknown_queries=len(qrels) - len(judged_here),
        example_ids=tuple(list(queries)[:3]),
    )


def _split_problems(splits: Mapping[str, SplitSummary]) -> Iterator[str]:
    for split, found in splits.items():
        if found.unknown_docs:
            yield f"{split}: {found.unknown_docs:,} of {found.judgments:,} judgments name docs the collection lacks"
        if found.unknown_queries:
            yield f"{split}: {found.unknown_queries:,} judged queries have no text"
        if missing := found.queries - found.judged_queries:
            yield f"{split}: {missing:,} of {found.queries:,} queries are not judged"
        if not found.relevant_per_query:
            yield f"{split}: no judgment counts as relevant"


def _shared_texts(queries: Mapping[str, Mapping[str, Query]]) -> Iterator[str]:
    first: dict[str, str] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for split, found in queries.items():
        for text in {query.text.casefold() for query in found.values()}:
            if first.setdefault(text, split) != split:
                shared[first[text], split] += 1
    for (one, other), count in shared.items():
        yield f"{one} and {other}: {count:,} query texts stand in both; figures of {other} are too good"
