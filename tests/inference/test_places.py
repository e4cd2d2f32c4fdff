from __future__ import annotations

import numpy as np
import pytest
import torch

from fakes import ColourNetwork
from histoproto.config import InferenceSettings
from histoproto.inference.gating import strongest
from histoproto.inference.large import windowed_evidence
from histoproto.inference.patches import Evidence, as_batch, gated, patch_evidence, patch_maps
from histoproto.inference.places import LEAST_SHARE, place_evidence, spread
from histoproto.inference.windows import CELL, Window, blend, window_grid, window_weights
from histoproto.model.lattice import upsample_maps
from histoproto.model.network import Network

THRESHOLDS = torch.tensor([0.5, 0.3, 0.9])


def test_the_logits_of_a_place_are_the_weighted_mean_of_the_windows_around_it() -> None:
    """Against sums over windows, one pixel at a time; weights are those of the maps times the share of tissue."""
    torch.manual_seed(0)
    windows = window_grid(20, 28, 8, 2)
    logits, shares = torch.randn(len(windows), 3), torch.rand(len(windows))
    shares[::5] = 0
    maps = torch.randn(len(windows), 3, 8, 8)
    number = {window: index for index, window in enumerate(windows)}

    def said(batch: list[Window]) -> torch.Tensor:
        chosen = [number[window] for window in batch]
        return spread(Evidence(maps[chosen], logits[chosen]), shares[chosen])

    found = place_evidence(blend(said, windows, 7)[None], 3)  # type: ignore[arg-type]
    weights = window_weights(8, 8)
    for y, x in [(0, 0), (7, 9), (19, 27), (11, 3)]:
        over = [
            (i, w, weights[y - w.top, x - w.left])
            for i, w in enumerate(windows)
            if 0 <= y - w.top < 8 > x - w.left >= 0
        ]
        mass = [weight * shares[i].clamp(min=LEAST_SHARE) for i, _, weight in over]
        expected = sum(m * logits[i] for m, (i, _, _) in zip(mass, over, strict=True)) / sum(mass)
        torch.testing.assert_close(found.logits[0, :, y, x], expected)
        mean = sum(v * maps[i, :, y - w.top, x - w.left] for i, w, v in over) / sum(v for _, _, v in over)
        torch.testing.assert_close(found.maps[0, :, y, x], mean)


@pytest.mark.parametrize("settings", [InferenceSettings(background="none"), InferenceSettings(fusion="minmax")])
def test_a_single_window_is_gated_as_a_patch(settings: InferenceSettings) -> None:
    """Whatever glass it shows: presence goes by place only where there is more than one window."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8) // 8 + rng.integers(100, 150, 3).astype(np.uint8)
    image[:20] = 250
    network: Network = ColourNetwork()  # type: ignore[assignment]
    batch = as_batch(image[None], torch.device("cpu"))
    maps, logits, _ = patch_evidence(network, batch, settings, cell=CELL)
    patch = gated(Evidence(upsample_maps(maps, (64, 64)), logits), settings, THRESHOLDS)
    assert torch.equal(patch.present, patch_maps(network, batch, settings, THRESHOLDS).present)
    window = gated(windowed_evidence(network, image, 64, settings, THRESHOLDS), settings, THRESHOLDS)
    assert torch.equal(window.present, patch.present[:, :, None, None].expand_as(window.present))
    torch.testing.assert_close(window.scores, patch.scores, atol=1e-4, rtol=1e-4)
    assert torch.equal(strongest(window.scores), strongest(patch.scores))


def test_presence_by_place_is_that_of_each_place() -> None:
    torch.manual_seed(0)
    logits, maps = 3 * torch.randn(1, 3, 5, 7), torch.randn(1, 3, 5, 7)
    whole = gated(Evidence(maps, logits), InferenceSettings(), THRESHOLDS)
    for y in range(5):
        for x in range(7):
            one = gated(Evidence(maps[..., y : y + 1, x : x + 1], logits[:, :, y, x]), InferenceSettings(), THRESHOLDS)
            assert torch.equal(whole.present[0, :, y, x], one.present[0])
            assert whole.scores[0, :, y, x].argmax() == one.scores.flatten().argmax()


def test_what_is_found_on_glass_does_not_rub_off_on_the_tissue_beside_it() -> None:
    """Between a window of tissue that does not show the third tissue and one of glass that seems to."""
    logits = torch.tensor([[3.0, 0.0, -3.0], [3.0, 0.0, 6.0]])
    windows = [Window(0, 0, 8, 8), Window(0, 4, 8, 8)]
    present = []
    for shares in ([1.0, 1.0], [1.0, 0.05]):
        evidence = Evidence(torch.zeros(2, 3, 8, 8), logits)
        blended = blend(lambda _, e=evidence, s=shares: spread(e, torch.tensor(s)), windows, 2)  # type: ignore[misc]
        present.append(gated(place_evidence(blended[None], 3), InferenceSettings(), torch.full((3,), 0.5)).present)
    assert present[0][0, 2, :, 6].all()
    assert not present[1][0, 2, :, :8].any()
    assert present[1][0, 2, :, 8:].all()  # where nobody else says anything
