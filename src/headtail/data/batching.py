"""Pairs of texts -> token ids -> length-sorted batches that hold a budget of tokens, not of pairs.

Short pairs travel in large batches and long ones in small, so that little padding is computed: on pairs of mixed
length this is most of the difference between a scorer that keeps the processor busy and one that multiplies zeros.
How finely they are split weighs padding against what each batch costs in itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH_COST = 16     # a batch more costs about what token_budget / 16 tokens do: by trial on 2 CPU cores, see docs/results.md
LONGEST_WORD = 12    # characters that a token hardly ever exceeds: texts far past max_length are cut before tokenizing


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Token ids of N pairs, padded to the longest.

    `rows` tells where each pair stood before sorting; `inputs` holds `input_ids` and `attention_mask` [N, T] and, for
    encoders that know two segments, `token_type_ids` [N, T].
    """

    rows: tuple[int, ...]
    inputs: Mapping[str, Tensor]


def tokenize_pairs(
    tokenizer: PreTrainedTokenizerBase, queries: Sequence[str], docs: Sequence[str], *, max_length: int
) -> dict[str, list[list[int]]]:
    """Token ids of each pair, unpadded: feature name -> N lists.

    The longer text of a pair is cut first, so a long doc never pushes the query out, nor a long query the doc. The
    texts are cut to what `max_length` tokens are likely to hold before they are tokenized, so that a doc of 200,000
    words costs little more than one of max_length tokens; where the cut left tokens to spare (long words, many blanks)
    the pair is tokenized in full.
    """
    reach = max_length * LONGEST_WORD + 1000
    known = set(tokenizer.model_input_names)

    def encoded(queries: Sequence[str], docs: Sequence[str]) -> dict[str, list[list[int]]]:
        options: dict[str, Any] = {"truncation": "longest_first", "max_length": max_length, "padding": False}
        made = tokenizer(list(queries), list(docs), **options)
        return {name: values for name, values in dict(made).items() if name in known}

    features = encoded([query[:reach] for query in queries], [doc[:reach] for doc in docs])
    for row, (query, doc) in enumerate(zip(queries, docs, strict=True)):
        if max(len(query), len(doc)) > reach and len(features["input_ids"][row]) < max_length:
            for name, values in encoded([query], [doc]).items():
                features[name][row] = values[0]
    return features


def length_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Split rows, sorted by length, into the batches that compute the least; a row over budget goes alone.

    A batch computes rows x longest tokens, at most the budget, and costs token_budget / BATCH_COST more tokens for being one.
    The split of least cost is found exactly, by dynamic programming over the sorted rows. Longest first, so that a batch too
    large for the memory fails at once and not after an hour.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    longest = np.array([lengths[row] for row in order], dtype=np.int64)
    least = np.zeros(len(order) + 1, dtype=np.int64)       # least[end]: cost of the rows before `end`
    starts = np.zeros(len(order) + 1, dtype=np.int64)      # where the batch that ends there starts
    first = 0                                              # the earliest start whose batch still fits
    for end in range(1, len(order) + 1):
        while first < end - 1 and longest[first] * (end - first) > token_budget:
            first += 1
        costs = least[first:end] + longest[first:end] * np.arange(end - first, 0, -1)
        starts[end] = first + int(costs.argmin())
        least[end] = costs.min() + token_budget // BATCH_COST
    batches: list[list[int]] = []
    end = len(order)
    while end:
        batches.insert(0, order[starts[end] : end])
        end = int(starts[end])
    return batches


def pad_rows(tokenizer: PreTrainedTokenizerBase, features: Mapping[str, list[list[int]]], rows: Sequence[int]) -> PairBatch:
    """Pad the given rows to their longest, on the side the tokenizer pads."""
    fill: dict[str, Any] = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": 0}
    width = max(len(features["input_ids"][row]) for row in rows)
    left = tokenizer.padding_side == "left"

    def padded(name: str, row: int) -> list[int]:
        values, gap = features[name][row], [fill[name]] * (width - len(features[name][row]))
        return gap + values if left else values + gap

    inputs = {name: torch.tensor([padded(name, row) for row in rows]) for name in features}    # [N, T]
    return PairBatch(tuple(rows), inputs)


def pair_batches(
    tokenizer: PreTrainedTokenizerBase,
    queries: Sequence[str],
    docs: Sequence[str],
    *,
    max_length: int,
    token_budget: int,
) -> list[PairBatch]:
    """Tokenize N pairs and lay them out in length-sorted batches of `token_budget` tokens, padding included."""
    features = tokenize_pairs(tokenizer, queries, docs, max_length=max_length)
    lengths = [len(ids) for ids in features["input_ids"]]
    return [pad_rows(tokenizer, features, rows) for rows in length_batches(lengths, token_budget)]
