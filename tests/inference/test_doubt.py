"""Doubt: chances of tissues, their temperature, and one minus that of the label."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fakes import colour_card
from histoproto.config import InferenceSettings
from histoproto.inference.doubt import doubt_of, temperature_of, tissue_chances
from histoproto.inference.patches import Evidence
from histoproto.model.saving import Temperature

RAW = InferenceSettings()


def test_chances_are_the_softmax_of_maps_and_presence() -> None:
    rng = np.random.default_rng(0)
    maps, logits, thresholds = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3)), np.array([0.2, 0.5, 0.9])
    evidence = Evidence(torch.from_numpy(maps), torch.from_numpy(logits))
    found = tissue_chances(evidence, RAW, torch.from_numpy(thresholds), 1.7)
    for b, y, x in ((0, 0, 0), (1, 3, 4), (0, 2, 1)):
        odds = logits[b] - np.log(thresholds / (1 - thresholds))
        slow = np.exp((maps[b, :, y, x] + np.log(1 / (1 + np.exp(-odds)))) / 1.7)
        np.testing.assert_allclose(found[b, :, y, x], slow / slow.sum())


def test_by_place_is_as_by_patch_where_places_agree() -> None:
    maps, logits, thresholds = torch.randn(1, 3, 4, 4), torch.randn(1, 3), torch.tensor([0.5, 0.3, 0.7])
    patch = tissue_chances(Evidence(maps, logits), RAW, thresholds, 2.0)
    places = tissue_chances(Evidence(maps, logits[:, :, None, None].expand(-1, -1, 4, 4)), RAW, thresholds, 2.0)
    torch.testing.assert_close(patch, places)


def test_known_labels_leave_no_chance_to_others() -> None:
    found = tissue_chances(
        Evidence(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3)),
        RAW,
        torch.full((3,), 0.5),
        1.5,
        torch.tensor([[1, 0, 1]]) > 0,
    )
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([0.5, 0.0, 0.5]))


def test_shares_are_taken_as_chances() -> None:
    maps = torch.tensor([0.6, 0.2])[None, :, None, None]
    settings = InferenceSettings(fusion="minmax")
    found = tissue_chances(Evidence(maps, torch.full((1, 2), 50.0)), settings, torch.full((2,), 0.5))
    torch.testing.assert_close(found.flatten(), torch.tensor([0.75, 0.25]), atol=1e-4, rtol=0)


def test_doubt_is_one_minus_the_chance_of_the_label_and_none_on_glass() -> None:
    chances = torch.tensor([[0.7, 0.1], [0.3, 0.9]])[None, :, None, :]
    assert doubt_of(chances, torch.tensor([[[0, 0]]])).flatten().tolist() == pytest.approx([0.3, 0.9])
    assert doubt_of(chances, torch.tensor([[[2, 3]]])).flatten().tolist() == [0, 0]


def test_chances_that_were_not_calibrated_are_said_to_be() -> None:
    card = colour_card()
    assert temperature_of(card, RAW)[0] == 1
    assert "never calibrated" in temperature_of(card, RAW)[1]
    few = card.model_copy(update={"training_data": {"held_out": 0}})
    assert "held out no patches" in temperature_of(few, RAW)[1]
    fitted = card.model_copy(update={"temperature": Temperature(value=2.5, calibrated_on="a test")})
    assert temperature_of(fitted, card.inference) == (2.5, "")
    assert "not for minmax" in temperature_of(fitted, InferenceSettings(fusion="minmax"))[1]
