"""Pairs of texts -> token ids -> length-sorted batches that hold a budget of tokens, not of pairs.

Short pairs travel in large batches and long ones in small, so that little padding is computed: on pairs of mixed
length this is most of the difference between a scorer that keeps the processor busy and one that multiplies zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    """Split rows into batches of rows x longest <= token_budget, longest first; a row over budget goes alone.

    Longest first, so that a batch too large for the memory fails at once and not after an hour.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(row)
        else:
            batches.append([row])
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
