"""python benchmarks/evaluation.py [--rounds 3]: evaluating a run of MS MARCO's size, against ir_measures and ranx.

The run has the shape of MS MARCO dev (6,980 queries, 1,000 docs each, 1.07 judgments a query) and is made up from a seed:
doc_ids of a collection of 8.8 million, the judged doc at a rank that falls off exponentially, found for 86 % of the
queries. Each tool is a fresh process, its start included, that reads both files and computes RR@10, nDCG@5, nDCG@10, AP and
R@1000; the files are in the system's file cache. Rounds are interleaved; ratios are medians over the rounds. The means must
agree to four digits, or nothing is printed. Reading alone is measured in processes that may use one core, by the reader
in columns and by the strict one that goes line by line.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from headtail.evaluation.comparison import Group, Panel, compare

QUERIES, DEPTH, COLLECTION = 6980, 1000, 8_841_823
MEASURES = ("RR@10", "nDCG@5", "nDCG@10", "AP", "R@1000")
RANX_NAMES = ("mrr@10", "ndcg@5", "ndcg@10", "map", "recall@1000")
RANX = f"""
import sys
from ranx import Qrels, Run, evaluate
found = evaluate(Qrels.from_file(sys.argv[1], kind="trec"), Run.from_file(sys.argv[2], kind="trec"), {list(RANX_NAMES)!r})
print(*found.values())
"""
READING = """
import sys, time
import numpy, pyarrow.csv
from headtail.data import runs
start = time.perf_counter()
getattr(runs, sys.argv[2])(sys.argv[1])
print(time.perf_counter() - start)
"""


def make_up(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Qrels and run files."""
    rng = np.random.default_rng(seed)
    qrels, run = folder / "qrels.txt", folder / "run.trec"
    with qrels.open("w") as judgments, run.open("w") as lines:
        for query in rng.choice(1_100_000, QUERIES, replace=False):
            docs = rng.choice(COLLECTION, DEPTH, replace=False)
            scores = np.sort(rng.gamma(8, 1.2, DEPTH))[::-1]
            ranked = enumerate(zip(docs, scores, strict=True), start=1)
            lines.writelines(f"{query} Q0 {doc} {rank} {score:.6f} bm25\n" for rank, (doc, score) in ranked)
            relevant = {docs[min(DEPTH - 1, int(rng.exponential(80)))] for _ in range(1 + (rng.random() < 0.065))}
            for doc in relevant if rng.random() < 0.86 else {int(rng.integers(COLLECTION))}:
                judgments.write(f"{query} 0 {doc} 1\n")
    return qrels, run


def commands(qrels: Path, run: Path) -> dict[str, list[str]]:
    beside = Path(sys.executable).parent
    return {
        "headtail": [
            str(beside / "headtail"), "evaluate", str(run), "--qrels", str(qrels), "--format", "csv", "--measures", *MEASURES,
        ],
        "ir_measures": [str(beside / "ir_measures"), str(qrels), str(run), *MEASURES, "-p", "6"],
        "ranx": [sys.executable, "-c", RANX, str(qrels), str(run)],
    }


def measured(command: list[str]) -> tuple[float, float, str]:
    """Seconds, peak memory in GB, and what it printed."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - start, used.ru_maxrss / 1e6, out


def means_of(tool: str, out: str) -> list[float]:
    if tool == "headtail":
        values = [field for field in out.splitlines()[1].split(",")[1:] if field]
    elif tool == "ir_measures":
        by_name = dict(line.split() for line in out.splitlines())
        values = [by_name[measure] for measure in MEASURES]
    else:
        values = out.split()
    return [round(float(value), 4) for value in values]


def comparing(seed: int = 0) -> float:
    """Seconds of tests and intervals, on values made up."""
    rng = np.random.default_rng(seed)
    values = {system: {measure: rng.beta(1, 3, (QUERIES, 1)) for measure in MEASURES} for system in "abc"}
    panel = Panel(values, np.zeros(QUERIES, int), [Group("all", {0: 1.0})])
    start = time.perf_counter()
    compare(panel)
    return time.perf_counter() - start


def one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headtail-benchmark-") as root:
        qrels, run = make_up(Path(root))
        tools = commands(qrels, run)
        took: dict[str, list[float]] = {tool: [] for tool in tools}
        memory: dict[str, float] = dict.fromkeys(tools, 0.0)
        reading: dict[str, list[float]] = {"read_run": [], "_strict": []}
        means = {}
        for _ in range(args.rounds):
            for tool, command in tools.items():
                seconds, peak, out = measured(command)
                took[tool].append(seconds)
                memory[tool] = max(memory[tool], peak)
                means[tool] = means_of(tool, out)
            for reader, seconds_of in reading.items():
                command = [sys.executable, "-c", READING, str(run), reader]
                read = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=one_core)
                seconds_of.append(float(read.stdout))
    if len({tuple(found) for found in means.values()}) > 1:
        raise SystemExit(f"the tools do not agree: {means}")
    print(f"means, the same from all: {dict(zip(MEASURES, means['headtail'], strict=True))}\n")
    print("| tool | seconds, median | times headtail's | peak memory |\n| --- | ---: | ---: | ---: |")
    for tool, seconds in took.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(seconds, took["headtail"], strict=True))
        print(f"| {tool} | {statistics.median(seconds):.1f} | {ratio:.1f} | {memory[tool]:.2f} GB |")
    for reader, seconds in reading.items():
        rate = QUERIES * DEPTH / statistics.median(seconds) / 1e6
        print(f"\n{reader} on one core: {statistics.median(seconds):.2f} s, {rate:.2f} million lines a second")
    print(f"\n3 systems, 5 measures, {QUERIES:,} queries that all differ, compared: {comparing():.1f} s")
    if memory["headtail"] > 2:
        raise SystemExit(f"headtail takes {memory['headtail']:.2f} GB, more than 2")


if __name__ == "__main__":
    main()
