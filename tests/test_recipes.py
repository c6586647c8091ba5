"""Every recipe of configs/ trains: two steps of its own settings on ten docs, with a tiny encoder of its family."""

from pathlib import Path

import numpy as np
import pytest
import torch

from headtail.config import Config, load_config
from headtail.models.ranker import Ranker
from headtail.pipeline.train import train
from tests.models import tiny
from tests.world import QUERIES, write_world

RECIPES = sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
FAMILIES = {"t5gemma-2-": "t5gemma2", "t5gemma-": "t5gemma", "t5": "t5", "minilm": "bert", "runs/": "bert"}    # the first that fits


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """`encoder("google-t5/t5-large")`: the folder of a tiny checkpoint of that family."""
    root = tmp_path_factory.mktemp("encoders")

    def build(name):
        family = next(family for part, family in FAMILIES.items() if part in name)
        if not (root / family).exists():
            tiny.BUILDERS[family](root / family)
        return root / family

    return build


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(recipe, world, encoder, runs):
    """The recipe with data, encoder and counts swapped; losses, optimizers and levers are its own."""
    none = {"run": None, "teacher": None}
    ranker = {"encoder": str(encoder(recipe.ranker.encoder)), "max_length": 48}
    steps = {"steps": 2, "warmup_steps": min(1, recipe.training.warmup_steps), "token_budget": 500, "log_every": 1, "track": ()}
    changed = recipe.model_copy(
        update={
            "runs_folder": runs,
            "train": tuple(source.model_copy(update={"name": str(world), "split": "train"} | none) for source in recipe.train),
            "validation": recipe.validation.model_copy(
                update={"name": str(world), "split": "dev", "queries": 3, "depth": 10, "every": 1} | none
            ),
            "ranker": recipe.ranker.model_copy(update=ranker),
            "lists": recipe.lists.model_copy(update={"skip_empty": True}),
            "training": recipe.training.model_copy(update=steps | {"lists_per_step": min(4, recipe.training.lists_per_step)}),
        }
    )
    return Config.model_validate(changed.model_dump())    # checked again: model_copy checks nothing


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(path, world, encoder, tmp_path):
    settings = small(load_config(path), world, encoder, tmp_path)
    folder, result = train(settings)
    assert (result.steps, result.interrupted) == (2, False)
    assert result.best is not None
    before = Ranker.from_encoder(settings.ranker.encoder, pooling=settings.ranker.pooling, max_length=48)
    after = Ranker.from_pretrained(folder / "model")
    assert not torch.equal(before.head.weight, after.head.weight)
    scores = after.score([(query, "a red apple") for query in QUERIES.values()], precision="fp32")
    assert np.isfinite(scores).all()


def test_every_recipe_says_how_it_is_run():
    for path in RECIPES:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# "), path.name
        assert f"headtail train configs/{path.name}" in text, path.name
