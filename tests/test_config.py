"""The config tree: what is in configs/ loads, and what cannot be done is one line."""

from pathlib import Path

import pytest

from headtail.config import build_config, load_config, to_toml
from headtail.errors import ConfigError
from headtail.pipeline.demo import demo_config

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
SMALL = {"name": "x", "train": [{"name": "pydocs"}]}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_configs_load(path):
    assert load_config(path).train


def test_defaults_and_round_trip(tmp_path):
    config = build_config(SMALL)
    assert config.folder == Path("runs/x")
    assert (config.optimizer.embedding_lr, config.optimizer.encoder_lr, config.optimizer.head_lr) == (5e-6, 5e-5, 2e-4)
    for settings in (config, demo_config()):
        (tmp_path / "c.toml").write_text(to_toml(settings))
        assert load_config(tmp_path / "c.toml") == settings


SETTINGS = {
    "training.steps=50": lambda c: c.training.steps == 50,
    "loss.name=softmax": lambda c: c.loss.name == "softmax",
    "loss.options.alpha=0.25": lambda c: c.loss.options == {"alpha": 0.25},
    "lists.depth=[2, 9]": lambda c: c.lists.depth == (2, 9),
    "train.0.split=dev": lambda c: c.train[0].split == "dev",
    "lists.found_only=true": lambda c: c.lists.found_only,
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_is_applied(setting, tmp_path):
    (tmp_path / "c.toml").write_text(to_toml(build_config(SMALL)))
    assert SETTINGS[setting](load_config(tmp_path / "c.toml", [setting]))


BAD = {
    "nmae=x": "unknown key 'nmae', did you mean 'name'?",
    "optimizer.beta3=1": "unknown key 'optimizer.beta3', did you mean 'beta2'?",
    "train.0.splt=dev": "did you mean 'split'?",
    "optimizer.beta2=2": "optimizer.beta2: Input should be less than 1, found 2",
    "train.7.split=dev": "expected a position below 1, found '7'",
    "training.steps.more=1": "'steps' holds a value, not a table",
    "=3": "expected key=value",
    "name=a/b": "name:",
}


@pytest.mark.parametrize("setting", BAD)
def test_a_bad_setting_is_one_line(setting, tmp_path):
    (tmp_path / "c.toml").write_text(to_toml(build_config(SMALL)))
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.toml", [setting])
    assert BAD[setting] in str(caught.value)
    assert "\n" not in str(caught.value)
