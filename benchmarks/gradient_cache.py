"""Peak memory and time of a training step on one long list: one joint graph against gradient caching.

    python benchmarks/gradient_cache.py --data ../shared/data/homedepot

One real query with 36, 100, 300 and 1,000 real product titles, the hybrid loss, MiniLM weights, batches of 1,024 tokens.
Each figure comes from a process of its own, since a peak is never taken back. The share beside it is of the same process before
the step: what weights, libraries and texts take. Rounds are interleaved; medians over the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZES = (36, 100, 300, 1000)
SIDES = ("joint", "cached")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_step(data: Path, docs: int, side: str, token_budget: int) -> dict[str, float]:
    """In a process of its own: seconds of a step after a warm-up on two docs, and peak memory before and after."""
    import torch
    import transformers

    from headtail.data.datasets import load_dataset
    from headtail.losses import LOSSES
    from headtail.models.off_the_shelf import resolve_name
    from headtail.models.ranker import Ranker
    from headtail.records import Doc, RankedList
    from headtail.training.loop import Plan, train

    transformers.utils.logging.disable_progress_bar()
    dataset = load_dataset(data)
    query = next(iter(dataset.queries("test").values()))
    chosen = [Doc(doc_id, dataset.collection[doc_id]) for doc_id in itertools.islice(dataset.collection, docs)]
    ranker = Ranker.from_encoder(resolve_name("minilm"), max_length=128)
    plan = Plan(steps=1, lists_per_step=1, gradient_cache=side == "cached", token_budget=token_budget)

    def step(many: list[Doc]) -> float:
        ranked = RankedList(query, tuple(many), (1.0, *[0.0] * (len(many) - 1)))
        started = time.perf_counter()
        train(ranker, lambda start: itertools.repeat(ranked), LOSSES["hybrid"], plan)
        return time.perf_counter() - started

    step(chosen[:2])
    before = megabytes()
    return {"seconds": step(chosen), "before": before, "peak": megabytes(), "threads": torch.get_num_threads()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/homedepot"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--token-budget", type=int, default=1024)
    parser.add_argument("--one", nargs=2, metavar=("DOCS", "SIDE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one_step(given.data, int(given.one[0]), given.one[1], given.token_budget)))
        return
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    for _ in range(given.rounds):
        for docs, side in itertools.product(SIZES, SIDES):
            command = [sys.executable, __file__, "--data", str(given.data), "--token-budget", str(given.token_budget)]
            done = subprocess.run([*command, "--one", str(docs), side], capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{docs} docs, {side}: status {done.returncode}\n{done.stderr}")
            found.setdefault((docs, side), []).append(json.loads(done.stdout.splitlines()[-1]))
    print("| docs | graph | peak MiB | of it in the step | seconds | cached / joint seconds |\n|---|---|---|---|---|---|")
    for (docs, side), rows in found.items():
        peak, own, seconds = (
            statistics.median(value(row) for row in rows)
            for value in (lambda row: row["peak"], lambda row: row["peak"] - row["before"], lambda row: row["seconds"])
        )
        ratios = [c["seconds"] / j["seconds"] for c, j in zip(found[docs, "cached"], found[docs, "joint"], strict=True)]
        ratio = f"{statistics.median(ratios):.2f}" if side == "cached" else ""
        print(f"| {docs} | {side} | {peak:,.0f} | {own:,.0f} | {seconds:.2f} | {ratio} |")


if __name__ == "__main__":
    main()
