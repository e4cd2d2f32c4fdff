"""Maps at pixels of an image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from histoproto.model.lattice import Lattice, upsample_maps


@pytest.mark.parametrize(("size", "step"), [((32, 40), 4), ((33, 47), 4), ((8, 10), 1), ((4, 5), 1), ((64, 40), 4)])
def test_a_lattice_has_pixels_and_maps_at_the_same_places(size: tuple[int, int], step: int) -> None:
    torch.manual_seed(0)
    maps, image = torch.randn(2, 3, 4, 5), torch.randn(2, 3, *size)
    lattice = Lattice.under(maps, size)
    assert lattice.step == step
    large = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(lattice.maps(maps), large[..., step // 2 :: step, step // 2 :: step])
    assert torch.equal(lattice.pixels(image), image[..., step // 2 :: step, step // 2 :: step])
    torch.testing.assert_close(lattice.maps(large), lattice.maps(maps))


def test_maps_of_half_precision_are_enlarged_in_single() -> None:
    maps = torch.randn(1, 2, 4, 4).half()
    with torch.autocast("cpu", torch.bfloat16):
        found = Lattice.under(maps, (32, 32)).maps(maps)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, upsample_maps(maps.float(), (32, 32), 4))
