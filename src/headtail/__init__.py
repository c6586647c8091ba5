"""headtail: fine-tune T5-family encoders as rankers, sharp at the head and well ordered down the tail.

Public names are resolved when they are first used, so that importing the package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headtail.config import Config, load_config
    from headtail.data.datasets import Dataset, load_dataset
    from headtail.data.formats import read_qrels
    from headtail.data.runs import read_run, write_run
    from headtail.errors import HeadtailError
    from headtail.losses import LOSSES
    from headtail.models.ranker import Ranker
    from headtail.pipeline.evaluate import evaluate
    from headtail.pipeline.judgments import judgments
    from headtail.pipeline.report import report
    from headtail.pipeline.search import fuse, rerank, retrieve
    from headtail.pipeline.train import train
    from headtail.records import Doc, Query, RankedList, Run, ScoredDoc

_HOMES = {
    "headtail.config": ("Config", "load_config"),
    "headtail.data.datasets": ("Dataset", "load_dataset"),
    "headtail.data.formats": ("read_qrels",),
    "headtail.data.runs": ("read_run", "write_run"),
    "headtail.errors": ("HeadtailError",),
    "headtail.losses": ("LOSSES",),
    "headtail.models.ranker": ("Ranker",),
    "headtail.pipeline.evaluate": ("evaluate",),
    "headtail.pipeline.judgments": ("judgments",),
    "headtail.pipeline.report": ("report",),
    "headtail.pipeline.search": ("fuse", "rerank", "retrieve"),
    "headtail.pipeline.train": ("train",),
    "headtail.records": ("Doc", "Query", "RankedList", "Run", "ScoredDoc"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "LOSSES", "Config", "Dataset", "Doc", "HeadtailError", "Query", "RankedList", "Ranker", "Run", "ScoredDoc",
    "evaluate", "fuse", "judgments", "load_config", "load_dataset", "read_qrels", "read_run", "report", "rerank",
    "retrieve", "train", "write_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'headtail' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
