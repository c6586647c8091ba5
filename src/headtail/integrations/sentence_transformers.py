"""RankingLoss: any of LOSSES for sentence-transformers' `CrossEncoderTrainer` (pip install 'headtail[trainer]')."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from headtail.errors import ConfigError, HeadtailError, ModelError, shorten
from headtail.integrations.citations import PAPERS_OF, bibtex
from headtail.losses import check_loss, options_of, takes_teacher

PER_DOC = ("teacher", "ties", "initial")    # options [B, L]: another tensor for each batch, so never one for a whole training


class RankingLoss(nn.Module):
    """One of our losses on the raw logits of a cross-encoder, called as sentence-transformers' own listwise losses are.

        model = CrossEncoder("microsoft/MiniLM-L12-H384-uncased", num_labels=1)
        loss = RankingLoss(model, "hybrid", alpha=0.5, top_k=5)
        CrossEncoderTrainer(model=model, train_dataset=dataset, loss=loss).train()

    The dataset has the columns query, docs (a list of texts) and labels (a list of numbers, higher is better), in that
    order whatever the first two are called; lists may differ in length. A loss that learns from a teacher (margin_mse)
    takes a third column before the labels: a list of the teacher's scores. The labels cannot stand in for them, as they
    say which pairs count, and labels below 0 count as 0. For `head_by="initial"` docs stand in the first stage's order.

    Two differences from the losses it stands beside: a list with nothing to compare (nothing relevant; a single doc, but
    for losses that look at docs one by one; no doc) has no say in the mean, and no loss has a cost for padding.

    Args:
        model: a CrossEncoder with one output; its activation function is left out, as in all of its listwise losses.
        loss: a name of LOSSES.
        mini_batch_size: pairs in one forward pass: less padding among short pairs, fewer tokens at a time. The graphs of
            all passes are kept until the backward pass, so that the gradient is the same. None is one pass.
        options: of the loss, as in its signature.

    Raises:
        ConfigError: an unknown loss or option, with the nearest name; a value the loss cannot work with.
        ModelError: not a CrossEncoder, or one with several outputs.
    """

    def __init__(self, model: CrossEncoder, loss: str = "hybrid", *, mini_batch_size: int | None = None, **options: Any) -> None:
        super().__init__()
        _check_per_doc(loss, options)
        self.loss_fn = check_loss(loss, options)
        if mini_batch_size is not None and mini_batch_size < 1:
            raise ConfigError(f"expected mini_batch_size >= 1, or None for one pass, found {mini_batch_size}")
        if not isinstance(model, CrossEncoder):
            found = type(model).__name__
            raise ModelError(f"expected a CrossEncoder, found a {found}; open a saved ranker by CrossEncoder(folder)")
        if model.num_labels != 1:
            raise ModelError(f"expected a CrossEncoder with one output, found {model.num_labels}; make it with num_labels=1")
        self.model = model
        self.loss = loss
        self.takes_teacher = takes_teacher(loss)
        self.options = options
        self.mini_batch_size = mini_batch_size

    def forward(
        self,
        inputs: Sequence[Sequence[Any]],
        labels: Sequence[Any] | Tensor | None,
        prompt: str | None = None,
        task: str | None = None,
    ) -> Tensor:
        """The loss of a batch of lists.

        Args:
            inputs: queries [B] and docs, a list of texts for each; for a loss with a teacher, its scores too.
            labels: a list or tensor of numbers for each query, one for each doc.
            prompt, task: passed on to `model.preprocess`.

        Returns:
            Scalar, averaged as the loss says; a differentiable 0 for a batch without docs.

        Raises:
            HeadtailError: columns, docs, labels or scores of another shape, with the query; a number that is NaN or infinite.
        """
        lists = self._lists(inputs, labels)
        pairs = [(query, doc) for query, docs in zip(lists.queries, lists.docs, strict=True) for doc in docs]
        if not pairs:
            return torch.zeros((), device=self.model.device, requires_grad=True)
        logits = self._logits(pairs, prompt, task)                                               # [N]
        sizes = [len(docs) for docs in lists.docs]
        places = torch.arange(max(sizes), device=logits.device)                                  # [L]
        mask = places < torch.tensor(sizes, device=logits.device)[:, None]                       # [B, L]
        per_doc = {name: _laid_out(torch.cat(rows).to(logits.device), mask) for name, rows in lists.numbers.items()}
        return self.loss_fn(_laid_out(logits, mask), per_doc.pop("labels"), mask, **self.options, **per_doc)

    def _logits(self, pairs: list[tuple[Any, Any]], prompt: str | None, task: str | None) -> Tensor:
        """Raw logits [N] of the pairs, in one graph."""
        size = self.mini_batch_size or len(pairs)
        logits = []
        for start in range(0, len(pairs), size):
            tokens = self.model.preprocess(pairs[start : start + size], prompt=prompt, task=task)
            logits.append(self.model(batch_to_device(tokens, self.model.device))["scores"].view(-1))
        return torch.cat(logits)

    def _lists(self, inputs: Sequence[Sequence[Any]], labels: Sequence[Any] | Tensor | None) -> _Lists:
        columns = ["query", "docs", *(["teacher"] if self.takes_teacher else [])]
        expected = f"loss {self.loss!r}: expected the columns {', '.join(columns)} and labels"
        if labels is None:
            raise HeadtailError(f"{expected}, found no labels; call that column label, labels, score or scores")
        if len(inputs) != len(columns):
            found = f"{len(inputs)} columns besides the labels"
            raise HeadtailError(f"{expected}, found {found}; dataset.select_columns leaves some out")
        if len({len(column) for column in (*inputs, labels)}) != 1:
            raise HeadtailError(f"{expected}, of equal length, found {[len(column) for column in (*inputs, labels)]}")
        queries, docs = inputs[0], inputs[1]
        for query, row in zip(queries, docs, strict=True):
            if isinstance(row, (str, dict)) or not isinstance(row, Collection):
                raise HeadtailError(f"query {_shown(query)}: expected a list of docs, found {_shown(row)}")
        numbers = {"labels": labels, **({"teacher": inputs[2]} if len(columns) == 3 else {})}
        return _Lists(
            queries,
            docs,
            {
                name: [_numbers(name, *row) for row in zip(queries, docs, column, strict=True)]
                for name, column in numbers.items()
            },
        )

    def get_config_dict(self) -> dict[str, Any]:
        """The loss, its options with their defaults and `mini_batch_size`: what the model card tells."""
        options = {name: value for name, value in options_of(self.loss).items() if name not in PER_DOC}
        own = {name: value for name, value in self.options.items() if name not in PER_DOC}
        return {"loss": self.loss, **options, **own, "mini_batch_size": self.mini_batch_size}

    @property
    def citation(self) -> str:
        """BibTeX of the papers behind the loss: what the model card cites."""
        return "\n".join(bibtex(paper) for paper in PAPERS_OF[self.loss])


class _Lists(NamedTuple):
    queries: Sequence[Any]
    docs: Sequence[Any]
    numbers: dict[str, list[Tensor]]    # labels, and the teacher's scores for a loss that learns from them


def _laid_out(values: Tensor, mask: Tensor) -> Tensor:
    """One number a doc [N] -> [B, L], 0 on padding."""
    return values.new_zeros(mask.shape).masked_scatter(mask, values)


def _numbers(name: str, query: Any, docs: Any, row: Any) -> Tensor:
    """One number for each doc of a list [docs]."""
    what = "labels" if name == "labels" else "teacher's scores"
    try:
        values = torch.as_tensor(row, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise HeadtailError(f"query {_shown(query)}: expected a list of {what}, found {_shown(row)}") from error
    if values.shape == (len(docs),):
        return values
    if values.dim() != 1:
        raise HeadtailError(f"query {_shown(query)}: expected a list of {what}, found {_shown(row)}")
    raise HeadtailError(f"query {_shown(query)}: expected as many {what} as docs, found {len(values)} for {len(docs)} docs")


def _shown(value: Any) -> str:
    return shorten(value) if isinstance(value, str) else f"{value!r:.80}"


def _check_per_doc(name: str, options: dict[str, Any]) -> None:
    """Raise ConfigError for an option that would have to change with the batch."""
    for option in PER_DOC:
        if options.get(option) is not None:
            way_out = {
                "teacher": "give the dataset a column of its scores, before the labels",
                "ties": "leave it out: docs of one label are drawn in an order of their own at each step",
                "initial": "leave it out: the order of the docs in the dataset is the first stage's",
            }[option]
            raise ConfigError(f"loss {name!r}: option {option!r} differs from batch to batch; {way_out}")
