"""Tokens trained per second on one GPU: T5-large, T5-3B and a T5Gemma of 2B, with random weights, at batches that fill it.

    python benchmarks/gpu.py                 # all three
    python benchmarks/gpu.py --only t5-large

Steps of 32 lists of 36 real docs (Python's documentation), ListNet, AdamW, fp32 weights and a bf16 body, as `headtail train` runs
them on a GPU. Each size of batch, twice the one before until the memory is full, is tried with the graphs of all batches kept
and with one at a time (`gradient_cache`). A row: real tokens per second, padding left out; the share of the bf16 matrix rate that
they need (model FLOPs: 6 x matrix weights x real tokens, so what the cache computes again does not count), against a product of
two large matrices measured in the same run; the peak of memory. Medians over the steps, the first two left out.
"tiny" is for trying this script without a GPU.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

import torch
import transformers

from headtail.data.datasets import load_dataset
from headtail.losses import LOSSES
from headtail.models.encoders import write_template
from headtail.models.precision import default_device
from headtail.models.ranker import TEMPLATE, Ranker
from headtail.records import RankedList
from headtail.training.loop import Plan, Training
from scoring import matrix_rate, matrix_weights, t5_tokenizer

DOCS, MAX_LENGTH = 36, 256
T5 = {"vocab_size": 32128, "d_kv": 64, "decoder_start_token_id": 0}
SIZES: dict[str, dict[str, Any]] = {
    "t5-large": {**T5, "d_model": 1024, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
    "t5-3b": {**T5, "d_model": 1024, "d_ff": 16384, "num_layers": 24, "num_heads": 32, "d_kv": 128},
    "t5gemma-2b": {
        "vocab_size": 256_000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
    },
    "tiny": {**T5, "d_model": 64, "d_ff": 128, "num_layers": 2, "num_heads": 4, "d_kv": 16},
}


def lists_of(count: int) -> list[RankedList]:
    """Real queries, each with the next 36 docs of the collection, the first of them relevant: what counts here is their length."""
    dataset = load_dataset("pydocs")
    docs = list(islice(dataset.collection.docs(), 4000))
    queries = list(dataset.queries("train").values())[:count]
    labels = (1.0,) + (0.0,) * (DOCS - 1)
    starts = islice(cycle(range(0, len(docs) - DOCS, DOCS)), len(queries))
    return [RankedList(query, tuple(docs[start : start + DOCS]), labels) for query, start in zip(queries, starts, strict=True)]


def tokenizer_of(folder: Path, texts: list[str]) -> Any:
    """Of up to 16,000 pieces, learned from the texts, with the ranker's template."""
    t5_tokenizer(folder, texts, pieces=16_000)
    tokenizer = transformers.T5Tokenizer.from_pretrained(folder)
    write_template(tokenizer, *TEMPLATE, gemma=False)
    return tokenizer


def ranker_of(name: str, tokenizer: Any) -> Ranker:
    torch.manual_seed(0)
    with torch.device(default_device()):
        if name.startswith("t5gemma"):
            sizes = {**SIZES[name], "max_position_embeddings": 8192}
            config = transformers.T5GemmaConfig(encoder=sizes, decoder=sizes, is_encoder_decoder=False)
            encoder: Any = transformers.T5GemmaEncoderModel(config)
        else:
            encoder = transformers.T5EncoderModel(transformers.T5Config(**SIZES[name]))
        return Ranker(encoder, tokenizer, dropout=0.1, max_length=MAX_LENGTH)


def rows(name: str, tokenizer: Any, lists: list[RankedList], given: argparse.Namespace) -> Iterator[str]:
    """A line of the table for each way and each size of batch that fits."""
    limit = matrix_rate(torch.bfloat16)
    for cached in (False, True):
        budget = given.least
        while True:
            try:
                tokens_per_second, memory, weights = measure(name, tokenizer, lists, given, budget, cached)
            except torch.OutOfMemoryError:
                yield f"| {name} | {'one' if cached else 'all'} | {budget:,} | out of memory | | |"
                break
            finally:
                release()
            share = 6 * weights * tokens_per_second / limit
            yield (
                f"| {name} | {'one' if cached else 'all'} | {budget:,} | {tokens_per_second:,.0f} |"
                f" {share:.0%} of {limit / 1e12:.0f} TFLOP/s | {memory / 2**30:.1f} GiB |"
            )
            budget *= 2
            if budget > given.most:
                break


def measure(
    name: str, tokenizer: Any, lists: list[RankedList], given: argparse.Namespace, budget: int, cached: bool
) -> tuple[float, int, int]:
    """Real tokens per second, peak of memory in bytes, weights of matrices."""
    ranker = ranker_of(name, tokenizer)
    plan = Plan(
        steps=10_000, lists_per_step=given.lists, token_budget=budget, gradient_cache=cached, dtype=torch.bfloat16,
        schedule="constant",
    )
    run = Training(ranker, lambda start: islice(cycle(lists), start, None), LOSSES["listnet"], plan)
    rates = []
    for step in range(given.steps + 2):
        started = time.perf_counter()
        run.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        if step >= 2:
            rates.append(run.progress.window[-1]["tokens"] / seconds)
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return statistics.median(rates), memory, matrix_weights(ranker)


def release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SIZES)
    parser.add_argument("--lists", type=int, default=32, help="of a step, each of 36 docs")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--least", type=int, default=16_384, help="tokens of the smallest batch tried")
    parser.add_argument("--most", type=int, default=131_072, help="and of the largest")
    given = parser.parse_args()
    if not torch.cuda.is_available() and given.only != "tiny":
        raise SystemExit("benchmarks/gpu.py needs a GPU; `--only tiny` tries the script without one")
    transformers.utils.logging.disable_progress_bar()
    lists = lists_of(8 * given.lists)
    print(f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'}, torch {torch.__version__}\n")
    print("| encoder | graphs kept | tokens of a batch | real tokens/s | share of the matrix rate | peak memory |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        tokenizer = tokenizer_of(Path(work), [text for one in lists for text in (one.query.text, *(doc.text for doc in one.docs))])
        for name in [given.only] if given.only else [name for name in SIZES if name != "tiny"]:
            for row in rows(name, tokenizer, lists, given):
                print(row, flush=True)


if __name__ == "__main__":
    main()
