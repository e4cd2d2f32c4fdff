from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from histoproto.errors import SettingError
from histoproto.inference.background import background_activation, glass_mask, label_probabilities
from histoproto.inference.fusion import fuse_scales, minmax
from histoproto.inference.gating import gate_softly, present_tissues, strongest
from histoproto.inference.views import VIEWS, mean_of_views
from histoproto.model.lattice import upsample_maps
from histoproto.model.network import ClassMaps

WEIGHTS = (0.3, 0.3, 0.4)


def random_maps(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, side, side, generator=generator) for side in (8, 4, 4)]


@pytest.mark.parametrize("mode", ["raw", "minmax"])
def test_fusion_against_a_slow_loop(mode: str) -> None:
    maps = random_maps()
    expected = np.zeros((2, 3, 32, 48))
    for scale, weight in zip(maps, WEIGHTS, strict=True):
        for b in range(2):
            for c in range(3):
                one = scale[b, c].clone()
                if mode == "minmax":
                    one = one.clamp(min=0)
                    one = (one - one.min()) / (one.max() - one.min())
                up = F.interpolate(one[None, None], (32, 48), mode="bilinear", align_corners=False)
                expected[b, c] += weight * up[0, 0].numpy()
    np.testing.assert_allclose(fuse_scales(maps, (32, 48), WEIGHTS, mode), expected, atol=1e-5)  # type: ignore[arg-type]


def test_only_the_ratio_of_weights_matters() -> None:
    maps = random_maps()
    torch.testing.assert_close(
        fuse_scales(maps, (16, 16), (3, 3, 4), "raw"), fuse_scales(maps, (16, 16), WEIGHTS, "raw")
    )
    for weights in [(0, 0, 0), (1, 1)]:
        with pytest.raises(SettingError, match="one weight for each of 3 scales"):
            fuse_scales(maps, (16, 16), weights, "raw")


def test_the_remainder_wins_where_others_are_below_zero_stretched_or_not() -> None:
    maps = torch.tensor([[[[-1.0, 2.0]], [[0.0, 0.0]], [[-3.0, -2.0]]]])  # B×C×1×2, the second is the remainder
    for mode in ("raw", "minmax"):
        assert fuse_scales((maps,), (1, 2), (1.0,), mode).argmax(dim=1).tolist() == [[[1, 0]]]


def test_a_flat_map_gives_zeros() -> None:
    for value in (-3.0, 5.0):
        assert (minmax(torch.full((1, 2, 4, 4), value)) == 0).all()
    stretched = minmax(torch.tensor([[[[-1.0, 1.0], [2.0, 4.0]]]]))
    assert stretched.flatten().tolist() == [0, 0.25, 0.5, 1]


def test_absent_tissues_are_gated() -> None:
    present = torch.tensor([[True, False, True], [False, True, False]])
    raw = fuse_scales(random_maps(), (8, 8), WEIGHTS, "raw", present)
    assert torch.equal(raw.isinf().all(dim=(2, 3)), ~present)
    stretched = fuse_scales(random_maps(), (8, 8), WEIGHTS, "minmax", present)
    assert torch.equal(stretched.amax(dim=(2, 3)) > 0, present)


def test_soft_gating_is_finite_and_never_wins() -> None:
    maps = fuse_scales(random_maps(), (8, 8), WEIGHTS, "raw")
    present = torch.tensor([[True, False, True], [False, True, False]])
    gated = gate_softly(maps, present)
    assert gated.isfinite().all()
    winners = gated.argmax(dim=1)
    assert not (winners[0] == 1).any()
    assert (winners[1] == 1).all()


def test_predicted_labels() -> None:
    thresholds = torch.tensor([0.5, 0.9, 0.2])
    probabilities = torch.tensor([[0.6, 0.8, 0.2], [0.1, 0.85, 0.1], [0.0, 0.0, 0.0]])
    expected = [[True, False, True], [False, True, False], [False, False, True]]
    assert present_tissues(probabilities, thresholds).tolist() == expected


def test_the_papers_background() -> None:
    maps = torch.rand(2, 3, 5, 5)
    present = torch.tensor([[True, True, False], [True, True, True]])
    maps = maps * present[:, :, None, None]
    foreground = maps.amax(dim=1, keepdim=True)
    channels = label_probabilities(maps, present, logits=False, foreground=foreground)
    paper = torch.cat([maps, background_activation(foreground)], dim=1)
    assert torch.equal(channels.argmax(dim=1), paper.argmax(dim=1))
    torch.testing.assert_close(channels.sum(dim=1), torch.ones(2, 5, 5))


def test_raw_maps_become_a_softmax_and_keep_the_papers_background() -> None:
    scores, foreground = torch.randn(2, 3, 9, 9), torch.rand(2, 1, 9, 9) * 0.4
    present = torch.tensor([[True, True, False], [True, False, True]])
    plain = label_probabilities(scores, present, logits=True)
    torch.testing.assert_close(plain[0, :2], scores[0, :2].softmax(dim=0))
    assert (plain[0, 2] == 0).all()
    channels = label_probabilities(scores, present, logits=True, foreground=foreground)
    background = channels.argmax(dim=1) == 3
    assert torch.equal(background, ((1 - foreground) ** 10 > foreground)[:, 0])
    assert torch.equal(channels[:, :3].argmax(dim=1), plain.argmax(dim=1))
    assert background.any()
    assert not background.all()


def test_ties_among_zeros_go_to_present_tissues() -> None:
    present = torch.tensor([[False, False, True]])
    assert (label_probabilities(torch.zeros(1, 3, 2, 2), present, logits=False).argmax(dim=1) == 2).all()


def test_without_any_tissue_everything_is_background() -> None:
    present = torch.zeros(1, 3, dtype=torch.bool)
    for logits in (True, False):
        scores, foreground = torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)
        chances = label_probabilities(scores, present, logits=logits, foreground=foreground)
        assert (chances.argmax(dim=1) == 3).all()
        assert (label_probabilities(scores, present, logits=logits) == 0).all()


def test_glass_is_bright_in_every_channel() -> None:
    image = np.full((40, 60, 3), 245, dtype=np.uint8)
    image[:, 30:] = (250, 150, 210)  # eosin: bright in red alone
    image[20, 10] = 0  # one dark pixel in glass
    image[20, 50] = 255  # one bright speck in tissue
    mask = glass_mask(image)
    assert mask[:, :8].all()
    assert not mask[:, 32:].any()
    batch = glass_mask(np.stack([image, image[:, ::-1]]))
    assert np.array_equal(batch[0], mask)
    assert np.array_equal(batch[1], mask[:, ::-1])


def test_one_view_is_the_identity_and_six_are_the_papers() -> None:
    assert VIEWS[1] == ((False, 1.0),)
    assert set(VIEWS[6]) == {(flip, light) for flip in (False, True) for light in (0.9, 1.0, 1.1)}


def test_views_are_turned_back_and_averaged() -> None:
    images = torch.rand(2, 3, 8, 8)

    def network(x: torch.Tensor) -> ClassMaps:
        return ClassMaps((x,), x[..., 0].mean(dim=2))  # the logit sees the left edge only

    fused, logits, _ = mean_of_views(network, lambda maps: maps[0], images, 1)
    torch.testing.assert_close(fused, images)
    fused, logits, _ = mean_of_views(network, lambda maps: maps[0], images, 6)
    lights = [(images * light).clamp(max=1) for light in (0.9, 1.0, 1.1)]
    torch.testing.assert_close(fused, torch.stack(lights).mean(dim=0))
    edges = torch.stack([light[..., column].mean(dim=2) for light in lights for column in (0, -1)])
    torch.testing.assert_close(logits, edges.mean(dim=0))


def test_strongest_is_the_first_of_the_highest() -> None:
    maps = torch.randint(0, 3, (2, 7, 9, 11)).float()  # with many ties
    expected = torch.from_numpy(maps.numpy().argmax(axis=1))  # numpy promises the first
    found = strongest(maps)
    assert found.dtype == torch.uint8
    assert torch.equal(found.long(), expected)
    assert strongest(torch.zeros(1, 255, 1, 1)).item() == 0


@pytest.mark.parametrize("size", [(16, 16), (31, 5), (8, 6), (3, 4)])
def test_upsampling_equals_interpolation(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(upsample_maps(maps, size), F.interpolate(maps, size, mode="bilinear"))


def test_scales_of_one_size_are_fused_as_if_apart() -> None:
    maps = [torch.randn(2, 3, size, size) for size in (8, 4, 4)]
    apart = [torch.nn.functional.interpolate(scale, (16, 16), mode="bilinear") for scale in maps]
    expected = 0.2 * apart[0] + 0.5 * apart[1] + 0.3 * apart[2]
    torch.testing.assert_close(fuse_scales(maps, (16, 16), (0.2, 0.5, 0.3), "raw"), expected)
