"""The whole way in a few lines of Python: retrieve, train, rerank, evaluate; then rank any texts.

    python examples/five_lines.py --steps 20
"""

from __future__ import annotations

import argparse
from pathlib import Path

import headtail
from headtail.pipeline.demo import demo_config
from headtail.report.tables import print_table


def main(encoder: str, steps: int, runs_folder: str) -> None:
    folder, _ = headtail.train(demo_config(encoder, {"steps": steps}, runs_folder))
    bm25 = headtail.retrieve("pydocs", "dev", k=20)
    ours = headtail.rerank(str(folder / "model"), "pydocs", "dev", bm25, name="ours", missing="skip")
    _, table = headtail.evaluate([bm25, ours], headtail.judgments("pydocs", "dev"), ["RR@10", "nDCG@5"])
    print_table(table)

    ranker = headtail.Ranker.from_pretrained(folder / "model")
    docs = ["Return the sum of a sequence of numbers.", "Remove a file.", "Open a file and return a stream."]
    for place in ranker.rank("how to delete a file", docs):
        print(f"{place.score:7.3f}  {place.text}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="minilm", help="minilm, a hub name or a folder")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--runs-folder", default=str(Path("runs") / "example"))
    given = parser.parse_args()
    main(given.encoder, given.steps, given.runs_folder)
