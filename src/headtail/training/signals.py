"""Ctrl-C and SIGTERM: finish the step in hand, save, leave."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@dataclass(slots=True)
class Stop:
    """Which signal asked to stop, if one did."""

    signal: signal.Signals | None = None

    @property
    def asked(self) -> bool:
        """Whether one did."""
        return self.signal is not None


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a flag; the second acts as ever.

    Outside the main thread, and for a signal that the shell had ignored (`nohup`, a script's background job), nothing.
    """
    stop, before = Stop(), {number: signal.getsignal(number) for number in NAMES}
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def first(number: int, _frame: object) -> None:
        stop.signal = signal.Signals(number)
        name = NAMES[stop.signal]
        with suppress(OSError):
            print(f"\n{name}: finishing this step, then saving; {name} again stops at once", file=sys.stderr, flush=True)
        put_back()

    def put_back() -> None:
        for number in watched:
            signal.signal(number, before[number])

    watched = [number for number in NAMES if before[number] is not signal.SIG_IGN]
    for number in watched:
        signal.signal(number, first)
    try:
        yield stop
    finally:
        put_back()
