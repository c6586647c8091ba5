"""In training the body is a copy in bf16 and the weights stay what they are; small batches add up to the one gradient."""

import pytest
import torch
from tests.models import tiny

from headtail.data.batching import pair_batches
from headtail.models.body import Body
from headtail.models.ranker import Ranker

PAIRS = tiny.pairs(7)
BF16, FP32 = torch.bfloat16, torch.float32


def ranker_of(folder):
    return Ranker.from_encoder(folder, dropout=0.0, max_length=48).train()


def small_batches(ranker):
    queries, docs = zip(*PAIRS, strict=True)
    return pair_batches(ranker.tokenizer, queries, docs, max_length=48, token_budget=60)


def gradients(ranker, body=None, named=None):
    """Of a sum of scores in which each batch counts differently, by name; they are taken out of the weights."""
    named = named or dict(ranker.named_parameters())
    for number, batch in enumerate(small_batches(ranker), 1):
        if body is None:
            (ranker(**batch.inputs).sum() * number).backward()
        else:
            with body.forward():
                scores = ranker(**batch.inputs)
            assert scores.dtype == FP32
            (scores.sum() * number).backward()
    found = {name: weight.grad.clone() for name, weight in named.items() if weight.grad is not None}
    for weight in named.values():
        weight.grad = None
    return found


def in_step(ranker, dtype, **options):
    body, named = Body(ranker.encoder, dtype, **options), dict(ranker.named_parameters())
    with body.step():
        return gradients(ranker, body, named)


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_in_fp32_it_is_the_gradient_of_the_encoder_as_it_is(name, checkpoint):
    ranker = ranker_of(checkpoint(name))
    assert len(small_batches(ranker)) > 1
    plain, found = gradients(ranker), in_step(ranker, FP32)
    assert list(found) == list(plain)
    for key, gradient in plain.items():
        assert found[key].layout == torch.strided
        torch.testing.assert_close(found[key], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()) + 1e-9, msg=key)


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_in_bf16_fp32_weights_get_a_gradient_close_to_that(name, checkpoint):
    ranker = ranker_of(checkpoint(name))
    plain, found = gradients(ranker), in_step(ranker, BF16)
    assert list(found) == list(plain)
    assert {gradient.dtype for gradient in found.values()} == {FP32}
    one, other = (torch.cat([gradient.flatten() for gradient in each.values()]) for each in (plain, found))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.995
    assert float(other.norm() / one.norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_within_a_step_matrices_are_copies_and_embeddings_are_not(name, checkpoint):
    ranker = ranker_of(checkpoint(name))
    before = dict(ranker.encoder.named_parameters())
    with Body(ranker.encoder, BF16).step():
        for key, weight in ranker.encoder.named_parameters():    # a copy is no nn.Parameter, but stands in its place
            assert weight.dtype == (FP32 if weight is before[key] else BF16)
        embedding = ranker.encoder.get_input_embeddings()
        assert embedding.weight.dtype == FP32
        assert embedding(torch.tensor([[1, 2]])).dtype == BF16
    assert all(weight is before[key] for key, weight in ranker.encoder.named_parameters())
    assert embedding(torch.tensor([[1, 2]])).dtype == FP32
    assert not any(getattr(module, "sparse", False) for module in ranker.modules())


def test_all_is_put_back_after_an_error(checkpoint):
    ranker = ranker_of(checkpoint("t5"))
    before = dict(ranker.encoder.named_parameters())
    with pytest.raises(ArithmeticError), Body(ranker.encoder, BF16).step():
        raise ArithmeticError
    assert all(weight is before[key] for key, weight in ranker.encoder.named_parameters())
    assert not any(module._forward_hooks for module in ranker.modules())
    assert not any(getattr(module, "sparse", False) for module in ranker.modules())


def test_each_step_begins_from_no_gradient(checkpoint):
    ranker = ranker_of(checkpoint("bert"))
    body = Body(ranker.encoder, FP32)
    found = []
    for _ in range(2):
        with body.step():
            found.append(gradients(ranker, body))
    for key, gradient in found[0].items():
        assert torch.equal(gradient, found[1][key]), key


def test_a_gradient_that_stands_there_is_added_to(checkpoint):
    ranker = ranker_of(checkpoint("bert"))
    weight = ranker.encoder.get_input_embeddings().weight
    plain = in_step(ranker, FP32)["encoder.embeddings.word_embeddings.weight"]
    weight.grad = torch.ones_like(weight)
    torch.testing.assert_close(in_step(ranker, FP32)["encoder.embeddings.word_embeddings.weight"], plain + 1)


def test_a_token_that_stands_in_many_places_gets_all_of_its_gradient(checkpoint):
    """In bf16 a sum of equal addends stops growing at 256 of them."""
    ranker = ranker_of(checkpoint("bert"))
    embedding = ranker.encoder.get_input_embeddings()
    with Body(ranker.encoder, BF16).step():
        embedding(torch.full((4, 1000), 7)).sum().backward()
    assert embedding.weight.grad[7].tolist() == [4000.0] * embedding.embedding_dim


def test_frozen_embeddings_have_no_gradient(checkpoint):
    ranker = ranker_of(checkpoint("t5"))
    ranker.freeze(embeddings=True)
    assert not any("shared" in name or "embed_tokens" in name for name in in_step(ranker, BF16))


@pytest.mark.parametrize("name", ["t5", "t5gemma", "bert"])
def test_layers_computed_again_on_the_way_back_are_the_copies_too(name, checkpoint):
    ranker = ranker_of(checkpoint(name))
    whole = in_step(ranker, BF16)
    ranker.checkpoint_gradients()
    for key, gradient in in_step(ranker, BF16).items():
        torch.testing.assert_close(gradient, whole[key], rtol=0, atol=0, msg=key)


def test_a_compiled_encoder_runs_by_autocast(checkpoint):
    ranker = ranker_of(checkpoint("t5"))
    plain = in_step(ranker, BF16)
    ranker.compile_encoder(backend="eager")
    body = Body(ranker.encoder, BF16)
    assert body.fixed
    assert body.lookups == []
    found = in_step(ranker, BF16)
    one, other = (torch.cat([each[key].flatten() for key in plain]) for each in (plain, found))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.995


def test_beside_other_processes_gradients_of_the_embedding_stay_dense(checkpoint):
    assert Body(ranker_of(checkpoint("t5")).encoder, FP32, alone=False).lookups == []
    assert len(Body(ranker_of(checkpoint("t5")).encoder, FP32).lookups) == 2    # `shared` and `embed_tokens`
