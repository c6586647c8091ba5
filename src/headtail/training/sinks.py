"""Copies of the ledger for Weights & Biases and TensorBoard (the extra `track`).

The ledger stays the truth. A copy is made by a thread of its own behind a bounded queue: it takes microseconds of a step,
and what goes wrong with it is one warning.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import queue
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headtail.errors import ConfigError, unknown_name

ROOM = 1000       # records that may wait; at one a log step that is a lost connection of hours
PATIENCE = 5.0    # seconds that `close` waits, for all sinks together
FOLDER = "sinks"  # inside the run folder

Say = Callable[[str], None]
Value = float | str | dict[str, Any]


class Sink(Protocol):
    """Where records go; both methods may take long and may raise."""

    def write(self, kind: str, step: int, values: Mapping[str, Value]) -> None:
        """One record, its values as `flat` gives them."""

    def close(self) -> None:
        """What is left is sent and files are closed."""


class Open(Protocol):
    """Makes a sink; imports what it needs."""

    def __call__(self, folder: Path, *, run_name: str, config: Mapping[str, Any], step: int) -> Sink:
        """The sink of a run that stands at a step, 0 at its beginning."""


class Sinks:
    """Several sinks behind their queues; no method raises or blocks, whatever becomes of them."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self._workers = workers

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Hand one record to every sink that still works; one whose queue is full misses it, and that is counted.

        The values are read later, in another thread: they must not change any more.
        """
        for worker in self._workers:
            worker.put((kind, step, values))

    def close(self, seconds: float = PATIENCE) -> None:
        """Let the queues run empty, for at most so many seconds; then say what is missing."""
        until = time.monotonic() + seconds
        for worker in self._workers:
            worker.ask_to_end()
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))


def open_sinks(
    names: Sequence[str],
    folder: str | Path,
    *,
    run_name: str,
    config: Mapping[str, Any],
    step: int = 0,
    say: Say | None = None,
) -> Sinks:
    """Copies of a run's ledger; returns at once, each sink opens in its own thread.

    Args:
        names: of SINKS: "wandb" (with WANDB_MODE=offline it stays on disk) and "tensorboard".
        folder: the run folder; sinks keep their files in its `sinks/`, and go on there when the run is resumed.
        run_name: what the run is called there.
        config: the run's settings, nested dicts of plain values.
        step: the one that a resumed run goes on from; what TensorBoard holds after it is superseded.
        say: takes one line when a sink fails; `warnings.warn` by default.

    Raises:
        ConfigError: an unknown name.
    """
    for name in names:
        if name not in SINKS:
            raise ConfigError(unknown_name("sink", name, SINKS))
    place = Path(folder) / FOLDER
    opened = {name: functools.partial(SINKS[name], place, run_name=run_name, config=dict(config), step=step) for name in names}
    return Sinks([_Worker(name, open_sink, say or _warn) for name, open_sink in opened.items()])


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=2)


class _Worker:
    """One sink, its queue and its thread; after the first exception it is off."""

    def __init__(self, name: str, open_sink: Callable[[], Sink], say: Say, room: int = ROOM) -> None:
        self.name, self._open, self._say_to = name, open_sink, say
        self._queue: queue.Queue[tuple[str, int, Mapping[str, Any]]] = queue.Queue(room)
        self._off, self._ending = threading.Event(), threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name=f"headtail-{name}", daemon=True)
        self._thread.start()

    def put(self, record: tuple[str, int, Mapping[str, Any]]) -> None:
        if self._off.is_set():
            return
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def ask_to_end(self) -> None:
        self._ending.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            waiting = self._queue.qsize() + self.dropped
            self._off.set()
            self._say(f"{self.name} did not finish in time: about {waiting:,} records are missing there; the ledger has all")
        elif self.dropped and not self._off.is_set():
            self._say(f"{self.name} was too slow: {self.dropped:,} records are missing there; the ledger has all")

    def _work(self) -> None:
        try:
            sink = self._open()
            for kind, step, values in self._records():
                sink.write(kind, step, flat(values))
            sink.close()
        except BaseException as error:    # SystemExit too: a library that wants to end the program ends its copy alone
            if not self._off.is_set():
                self._off.set()
                self._say(f"{self.name} is switched off: {_told(error)}; training goes on and the ledger is complete")

    def _records(self) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        while not self._off.is_set():
            try:
                yield self._queue.get(timeout=0.05)
            except queue.Empty:
                if self._ending.is_set():
                    return

    def _say(self, line: str) -> None:
        with contextlib.suppress(Exception):    # a warning may be turned into an error
            self._say_to(line)


def _told(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return f"{error} (pip install 'headtail[track]')"
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested dicts as a/b keys: numbers, texts, and histograms ({edges, positives, negatives}) as one dict a class.

    What is no finite number, no text and no dict is left out.
    """
    found: dict[str, Value] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "edges" in value:
            classes = [of for of in value if of != "edges"] if value["edges"] else []
            found |= {f"{name}/{of}": {"edges": list(value["edges"]), "counts": list(value[of])} for of in classes}
        elif isinstance(value, Mapping):
            found |= flat(value, f"{name}/")
        elif isinstance(value, str):
            found[name] = value
        elif isinstance(value, int | float) and math.isfinite(value):
            found[name] = float(value)
    return found


# ---- the sinks


class WandbSink:
    """A run of Weights & Biases, `headtail` its project unless WANDB_PROJECT says otherwise."""

    def __init__(self, folder: Path, *, run_name: str, config: Mapping[str, Any], step: int) -> None:
        import os

        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "headtail"),
            name=run_name,
            id=_kept_id(folder / "wandb.json", new=step == 0),
            resume="allow",
            dir=str(folder),
            config=dict(config),
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, disable_code=True, init_timeout=30    # the terminal is ours
            ),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")    # wandb's own step may not go back, ours does after a resume

    def write(self, kind: str, step: int, values: Mapping[str, Value]) -> None:
        """One row of the run's history."""
        row = {f"{kind}/{name}": self._native(value) for name, value in values.items()}
        self._run.log({"step": step, **row})

    def _native(self, value: Value) -> Any:
        return self._wandb.Histogram(np_histogram=(value["counts"], value["edges"])) if isinstance(value, dict) else value

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


def _kept_id(path: Path, *, new: bool) -> str:
    """The id under which the run goes on; a run that begins anew gets another."""
    if path.is_file() and not new:
        return str(json.loads(path.read_text(encoding="utf-8"))["id"])
    run_id = secrets.token_hex(4)
    path.write_text(json.dumps({"id": run_id}) + "\n", encoding="utf-8")
    return run_id


class TensorBoardSink:
    """Event files in `sinks/tensorboard`."""

    def __init__(self, folder: Path, *, run_name: str, config: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        self.write("config", step, {run_name: "    " + json.dumps(config, indent=1, default=str).replace("\n", "\n    ")})

    def write(self, kind: str, step: int, values: Mapping[str, Value]) -> None:
        """A scalar, text or histogram for each value."""
        for name, value in values.items():
            tag = f"{kind}/{name}"
            if isinstance(value, dict):
                self._writer.add_histogram_raw(tag, global_step=step, **_raw(value["edges"], value["counts"]))
            elif isinstance(value, str):
                self._writer.add_text(tag, value, step)
            else:
                self._writer.add_scalar(tag, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def _raw(edges: Sequence[float], counts: Sequence[float]) -> dict[str, Any]:
    """A histogram as TensorBoard stores it; its sums are those of the bins' middles."""
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    moments = [sum(count * middle**power for count, middle in zip(counts, middles, strict=True)) for power in (1, 2)]
    ends = {"min": edges[0], "max": edges[-1], "num": sum(counts), "sum": moments[0], "sum_squares": moments[1]}
    return {**ends, "bucket_limits": list(edges[1:]), "bucket_counts": list(counts)}


SINKS: dict[str, Open] = {"wandb": WandbSink, "tensorboard": TensorBoardSink}
