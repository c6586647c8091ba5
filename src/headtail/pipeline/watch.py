"""watch: a training run, running or finished, seen in a terminal. Loads no torch."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from headtail.errors import HeadtailError
from headtail.report.terminal import screen
from headtail.training.curves import first_of
from headtail.training.ledger import read_ledger

EVERY = 1.0     # seconds between two looks at the ledger
SILENT = 900    # seconds without a line after which a run is no longer said to be running; a validation may take minutes


def watch(folder: str | Path, *, once: bool = False, console: Console | None = None) -> None:
    """Show a run until it ends or Ctrl-C is pressed; once where it has ended, where asked, and where there is no terminal.

    Raises:
        HeadtailError: no training run there.
    """
    console = console or Console()
    run = _Watched(Path(folder))
    with suppress(KeyboardInterrupt):
        if not once and console.is_terminal and run.state() == "running":
            _follow(run, console)
        console.print(screen(run.records(), name=run.name, state=run.state(), width=console.width))


def _follow(run: _Watched, console: Console) -> None:
    """Redraw the whole screen whenever the ledger has grown or the window has changed, until the run ends."""
    drawn: Any = None
    with Live(console=console, screen=True, auto_refresh=False) as live:    # leaves the screen that was there before
        while run.state() == "running":
            size = console.size
            if (run.stamp(), size) != drawn:
                drawn = (run.stamp(), size)
                live.update(
                    screen(run.records(), name=run.name, state="running", width=size.width, height=size.height), refresh=True
                )
            time.sleep(EVERY)


class _Watched:
    """A run folder whose ledger is read again when it has changed."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "config.toml").is_file() and not (folder / "ledger.jsonl").is_file():
            raise HeadtailError(
                f"{folder}: expected the folder of a training run, found no ledger.jsonl; `headtail train` makes one"
            )
        self._ledger = folder / "ledger.jsonl"
        self._folder_name = folder.resolve().name
        self._stamp: Any = None
        self._records: list[dict[str, Any]] = []

    def stamp(self) -> Any:
        """What changes when the ledger does."""
        if not self._ledger.is_file():    # a run that has only begun
            return None
        found = self._ledger.stat()
        return found.st_size, found.st_mtime_ns

    def records(self) -> list[dict[str, Any]]:
        """All records so far."""
        stamp = self.stamp()
        if stamp != self._stamp:
            self._stamp, self._records = stamp, read_ledger(self._ledger)
        return self._records

    @property
    def name(self) -> str:
        """As the run calls itself, or else its folder."""
        return str(first_of(self.records(), "start").get("name") or self._folder_name)

    def state(self) -> str:
        """running, finished, interrupted, or silent: nothing was written for a long time."""
        told = [record for record in self.records() if record.get("kind") in ("start", "train", "validation", "end")]
        if told and told[-1]["kind"] == "end":
            return "interrupted" if told[-1].get("interrupted") else "finished"
        stamp = self.stamp()
        return "running" if stamp is None or time.time() - stamp[1] / 1e9 < SILENT else "silent"
