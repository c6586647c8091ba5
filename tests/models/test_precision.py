import contextlib

import pytest
import torch

from headtail.errors import ModelError
from headtail.models.precision import autocast, body_dtype, default_device, has_native_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["fp16", "float16", "half"])
def test_fp16_is_refused_with_the_reason(name):
    with pytest.raises(ModelError, match=r"fp16 is refused: .*65,504.*use bf16 or fp32"):
        body_dtype(name, CPU)


def test_an_unknown_precision_is_named():
    with pytest.raises(ModelError, match="unknown precision 'fp23', did you mean 'fp32'"):
        body_dtype("fp23", CPU)


def test_a_precision_asked_for_is_given():
    assert body_dtype("fp32", CPU) == torch.float32
    assert body_dtype("bf16", CPU) == torch.bfloat16


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_only_where_the_hardware_has_it(monkeypatch, native):
    monkeypatch.setattr("headtail.models.precision.has_native_bf16", lambda device: native)
    assert body_dtype("auto", CPU) == (torch.bfloat16 if native else torch.float32)


def test_a_device_nobody_knows_has_no_bf16():
    assert has_native_bf16(torch.device("meta")) is False
    assert isinstance(has_native_bf16(CPU), bool)


def test_autocast_does_nothing_in_fp32_and_rounds_products_in_bf16():
    assert isinstance(autocast(torch.float32, CPU), contextlib.nullcontext)
    with autocast(torch.bfloat16, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_the_default_device_is_one_that_torch_can_use():
    assert torch.zeros(1, device=default_device()).item() == 0
