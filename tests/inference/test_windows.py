from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from histoproto.inference.patches import pad_to_stride
from histoproto.inference.windows import Window, blend, window_grid, window_weights

SHAPES = [(64, 64), (100, 64), (97, 203), (30, 200), (65, 129)]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_windows_cover_every_pixel_and_stay_inside(height: int, width: int) -> None:
    covered = torch.zeros(height, width)
    windows = window_grid(height, width, 64, 32)
    assert len(set(windows)) == len(windows)
    for window in windows:
        assert covered[window.place].shape == (min(64, height), min(64, width))
        covered[window.place] += 1
    assert covered.min() >= 1


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_a_constant_stays_constant(height: int, width: int) -> None:
    """Which is to say that the weights sum to one everywhere."""

    def predict(windows: Sequence[Window]) -> torch.Tensor:
        return torch.tensor([3.0, -7.0])[None, :, None, None].expand(
            len(windows), 2, windows[0].height, windows[0].width
        )

    blended = blend(predict, window_grid(height, width, 64, 32), batch_size=3)
    assert blended.shape == (2, height, width)
    torch.testing.assert_close(blended, torch.tensor([3.0, -7.0])[:, None, None].expand_as(blended))


def test_what_windows_agree_on_is_kept() -> None:
    image = torch.rand(1, 90, 150)
    windows = window_grid(90, 150, 64, 32)
    blended = blend(lambda batch: torch.stack([image[:, *w.place] for w in batch]), windows, batch_size=5)
    torch.testing.assert_close(blended, image)


def test_the_middle_of_a_window_counts_most() -> None:
    weights = window_weights(64, 64)
    assert weights.min() > 0
    assert weights.argmax() in (31 * 64 + 31, 31 * 64 + 32, 32 * 64 + 31, 32 * 64 + 32)
    windows = [Window(0, 0, 64, 64), Window(0, 32, 64, 64)]
    first = blend(lambda batch: torch.tensor([1.0, 0.0])[:, None, None, None].expand(2, 1, 64, 64), windows, 2)[0, 32]
    assert (first[:32] == 1).all()
    assert (first[64:] == 0).all()
    seam = first[32:64]
    assert (seam.diff() <= 0).all()  # no jump back
    assert first[47] > 0.5 > first[48]  # half-way


@pytest.mark.parametrize("shape", [(1, 1), (5, 70), (64, 96), (33, 31)])
def test_padding_reflects(shape: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *shape)
    padded = pad_to_stride(images)
    assert padded.shape[-2] % 32 == padded.shape[-1] % 32 == 0
    assert torch.equal(padded[..., : shape[0], : shape[1]], images)
    if shape == (33, 31):
        torch.testing.assert_close(padded, torch.nn.functional.pad(images, (0, 1, 0, 31), mode="reflect"))
