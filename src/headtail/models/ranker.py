"""Ranker = encoder + pooling + dropout + dense head: a pair of texts in, one score out.

A saved ranker is a stock sentence-transformers CrossEncoder folder (Transformer, Pooling, Dense): no custom class, no
remote code, and `CrossEncoder(folder).predict` gives the scores that `Ranker.score` gives.
"""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from headtail.data.batching import pair_batches
from headtail.errors import ModelError, unknown_name
from headtail.models.encoders import (
    FAMILIES,
    SAVED_AS,
    check_whole,
    embeddings_of,
    first_line,
    hidden_size,
    layer_of,
    load_encoder,
    load_tokenizer,
    read_config,
    write_template,
)
from headtail.models.lora import has_adapters, merge_adapters
from headtail.models.pooling import POOLINGS
from headtail.models.precision import body_dtype

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

STOCK_POOLINGS = {"first": "cls", "last": "lasttoken", "masked_mean": "mean"}    # ours -> sentence-transformers'
TEMPLATE = ("Query:", "Document:")    # RankT5's input; BERT-like encoders were trained on pairs and keep their own format
CHUNK = 4096    # pairs tokenized at a time: bounds the memory of a long run


class RankedDoc(NamedTuple):
    """One line of `Ranker.rank`."""

    position: int    # position in the docs given
    score: float
    text: str


class Ranker(nn.Module):
    """Scores pairs of token ids; knows neither lists nor qrels.

    Args:
        encoder: gives `last_hidden_state` [N, T, D].
        tokenizer: fast tokenizer of the encoder, its template already written in.
        pooling: a name of POOLINGS.
        dropout: on the pooled vector, in training only.
        max_length: tokens of a pair at most, template included.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        pooling: str = "masked_mean",
        dropout: float = 0.1,
        max_length: int = 256,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ModelError(unknown_name("pooling", pooling, POOLINGS))
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size(encoder.config), 1)
        nn.init.zeros_(self.head.bias)
        self.max_length = max_length

    @classmethod
    def from_encoder(
        cls,
        name: str | Path,
        *,
        pooling: str = "masked_mean",
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        max_length: int = 256,
        template: tuple[str, str] | None = None,
        seed: int = 0,
    ) -> Ranker:
        """A ranker to be trained: pretrained encoder, dense head with random weights drawn from `seed`.

        Args:
            name: hub name or local folder of any family in `encoders.FAMILIES` or BERT-like.
            dropout, attention_dropout: see `load_encoder`; `dropout` also falls on the pooled vector.
            template: texts before query and doc; None is "Query:", "Document:" for the T5 families and the tokenizer's own
                pair format for BERT-like encoders.

        Raises:
            ModelError: see `load_encoder`; or an unknown pooling, or a max_length that the template fills.
        """
        if pooling not in POOLINGS:
            raise ModelError(unknown_name("pooling", pooling, POOLINGS))
        config, tokenizer = read_config(name), load_tokenizer(name)
        if template is not None or config.model_type in FAMILIES:
            write_template(tokenizer, *(template or TEMPLATE), gemma="gemma" in config.model_type)
        if config.model_type not in FAMILIES:    # learned positions end; RoBERTa's tokenizer knows two of them are not used
            max_length = min(max_length, _positions(name, tokenizer, config))
        template_length = tokenizer.num_special_tokens_to_add(pair=True)
        if max_length < template_length + 2:
            raise ModelError(f"max_length {max_length} leaves no room for texts: the template alone takes {template_length} tokens")
        tokenizer.model_max_length = max_length
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = load_encoder(name, dropout=dropout, attention_dropout=attention_dropout)
            return cls(encoder, tokenizer, pooling=pooling, dropout=dropout, max_length=tokenizer.model_max_length)

    @classmethod
    def from_pretrained(cls, name: str | Path, *, dropout: float = 0.1) -> Ranker:
        """Load a saved ranker from a local folder or a hub name; `dropout` counts only if it is trained further.

        Raises:
            ModelError: it is no `Transformer -> Pooling -> Dense(D, 1, Identity)` folder, or weights are missing.
        """
        folder = _local_folder(name)
        check_whole(folder)
        layout = _read_layout(folder)
        encoder = load_encoder(folder, dropout=dropout)
        tokenizer = load_tokenizer(folder)
        ranker = cls(
            encoder, tokenizer, pooling=layout.pooling, dropout=dropout, max_length=int(tokenizer.model_max_length)
        )
        shapes = {name: tuple(tensor.shape) for name, tensor in layout.head.items()}
        if shapes != {name: tuple(tensor.shape) for name, tensor in ranker.head.state_dict().items()}:
            raise ModelError(f"{folder}: expected a head of {hidden_size(encoder.config)} weights and a bias, found {shapes}")
        ranker.head.load_state_dict(layout.head)
        return ranker.eval()

    @property
    def device(self) -> torch.device:
        """Where the head's weights are."""
        return self.head.weight.device

    def forward(self, **inputs: Tensor) -> Tensor:
        """`input_ids`, `attention_mask` (and `token_type_ids`) [N, T] -> fp32 scores [N]."""
        return self._scores(self.encoder, inputs)

    def _scores(self, encoder: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        hidden = encoder(**inputs).last_hidden_state                                 # [N, T, D]
        with torch.autocast(hidden.device.type, enabled=False):                      # head and scores: always fp32
            hidden = hidden.to(self.head.weight.dtype)
            pooled = POOLINGS[self.pooling](hidden, inputs["attention_mask"])        # [N, D]
            scores = torch.squeeze_copy(self.head(self.dropout(pooled)), -1)         # [N]  FSDP wants no view
        return scores

    @torch.inference_mode()
    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        token_budget: int = 2048,
        precision: str = "auto",
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Scores of (query, doc) text pairs, in the order given: raw fp32 logits [len(pairs)].

        Args:
            token_budget: tokens of one batch, padding included; any value gives the same scores up to 1e-5 in fp32.
            precision: "auto" runs the body in bf16 where the device does so natively, else fp32; or say which.
            on_batch: called with the number of pairs just scored.
        """
        scores = np.empty(len(pairs), dtype=np.float32)
        was_training = self.training
        self.eval()
        try:
            encoder = self._body(body_dtype(precision, self.device))
            for start in range(0, len(pairs), CHUNK):
                chunk = pairs[start : start + CHUNK]
                for rows, values in self._score_chunk(encoder, chunk, token_budget):
                    scores[np.array(rows) + start] = values
                    if on_batch is not None:
                        on_batch(len(rows))
        finally:
            self.train(was_training)
        return scores

    def _score_chunk(
        self, encoder: nn.Module, chunk: Sequence[tuple[str, str]], token_budget: int
    ) -> Iterator[tuple[tuple[int, ...], np.ndarray[Any, np.dtype[np.float32]]]]:
        queries, docs = [query for query, _ in chunk], [doc for _, doc in chunk]
        for batch in pair_batches(
            self.tokenizer, queries, docs, max_length=self.max_length, token_budget=token_budget
        ):
            inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}
            yield batch.rows, self._scores(encoder, inputs).cpu().numpy()

    def _body(self, dtype: torch.dtype) -> nn.Module:
        """The encoder itself, or a copy of it in bf16: converting once is cheaper than casting at every product.

        Weights alone are cast: the frequencies of rotary positions are buffers, and rounding them would turn far
        positions by a wrong angle (a cosine off by .29 at position 256 of T5Gemma).
        """
        if dtype == torch.float32:
            return self.encoder
        body = merge_adapters(copy.deepcopy(self.encoder))
        for parameter in body.parameters():
            parameter.data = parameter.data.to(dtype)
        return body

    def rank(self, query: str, docs: Sequence[str]) -> list[RankedDoc]:
        """The docs, best first, each with its position in `docs` and its score; equal scores keep the order given."""
        scores = self.score([(query, doc) for doc in docs])
        order = sorted(range(len(docs)), key=lambda index: -scores[index])
        return [RankedDoc(index, float(scores[index]), docs[index]) for index in order]

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by part: embeddings, encoder, head; a shared tensor is counted once, and first."""
        embeddings = {id(parameter) for parameter in embeddings_of(self.encoder).parameters()}
        groups: dict[str, list[nn.Parameter]] = {"embeddings": [], "encoder": [], "head": list(self.head.parameters())}
        for parameter in self.encoder.parameters():    # parameters() gives a shared tensor once
            if parameter.requires_grad:
                groups["embeddings" if id(parameter) in embeddings else "encoder"].append(parameter)
        return groups

    def layers(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by depth: embeddings, layer_0, layer_1, …, top (the last norm), head; shared ones count once.

        What stands below the first layer besides the token embedding (positions, segments, their norm) counts to the
        embeddings.
        """
        layers: dict[str, list[nn.Parameter]] = {"embeddings": []}
        for name, parameter in self.encoder.named_parameters():    # gives a shared tensor once
            if parameter.requires_grad:
                layers.setdefault(layer_of(name), []).append(parameter)
        order = sorted(layers, key=lambda name: (name == "top", int(name.removeprefix("layer_")) if "layer_" in name else -1))
        return {name: layers[name] for name in order if layers[name]} | {"head": list(self.head.parameters())}

    def freeze(self, *, embeddings: bool = False, layers: int = 0) -> None:
        """Let the token embedding, or the `layers` lower layers and all that stands below them, keep their weights.

        Frozen weights are in neither `parts` nor `layers`. Frozen layers take the embeddings along: with those learning, each
        backward pass would still run through all layers above them. T5's position bias is a weight of its layer 0.

        Raises:
            ModelError: the encoder has fewer layers.
        """
        if embeddings:
            embeddings_of(self.encoder).requires_grad_(False)
        if not layers:
            return
        depth_of = {name: layer_of(name) for name, _ in self.encoder.named_parameters()}
        known = len(set(depth_of.values()) - {"embeddings", "top"})
        if layers > known:
            raise ModelError(f"cannot freeze {layers} layers: the encoder has {known}")
        below = {"embeddings", *(f"layer_{number}" for number in range(layers))}
        for name, parameter in self.encoder.named_parameters():
            if depth_of[name] in below:
                parameter.requires_grad_(False)

    def checkpoint_gradients(self) -> None:
        """In training mode keep the input of each layer alone, and compute the rest again on the way back.

        The same gradient, dropout included, for one more forward pass, with the inside of one layer in memory at a time (Chen et
        al. 2016, arXiv 1604.06174).

        Raises:
            ModelError: transformers cannot do so for this family.
        """
        if not self.encoder.supports_gradient_checkpointing:
            kind = self.encoder.config.model_type
            raise ModelError(f"gradient checkpointing: transformers has none for {kind!r}; a smaller token_budget saves memory too")
        enable = getattr(self.encoder, "activation_checkpointing_enable", None)    # older transformers know the other name alone
        (enable or self.encoder.gradient_checkpointing_enable)({"use_reentrant": False})

    def compile_encoder(self, *, backend: str = "inductor") -> None:
        """torch.compile of the encoder in place, for any number of pairs and tokens: names in the state dict stay as they are.

        The first pass in each mode compiles, which takes seconds to minutes; copies, such as `score` makes in bf16, are not
        compiled. On a CPU "inductor" needs a C++ compiler.
        """
        self.encoder.compile(dynamic=True, backend=backend)

    def check_can_be_saved(self) -> None:
        """Raise ModelError if the pooling has no stock counterpart: better before a training run than after it."""
        if self.pooling not in STOCK_POOLINGS:
            raise ModelError(
                f"pooling {self.pooling!r} averages padding in, so that a score depends on its batch, and no stock CrossEncoder"
                f" does that; known to be saved: {', '.join(STOCK_POOLINGS)} (masked_mean is the mean over real tokens)"
            )

    def save(self, folder: str | Path, *, card: str = "") -> None:
        """Write the CrossEncoder folder, with `card` as its README.md; an existing folder is replaced in one move.

        Raises:
            ModelError: the pooling is `mean`, which no stock folder can hold, or the disk is full.
        """
        self.check_can_be_saved()
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
            try:
                self._write(Path(work) / "encoder", Path(work) / "ranker", card)
            except Exception as error:
                # how libraries tell of a full disk: safetensors by an error of its own, tokenizers by a bare Exception
                if not isinstance(error, OSError | RuntimeError | SafetensorError) and type(error) is not Exception:
                    raise
                raise ModelError(f"{folder}: cannot write the ranker: {error}; what stood there is unchanged") from error
            _replace(Path(work) / "ranker", folder, Path(work) / "old")

    def _write(self, encoder_folder: Path, ranker_folder: Path, card: str) -> None:
        from sentence_transformers import CrossEncoder
        from sentence_transformers.base.modules import Dense, Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling

        encoder = self._plain_encoder()
        encoder.save_pretrained(encoder_folder)
        save_tokenizer(self.tokenizer, encoder_folder)
        width = hidden_size(encoder.config)
        transformer = Transformer(str(encoder_folder))
        dense = Dense(
            width,
            1,
            activation_function=nn.Identity(),
            module_input_name="sentence_embedding",
            module_output_name="scores",
        )
        dense.linear.load_state_dict({name: tensor.cpu() for name, tensor in self.head.state_dict().items()})
        modules: list[Any] = [transformer, Pooling(width, STOCK_POOLINGS[self.pooling]), dense]
        model = CrossEncoder(modules=modules, activation_fn=nn.Identity(), keep_in_fp32_modules=["2.linear"])
        model.save_pretrained(str(ranker_folder), create_model_card=False)
        save_tokenizer(self.tokenizer, ranker_folder)
        (ranker_folder / "README.md").write_text(card or "# A headtail ranker\n", encoding="utf-8")

    def _plain_encoder(self) -> PreTrainedModel:
        """The encoder on the CPU and without adapters: itself where it is that already, else a copy."""
        if self.device.type == "cpu" and not has_adapters(self.encoder):
            return self.encoder
        return merge_adapters(copy.deepcopy(self.encoder)).cpu()


class _Layout(NamedTuple):
    pooling: str
    head: dict[str, Tensor]


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save the tokenizer so that it is read back as it stands.

    T5Tokenizer, BertTokenizer and their like rebuild their own pair format when they are loaded, which would drop the template; the
    generic class reads tokenizer.json and changes nothing.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = SAVED_AS
    config["processor_class"] = SAVED_AS    # or AutoProcessor asks T5Gemma 2's folder for an image processor
    config["model_input_names"] = list(tokenizer.model_input_names)    # BERT's token types would be lost
    config["padding_side"] = "right"
    for key in ("is_local", "local_files_only", "auto_map"):
        config.pop(key, None)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _positions(name: str | Path, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> int:
    """Tokens that learned positions reach; of a saved ranker not what its own training chose to use of them."""
    known = int(getattr(config, "max_position_embeddings", tokenizer.model_max_length))
    if (Path(name) / "modules.json").is_file():
        unused = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
        return known - unused
    return min(known, int(tokenizer.model_max_length))


def _replace(new: Path, old: Path, aside: Path) -> None:
    if old.exists():
        old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        if aside.exists():
            aside.rename(old)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _local_folder(name: str | Path) -> Path:
    if Path(name).is_dir():
        return Path(name)
    if isinstance(name, Path) or str(name).startswith((".", "/", "~")) or str(name).count("/") != 1:
        raise ModelError(f"{name}: expected a saved ranker's folder, found nothing there; a hub name looks like OWNER/NAME")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name)))
    except Exception as error:    # network, hub and cache errors share no base class
        raise ModelError(f"{name}: neither a local folder nor to be had from the hub: {first_line(error)}") from error


def _read_layout(folder: Path) -> _Layout:
    """Pooling and head of a `Transformer -> Pooling -> Dense(D, 1, Identity)` folder; anything else is refused."""
    from safetensors.torch import load_file

    expected = "a CrossEncoder folder of Transformer, Pooling, Dense as `headtail train` writes it"
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
        if kinds != ["Transformer", "Pooling", "Dense"]:
            raise ModelError(f"{folder}: expected {expected}, found {', '.join(kinds)}; other cross-encoders: cross:{folder}")
        pooling = json.loads((folder / modules[1]["path"] / "config.json").read_text(encoding="utf-8"))
        dense = json.loads((folder / modules[2]["path"] / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / modules[2]["path"] / "model.safetensors")
        head = {key.removeprefix("linear."): weights[key].float() for key in ("linear.weight", "linear.bias")}
        outputs, activation = dense["out_features"], str(dense["activation_function"])
        name = _pooling_name(folder, pooling["pooling_mode"])
    except FileNotFoundError as error:    # safetensors' own carries the path in its text alone
        raise ModelError(f"{folder}: expected {expected}, found no {Path(error.filename or 'model.safetensors').name}") from error
    except (ValueError, LookupError, TypeError, OSError, SafetensorError) as error:    # no JSON, or JSON of another shape
        raise ModelError(f"{folder}: expected {expected}, found a damaged file: {first_line(error)}") from error
    if outputs != 1 or not activation.endswith("Identity"):
        raise ModelError(f"{folder}: expected {expected}, found a head of {outputs} outputs or with an activation")
    return _Layout(name, head)


def _pooling_name(folder: Path, found: str) -> str:
    ours = {stock: name for name, stock in STOCK_POOLINGS.items()}
    if found not in ours:
        raise ModelError(f"{folder}: expected a pooling of {', '.join(ours)}, found {found!r}")
    return ours[found]
