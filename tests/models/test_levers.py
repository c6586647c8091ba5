"""What a ranker offers to training: frozen weights, gradient checkpointing, a compiled encoder."""

import copy
import shutil

import numpy as np
import pytest
import torch
from tests.models import tiny

from headtail.data.batching import pair_batches
from headtail.errors import ModelError
from headtail.models.ranker import Ranker

PAIRS = tiny.pairs(5)


def gradients(ranker):
    """Of a sum of scores in which each pair counts differently, dropout of seed 0, by name."""
    queries, docs = zip(*PAIRS, strict=True)
    (batch,) = pair_batches(ranker.tokenizer, queries, docs, max_length=48, token_budget=10_000)
    ranker.zero_grad()
    torch.manual_seed(0)
    (ranker(**batch.inputs) * torch.arange(1.0, 1 + len(PAIRS))).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in ranker.named_parameters() if parameter.grad is not None}


def trainable(ranker):
    return {name for name, parameter in ranker.named_parameters() if parameter.requires_grad}


def test_frozen_embeddings_are_the_token_matrix_alone(checkpoint):
    ranker = Ranker.from_encoder(checkpoint("bert"))
    before = trainable(ranker)
    ranker.freeze(embeddings=True)
    assert before - trainable(ranker) == {"encoder.embeddings.word_embeddings.weight"}
    assert ranker.parts()["embeddings"] == []
    assert "embeddings" in ranker.layers()    # positions, segments and their norm learn


def test_frozen_layers_take_all_below_them_along(checkpoint):
    ranker = Ranker.from_encoder(checkpoint("t5"))
    ranker.freeze(layers=1)
    assert list(ranker.layers()) == ["layer_1", "top", "head"]
    assert not ranker.encoder.shared.weight.requires_grad
    assert not ranker.encoder.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.requires_grad
    assert ranker.encoder.encoder.block[1].layer[0].SelfAttention.q.weight.requires_grad
    ranker.freeze(layers=2)
    assert list(ranker.layers()) == ["top", "head"]


def test_nothing_is_frozen_unasked(checkpoint):
    ranker = Ranker.from_encoder(checkpoint("t5"))
    before = trainable(ranker)
    ranker.freeze()
    assert trainable(ranker) == before


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_the_gradient_reaches_what_is_not_frozen_and_that_alone(name, checkpoint):
    ranker = Ranker.from_encoder(checkpoint(name), dropout=0.0, max_length=48)
    ranker.freeze(layers=1)
    assert set(gradients(ranker)) == trainable(ranker)
    assert ranker.parts()["embeddings"] == []
    every = [id(parameter) for layer in ranker.layers().values() for parameter in layer]
    assert sorted(every) == sorted(id(parameter) for parameter in ranker.parameters() if parameter.requires_grad)


def test_more_layers_than_there_are_cannot_be_frozen(checkpoint):
    for name in ("t5", "t5gemma2"):
        ranker = Ranker.from_encoder(checkpoint(name))
        with pytest.raises(ModelError, match="cannot freeze 3 layers: the encoder has 2"):
            ranker.freeze(layers=3)


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_gradient_checkpointing_gives_the_same_gradient_dropout_included(name, checkpoint):
    plain = Ranker.from_encoder(checkpoint(name), dropout=0.2, max_length=48).train()
    thrifty = copy.deepcopy(plain)
    thrifty.checkpoint_gradients()
    passes = []
    for module_name, module in thrifty.encoder.named_modules():
        if isinstance(module, torch.nn.Linear) and ".0." in module_name:
            module.register_forward_hook(lambda *_, name=module_name: passes.append(name))
    expected, found = gradients(plain), gradients(thrifty)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-5, atol=1e-6, msg=key)
    assert max(passes.count(module_name) for module_name in passes) == 2    # forward, and again on the way back


def test_a_family_without_gradient_checkpointing_is_named(checkpoint, monkeypatch):
    ranker = Ranker.from_encoder(checkpoint("t5"))
    monkeypatch.setattr(type(ranker.encoder), "supports_gradient_checkpointing", False)
    with pytest.raises(ModelError, match="gradient checkpointing: transformers has none for 't5'"):
        ranker.checkpoint_gradients()


COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler on a CPU")


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, COMPILER])])    # 2 and 20 s
def test_a_compiled_encoder_gives_the_same_scores_under_the_same_names(backend, checkpoint, tmp_path):
    torch._dynamo.reset()
    ranker = Ranker.from_encoder(checkpoint("t5"), max_length=48).eval()
    names, expected = list(ranker.state_dict()), ranker.score(PAIRS, precision="fp32")
    ranker.compile_encoder(backend=backend)
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    np.testing.assert_allclose(ranker.score(PAIRS, precision="fp32"), expected, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > compiled
    assert list(ranker.state_dict()) == names
    ranker.save(tmp_path / "ranker")
    assert Ranker.from_pretrained(tmp_path / "ranker").score(PAIRS, precision="fp32").tolist() == expected.tolist()
