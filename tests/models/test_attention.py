"""Another way to the same attention, and its gradient, where torch's own is slow."""

import pytest
import torch
from tests.models import tiny
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from headtail.models import attention
from headtail.models.attention import NAME, attend, faster_attention
from headtail.models.ranker import Ranker

MASK = torch.ones(3, 1, 9, 9, dtype=torch.bool)
MASK[1, ..., 5:] = False    # texts of 9, 5 and 2 tokens
MASK[2, ..., 2:] = False
MODULE = nn.Module()
MODULE.is_causal = False
FP32, FP64, BF16 = torch.float32, torch.float64, torch.bfloat16


def made(dtype, kind):
    """Query, key, value; mask and position bias; the leaves that learn."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(3, 4, 9, 8, generator=generator).to(dtype).requires_grad_() for _ in range(3)]
    bias = torch.randn(1, 4, 9, 9, generator=generator).to(dtype).requires_grad_("learns" in kind) if "bias" in kind else None
    mask = MASK if "masked" in kind else torch.where(MASK, 0.0, -1e9).to(dtype) if "float" in kind else None
    return parts, mask, bias


def with_gradients(function, dtype, kind, **options):
    parts, mask, bias = made(dtype, kind)
    out, _ = function(MODULE, *parts, mask, position_bias=bias, **options)
    leaves = [leaf for leaf in (*parts, bias) if leaf is not None and leaf.requires_grad]
    return [out.detach(), *torch.autograd.grad(out.float().sin().sum(), leaves)]


KINDS = ["plain", "masked", "float", "bias", "bias learns", "masked bias", "masked bias learns", "float bias", "float bias learns"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaling", [None, 1.0, 0.3])
@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(FP64, 0, 1e-12), (FP32, 1e-5, 3e-6), (BF16, 0.02, 0.1)])
def test_it_gives_what_torch_gives(dtype, rtol, atol, scaling, kind):
    theirs = with_gradients(sdpa_attention_forward, dtype, kind, scaling=scaling)
    ours = with_gradients(attend, dtype, kind, scaling=scaling)
    assert ours[0].shape == (3, 9, 4, 8)
    assert len(ours) == (5 if "learns" in kind else 4)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


def test_dropout_drops_attention_weights():
    (query, key, _), mask, bias = made(FP32, "masked bias learns")
    torch.manual_seed(0)
    ones = torch.ones(3, 4, 9, 8)
    whole, dropped = (attend(MODULE, query, key, ones, mask, position_bias=bias, dropout=rate)[0].detach() for rate in (0, 0.5))
    torch.testing.assert_close(whole, torch.ones(3, 9, 4, 8))    # weights that sum to 1
    assert dropped.std() > 0.1
    assert dropped.mean() == pytest.approx(1.0, abs=0.2)         # kept ones count double


@pytest.mark.parametrize(("dtype", "kind", "plain", "fused"), [
    (FP32, "masked", 0, [FP32]),
    (BF16, "masked", 0, [FP32]),    # slow in bf16: runs in fp32
    (BF16, "masked bias", 0, [FP32]),
    (BF16, "masked bias learns", 1, []),
    (FP32, "masked bias learns", 1, []),
])
def test_which_way_is_taken(dtype, kind, plain, fused, monkeypatch):
    seen, taken, real, real_plain = [], [], nn.functional.scaled_dot_product_attention, attention._plain
    monkeypatch.setattr(attention, "_plain", lambda *given: (taken.append(1), real_plain(*given))[1])
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", lambda query, *given, **more: (
        seen.append(query.dtype), real(query, *given, **more))[1])
    parts, mask, bias = made(dtype, kind)
    attend(MODULE, *parts, mask, position_bias=bias)
    assert (len(taken), seen) == (plain, fused)
    with torch.no_grad():
        attend(MODULE, *(part.detach() for part in parts), mask, position_bias=bias)
    assert (len(taken), seen) == (plain, [*fused, dtype])    # no gradient asked for: torch's own way


@pytest.mark.parametrize("name", tiny.BUILDERS)
def test_encoders_that_ask_for_sdpa_get_it_for_the_length_of_a_block(name, checkpoint, monkeypatch):
    calls = []
    monkeypatch.setattr(attention, "attend", lambda *given, **more: (calls.append(1), attend(*given, **more))[1])
    ranker = Ranker.from_encoder(checkpoint(name), max_length=48).train()
    inputs = ranker.tokenizer([text for text, _ in tiny.pairs()], padding=True, return_tensors="pt")
    asks = {module.config._attn_implementation for module in ranker.encoder.modules() if hasattr(module, "config")}
    with faster_attention(ranker.encoder):
        ranker(**inputs)
    assert bool(calls) == ("sdpa" in asks) == (name != "t5gemma")    # T5Gemma's soft cap allows eager attention alone
    count = len(calls)
    ranker(**inputs)
    assert len(calls) == count
    assert NAME not in {getattr(module.config, "_attn_implementation", "") for module in ranker.modules() if hasattr(module, "config")}
