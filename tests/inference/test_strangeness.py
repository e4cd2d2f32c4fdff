"""Strangeness: distances, what is kept of them, and what an image looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from histoproto.errors import WeightsError
from histoproto.inference.strangeness import (
    KINDS,
    MOST_AXES,
    Strangeness,
    fit_spread,
    load_strangeness,
    look_of,
    tissue_shares,
)
from histoproto.model.saving import FAMILIAR_FILE


def test_distance_is_mahalanobis_with_a_shrunk_covariance() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 3
    found = fit_spread(torch.from_numpy(values), 0.1).distance(torch.from_numpy(values[:9] * 1.5))
    z = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    inverse = np.linalg.inv(0.9 * np.cov(z.T) + 0.1 * np.eye(6))
    probe = (values[:9] * 1.5 - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    slow = [np.sqrt(row @ inverse @ row / 6) for row in probe]
    np.testing.assert_allclose(found.numpy(), slow, rtol=0.02)  # axes are kept in half precision


def test_axes_that_are_not_kept_share_their_variance() -> None:
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.normal(size=(2000, MOST_AXES + 50)))
    spread = fit_spread(values)
    assert spread.axes.shape == (MOST_AXES + 50, MOST_AXES)
    far = torch.from_numpy(rng.normal(size=(20, MOST_AXES + 50)))
    assert spread.distance(far).mean() == pytest.approx(1, abs=0.1)
    assert spread.distance(3 * far).mean() == pytest.approx(3, abs=0.3)


def test_what_never_varies_is_finite() -> None:
    spread = fit_spread(torch.ones(30, 4))
    assert spread.distance(torch.ones(1, 4)).item() == pytest.approx(0, abs=1e-3)
    assert bool(spread.distance(torch.zeros(1, 4)).isfinite().all())


def test_sharpness_tells_blur_and_not_contrast_and_stain_tells_paleness() -> None:
    image = np.random.default_rng(2).uniform(0.2, 0.7, (64, 64, 3))
    blurred = ndimage.gaussian_filter(image, (1.5, 1.5, 0))
    pale = 1 - 0.6 * (1 - image)
    plain, soft, light = look_of(torch.from_numpy(np.stack([image, blurred, pale])).permute(0, 3, 1, 2).float())
    assert soft[3] < plain[3] - 0.5
    assert light[3] == pytest.approx(plain[3].item(), abs=0.05)
    assert bool((light[:3] < plain[:3] - 0.3).all())


def test_stain_is_that_of_tissue_alone() -> None:
    image = torch.full((1, 3, 32, 32), 0.5)
    half = image.clone()
    half[..., 16:] = 0.95
    torch.testing.assert_close(look_of(half)[:, :3], look_of(image)[:, :3])
    assert tissue_shares(half).item() == 0.5


def known(seed: int = 0) -> Strangeness:
    rng = torch.Generator().manual_seed(seed)
    spreads = tuple(fit_spread(torch.randn(50, width, generator=rng)) for width in (5, 3, 1))
    return Strangeness(spreads, (2.0, 3.0, 4.0))


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    before = known()
    familiar = before.save(tmp_path, "a test")
    after = load_strangeness(tmp_path, familiar)
    assert after is not None
    images, pooled = torch.rand(4, 3, 32, 32), torch.randn(4, 5)
    torch.testing.assert_close(after(images, pooled), before(images, pooled))
    assert list(familiar.limits) == list(KINDS)
    assert load_strangeness(tmp_path, None) is None


def test_another_file_is_refused(tmp_path: Path) -> None:
    familiar = known().save(tmp_path, "a test")
    known(seed=1).save(tmp_path, "another")
    with pytest.raises(WeightsError, match="not the one that model"):
        load_strangeness(tmp_path, familiar)
    (tmp_path / FAMILIAR_FILE).unlink()
    with pytest.raises(WeightsError, match="missing"):
        load_strangeness(tmp_path, familiar)
