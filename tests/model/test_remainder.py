"""A tissue that is in every patch is what remains where no other one is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fakes import card_of
from histoproto.config import ModelSettings
from histoproto.errors import DocumentError
from histoproto.model.network import DecodedPrototypeNetwork, LinearNetwork, PrototypeNetwork
from histoproto.model.remainder import CERTAIN, remainder_of
from histoproto.model.saving import load_model, save_model
from histoproto.tissue import TissueSet

SMALL = ModelSettings(encoder="test_efficientnet", weights=None, prototypes=4, dimension=16)


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [([1.0, 0.5, 0.0], (0,)), ([0.5, 1.0, 1.0], (1, 2)), ([0.9, 0.5, 0.1], ()), ([1.0, 1.0], ()), ([1.0, 0.0], ())],
)
def test_only_what_is_in_every_patch_and_only_beside_what_can_be_learnt(
    frequency: list[float], expected: tuple[int, ...]
) -> None:
    assert remainder_of(torch.tensor(frequency)) == expected


@pytest.mark.parametrize("kind", [PrototypeNetwork, LinearNetwork])
def test_its_maps_are_level_the_others_are_as_they_were(kind: type[PrototypeNetwork | LinearNetwork]) -> None:
    network = kind(SMALL, 3).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = network.class_maps(x)
        network.remainder = (1,)
        after = network.class_maps(x)
    for old, new in zip(before.maps, after.maps, strict=True):
        assert (new[:, 1] == 0).all()
        assert torch.equal(new[:, [0, 2]], old[:, [0, 2]])
        strongest = new.argmax(dim=1)
        assert torch.equal(strongest == 1, (old[:, [0, 2]] < 0).all(dim=1))
    assert (after.logits[:, 1] == CERTAIN).all()
    assert torch.equal(after.logits[:, [0, 2]], before.logits[:, [0, 2]])


def test_it_learns_nothing_from_image_labels_and_the_losses_stay_finite() -> None:
    network = PrototypeNetwork(SMALL, 3)
    network.remainder = (2,)
    out = network(torch.rand(4, 3, 64, 64))
    sum(scale.sum() for scale in out.logits).backward()
    gradient = network.bank.prototypes.grad
    assert gradient is not None
    assert (gradient[2] == 0).all()
    assert (gradient[:2] != 0).any()


def test_a_decoder_keeps_its_maps_and_is_sure_that_it_is_there() -> None:
    network = DecodedPrototypeNetwork(SMALL, 3).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = network.class_maps(x).maps
        network.remainder = (0,)
        after = network.class_maps(x)
    torch.testing.assert_close(after.maps, before)
    assert (after.logits[:, 0] == CERTAIN).all()


def test_the_card_keeps_it(tmp_path: Path) -> None:
    network = PrototypeNetwork(SMALL, 3).eval()
    card = card_of(SMALL, TissueSet.of("tumour", "stroma", "normal")).model_copy(update={"remainder": (1,)})
    save_model(tmp_path, network, card)
    loaded, _ = load_model(tmp_path)
    with torch.no_grad():
        assert (loaded.class_maps(torch.rand(1, 3, 64, 64)).maps[0][:, 1] == 0).all()
    path = tmp_path / "model.json"
    path.write_text(path.read_text().replace('"remainder": [\n    1\n  ]', '"remainder": [\n    3\n  ]'))
    with pytest.raises(DocumentError, match="remainder names tissue 3 of 3"):
        load_model(tmp_path)
