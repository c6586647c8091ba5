"""python benchmarks/collection.py [--docs 2000000]: what it costs to build, open and read a large collection.

Docs of about 56 words (the mean of MS MARCO passages) are made up from a seeded word list. Opening and reading are
measured in a fresh process, so that nothing the build left in memory helps; the files are in the system's file cache,
as they are after a first pass. Prints one Markdown table and removes what it wrote.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from headtail.data.collection import Collection, build_collection
from headtail.records import Doc

READS = 20_000
LIMIT_US = 20.0    # a batch of 1,000 docs should cost less than a fiftieth of a second


def made_up_docs(count: int, seed: int = 1) -> Iterator[Doc]:
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(2000)]
    phrases = [" ".join(rng.choices(words, k=rng.randint(6, 8))) for _ in range(4000)]    # 8 phrases make 56 words
    for number in range(count):
        yield Doc(f"doc{number}", " ".join(rng.choices(phrases, k=8)))


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def peak_mib() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def measure_reading(folder: Path) -> None:
    """Run in a fresh process: print table rows about opening `folder` and reading docs at random."""
    before = resident_mib()
    start = time.perf_counter()
    collection = Collection(folder)
    opened = time.perf_counter() - start
    after = resident_mib()
    rng = random.Random(2)
    doc_ids = [f"doc{rng.randrange(len(collection))}" for _ in range(READS)]
    took = []
    for doc_id in doc_ids:
        start = time.perf_counter()
        collection[doc_id]
        took.append(1e6 * (time.perf_counter() - start))
    median = statistics.median(took)
    print(f"| open | {1000 * opened:.2f} ms |")
    print(f"| resident memory, growth by opening | {after - before:.1f} MiB |")
    grown = resident_mib() - after
    print(f"| resident memory, growth by {READS:,} reads (file pages, given back at need) | {grown:.1f} MiB |")
    print(f"| random read, median | {median:.1f} µs |")
    print(f"| random read, 99 % | {sorted(took)[int(0.99 * READS)]:.1f} µs |")
    if median > LIMIT_US:
        raise SystemExit(f"a random read takes {median:.1f} µs, more than {LIMIT_US} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=int, default=2_000_000)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        return measure_reading(args.read)
    with tempfile.TemporaryDirectory(prefix="headtail-benchmark-") as root:
        folder = Path(root) / "collection"
        start = time.perf_counter()
        for _ in made_up_docs(args.docs):
            pass
        making = time.perf_counter() - start
        before = resident_mib()
        start = time.perf_counter()
        build_collection(made_up_docs(args.docs), folder).close()
        building = time.perf_counter() - start - making
        size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
        print("| what | figure |\n|---|---|")
        print(f"| docs | {args.docs:,} |\n| files | {size:,.0f} MiB |")
        print(f"| build, without making up the docs ({making:.0f} s) | {building:.0f} s |")
        print(f"| peak memory, growth by building | {peak_mib() - before:.0f} MiB |", flush=True)
        subprocess.run([sys.executable, __file__, "--read", str(folder)], check=True)


if __name__ == "__main__":
    main()
