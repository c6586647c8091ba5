"""A data set small enough to read, and a T5 small enough to train: what the tests of the command line work on."""

from __future__ import annotations

import json
from pathlib import Path

DOCS = {
    "apple": "a red apple grows on a tree",
    "bread": "bread is baked from flour and water",
    "cat": "the cat sleeps on the warm stove",
    "dog": "the dog runs after the cat",
    "egg": "an egg is boiled in water for four minutes",
    "fish": "a fish swims in cold water",
    "goat": "the goat eats grass, leaves and flour",
    "hat": "a hat keeps the head warm",
    "ice": "ice is cold and hard water",
    "jam": "jam is made from apple and sugar on the stove",
}
QUERIES = {"q1": "who sleeps on the stove", "q2": "what is cold water", "q3": "what is baked from flour"}
QRELS = {"q1": {"cat": 1, "dog": 0}, "q2": {"ice": 2, "fish": 1}, "q3": {"bread": 1}}


def write_world(folder: Path) -> Path:
    """A folder data set with the splits train, dev and test, all alike."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "collection.tsv").write_text("".join(f"{doc_id}\t{text}\n" for doc_id, text in DOCS.items()))
    for split in ("train", "dev", "test"):
        (folder / f"queries.{split}.tsv").write_text("".join(f"{query_id}\t{text}\n" for query_id, text in QUERIES.items()))
        lines = [f"{query_id}\t0\t{doc_id}\t{label}\n" for query_id, labels in QRELS.items() for doc_id, label in labels.items()]
        (folder / f"qrels.{split}.tsv").write_text("".join(lines))
    return folder


def write_t5(folder: Path) -> Path:
    """A T5 encoder of two layers with random weights, and a tokenizer that knows the world's words."""
    import sentencepiece
    import torch
    from transformers import T5Config, T5EncoderModel

    folder.mkdir(parents=True, exist_ok=True)
    lines = [*DOCS.values(), *QUERIES.values(), "Query: Document:"] * 5
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(folder / "spiece"), vocab_size=110, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", minloglevel=2,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))
    torch.manual_seed(0)
    config = T5Config(vocab_size=256, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0)
    T5EncoderModel(config).save_pretrained(folder)
    return folder


def write_config(path: Path, world: Path, encoder: Path) -> Path:
    """A config that trains four steps in about a second; its run is runs/tiny beside it."""
    path.write_text(f"""
name = "tiny"
runs_folder = "{path.parent / 'runs'}"

[[train]]
name = "{world}"

[validation]
queries = 3
depth = 5
every = 2

[ranker]
encoder = "{encoder}"
max_length = 32

[lists]
size = 4
depth = [1, 10]

[training]
steps = 4
lists_per_step = 2
warmup_steps = 1
log_every = 1
""")
    return path


def run_cli(*arguments: object) -> int:
    """Exit status of `headtail ARGUMENTS`."""
    from headtail import cli

    before = cli.sys.argv
    cli.sys.argv = ["headtail", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as error:
        return error.code or 0
    finally:
        cli.sys.argv = before
    return 0
