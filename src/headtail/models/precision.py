"""Which number format the encoder's body runs in: asked of torch, not guessed."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from headtail.errors import ModelError, unknown_name

PRECISIONS = ("auto", "fp32", "bf16")


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware; emulation would be slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, probe)() for probe in probes if hasattr(torch.cpu, probe))
    return False


def body_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The body's dtype for "auto" (bf16 where native, else fp32), "fp32" or "bf16"; head and scores stay in fp32.

    Raises:
        ModelError: fp16, whose largest number, 65,504, T5's feed-forward layers exceed; or an unknown name.
    """
    if precision in ("fp16", "float16", "half"):
        raise ModelError(
            "fp16 is refused: T5's feed-forward activations exceed its largest number, 65,504, and turn to inf; use bf16 or fp32"
        )
    if precision not in PRECISIONS:
        raise ModelError(unknown_name("precision", precision, PRECISIONS))
    if precision == "auto":
        return torch.bfloat16 if has_native_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """fp32 weights, matrix products in `dtype`: for training. With fp32 it does nothing."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def default_device() -> torch.device:
    """The accelerator torch sees, else the CPU."""
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        if accelerator is not None and accelerator.type == "cuda":
            return accelerator
    return torch.device("cpu")
