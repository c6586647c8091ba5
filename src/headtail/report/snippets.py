"""The part of a doc's text worth showing: its query's words, and the stretch of text that holds most of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headtail.report.tables import printable

LOOK = 100_000    # characters of a doc that are searched; a longer one is a book, or a fault
TERMS = 32        # words of a query that are looked for

# Words too common to be worth a mark.
_COMMON = """
a about an and any are as at be by can did do does for from had has have how i if in into is it its my not of on or
should so than that the their them then there these they this to was we were what when where which who why will with
you your
"""
STOP_WORDS = frozenset(_COMMON.split())
_WORD = re.compile(r"\w+")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")    # written without spaces between words


@dataclass(frozen=True, slots=True)
class Snippet:
    """A stretch of a text, and how many characters stand before it and after it."""

    text: str
    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """One word of the query in a text: where it starts and ends, and which of the words it is."""

    start: int
    end: int
    term: int


def query_terms(query: str) -> list[str]:
    """The query's words but for the commonest, each once, plurals as singulars; pairs of characters of CJK text."""
    terms: dict[str, None] = {}
    for word in dict.fromkeys(_WORD.findall(query[:LOOK].casefold())):
        runs = _CJK.findall(word)
        pairs = [run[i : i + 2] for run in runs for i in range(min(len(run) - 1, 16))]
        plain = not runs and 1 < len(word) <= 40 and word not in STOP_WORDS
        terms |= dict.fromkeys([*pairs, *([_singular(word)] if plain else [])])
    return list(terms)[:TERMS]


def _singular(word: str) -> str:
    """As far as English spelling tells: files as file, vanities as vanity; a word too many is marked sooner than one too few."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def find_terms(text: str, terms: Iterable[str]) -> list[Match]:
    """Where the terms stand in the beginning of a text, in order: whole words in the singular or the plural, pairs anywhere."""
    text, terms = text[:LOOK], list(terms)
    known = {form: number for number, term in enumerate(terms, start=1) for form in _forms(term)}
    words = ((word, known.get(word.group().casefold())) for word in _WORD.finditer(text))
    found = [Match(word.start(), word.end(), number) for word, number in words if number is not None]
    pairs = [term for term in terms if _CJK.fullmatch(term)]
    if not pairs:
        return found
    inside = re.compile("|".join(map(re.escape, pairs)))
    found += [Match(pair.start(), pair.end(), known[pair.group()]) for pair in inside.finditer(text)]
    return sorted(found, key=lambda match: match.start)


def _forms(term: str) -> tuple[str, ...]:
    """The page's script (templates/text.js) marks by the same rule."""
    return (term, f"{term[:-1]}ie", f"{term[:-1]}ies") if term.endswith("y") else (term, f"{term}s", f"{term}es")


def snippet(text: str, matches: Sequence[Match], size: int) -> Snippet:
    """At most `size` characters of a text: the window with most of the query's words, the first of equals.

    Args:
        text: as `clean` gives it.
        matches: from `find_terms`.
        size: characters; 0 leaves nothing.
    """
    if len(text) <= size:
        return Snippet(text)
    if size <= 0:
        return Snippet("", 0, len(text))
    start = _best_start(matches, size)
    if start <= size // 6:    # so near the beginning that the beginning itself is worth more
        start = 0
    start = min(start, len(text) - size)
    end = min(len(text), start + size)
    start, end = _after_space(text, start, end), _before_space(text, start, end)
    return Snippet(text[start:end].strip(), start, len(text) - end)


def clean(text: str) -> str:
    """A text without control characters and lone surrogates, and without space around it."""
    return printable(text).strip()


def _best_start(matches: Sequence[Match], size: int) -> int:
    """Where the window begins that holds most different words, then most of them; a little before its first word."""
    lead = size // 8
    best, start = (0, 0), 0
    inside: Counter[int] = Counter()
    last = 0
    for i, first in enumerate(matches):
        begin = max(0, first.start - lead)
        while last < len(matches) and matches[last].end <= begin + size:
            inside[matches[last].term] += 1
            last += 1
        found = (len(+inside), last - i)
        if found > best:
            best, start = found, begin
        inside[first.term] -= 1
    return start


def _after_space(text: str, start: int, end: int) -> int:
    """The first word's start at or shortly after a place, so that no word is cut; the place where there is none."""
    if start == 0 or text[start - 1].isspace():
        return start
    space = re.search(r"\s", text[start : min(end, start + 30)])
    return start + space.end() if space else start


def _before_space(text: str, start: int, end: int) -> int:
    """The last word's end at or shortly before a place."""
    if end == len(text) or text[end].isspace():
        return end
    spaces = list(re.finditer(r"\s", text[max(start, end - 30) : end]))
    return max(start, end - 30) + spaces[-1].start() if spaces else end
