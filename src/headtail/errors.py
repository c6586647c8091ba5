"""Errors a person can act on: one line that says where, what was expected, what was found, and the way out.

The command line prints a `HeadtailError` as that one line and leaves with exit status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike


class HeadtailError(Exception):
    """Anything a user can put right: a path, a name, a file's content, an option."""


class ConfigError(HeadtailError):
    """A config file, a `--set` or an option that does not say what can be done."""


class ModelError(HeadtailError):
    """An encoder or a saved ranker that cannot be loaded or used as asked."""


class TrainingError(HeadtailError):
    """A training run that cannot start or go on."""


class NotFiniteError(TrainingError):
    """A score, the loss or a gradient that is NaN or infinite; `lists` names the batch: query_id -> doc_ids."""

    def __init__(self, line: str, lists: Mapping[str, Sequence[str]]) -> None:
        self.lists = lists
        super().__init__(line)


class CheckpointError(HeadtailError):
    """A checkpoint that could not be saved, or is damaged."""


class DataError(HeadtailError):
    """Bad input data: `file:line: expected …, found …; hint`."""

    def __init__(
        self,
        path: str | PathLike[str],
        line: int | None = None,
        *,
        expected: str,
        found: str,
        hint: str = "",
    ) -> None:
        """Build the line from its parts; `line` counts from 1, None where the whole file is meant."""
        self.path, self.line, self.expected, self.found, self.hint = path, line, expected, found, hint
        where = f"{path}" if line is None else f"{path}:{line}"
        super().__init__(f"{where}: expected {expected}, found {found}" + (f"; {hint}" if hint else ""))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One line for a name nobody knows: unknown loss 'softmx', did you mean 'softmax'? known: bce, hybrid, …"""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    guess = f", did you mean {near[0]!r}?" if near else ";"
    return f"unknown {kind} {name!r}{guess} known: {', '.join(names)}"


def shorten(text: str, width: int = 80) -> str:
    """`repr` of text, cut in the middle of nowhere at `width` characters: for what was `found`."""
    return repr(text if len(text) <= width else text[: width - 1] + "…")
