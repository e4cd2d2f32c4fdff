"""The contract that we ship holds for what is our own, and tells what breaks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from histoproto.methods import registry
from histoproto.methods.cam import CAM
from histoproto.methods.registry import METHODS
from histoproto.model.encoder import Encoder
from histoproto.model.weights import OFFLINE_ENCODER
from histoproto.testing import check_encoder, check_method, check_teacher

NEEDS = {"lpd-published": ["model.dimension=64", "loss.similarity=0"]}
"""The published code compares raw prototypes with features, so both must be of one size."""


@pytest.mark.parametrize("method", METHODS)
def test_our_methods_keep_it(method: str, tmp_path: Path) -> None:
    check_method(method, tmp_path, NEEDS.get(method, []))


@pytest.mark.parametrize("encoder", [OFFLINE_ENCODER, "mobilenetv3_small_050", "mit_b0", "test_vit"])
def test_our_encoders_keep_it(encoder: str) -> None:
    check_encoder(encoder)


def test_our_teacher_keeps_it() -> None:
    check_teacher(OFFLINE_ENCODER)


class Forgetful(CAM):
    """Leaves its classifier out."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.network.encoder.parameters()), "lr": 1e-3}]


class Wavering(CAM):
    """Another loss each time it is run."""

    runs = 0

    def prepare(self, training: Any) -> None:
        Wavering.runs += 1

    def losses(self, batch: Any, progress: float) -> dict[str, Tensor]:
        losses = super().losses(batch, progress)
        return losses | {"total": losses["total"] * Wavering.runs}


@pytest.mark.parametrize(
    ("method", "broken"),
    [(Forgetful, "leaves out network.classifier"), (Wavering, "two runs of one seed")],
)
def test_methods_that_break_it(method: type[CAM], broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.OWN, "other", method)
    with pytest.raises(AssertionError, match=broken):
        check_method("other", tmp_path)


class Plain(Encoder):
    """Three maps of strides 8, 16 and 32; what its subclasses get wrong is theirs."""

    def __init__(self, weights: str | None = None):
        super().__init__((4, 4, 4), (0.5,) * 3, (0.5,) * 3, "none")
        self.body = nn.Conv2d(3, 4, 8, stride=8)

    def features(self, x: Tensor) -> list[Tensor]:
        first = self.body(x)
        return [first, first[:, :, ::2, ::2], first[:, :, ::4, ::4]]


class Mixing(Plain):
    def features(self, x: Tensor) -> list[Tensor]:
        return [maps - maps.mean(dim=0) for maps in super().features(x)]


class Coarse(Plain):
    def features(self, x: Tensor) -> list[Tensor]:
        return super().features(x)[::-1]


class Unsaved(Plain):
    def __init__(self, weights: str | None = None):
        super().__init__()
        self.hidden = [torch.rand(4, 1, 1)]

    def features(self, x: Tensor) -> list[Tensor]:
        return [maps + self.hidden[0] for maps in super().features(x)]


class Frozen(Plain):
    def __init__(self, weights: str | None = None):
        super().__init__()
        self.other = nn.Linear(1, 1)
        self.body.requires_grad_(False)

    def features(self, x: Tensor) -> list[Tensor]:
        return [maps + 0 * self.other.weight for maps in super().features(x)]


@pytest.mark.parametrize(
    ("encoder", "broken"),
    [
        (Plain, None),
        (Mixing, "depend on the others in its batch"),
        (Coarse, "finest first"),
        (Unsaved, "saved and loaded give other features"),
        (Frozen, "nothing in it learns"),
    ],
)
def test_encoders_that_break_it(
    encoder: Callable[[str | None], Encoder], broken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("histoproto.testing.build_encoder", lambda _, weights: encoder(weights))
    if broken is None:
        check_encoder("other")
    else:
        with pytest.raises(AssertionError, match=broken):
            check_encoder("other")


def test_a_teacher_that_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("histoproto.model.teachers.build_encoder", lambda name: Plain())
    with pytest.raises(AssertionError, match="built twice it gives other features"):
        check_teacher("other")
