"""Length-sorted batches: nothing lost, nothing over budget, nothing padded more than its batch needs."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.world import write_t5

from headtail.data.batching import BATCH_COST, LONGEST_WORD, length_batches, pair_batches, tokenize_pairs
from headtail.models.encoders import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(write_t5(tmp_path_factory.mktemp("encoder") / "tiny-t5"))


def test_batches_by_hand():
    assert length_batches([2, 5, 3, 5, 1], 10) == [[1, 3], [2], [0], [4]]    # a batch costs 10 // 16 = 0: no padding at all
    assert length_batches([20, 3, 20, 2, 3], 48) == [[0, 2], [1, 4, 3]]      # a batch costs 3, padding 2 to 3 costs 1
    assert length_batches([5, 5, 5], 10) == [[0], [1, 2]]
    assert length_batches([50, 2, 2], 10) == [[0], [1, 2]]    # over budget: alone
    assert length_batches([], 10) == []


def cost(lengths, batches, budget):
    return sum(max(lengths[row] for row in batch) * len(batch) + budget // BATCH_COST for batch in batches)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(40, 300))
def test_no_other_split_of_the_sorted_rows_costs_less(lengths, budget):
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    found = cost(lengths, length_batches(lengths, budget), budget)
    for cuts in itertools.product([False, True], repeat=len(rows) - 1):    # whether a batch starts at each row but the first
        edges = [0, *(row for row, cut in enumerate(cuts, 1) if cut), len(rows)]
        batches = [rows[start:end] for start, end in itertools.pairwise(edges)]
        if all(len(batch) * lengths[batch[0]] <= budget for batch in batches):
            assert found <= cost(lengths, batches, budget)


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 100))
def test_every_row_once_within_budget_longest_first(lengths, budget):
    batches = length_batches(lengths, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= budget
    in_order = [lengths[row] for batch in batches for row in batch]
    assert in_order == sorted(lengths, reverse=True)


def test_pairs_come_padded_to_their_batch_and_no_further(tokenizer):
    queries = ["water", "cold water", "the stove"]
    docs = ["ice", "a fish swims in cold water", "jam is made from apple and sugar on the stove"]
    features = tokenize_pairs(tokenizer, queries, docs, max_length=40)["input_ids"]
    seen = {}
    for batch in pair_batches(tokenizer, queries, docs, max_length=40, token_budget=40):
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        assert ids.shape == mask.shape == (len(batch.rows), max(len(features[row]) for row in batch.rows))
        for row, values, real in zip(batch.rows, ids, mask, strict=True):
            seen[row] = values[real.bool()].tolist()
            assert torch.all(values[~real.bool()] == tokenizer.pad_token_id)
    assert [seen[row] for row in range(3)] == features


def test_the_longer_text_of_a_pair_is_cut(tokenizer):
    whole = tokenizer("cold water", add_special_tokens=False)["input_ids"]
    for query, doc in (("cold water", "bread " * 200), ("bread " * 200, "cold water")):
        ids = tokenize_pairs(tokenizer, [query], [doc], max_length=24)["input_ids"][0]
        assert len(ids) == 24
        assert any(ids[start : start + len(whole)] == whole for start in range(len(ids)))


def test_where_the_cut_leaves_tokens_to_spare_the_whole_text_counts(tokenizer):
    doc = "bread" + " " * 4000 + "cold water"
    whole = tokenizer("cat", doc)["input_ids"]
    assert tokenize_pairs(tokenizer, ["cat", "cat"], ["ice", doc], max_length=30)["input_ids"][1] == whole


def test_a_text_of_200_000_words_gives_the_ids_of_its_beginning(tokenizer):
    words = "the cat sleeps on the warm stove " * 30_000
    cut = words[: 64 * LONGEST_WORD]
    assert tokenize_pairs(tokenizer, ["cat"], [words], max_length=64) == tokenize_pairs(tokenizer, ["cat"], [cut], max_length=64)
