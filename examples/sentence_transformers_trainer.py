"""The hybrid loss in sentence-transformers' own trainer: lists of different length, one model, no headtail folder.

    pip install 'headtail[trainer]'
    python examples/sentence_transformers_trainer.py --encoder sentence-transformers/all-MiniLM-L6-v2
"""

from __future__ import annotations

import argparse
import tempfile

from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments

from headtail.integrations.sentence_transformers import RankingLoss
from headtail.models.off_the_shelf import resolve_name

LISTS = {
    "query": ["how to delete a file", "sum of some numbers", "the time in another city"],
    "docs": [
        ["Open a file and return a stream.", "Remove (delete) the file path.", "Rename the file or directory src to dst."],
        ["Return the smallest item.", "Return the sum of an iterable of numbers."],
        ["Suspend execution for some seconds.", "A time zone by its key.", "Convert a time to a string.", "Split a path."],
    ],
    "labels": [[0, 1, 0], [0, 1], [0, 2, 1, 0]],
}


def main(encoder: str, steps: int) -> None:
    model = CrossEncoder(resolve_name(encoder), num_labels=1)
    loss = RankingLoss(model, "hybrid", alpha=0.5, top_k=5)
    with tempfile.TemporaryDirectory() as folder:
        arguments = CrossEncoderTrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=3, learning_rate=1e-4, report_to="none",
            save_strategy="no", logging_steps=5,
        )
        CrossEncoderTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(LISTS), loss=loss).train()
    for query, docs in zip(LISTS["query"], LISTS["docs"], strict=True):
        print(f"\n{query}")
        for place in model.rank(query, docs, return_documents=True):
            print(f"{place['score']:7.3f}  {place['text']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="minilm", help="minilm, a hub name or a folder")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    main(given.encoder, given.steps)
