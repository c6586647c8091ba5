"""Adapters: what they change, what learns, and that a saved ranker knows nothing of them."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from tests.models import tiny
from tests.models.test_levers import gradients, trainable

from headtail.errors import ModelError
from headtail.models.encoders import embeddings_of
from headtail.models.lora import _targets, add_lora, has_adapters, merge_adapters
from headtail.models.ranker import Ranker

pytest.importorskip("peft")
PAIRS = tiny.pairs(5)


def adapted(folder, seed=1, **options):
    """A ranker whose adapters have learnt something: B is no longer 0."""
    ranker = Ranker.from_encoder(folder, max_length=48, dropout=0.0).eval()
    add_lora(ranker, **({"rank": 2, "alpha": 8.0, "dropout": 0.0} | options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in ranker.encoder.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return ranker


def score(ranker, precision="fp32"):
    return ranker.score(PAIRS, precision=precision)


def test_an_adapter_by_hand(checkpoint):
    """W + (alpha / rank) B A, with alpha / rank = 8 / 2."""
    ranker = adapted(checkpoint("t5"))
    layer = ranker.encoder.encoder.block[0].layer[0].SelfAttention.q
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    x = torch.randn(3, 16)
    torch.testing.assert_close(layer(x), x @ (layer.base_layer.weight + 4 * product).T)
    merged = merge_adapters(ranker.encoder).encoder.block[0].layer[0].SelfAttention.q
    assert type(merged) is torch.nn.Linear
    torch.testing.assert_close(merged(x), x @ (layer.base_layer.weight).T)    # base_layer now holds the sum


LINEAR = {
    "t5": {"q", "k", "v", "o", "wi", "wo"},
    "t5_v1_1": {"q", "k", "v", "o", "wi_0", "wi_1", "wo"},
    "t5gemma": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    "t5gemma2": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    "bert": {"query", "key", "value", "dense"},
    "modernbert": {"Wqkv", "Wo", "Wi"},
}


@pytest.mark.parametrize("name", LINEAR)
def test_all_of_attention_and_feed_forward_is_adapted(name, checkpoint):
    ranker = adapted(checkpoint(name))
    found = [module_name for module_name, module in ranker.encoder.named_modules() if hasattr(module, "get_base_layer")]
    assert {module_name.rpartition(".")[2] for module_name in found} == LINEAR[name]
    assert not [module_name for module_name in found if "vision" in module_name or "pooler" in module_name]


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_scores_are_the_same_until_the_first_step_and_then_adapters_and_head_learn_alone(name, checkpoint):
    ranker = Ranker.from_encoder(checkpoint(name), max_length=48, dropout=0.0).eval()
    before = score(ranker)
    add_lora(ranker, rank=2)
    np.testing.assert_allclose(score(ranker), before, atol=1e-6)
    ranker.train()
    learning = trainable(ranker)
    assert all("lora_" in key or key.startswith("head.") for key in learning)
    assert set(gradients(ranker)) == learning
    assert ranker.parts()["embeddings"] == []
    assert next(iter(ranker.layers())) == "layer_0"
    assert {"embeddings", "top"}.isdisjoint(ranker.layers())
    assert sum(map(len, ranker.layers().values())) == sum(map(len, ranker.parts().values())) == len(learning)
    assert max(embeddings_of(ranker.encoder).parameters(), key=torch.numel).shape[1] == 16


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_a_saved_ranker_is_a_stock_folder_of_merged_weights_and_the_live_one_is_unchanged(name, checkpoint, tmp_path):
    ranker = adapted(checkpoint(name))
    plain = score(Ranker.from_encoder(checkpoint(name), max_length=48).eval())
    expected, weights, learning = score(ranker), {k: v.clone() for k, v in ranker.state_dict().items()}, trainable(ranker)
    assert np.abs(expected - plain).max() > 1e-3
    ranker.save(tmp_path / "ranker")
    np.testing.assert_allclose(CrossEncoder(str(tmp_path / "ranker"), device="cpu").predict(PAIRS), expected, atol=1e-5)
    np.testing.assert_allclose(score(Ranker.from_pretrained(tmp_path / "ranker")), expected, atol=1e-5)
    assert not [key for key in load_file(tmp_path / "ranker" / "model.safetensors") if "lora" in key or "base_layer" in key]
    assert "lora" not in (tmp_path / "ranker" / "config.json").read_text().lower()
    assert all(torch.equal(weights[key], value) for key, value in ranker.state_dict().items())
    assert trainable(ranker) == learning
    assert score(ranker).tolist() == expected.tolist()


def test_a_bf16_body_is_merged_and_close(checkpoint):
    ranker = adapted(checkpoint("t5"))
    assert not has_adapters(ranker._body(torch.bfloat16))
    np.testing.assert_allclose(score(ranker, "bf16"), score(ranker), atol=0.1)
    assert has_adapters(ranker.encoder)


def test_the_trainable_weights_go_through_a_file_into_a_ranker_built_again(checkpoint, tmp_path):
    one, two = adapted(checkpoint("t5gemma"), seed=1), adapted(checkpoint("t5gemma"), seed=2)
    save_file({name: p for name, p in one.named_parameters() if p.requires_grad}, tmp_path / "weights.safetensors")
    assert score(one).tolist() != score(two).tolist()
    two.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=False)
    two.head.load_state_dict(one.head.state_dict())
    assert score(one).tolist() == score(two).tolist()


@pytest.mark.parametrize("name", ["t5", "t5gemma", "t5gemma2", "bert"])
def test_gradient_checkpointing_gives_adapters_the_same_gradient(name, checkpoint):
    """The input of the lowest layer needs none."""
    plain, thrifty = adapted(checkpoint(name)).train(), adapted(checkpoint(name)).train()
    thrifty.checkpoint_gradients()
    expected, found = gradients(plain), gradients(thrifty)
    assert found.keys() == expected.keys() == trainable(plain)
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-5, atol=1e-6, msg=key)


def test_a_ranker_trained_with_adapters_can_be_adapted_again(checkpoint, tmp_path):
    adapted(checkpoint("t5")).save(tmp_path / "ranker")
    ranker = Ranker.from_encoder(tmp_path / "ranker", max_length=48).eval()
    add_lora(ranker, rank=2)
    assert has_adapters(ranker.encoder)


def test_frozen_layers_get_no_adapters(checkpoint):
    ranker = Ranker.from_encoder(checkpoint("t5"))
    ranker.freeze(layers=1)
    add_lora(ranker, rank=2)
    assert list(ranker.layers()) == ["layer_1", "head"]


def test_a_projection_between_embedding_and_layers_is_not_adapted():
    """ELECTRA's small model has one."""
    layers = torch.nn.ModuleList([torch.nn.ModuleDict({"query": torch.nn.Linear(4, 4)})])
    assert _targets(torch.nn.ModuleDict({"embeddings_project": torch.nn.Linear(2, 4), "layer": layers}), None) == ["layer.0.query"]


def test_layers_can_be_chosen_by_name(checkpoint):
    ranker = adapted(checkpoint("t5"), targets=("q", "v"))
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trainable(ranker) if "lora_" in name} == {"q", "v"}


def test_adapters_are_drawn_from_the_seed_and_leave_the_global_generator_alone(checkpoint):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    weights = []
    for seed in (0, 0, 1):
        ranker = Ranker.from_encoder(checkpoint("t5"))
        add_lora(ranker, rank=2, seed=seed)
        weights.append(ranker.encoder.encoder.block[0].layer[0].SelfAttention.q.lora_A["default"].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_done_is_one_line(checkpoint, monkeypatch):
    ranker = Ranker.from_encoder(checkpoint("t5"))
    with pytest.raises(ModelError, match="unknown layer for low-rank adapters 'qq', did you mean 'q'"):
        add_lora(ranker, targets=("qq",))
    add_lora(ranker, rank=2)
    with pytest.raises(ModelError, match="the encoder has adapters already"):
        add_lora(ranker, rank=2)
    ranker = Ranker.from_encoder(checkpoint("t5"))
    ranker.freeze(layers=2)
    with pytest.raises(ModelError, match="no linear layer of the encoder is left to adapt"):
        add_lora(ranker)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"low-rank adapters need peft: pip install 'headtail\[lora\]'"):
        add_lora(Ranker.from_encoder(checkpoint("t5")))
