"""One training run as a frozen, strict tree: a TOML file plus `--set key=value`; an unknown key is an error."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic import ValidationError as PydanticError

from headtail.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, le=1)]
Intent = Literal["question", "browse"]


class StrictModel(BaseModel):
    """Frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceConfig(StrictModel):
    """A data set to train on; several of them are mixed."""

    name: str                             # pydocs, a folder, beir:FOLDER or irds:NAME
    split: str = "train"
    run: Path | None = None               # a TREC run to draw negatives from; none: BM25 makes one
    teacher: Path | None = None           # a TREC run of any ranker over the same docs, for losses that learn from its scores
    only: Intent | None = None            # queries of this intent alone: a second source can give them more weight
    repeat: PositiveInt = 1               # times each query stands in an epoch
    weight: PositiveFloat | None = None   # instead of repeat, for all sources: its share of the lists, in any unit
    intent: Intent | None = None          # overrides what the data set says of itself
    relevant_from: PositiveInt | None = None    # of measures; a loss sees every label as it is

    def told(self) -> str:
        """For a page or a card: pydocs train, browse alone, 4 times."""
        alone = f", {self.only} alone" if self.only else ""
        share = f", weight {self.weight:g}" if self.weight is not None else ""
        return f"{self.name} {self.split}{alone}{f', {self.repeat} times' if self.repeat > 1 else ''}{share}"


class ValidationConfig(StrictModel):
    """What the best model is chosen by: re-ranking part of a dev split, as a test would."""

    name: str | None = None               # none: the first training source
    split: str = "dev"
    run: Path | None = None
    teacher: Path | None = None           # as for training; without one a loss that has a teacher is not measured here
    queries: PositiveInt = 100            # the first so many by a hash of the query_id
    depth: PositiveInt = 30               # docs of the first stage to re-rank
    every: NonNegativeInt = 0             # optimizer steps; 0: after the last step only
    best_by: str = "RR@10"
    patience: NonNegativeInt = 0          # stop after so many validations without a better best_by; 0: never
    intent: Intent | None = None
    relevant_from: PositiveInt | None = None


class LoraConfig(StrictModel):
    """Low-rank adapters in place of the encoder's own weights (needs the extra `lora`); merged into what is saved."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0           # an adapter's output counts alpha / rank times
    dropout: Fraction = 0.05
    targets: tuple[str, ...] | None = None    # names of layers; none: the linear layers of attention and feed-forward


class RankerConfig(StrictModel):
    """The ranker and the weights it starts from."""

    encoder: str = "google-t5/t5-base"    # hub name, a folder, or "minilm" for the weights of the package of that name
    pooling: str = "masked_mean"
    dropout: Fraction = 0.1               # hidden states and pooled vector
    attention_dropout: Fraction = 0.0     # any other value switches off fused attention
    max_length: PositiveInt = 256         # tokens of query, doc and template together
    template: tuple[str, str] | None = None    # none: "Query:", "Document:", or the two segments of a BERT-like encoder
    lora: LoraConfig | None = None


class ListsConfig(StrictModel):
    """Which docs stand in a training list."""

    size: Annotated[int, Field(ge=2)] = 16
    positives: PositiveInt = 1            # of one list, at most
    depth: tuple[PositiveInt, PositiveInt] = (1, 100)    # ranks of the first stage that give negatives
    source: Literal["run", "judged"] = "run"    # "judged" where unjudged docs are unknown, as in shops
    found_only: bool = False              # only positives that the first stage found, as in what will be re-ranked
    skip_empty: bool = False              # leave out queries without a negative instead of stopping
    random: Fraction = 0.0                # share of the negatives drawn from the whole collection
    margin: float | None = None           # leave out negatives that the teacher scores above its worst positive less this margin
    refresh_every: NonNegativeInt = 0     # optimizer steps after which the ranker orders the window anew; 0: never
    refresh_depth: tuple[PositiveInt, PositiveInt] = (1, 20)    # ranks of that order which then give negatives


class LossConfig(StrictModel):
    """A loss of headtail.losses and its options."""

    name: str = "hybrid"
    options: dict[str, Any] = {}


class OptimizerConfig(StrictModel):
    """One learning rate for each part of the ranker, and which weights learn at all."""

    name: Literal["adamw", "adafactor"] = "adamw"
    embedding_lr: NonNegativeFloat = 5e-6    # pretrained and the easiest part to damage
    encoder_lr: NonNegativeFloat = 5e-5      # pretrained
    head_lr: NonNegativeFloat = 2e-4         # starts from random weights
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.97                   # second moment looks back about 1 / (1 - beta2) = 33 steps
    weight_decay: NonNegativeFloat = 0.01    # matrices only
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0    # each layer learns at this factor of the rate of the layer above
    freeze_embeddings: bool = False
    freeze_layers: NonNegativeInt = 0     # so many lower layers keep their weights


class TrainingConfig(StrictModel):
    """The loop."""

    steps: PositiveInt = 1000             # optimizer steps
    lists_per_step: PositiveInt = 8
    schedule: Literal["linear", "constant", "cosine"] = "linear"
    warmup_steps: NonNegativeInt = 50     # optimizer steps
    clip: PositiveFloat = 1.0             # largest gradient norm
    token_budget: PositiveInt = 4096      # tokens of one forward pass, padding included
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_cache: bool = False          # the same gradient in the memory of one forward pass, a third slower
    gradient_checkpointing: bool = False  # the same gradient in less memory: layers are computed again on the way back
    compile: bool = False                 # torch.compile of the encoder: seconds to start, worth it on GPUs
    parallel: Literal["ddp", "fsdp"] = "ddp"    # under torchrun: whole weights on each device, or shares of them
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0    # decay of a running mean of the weights, the one validated and saved
    log_every: PositiveInt = 10           # optimizer steps
    checkpoint_every: NonNegativeInt = 200    # optimizer steps; 0: only when it is stopped
    on_nonfinite: Literal["stop", "skip"] = "stop"    # what a loss, score or gradient that is no finite number does
    nonfinite_limit: PositiveInt = 10     # steps to skip at most
    track: tuple[Literal["wandb", "tensorboard"], ...] = ()    # where the ledger is copied to
    seed: int = 0

    @field_validator("precision", mode="before")
    @classmethod
    def _no_fp16(cls, value: Any) -> Any:
        if value in ("fp16", "float16", "half"):
            raise ValueError("fp16 is refused: T5's feed-forward activations exceed its largest number, 65,504; use bf16 or fp32")
        return value


class Config(StrictModel):
    """A training run; its folder is `runs_folder/name`."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    runs_folder: Path = Path("runs")
    train: tuple[SourceConfig, ...] = Field(min_length=1)
    validation: ValidationConfig = ValidationConfig()
    ranker: RankerConfig = RankerConfig()
    lists: ListsConfig = ListsConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.runs_folder / self.name


def load_config(path: str | Path, sets: Sequence[str] = ()) -> Config:
    """Read a TOML file and apply `key.path=value` settings over it; values are written as in TOML, bare words too.

    Raises:
        ConfigError: no such file, bad TOML, a setting that does not parse, an unknown key, or a value out of range.
    """
    try:
        tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected a TOML config, found no such file; configs/ holds some to start from") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML: {error}") from error
    for setting in sets:
        _set(tree, setting)
    return build_config(tree, where=str(path))


def build_config(tree: Mapping[str, Any], where: str = "config") -> Config:
    """The checked config of a tree of plain values; ConfigError says key, expectation and what was found."""
    try:
        return Config.model_validate(dict(tree))
    except PydanticError as error:
        raise ConfigError(f"{where}: {_describe(error.errors()[0])}") from error


def to_toml(config: Config) -> str:
    """The resolved config, defaults included."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def _set(tree: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {setting!r}: expected key=value, such as training.steps=50 or loss.name=softmax")
    node: Any = tree
    for part in path[:-1]:
        node = _step_into(node, part, setting)
    if isinstance(node, list):
        raise ConfigError(f"--set {setting!r}: expected a position as in train.0.name=squad, found {path[-1]!r}")
    node[path[-1]] = _value(text.strip())


def _step_into(node: Any, part: str, setting: str) -> Any:
    if isinstance(node, list):
        if not part.isdigit() or int(part) >= len(node):
            raise ConfigError(f"--set {setting!r}: expected a position below {len(node)}, found {part!r}")
        return node[int(part)]
    inner = node.setdefault(part, {})
    if not isinstance(inner, dict | list):
        raise ConfigError(f"--set {setting!r}: {part!r} holds a value, not a table")
    return inner


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text    # a bare word is a string, so that a shell needs no second pair of quotes


def _describe(error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        known = sorted(_fields(path[:-1]))
        near = difflib.get_close_matches(path[-1], known, n=1)
        return f"unknown key {key!r}{f', did you mean {near[0]!r}?' if near else ';'} known: {', '.join(known)}"
    if error["type"] == "missing":
        return f"expected a key {key!r}, found none"
    return f"{key}: {error['msg']}, found {error['input']!r}"


def _fields(path: Sequence[str]) -> list[str]:
    tables: dict[str, type[StrictModel]] = {
        "train": SourceConfig,
        "validation": ValidationConfig,
        "ranker": RankerConfig,
        "ranker.lora": LoraConfig,
        "lists": ListsConfig,
        "loss": LossConfig,
        "optimizer": OptimizerConfig,
        "training": TrainingConfig,
    }
    place = ".".join(part for part in path if not part.isdigit())
    return list((tables[place] if path else Config).model_fields)
