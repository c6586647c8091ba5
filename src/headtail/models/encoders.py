"""T5, mT5, UMT5, T5Gemma, T5Gemma 2 and BERT-like encoders behind one call.

`load_encoder(name)` takes a hub name or a local folder, holding the encoder alone or a full encoder-decoder checkpoint,
and gives a module whose `module(input_ids=..., attention_mask=...).last_hidden_state` is [N, T, D]. Every weight is
checked: a tensor that the checkpoint lacks would otherwise stay random without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headtail.errors import CheckpointError, ModelError
from headtail.files import MANIFEST, verify

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

HIDDEN_DROPOUT_KEYS = (
    "dropout_rate",           # T5, mT5, UMT5 (inside attention as well), T5Gemma
    "dropout",                # DistilBERT
    "hidden_dropout_prob",    # BERT, RoBERTa, ELECTRA
    "mlp_dropout",            # ModernBERT
    "embedding_dropout",      # ModernBERT
)
ATTENTION_DROPOUT_KEYS = (
    "attention_dropout",               # T5Gemma, T5Gemma 2, DistilBERT, ModernBERT
    "attention_probs_dropout_prob",    # BERT, RoBERTa, ELECTRA
)

# BERT adds a pooler above its last hidden state, and masked-language-model checkpoints lack it: neither is used here.
UNUSED = ("pooler.", "lm_head.", "cls.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "position_ids")

SAVED_AS = "PreTrainedTokenizerFast"    # reads tokenizer.json as it stands, template included


def load_encoder(
    name: str | Path, *, dropout: float | None = None, attention_dropout: float = 0.0
) -> PreTrainedModel:
    """Load the encoder of a checkpoint in fp32, with every one of its weights.

    Args:
        name: hub name or local folder; a full encoder-decoder checkpoint gives its encoder.
        dropout: of the hidden states, set whatever the family calls it; None keeps the checkpoint's own rates.
        attention_dropout: of the attention weights, where the family separates the two (T5 does not). 0 unless asked
            for: any other value switches off the fused attention kernels, half the training speed on a CPU.

    Raises:
        ModelError: nothing can be loaded from there, the family is unknown, or weights are missing (named).
    """
    check_whole(Path(name))
    config = read_config(name)
    load = FAMILIES.get(config.model_type, _load_bert_like)
    rates = None if dropout is None else (dropout, attention_dropout)
    encoder: PreTrainedModel = load(str(name), config, rates)
    encoder.requires_grad_(True)
    for key, parameter in encoder.named_parameters():    # T5Gemma 2's eyes and BERT's pooler: no score passes through them
        if any(part in key for part in ("vision_tower.", "multi_modal_projector.", "eoi_embedding", "pooler.")):
            parameter.requires_grad_(False)
    return encoder


def check_whole(folder: Path) -> None:
    """Raise ModelError if the files are not those that training left: its rankers come with a manifest."""
    if not (folder / MANIFEST).is_file():
        return
    try:
        verify(folder)
    except CheckpointError as error:
        raise ModelError(f"{error}; if you changed it yourself, remove {MANIFEST}") from error


def read_config(name: str | Path) -> PretrainedConfig:
    """The checkpoint's config; ModelError where there is none."""
    from transformers import AutoConfig

    if _looks_local(name) and not (Path(name) / "config.json").is_file():
        raise ModelError(f"{name}: expected a model folder with a config.json, found none; a hub name has no leading . or /")
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(str(name))
    except Exception as error:    # hub, network, JSON and unknown-architecture errors share no base class
        raise ModelError(f"unknown encoder {str(name)!r}: {first_line(error)}; give a hub name or a local model folder") from error
    return config


Rates = tuple[float, float] | None    # dropout of hidden states and of attention; None keeps the checkpoint's


def set_dropout(config: PretrainedConfig, rates: Rates) -> None:
    """Write the rates under every name this config has for them; T5Gemma 2's text config gets the name it lacks."""
    if rates is None:
        return
    if config.model_type.startswith("t5gemma"):
        config.dropout_rate = rates[0]
    for keys, rate in zip((HIDDEN_DROPOUT_KEYS, ATTENTION_DROPOUT_KEYS), rates, strict=True):
        for key in keys:
            if hasattr(config, key):
                setattr(config, key, rate)


def embeddings_of(encoder: PreTrainedModel) -> torch.nn.Module:
    """The token embedding, found by asking and not by name: T5 keeps one tensor under two names."""
    return encoder.get_input_embeddings()


def layer_of(name: str) -> str:
    """`encoder.block.3.layer.0…` (T5), `encoder.layers.3…` (T5Gemma), `encoder.layer.3…` (BERT) -> layer_3."""
    number = next((part for part in name.split(".") if part.isdigit()), None)
    if number is not None:
        return f"layer_{number}"
    return "embeddings" if "embed" in name or name.startswith("shared.") else "top"


def hidden_size(config: PretrainedConfig) -> int:
    """D, under whichever name the family keeps it."""
    for part in ("encoder", "text_config"):    # T5Gemma keeps it one level down, T5Gemma 2 in its text part
        config = getattr(config, part, config)
    return int(getattr(config, "d_model", None) or config.hidden_size)


def _load_t5(name: str, config: PretrainedConfig, rates: Rates) -> PreTrainedModel:
    import transformers

    classes = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
    set_dropout(config, rates)
    return _checked(getattr(transformers, classes[config.model_type]), name, config)


def _load_t5gemma(name: str, config: PretrainedConfig, rates: Rates) -> PreTrainedModel:
    from transformers import T5GemmaEncoderModel

    config.is_encoder_decoder = False
    set_dropout(config, rates)
    set_dropout(config.encoder, rates)
    return _checked(T5GemmaEncoderModel, name, config)


def _load_t5gemma2(name: str, config: PretrainedConfig, rates: Rates) -> PreTrainedModel:
    """The text encoder of T5Gemma 2 inside the shell that stock loaders know, its image tower shrunk to a stub.

    No Auto class knows the bare text encoder, and the class that one would try first, T5Gemma2Encoder on the full
    checkpoint, leaves its weights random. So the full model is loaded and its text encoder taken out.
    """
    from transformers import T5Gemma2Model
    from transformers.models.t5gemma2.modeling_t5gemma2 import T5Gemma2Encoder

    if config.model_type == "t5gemma2_encoder":    # a ranker saved by this tool
        set_dropout(config.text_config, rates)
        return _checked(T5Gemma2Encoder, name, config)
    set_dropout(config.encoder.text_config, rates)
    full = _checked(T5Gemma2Model, name, config)
    return _with_stub_vision(full.get_encoder().text_model, config.encoder)


def _with_stub_vision(text_model: PreTrainedModel, config: Any) -> PreTrainedModel:
    import copy

    from transformers.models.t5gemma2.modeling_t5gemma2 import T5Gemma2Encoder

    config = copy.deepcopy(config)
    stub = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    for key, value in (stub | {"image_size": 16, "patch_size": 8}).items():
        setattr(config.vision_config, key, value)
    config.mm_tokens_per_image = 4
    with torch.device("meta"):
        shell = T5Gemma2Encoder(config)
    shell.to_empty(device="cpu")
    for parameter in shell.parameters():
        torch.nn.init.zeros_(parameter)    # never used; zeros, so that the saved file is the same each time
    for buffer in shell.vision_tower.buffers():
        buffer.copy_(torch.arange(buffer.numel()).view_as(buffer)) if not buffer.is_floating_point() else buffer.zero_()
    shell.text_model = text_model
    return shell


def _load_bert_like(name: str, config: PretrainedConfig, rates: Rates) -> PreTrainedModel:
    from transformers import AutoModel, AutoModelForMaskedLM

    if config.is_encoder_decoder:
        kind = config.model_type
        raise ModelError(f"{name}: no encoder is known for model type {kind!r}; known: {', '.join(FAMILIES)}, and BERT-like")
    masked_lm = type(config) in AutoModelForMaskedLM._model_mapping    # no decoder-only family is: it sees the left side alone
    if getattr(config, "is_decoder", False) or not masked_lm:
        raise ModelError(f"{name}: {config.model_type!r} is no encoder; known: {', '.join(FAMILIES)}, and BERT-like")
    set_dropout(config, rates)
    return _checked(AutoModel, name, config)


FAMILIES: dict[str, Callable[[str, Any, Any], Any]] = {
    "t5": _load_t5,
    "mt5": _load_t5,
    "umt5": _load_t5,
    "t5gemma": _load_t5gemma,
    "t5gemma2": _load_t5gemma2,
    "t5gemma2_encoder": _load_t5gemma2,
}


def _checked(model_class: Any, name: str, config: PretrainedConfig) -> PreTrainedModel:
    """`from_pretrained` that refuses a missing or misshapen tensor."""
    try:
        model, info = model_class.from_pretrained(name, config=config, dtype=torch.float32, output_loading_info=True)
    except Exception as error:    # damaged files, wrong shapes, absent weights: no common base class
        raise ModelError(f"{name}: cannot load its weights as {model_class.__name__}: {first_line(error)}") from error
    missing = sorted(key for key in info["missing_keys"] if not any(part in key for part in UNUSED))
    wrong = sorted(str(key[0] if isinstance(key, tuple) else key) for key in info["mismatched_keys"])
    if missing or wrong:
        named = ", ".join((missing + wrong)[:3])
        raise ModelError(
            f"{name}: {len(missing)} weights of {model_class.__name__} are missing and {len(wrong)} have the wrong shape"
            f" ({named}{', …' if len(missing + wrong) > 3 else ''}); they would stay random"
        )
    return model    # type: ignore[no-any-return]


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer, padding on the right so that position 0 is a real token for every reader."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(name))
    except Exception as error:    # as above
        raise ModelError(f"{name}: cannot load its tokenizer: {first_line(error)}") from error
    tokenizer.padding_side = "right"
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise ModelError(f"{name}: expected a fast tokenizer with a padding token, found {type(tokenizer).__name__} without")
    return tokenizer


def write_template(tokenizer: PreTrainedTokenizerBase, before_query: str, before_doc: str, *, gemma: bool = False) -> None:
    """Make the tokenizer itself write `before_query` and `before_doc` around a pair, so that any reader does.

    The two prefixes become part of tokenizer.json's post-processor: `CrossEncoder.predict([(query, doc)])` then sees
    exactly what training saw, with no custom code, and truncation never cuts the template. A begin token is written
    where the encoder was trained with one: [CLS] of BERT-like encoders, and Gemma's, which its tokenizer leaves out.
    """
    from tokenizers.normalizers import Prepend, Sequence
    from tokenizers.processors import TemplateProcessing

    backend = tokenizer.backend_tokenizer
    if gemma and not backend.normalizer.normalize_str("a").startswith("▁"):    # "Query:" and "how" would be glued together
        backend.normalizer = Sequence([Prepend("▁"), backend.normalizer])
    prefixes = {"<before_query>": before_query, "<before_doc>": before_doc}
    special: list[Any] = []
    for key, text in prefixes.items():
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        special.append({"id": key, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)})
    begin = tokenizer.bos_token if gemma else tokenizer.cls_token    # T5 has neither
    end = tokenizer.sep_token or tokenizer.eos_token
    special += [(token, tokenizer.convert_tokens_to_ids(token)) for token in (begin, end) if token]
    frame = ([begin] if begin else [], [end] if end else [])
    pair = [*frame[0], "<before_query>", "$A", "<before_doc>:1", "$B:1", *(f"{token}:1" for token in frame[1])]
    backend.post_processor = TemplateProcessing(
        single=" ".join([*frame[0], "$A", *frame[1]]), pair=" ".join(pair), special_tokens=special
    )


def _looks_local(name: str | Path) -> bool:
    text = str(name)
    return isinstance(name, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or Path(text).is_dir()


def first_line(error: Exception) -> str:
    """What an error of another library says, cut to one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
