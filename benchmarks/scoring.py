"""Pairs per second of `Ranker.score` against sentence-transformers' `CrossEncoder.predict` on the same weights.

    python benchmarks/scoring.py --data ../shared/data/trec_dl20

1,000 real pairs: the first docs of the published BM25 run for each query of TREC DL 2020. Rounds are interleaved, so
that both sides see the same machine; figures are medians over the rounds, ratios the median of each round's ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder

from headtail.data.datasets import load_dataset
from headtail.data.runs import read_run
from headtail.models.off_the_shelf import resolve_name
from headtail.models.precision import body_dtype, default_device
from headtail.models.ranker import Ranker

T5_SMALL = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "decoder_start_token_id": 0}


def real_pairs(folder: Path, count: int) -> list[tuple[str, str]]:
    dataset = load_dataset(folder)
    queries, run = dataset.queries("test"), read_run(folder / "extra" / "run.dl20.bm25.trec.gz")
    depth = -(-count // len(run))
    pairs = [
        (queries[query_id].text, dataset.collection[doc.doc_id]) for query_id, docs in run.items() for doc in docs[:depth]
    ]
    return pairs[:count]


def t5_tokenizer(folder: Path, texts: list[str], pieces: int = 8000) -> Path:
    """A T5 tokenizer of up to so many pieces, learned from the texts."""
    import json

    import sentencepiece

    folder.mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(folder / "spiece"), vocab_size=pieces, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", normalization_rule_name="nmt_nfkc", minloglevel=2,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))
    return folder


def t5_small(folder: Path, texts: list[str], **sizes: int) -> Path:
    """A T5 with random weights, of t5-small's size unless `sizes` differ; its tokenizer is learned from the texts."""
    t5_tokenizer(folder, texts)
    torch.manual_seed(0)
    transformers.T5EncoderModel(transformers.T5Config(**{"vocab_size": 8128, **T5_SMALL, **sizes})).save_pretrained(folder)
    return folder


def compare(name: str, ranker: Ranker, folder: Path, pairs: list[tuple[str, str]], rounds: int) -> list[str]:
    ranker.save(folder)
    theirs = CrossEncoder(str(folder), device=str(ranker.device))
    sides: dict[str, Callable[[], np.ndarray]] = {
        "sentence-transformers": lambda: theirs.predict(pairs, show_progress_bar=False),
        "headtail fp32": lambda: ranker.score(pairs, precision="fp32"),
        "headtail default": lambda: ranker.score(pairs),
    }
    scores = {side: run() for side, run in sides.items()}    # a warm-up, and what is compared
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            started = time.perf_counter()
            run()
            seconds[side].append(time.perf_counter() - started)
    base = seconds["sentence-transformers"]
    rows = []
    for side, own in seconds.items():
        ratio = statistics.median(b / s for b, s in zip(base, own, strict=True))
        gap = np.abs(scores[side] - scores["sentence-transformers"]).max()
        rate = len(pairs) / statistics.median(own)
        rows.append(f"| {name} | {side} | {rate:.0f} | {ratio:.2f} | {gap:.1e} |")
    return rows


def matrix_rate(dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large matrix product: the limit of the machine."""
    width = 8192 if torch.cuda.is_available() else 2048
    a = torch.randn(width, width).to(default_device(), dtype)
    best = min(_timed(lambda: a @ a) for _ in range(8))
    return 2 * width**3 / best


def matrix_weights(ranker: Ranker) -> int:
    """Weights of the encoder's matrices, the token embedding left out: each is multiplied once a token."""
    embeddings = {id(p) for p in ranker.encoder.get_input_embeddings().parameters()}
    return sum(p.numel() for p in ranker.encoder.parameters() if p.ndim == 2 and id(p) not in embeddings)


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def share_of_limit(ranker: Ranker, pairs: list[tuple[str, str]], precision: str) -> str:
    """Multiplications of the encoder's matrices alone, against the machine's matrix rate."""
    dtype = body_dtype(precision, ranker.device)
    tokens = sum(len(ids) for ids in ranker.tokenizer(
        [q for q, _ in pairs], [d for _, d in pairs], truncation="longest_first", max_length=ranker.max_length)["input_ids"])
    rate = 2 * matrix_weights(ranker) * tokens / _timed(lambda: ranker.score(pairs, precision=precision))
    limit = matrix_rate(dtype)
    name = str(dtype).removeprefix("torch.")
    return f"{name}: {rate / 1e9:.0f} of {limit / 1e9:.0f} GFLOP/s, {rate / limit:.0%} of the matrix rate"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/trec_dl20"))
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    pairs = real_pairs(given.data, given.pairs)
    print(f"{len(pairs)} pairs, {torch.get_num_threads()} threads, torch {torch.__version__}, {default_device()}\n")
    print("| encoder | scorer | pairs/s | times sentence-transformers | largest score difference |\n|---|---|---|---|---|")
    limits = []
    with tempfile.TemporaryDirectory() as work:
        encoders = {
            "MiniLM-L6": resolve_name("minilm"),
            "random T5-small": str(t5_small(Path(work) / "t5", [text for pair in pairs for text in pair])),
        }
        for name, encoder in encoders.items():
            ranker = Ranker.from_encoder(encoder, max_length=512).to(default_device()).eval()
            print("\n".join(compare(name, ranker, Path(work) / "saved", pairs, given.rounds)), flush=True)
            limits += [f"{name}, {share_of_limit(ranker, pairs, precision)}" for precision in ("fp32", "auto")]
    print("\n" + "\n".join(limits))


if __name__ == "__main__":
    main()
