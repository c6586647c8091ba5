"""The built-in data set `pydocs`: the docstrings of the running Python's standard library, real text without a network.

What is read: every public pure-Python module, parsed with `ast` and never imported, and a fixed list of modules that
are written in C or lean on it, through `inspect`. A stand-in for tests, the demo and the first look; figures made with
it depend on the Python version and are not for publication.

    doc        dotted name, then the docstring on one line; doc_id: the dotted name; each object once
    question   the summary sentence of a docstring. It is taken out of that doc, which is the one positive (label 1).
               Only summaries that open no second docstring, and docs that keep 8 words of their own.
    browse     the summary line of a module. The functions and classes it defines are relevant with label 2, their
               methods with label 1. The module's own doc is left out of the collection: it would be the query itself.
    splits     by hash of the top-level module, so `email` and `email.message` never stand in two splits
"""

from __future__ import annotations

import ast
import importlib
import inspect
import platform
import re
import sys
import sysconfig
import types
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from headtail.data.collection import building, cache_root, publish
from headtail.data.formats import write_collection, write_qrels, write_queries
from headtail.errors import HeadtailError
from headtail.files import atomic_writer
from headtail.records import BROWSE, QUESTION, Doc, Query

PYDOCS_VERSION = 2    # raise it when the same Python would give other files
DESCRIPTION = "docstrings of the running Python's standard library, built on the spot; for tests and the demo"
NOTE = "pydocs is a stand-in for tests and the demo: its figures vary with the Python version, publish none"

SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages", "ensurepip"}
INSPECTED = """
    builtins array atexit binascii bz2 cmath codecs collections contextvars datetime decimal errno faulthandler fcntl
    functools gc grp hashlib hmac io itertools json lzma marshal math mmap operator os pwd pyexpat random re resource
    select signal socket sqlite3 ssl statistics string struct sys syslog termios threading time unicodedata weakref
    xml.etree.ElementTree zlib
""".split()    # noqa: SIM905  a list of strings would fill the screen

SUMMARY_WORDS = range(4, 41)
KEPT_WORDS = 8         # a doc that loses its summary keeps at least this many words beside its name
MEMBERS = range(5, 151)    # documented members of a module that makes a browse query; `builtins` has 400
TEST_SHARE, DEV_SHARE = 0.20, 0.12    # of the top-level modules
SALT = b"pydocs-787"    # chosen so that no large module fills dev or test: on Python 3.11 none has a quarter of it
SPLITS = ("train", "dev", "test")


@dataclass
class Docstrings:
    """Everything found: `texts` maps a dotted name to its docstring, whitespace collapsed to single spaces.

    `summaries` holds the first paragraph on one line; `members` maps a module to its documented members and their
    labels; `modules` maps each object to the module that defines it; `unparsed` counts files that `ast` refused.
    """

    texts: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, str] = field(default_factory=dict)
    members: dict[str, dict[str, int]] = field(default_factory=dict)
    unparsed: int = 0

    def add(self, name: str, docstring: str | None, module: str = "", label: int = 0) -> None:
        """Keep the first docstring of a name; where `module` is given, as its member with that label."""
        text = " ".join((docstring or "").split())
        if not text or name in self.texts or not _is_utf8(text):
            return
        self.texts[name] = text
        paragraph = re.split(r"\n\s*\n", (docstring or "").strip(), maxsplit=1)[0]
        self.summaries[name] = _first_sentence(" ".join(paragraph.split()))
        if module:
            self.members.setdefault(module, {})[name] = label


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _first_sentence(paragraph: str) -> str:
    """Up to the first full stop that a capital or a quote follows; the whole paragraph if there is none."""
    return re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.) (?=[A-Z\"'(`*])", paragraph, maxsplit=1)[0]


# ---- reading docstrings


def read_docstrings(stdlib: Path | None = None) -> Docstrings:
    """Docstrings of the pure-Python modules under `stdlib` (the running Python's by default) and of the C modules."""
    found = Docstrings()
    folder = stdlib or Path(sysconfig.get_path("stdlib"))
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and not any(part in SKIPPED or part.startswith("_") or not part.isidentifier() for part in parts):
            _read_source(path, ".".join(parts), found)
    for module in INSPECTED:
        _inspect_module(module, found)
    return found


def _read_source(path: Path, module: str, found: Docstrings) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")    # old escapes in a docstring are not our business
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        found.unparsed += 1
        return
    found.add(module, ast.get_docstring(tree))
    for name, node in _public_definitions(tree):
        found.add(f"{module}.{name}", ast.get_docstring(node), module, label=2)
        if isinstance(node, ast.ClassDef):
            for method, inner in _public_definitions(node):
                found.add(f"{module}.{name}.{method}", ast.get_docstring(inner), module, label=1)


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _public_definitions(parent: ast.AST) -> Iterator[tuple[str, Definition]]:
    """Public functions and classes right below `parent`, those inside `if` and `try` included."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, Definition):
            if not node.name.startswith("_"):
                yield node.name, node
        elif isinstance(node, (ast.If, ast.Try, ast.ExceptHandler, ast.With)):
            yield from _public_definitions(node)


def _inspect_module(module: str, found: Docstrings) -> None:
    try:
        loaded = importlib.import_module(module)
    except ImportError:    # absent on this platform
        return
    found.add(module, inspect.getdoc(loaded))
    for name, member in sorted(vars(loaded).items()):
        if name.startswith("_") or isinstance(member, types.ModuleType) or not callable(member):
            continue
        if name.endswith("hook"):    # sys.excepthook as Python has it: typer and others replace it
            member = vars(loaded).get(f"__{name}__", member)
        if not _belongs(getattr(member, "__module__", None) or module, module):
            continue    # only borrowed: it is documented where it lives
        found.add(f"{module}.{name}", _own_docstring(member), module, label=2)
        for method, inner in sorted(vars(member).items()) if isinstance(member, type) else ():
            if not method.startswith("_"):
                found.add(f"{module}.{name}.{method}", _own_docstring(inner), module, label=1)


def _belongs(home: str, module: str) -> bool:
    """Whether what says it lives in `home` is `module`'s own: it may live in a private C module, such as `_io`."""
    top = home.split(".")[0]
    return top == module.split(".")[0] or (top in sys.stdlib_module_names and (top[0] == "_" or top in ("posix", "nt")))


def _own_docstring(member: object) -> str | None:
    """The docstring an object holds itself; an instance would show its class's."""
    if not (isinstance(member, (type, property)) or inspect.isroutine(member) or inspect.isdatadescriptor(member)):
        return None
    docstring = member.__doc__
    return inspect.cleandoc(docstring) if isinstance(docstring, str) else None


# ---- queries, judgments, splits


@dataclass
class Pydocs:
    """The finished data set: docs, and for each split queries, qrels and intents by query_id."""

    docs: list[Doc]
    queries: dict[str, dict[str, Query]]
    qrels: dict[str, dict[str, dict[str, int]]]
    intents: dict[str, dict[str, str]]


def make_pydocs(found: Docstrings) -> Pydocs:
    """Turn docstrings into docs, queries and judgments (see the head of this module)."""
    browse = _browse_modules(found)
    questions = _question_names(found, {found.summaries[module].casefold() for module in browse})
    docs = []
    for name in sorted(found.texts.keys() - browse):
        hidden = found.summaries[name] if name in questions else ""
        docs.append(Doc(name, f"{name} {found.texts[name].removeprefix(hidden).strip()}"))
    made = Pydocs(docs, {s: {} for s in SPLITS}, {s: {} for s in SPLITS}, {s: {} for s in SPLITS})
    for name in sorted(questions):
        _add(made, name, Query(f"q:{name}", found.summaries[name]), {name: 1}, QUESTION)
    for module in sorted(browse):
        _add(made, module, Query(f"b:{module}", found.summaries[module]), found.members[module], BROWSE)
    return made


def _add(made: Pydocs, name: str, query: Query, judged: dict[str, int], intent: str) -> None:
    split = split_of(name)
    made.queries[split][query.query_id] = query
    made.qrels[split][query.query_id] = dict(judged)
    made.intents[split][query.query_id] = intent


def split_of(name: str) -> str:
    """The split of a dotted name, from its top-level module alone."""
    digest = blake2b(name.split(".")[0].encode(), digest_size=8, salt=SALT).digest()
    place = int.from_bytes(digest, "big") / 2**64
    return "test" if place < TEST_SHARE else "dev" if place < TEST_SHARE + DEV_SHARE else "train"


def _is_prose(summary: str) -> bool:
    """Whether a summary can be asked: some words, and no signature, prompt or table."""
    return len(summary.split()) in SUMMARY_WORDS and not re.search(r"->|>>>|\w\(\w*,|={3}|-{3}|\.\. ", summary)


def _browse_modules(found: Docstrings) -> set[str]:
    once = Counter(summary.casefold() for summary in found.summaries.values())
    return {
        module
        for module, members in found.members.items()
        if len(members) in MEMBERS
        and _is_prose(summary := found.summaries.get(module, ""))
        and once[summary.casefold()] == 1
    }


def _question_names(found: Docstrings, taken: set[str]) -> set[str]:
    """Docs whose summary is a query: prose, no other doc opens with it, and enough text is left to be found by."""
    once = Counter(summary.casefold() for summary in found.summaries.values())
    modules = found.members.keys()
    return {
        name
        for name, summary in found.summaries.items()
        if name not in modules
        and _is_prose(summary)
        and once[summary.casefold()] == 1
        and summary.casefold() not in taken
        and len(found.texts[name].removeprefix(summary).split()) >= KEPT_WORDS
    }


# ---- files


def build_pydocs(folder: Path) -> None:
    """Write the data set into an existing folder, laid out as every folder data set.

    Raises:
        HeadtailError: this Python came without its library's sources, or there is no room on disk.
    """
    found = read_docstrings()
    made = make_pydocs(found)
    if not all(made.queries.values()):
        raise HeadtailError(f"pydocs needs the sources of the standard library, found {len(made.docs)} docstrings in "
                            f"{sysconfig.get_path('stdlib')}; use another Python, or a data set of your own")
    write_collection(made.docs, folder / "collection.tsv.gz")
    for split in SPLITS:
        write_queries(made.queries[split], folder / f"queries.{split}.tsv.gz")
        write_qrels(made.qrels[split], folder / f"qrels.{split}.tsv")
        with atomic_writer(folder / f"intents.{split}.tsv") as out:
            out.writelines(f"{query_id}\t{intent}\n" for query_id, intent in made.intents[split].items())
    with atomic_writer(folder / "dataset.toml") as out:
        out.write(f'intent = "{QUESTION}"    # of each query: intents.SPLIT.tsv\nrelevant_from = 1\nnote = "{NOTE}"\n')


def pydocs_folder(cache_dir: Path | None = None) -> Path:
    """The data set's folder in the cache, built on the first call: about five seconds.

    Raises:
        HeadtailError: see `build_pydocs`.
    """
    python = f"{platform.python_implementation().lower()}{platform.python_version()}-{sys.platform}"
    folder = (cache_dir or cache_root()) / f"pydocs-{python}-v{PYDOCS_VERSION}"
    if not _is_built(folder):
        with building(folder) as temporary:
            build_pydocs(temporary)
            publish(temporary, folder, keep=_is_built)
    return folder


def _is_built(folder: Path) -> bool:
    return (folder / "dataset.toml").exists()    # written last
