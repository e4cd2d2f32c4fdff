"""A network that computes in half precision where the device has instructions for it."""

from __future__ import annotations

import torch
from torch import Tensor

from histoproto.model.network import ClassMaps, Network


class HalfPrecision(Network):
    """Convolutions and matrix products in 16 bits, everything else, and what comes out, in 32.

    bfloat16 on processors with AVX-512 BF16 or AMX and on GPUs that have it, float16 on other CUDA GPUs; where there is
    neither, 32 bits as before.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def class_maps(self, x: Tensor) -> ClassMaps:
        """See `Network.class_maps`."""
        kind = half_type(x.device)
        with torch.autocast(x.device.type, kind, enabled=kind is not None):
            found = self.network.class_maps(x)
        return ClassMaps(tuple(scale.float() for scale in found.maps), found.logits.float(), found.pooled)


def half_type(device: torch.device) -> torch.dtype | None:
    """The 16-bit type that a device is quicker with, if there is one."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        checks = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
        return torch.bfloat16 if any(check is not None and check() for check in checks) else None
    return None
