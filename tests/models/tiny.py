"""Tiny models with random weights, each saved as the full checkpoint that the hub would give, tokenizer included.

`BUILDERS` maps a name to a function of an empty folder. Widths are a few units: what is tested is which weights travel
where, and that does not depend on how many there are.
"""

from __future__ import annotations

import io
import json
import string
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

TEXT = (
    "query document: rank the best doc first and the tail in order",
    "a short text about neural rankers and their training lists",
    "how to sort a list in python; sorted returns a new list",
    "Query: Document: relevance judgments of many results, graded",
    "the quick brown fox jumps over the lazy dog 0123456789",
)
WORDS = sorted({word for line in TEXT for word in line.lower().replace(":", " ").replace(",", " ").replace(";", " ").split()})


def text(words: int, seed: int = 0) -> str:
    """`words` words of the tokenizers' own vocabulary, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return " ".join(WORDS[index] for index in torch.randint(len(WORDS), (words,), generator=generator))


def pairs(count: int = 7) -> list[tuple[str, str]]:
    """Pairs of mixed length."""
    return [(text(2 + i % 3, i), text(1 + 5 * i % 23, 100 + i)) for i in range(count)]


@cache
def _sentencepiece() -> bytes:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 20),
        model_writer=model,
        vocab_size=90,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece="<pad>",
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def save_t5_tokenizer(folder: Path) -> int:
    from transformers import T5Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(_sentencepiece())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))
    tokenizer = T5Tokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)    # tokenizer.json, the only form that AutoTokenizer reads for UMT5
    return len(tokenizer)


def save_gemma_tokenizer(folder: Path) -> int:
    """Letters and a few merges; it pads left and adds no <bos>, as the real one does."""
    from transformers import GemmaTokenizer

    merges = [("t", "h"), ("▁", "th"), ("▁th", "e"), ("Q", "u"), ("o", "r"), ("▁", "d"), ("▁d", "o"), ("i", "n")]
    letters = ["▁", *string.ascii_letters, *string.digits, *":;,.-"]
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters, *(a + b for a, b in merges)]
    tokenizer = GemmaTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=merges)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def save_bert_tokenizer(folder: Path, name: str = "BertTokenizer") -> int:
    letters = string.ascii_lowercase + string.digits + ":;,."
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *("##" + letter for letter in letters)]
    vocab = list(dict.fromkeys(pieces))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, "do_lower_case": True}))
    return len(vocab)


def save_roberta_tokenizer(folder: Path) -> int:
    """Bytes alone, no merges; <s> A </s></s> B </s>, and no token types."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import RobertaTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    tokenizer = RobertaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], model_max_length=64)
    tokenizer.save_pretrained(folder)
    return len(pieces)


def _save(model: Any, folder: Path) -> None:
    """Save with weights far from what initialisation gives, RMSNorm's zeros and ones included."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)


def _t5(folder: Path, kind: str, **options: Any) -> None:
    import transformers

    vocab_size = save_t5_tokenizer(folder)
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=vocab_size + 4,    # hub checkpoints pad their embedding as well
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        **options,
    )
    _save(getattr(transformers, f"{kind}ForConditionalGeneration")(config), folder)


def t5(folder: Path) -> None:
    _t5(folder, "T5")


def t5_v1_1(folder: Path) -> None:
    _t5(folder, "T5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)


def mt5(folder: Path) -> None:
    _t5(folder, "MT5")


def umt5(folder: Path) -> None:
    _t5(folder, "UMT5")


GEMMA = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"],
}


def t5gemma(folder: Path) -> None:
    from transformers import T5GemmaConfig, T5GemmaForConditionalGeneration

    part = GEMMA | {"vocab_size": save_gemma_tokenizer(folder)}
    torch.manual_seed(0)
    _save(T5GemmaForConditionalGeneration(T5GemmaConfig(encoder=part, decoder=part, vocab_size=part["vocab_size"])), folder)


def t5gemma2(folder: Path) -> None:
    from transformers import T5Gemma2Config, T5Gemma2ForConditionalGeneration

    vocab_size = save_gemma_tokenizer(folder) + 3
    part = GEMMA | {"vocab_size": vocab_size}
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 12,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "vision_use_head": False,
    }
    tokens = {"boi_token_index": vocab_size - 3, "eoi_token_index": vocab_size - 2, "image_token_index": vocab_size - 1}
    encoder = {"text_config": part, "vision_config": vision, "mm_tokens_per_image": 4, **tokens}
    torch.manual_seed(0)
    config = T5Gemma2Config(encoder=encoder, decoder=part, image_token_index=vocab_size - 1)
    _save(T5Gemma2ForConditionalGeneration(config), folder)


def bert(folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    vocab_size = save_bert_tokenizer(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    _save(BertForMaskedLM(config), folder)


def distilbert(folder: Path) -> None:
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    vocab_size = save_bert_tokenizer(folder, "DistilBertTokenizer")
    torch.manual_seed(0)
    _save(
        DistilBertForMaskedLM(
            DistilBertConfig(vocab_size=vocab_size, dim=16, hidden_dim=24, n_layers=2, n_heads=2, max_position_embeddings=128)
        ),
        folder,
    )


def roberta(folder: Path) -> None:
    from transformers import RobertaConfig, RobertaForMaskedLM

    vocab_size = save_roberta_tokenizer(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=66,    # 64 and the two that RoBERTa leaves unused
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    _save(RobertaForMaskedLM(config), folder)


def modernbert(folder: Path) -> None:
    from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerFast

    vocab_size = save_bert_tokenizer(folder)
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(folder)
    for file in folder.iterdir():
        file.unlink()
    PreTrainedTokenizerFast(
        tokenizer_object=fast.backend_tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=128,
        local_attention=8,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    )
    _save(ModernBertForMaskedLM(config), folder)


def gpt2(folder: Path) -> None:
    """A decoder, to be refused."""
    from transformers import GPT2Config, GPT2LMHeadModel

    vocab_size = save_bert_tokenizer(folder)
    GPT2LMHeadModel(GPT2Config(vocab_size=vocab_size, n_embd=16, n_layer=1, n_head=2, n_positions=32)).save_pretrained(folder)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "t5": t5,
    "t5_v1_1": t5_v1_1,
    "mt5": mt5,
    "umt5": umt5,
    "t5gemma": t5gemma,
    "t5gemma2": t5gemma2,
    "bert": bert,
    "distilbert": distilbert,
    "roberta": roberta,
    "modernbert": modernbert,
}
