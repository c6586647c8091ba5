"""Tokens trained per second against sentence-transformers' CrossEncoderTrainer: same weights, same lists, the same kind of loss.

    python benchmarks/training.py --data ../shared/data/msmarco_dev600

Lists of 8 docs, 8 lists a step, ListNet on both sides, AdamW at 1e-4. What is counted are real tokens, padding left out.
The trainer runs at its best of several mini-batch sizes, chosen before in a short trial. Rounds are interleaved: each side
trains `--steps` further steps a round, on the same lists; figures are medians over the rounds, ratios the median of each
round's ratio. Each side's dev measure after all its steps stands beside it. Then: what the diagnostics and a save cost, and
which share of the machine's matrix rate the training step reaches (model FLOPs: 6 x matrix weights x real tokens).
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
import transformers
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import ListNetLoss
from torch.utils.data import SequentialSampler

from headtail.data.datasets import load_dataset
from headtail.data.lists import TrainingLists
from headtail.data.mixing import MixedLists
from headtail.evaluation.evaluate import evaluate
from headtail.losses import LOSSES, parts_of
from headtail.models.off_the_shelf import resolve_name
from headtail.models.ranker import Ranker
from headtail.pipeline.search import search
from headtail.records import RankedList, Run, ScoredDoc
from headtail.training import loop as module
from headtail.training.checkpoint import Checkpoints
from headtail.training.ledger import Ledger
from headtail.training.loop import Hooks, Plan, Training
from scoring import matrix_rate, matrix_weights, t5_small

LISTS, DOCS, RATE, MAX_LENGTH = 8, 8, 1e-4, 256
MINI_BATCHES = (8, 16, 32, 64)
DEPTH = 30
T5_OF_MINILM = {"d_model": 384, "d_kv": 32, "d_ff": 1536, "num_layers": 6, "num_heads": 12, "vocab_size": 30522}


class Data:
    """Real lists for training, and a dev split to re-rank."""

    def __init__(self, folder: Path, queries: int) -> None:
        self.dataset = load_dataset(folder)
        train = {q: query for q, query in self.dataset.queries("train").items() if q in self.dataset.qrels("train")}
        run = search(self.dataset, train, k=DEPTH)
        lists = TrainingLists(train, self.dataset.qrels("train"), run, self.dataset.collection, size=DOCS, depth=(1, DEPTH))
        self.lists = MixedLists([(lists, 1)])
        dev = list(self.dataset.queries("dev").items())[:queries]
        self.dev = dict(dev)
        self.run = search(self.dataset, self.dev, k=DEPTH)

    def take(self, start: int, count: int) -> list[RankedList]:
        return list(itertools.islice(self.lists.stream(start), count))

    def ndcg(self, score: Callable[[list[tuple[str, str]]], Any]) -> float:
        """nDCG@10 of the dev run re-ranked."""
        wanted = [(q, doc.doc_id) for q, docs in self.run.items() for doc in docs]
        scores = score([(self.dev[q].text, self.dataset.collection[doc_id]) for q, doc_id in wanted])
        ranked: dict[str, list[ScoredDoc]] = {}
        for (q, doc_id), value in zip(wanted, scores, strict=True):
            ranked.setdefault(q, []).append(ScoredDoc(doc_id, float(value)))
        qrels = {q: labels for q, labels in self.dataset.qrels("dev").items() if q in self.dev}
        return evaluate(Run(ranked), qrels, ("nDCG@10",)).means()["nDCG@10"]


class Ours:
    """A run of headtail that is given a few more steps at a time; as it is by default, ledger and diagnostics included."""

    def __init__(self, encoder: str, data: Data, dtype: torch.dtype, steps: int, work: Path, **plan: Any) -> None:
        self.ranker, self.data = Ranker.from_encoder(encoder, max_length=MAX_LENGTH, dropout=0.0), data
        self.run = Training(
            self.ranker, data.lists.stream, LOSSES["listnet"],
            Plan(steps=steps, lists_per_step=LISTS, schedule="constant", dtype=dtype, **plan),
            optimizer={"embedding_lr": RATE, "encoder_lr": RATE, "head_lr": RATE, "beta2": 0.999, "weight_decay": 0.0},
            hooks=Hooks(loss_parts=parts_of("listnet")), ledger=Ledger(work / "ledger.jsonl"), checkpoints=Checkpoints(work),
        )

    def train(self, start: int, steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            self.run.step()
            self.run.log()
        return time.perf_counter() - started

    def ndcg(self) -> float:
        return self.data.ndcg(lambda pairs: self.ranker.score(pairs, precision="fp32"))


class InOrder(CrossEncoderTrainer):
    """The trainer on the lists as they stand: in another order the dev measure of a few dozen steps moves by some hundredths."""

    def get_batch_sampler(self, dataset: Dataset, batch_size: int, drop_last: bool, *more: Any, **options: Any) -> Any:
        return DefaultBatchSampler(SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)


class Theirs:
    """The trainer, begun anew for each round with the same model and optimizer."""

    def __init__(self, encoder: str, data: Data, dtype: torch.dtype, work: Path, mini_batch: int, saved: Path | None) -> None:
        self.model = CrossEncoder(str(saved or encoder), num_labels=1, max_length=MAX_LENGTH)
        self.data, self.bf16, self.work, self.mini_batch = data, dtype == torch.bfloat16, work, mini_batch
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, weight_decay=0.0, fused=True)    # the trainer's own

    def train(self, start: int, steps: int) -> float:
        lists = self.data.take(start * LISTS, steps * LISTS)
        rows = Dataset.from_dict({
            "query": [one.query.text for one in lists],
            "docs": [[doc.text for doc in one.docs] for one in lists],
            "labels": [list(one.labels) for one in lists],
        })
        arguments = CrossEncoderTrainingArguments(
            output_dir=str(self.work / "trainer"), max_steps=steps, per_device_train_batch_size=LISTS, learning_rate=RATE,
            lr_scheduler_type="constant", report_to="none", save_strategy="no", logging_strategy="no",
            use_cpu=not torch.cuda.is_available(), bf16=self.bf16, weight_decay=0.0, disable_tqdm=True, dataloader_pin_memory=False,
        )
        loss = ListNetLoss(self.model, mini_batch_size=self.mini_batch)
        trainer = InOrder(
            model=self.model, args=arguments, train_dataset=rows, loss=loss, optimizers=(self.optimizer, None)
        )
        started = time.perf_counter()
        trainer.train()
        return time.perf_counter() - started

    def ndcg(self) -> float:
        return self.data.ndcg(lambda pairs: self.model.predict(pairs, show_progress_bar=False))


def tokens_of(ranker: Ranker, lists: list[RankedList]) -> int:
    pairs = [(one.query.text, doc.text) for one in lists for doc in one.docs]
    made = ranker.tokenizer([q for q, _ in pairs], [d for _, d in pairs], truncation="longest_first", max_length=MAX_LENGTH)
    return sum(map(len, made["input_ids"]))


def best_mini_batch(make: Callable[[int], Theirs]) -> int:
    """The trainer's fastest mini-batch size, each tried for two steps after one to warm up."""
    seconds = {}
    for size in MINI_BATCHES:
        side = make(size)
        side.train(0, 1)
        seconds[size] = side.train(1, 2)
    return min(seconds, key=lambda size: seconds[size])


def compare(name: str, encoder: str, data: Data, given: argparse.Namespace, work: Path) -> None:
    saved = work / f"{name}-start"
    Ranker.from_encoder(encoder, max_length=MAX_LENGTH, dropout=0.0).save(saved)    # both sides start from this very ranker
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    total = given.rounds * given.steps
    sides: dict[str, Any] = {}
    for label, dtype in dtypes.items():
        size = best_mini_batch(lambda size, dtype=dtype: Theirs(encoder, data, dtype, work, size, saved))
        sides[f"trainer {label}, mini-batch {size}"] = Theirs(encoder, data, dtype, work, size, saved)
        sides[f"headtail {label}"] = Ours(encoder, data, dtype, total, work / f"{name}-{label}")
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    counter = next(side.ranker for side in sides.values() if isinstance(side, Ours))
    tokens = []
    for turn in range(given.rounds):
        tokens.append(tokens_of(counter, data.take(turn * given.steps * LISTS, given.steps * LISTS)))
        for side, run in sides.items():
            seconds[side].append(run.train(turn * given.steps, given.steps))
    for theirs, ours in _pairs(sides):
        for side in (theirs, ours):
            rate = statistics.median(t / s for t, s in zip(tokens, seconds[side], strict=True))
            ratio = statistics.median(b / s for b, s in zip(seconds[theirs], seconds[side], strict=True))
            print(f"| {name} | {side} | {rate:,.0f} | {ratio:.2f} | {sides[side].ndcg():.3f} |", flush=True)
    for label, dtype in dtypes.items():
        rate = statistics.median(t / s for t, s in zip(tokens, seconds[f"headtail {label}"], strict=True))
        print(f"<!-- {name}: {share(counter, rate, dtype)} -->", flush=True)


def _pairs(sides: dict[str, Any]) -> Iterator[tuple[str, str]]:
    names = list(sides)
    return zip(names[::2], names[1::2], strict=True)


def share(ranker: Ranker, tokens_per_second: float, dtype: torch.dtype) -> str:
    """Model FLOPs of a training step against the machine's matrix rate: 6 for each weight of a matrix and each real token."""
    rate, limit = 6 * matrix_weights(ranker) * tokens_per_second, matrix_rate(dtype)
    return f"{str(dtype)[6:]}: {rate / 1e9:.0f} of {limit / 1e9:.0f} GFLOP/s, {rate / limit:.0%} of the matrix rate"


def costs(name: str, encoder: str, data: Data, work: Path, rounds: int) -> None:
    """What log lines and a save take, as shares of a step."""
    side = Ours(encoder, data, torch.float32, 10_000, work / f"{name}-costs", log_every=1)
    side.train(0, 1)
    run, step, log, save = side.run, [], [], []
    figures, real = [], module.step_figures

    def timed(*arguments: Any) -> dict[str, float]:
        started = time.perf_counter()
        found = real(*arguments)
        figures.append(time.perf_counter() - started)
        return found

    module.step_figures = timed
    for _ in range(rounds):
        started = time.perf_counter()
        run.step()
        step.append(time.perf_counter() - started)
        started = time.perf_counter()
        run.log()
        log.append(time.perf_counter() - started)
        started = time.perf_counter()
        run.save()
        save.append(time.perf_counter() - started)
    module.step_figures = real
    seconds, each = statistics.median(step), statistics.median(figures)
    diagnostics = (each + statistics.median(log) / 10) / seconds
    a_save = statistics.median(save) / 200 / seconds
    print(
        f"<!-- {name}, fp32, a step of {seconds:.2f} s: diagnostics {diagnostics:.2%} of it (each step {each * 1e3:.1f} ms,"
        f" each line {statistics.median(log) * 1e3:.0f} ms, a line every 10 steps); a save {statistics.median(save):.2f} s,"
        f" {a_save:.2%} at one every 200 steps -->"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/msmarco_dev600"))
    parser.add_argument("--steps", type=int, default=8, help="of each side in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=60, help="of the dev split")
    parser.add_argument("--only", choices=("minilm", "t5"))
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    data = Data(given.data, given.queries)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; {given.rounds} rounds of {given.steps} steps\n")
    print("| encoder | side | real tokens/s | times the trainer | dev nDCG@10 after |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        texts = [text for one in data.take(0, 300) for text in (one.query.text, *(doc.text for doc in one.docs))]
        encoders = {"minilm": resolve_name("minilm"), "t5": str(t5_small(Path(work) / "t5", texts, **T5_OF_MINILM))}
        for name, encoder in encoders.items():
            if given.only in (None, name):
                compare(name, encoder, data, given, Path(work))
                costs(name, encoder, data, Path(work), 5)


if __name__ == "__main__":
    main()
