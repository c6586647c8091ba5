"""How long work shows itself: a bar in a terminal, elsewhere a line every few seconds; lower layers take a `Track`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TextIO, TypeVar

T = TypeVar("T")
EVERY = 5.0    # seconds between two lines where there is no terminal


class Track(Protocol):
    """Wraps an iterable and shows how far it has come."""

    def __call__(self, items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
        """The same items, in the same order."""


def silent(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Shows nothing: the default everywhere below the command line."""
    return items


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Shows a line on stderr: redrawn in place in a terminal, a fresh one every few seconds elsewhere."""
    with Meter(description, total) as meter:
        for item in items:
            yield item
            meter.advance(1)


class Meter:
    """A count that shows itself on stderr; the way out for work that is no simple iteration."""

    def __init__(self, description: str, total: int | None = None, stream: TextIO | None = None) -> None:
        self.description, self.total, self.done = description, total, 0
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.started = self.shown = time.monotonic()
        self.note = ""

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown > self.started:
            self._show(end="\n")

    def advance(self, count: int, note: str = "") -> None:
        """Count so many more as done; `note` stands at the end of the line."""
        self.done += count
        self.note = note or self.note
        now = time.monotonic()
        if now - self.shown >= (0.2 if self.terminal else EVERY):
            self.shown = now
            self._show(end="" if self.terminal else "\n")

    def _show(self, end: str) -> None:
        seconds = max(time.monotonic() - self.started, 1e-9)
        parts = [f"{self.description}: {self.done:,}" + (f" of {self.total:,}" if self.total else "")]
        if self.total and 0 < self.done < self.total:
            parts.append(f"{clock(seconds / self.done * (self.total - self.done))} left")
        else:
            parts.append(clock(seconds))
        line = "  ".join([*parts, self.note] if self.note else parts)
        with contextlib.suppress(OSError):    # a log file that has no room stops no work
            self.stream.write(f"\r\x1b[2K{line}{end}" if self.terminal else line + end)
            self.stream.flush()


def clock(seconds: float) -> str:
    """Seconds as 0:07, 12:30 or 1:02:03."""
    whole = int(seconds + 0.5)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
