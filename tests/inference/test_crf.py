"""Dense CRF: against a slow loop over pixels, against pydensecrf2, and at the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from histoproto.errors import ImageError, SettingError
from histoproto.inference.crf import CrfSettings, dense_crf
from places import REAL

REGIONS = REAL / "luad" / "eval"


def slow_crf(image: np.ndarray, probabilities: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """The definition, one pixel after the other, in double precision: image H×W×3 in 0..255, probabilities H×W×L."""
    height, width, labels = probabilities.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    colours = [image[place].astype(np.float64) for place in places]
    position = np.array(places, dtype=np.float64)
    flat = np.array(colours)

    def normalised(rows: list[np.ndarray]) -> np.ndarray:
        sums = [row.sum() for row in rows]
        return np.array([[v / np.sqrt(sums[i] * sums[j]) for j, v in enumerate(row)] for i, row in enumerate(rows)])

    smooth, alike = [], []
    for place, colour in zip(position, colours, strict=True):
        apart = ((position - place) ** 2).sum(1)
        smooth.append(np.exp(-apart / (2 * settings.gaussian_sxy**2)))
        unlike = ((flat - colour) ** 2).sum(1) / (2 * settings.bilateral_srgb**2)
        alike.append(np.exp(-apart / (2 * settings.bilateral_sxy**2) - unlike))
    kernel = settings.gaussian_compat * normalised(smooth) + settings.bilateral_compat * normalised(alike)

    unary = np.log(np.clip(probabilities.reshape(-1, labels).astype(np.float64), settings.floor, 1))
    q = np.exp(unary) / np.exp(unary).sum(1, keepdims=True)
    for _ in range(settings.iterations):
        energy = np.array([unary[i] + kernel[i] @ q for i in range(len(unary))])
        energy -= energy.max(1, keepdims=True)
        q = np.exp(energy) / np.exp(energy).sum(1, keepdims=True)
    return q.reshape(height, width, labels)


def tissue_like(seed: int, batch: int, labels: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images of smooth regions in the colours of a stain (uint8), their regions, and uncertain probabilities."""
    chance = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, labels, 4, 4, generator=chance)
    regions = F.interpolate(coarse, size=(height, width), mode="bicubic").argmax(1)
    stain = torch.tensor([[90.0, 60, 140], [210, 130, 180], [150, 90, 160], [240, 235, 240]])[torch.arange(labels) % 4]
    image = stain[regions].permute(0, 3, 1, 2)
    image = image + 12 * torch.randn(batch, 1, height, width, generator=chance)
    image = image + 4 * torch.randn(batch, 3, height, width, generator=chance)
    evidence = F.one_hot(regions, labels).permute(0, 3, 1, 2).float()
    evidence = F.interpolate(F.adaptive_avg_pool2d(evidence, 6), size=(height, width), mode="bilinear")
    evidence = evidence + 0.3 * torch.randn(batch, labels, height, width, generator=chance)
    return image.round().clamp(0, 255).to(torch.uint8), regions, (2 * evidence).softmax(1)


def exact(image: Tensor, probabilities: Tensor, settings: CrfSettings) -> Tensor:
    slow = slow_crf(image[0].permute(1, 2, 0).numpy(), probabilities[0].permute(1, 2, 0).numpy(), settings)
    return torch.from_numpy(slow).permute(2, 0, 1)[None]


@pytest.mark.parametrize("seed", [0, 1])
def test_close_to_the_definition(seed: int) -> None:
    image, _, probabilities = tissue_like(seed, 1, 3, 24, 22)
    wanted = exact(image, probabilities, CrfSettings())
    found = dense_crf(image, probabilities)
    assert (found.argmax(1) == wanted.argmax(1)).float().mean() >= 0.98
    assert (found - wanted).abs().mean() < 0.02


def test_one_weak_update_is_close_everywhere() -> None:
    """Small weights keep the update from saturating, so that each pixel's message is compared, not only its sign."""
    image, _, probabilities = tissue_like(2, 1, 3, 24, 24)
    settings = CrfSettings(iterations=1, gaussian_compat=1.0, bilateral_compat=2.0)
    wanted = exact(image, probabilities, settings)
    plain = (probabilities - wanted).abs().max()
    error = (dense_crf(image, probabilities, settings) - wanted).abs().max()
    assert plain > 0.1, "the update must do something for this test to mean anything"
    assert error < 0.03


def test_refined_settings_converge_to_the_definition() -> None:
    """With a fine grid and a large palette what remains is the ridge and the bilinear weights."""
    image, _, probabilities = tissue_like(3, 1, 3, 20, 20)
    settings = CrfSettings(iterations=1, gaussian_compat=1.0, bilateral_compat=2.0)
    wanted = exact(image, probabilities, settings)
    errors = [
        (dense_crf(image, probabilities.double(), replace(settings, colours=colours, grid_step=step)) - wanted)
        .abs()
        .max()
        .item()
        for colours, step in ((4, 0.8), (16, 0.8), (128, 0.1))
    ]
    assert errors[2] < 2e-3
    assert errors[0] > errors[1] > errors[2]


def test_noise_goes_and_outlines_stay() -> None:
    image, regions, probabilities = tissue_like(4, 2, 3, 96, 96)
    before = (probabilities.argmax(1) == regions).float().mean()
    after = (dense_crf(image, probabilities).argmax(1) == regions).float().mean()
    assert before < 0.9
    assert after > 0.97


def test_labels_are_treated_alike() -> None:
    image, _, probabilities = tissue_like(5, 1, 4, 40, 40)
    order = [2, 0, 3, 1]
    assert torch.allclose(
        dense_crf(image, probabilities)[:, order], dense_crf(image, probabilities[:, order]), atol=1e-3
    )


def test_a_batch_equals_its_images() -> None:
    # More pixels than are done at once on a processor, so that the batch is cut as well.
    image, _, probabilities = tissue_like(6, 3, 3, 150, 170)
    together = dense_crf(image, probabilities)
    alone = torch.cat([dense_crf(image[i : i + 1], probabilities[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-3)
    small = dense_crf(image[..., :40, :40], probabilities[..., :40, :40])
    assert torch.allclose(small[1:2], dense_crf(image[1:2, :, :40, :40], probabilities[1:2, :, :40, :40]), atol=1e-3)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_types(kind: torch.dtype) -> None:
    image, _, probabilities = tissue_like(7, 1, 3, 30, 30)
    found = dense_crf(image, probabilities.to(kind))
    assert found.dtype == kind
    wanted = dense_crf(image, probabilities.to(kind).float())
    assert torch.allclose(found.float(), wanted, atol=1e-2)


def test_floating_images_are_in_0_to_1() -> None:
    image, _, probabilities = tissue_like(8, 1, 3, 30, 30)
    assert torch.allclose(dense_crf(image, probabilities), dense_crf(image.float() / 255, probabilities), atol=1e-3)


def test_mixed_precision_around_it_changes_nothing() -> None:
    image, _, probabilities = tissue_like(9, 1, 3, 30, 30)
    with torch.autocast("cpu", torch.bfloat16):
        found = dense_crf(image, probabilities)
    assert torch.equal(found, dense_crf(image, probabilities))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (8, 8), (9, 31), (33, 16)])
@pytest.mark.parametrize("labels", [1, 2, 5])
def test_any_size_and_number_of_labels(size: tuple[int, int], labels: int) -> None:
    image, _, probabilities = tissue_like(10, 2, labels, *size)
    found = dense_crf(image, probabilities)
    assert found.shape == probabilities.shape
    assert torch.isfinite(found).all()
    assert torch.allclose(found.sum(1), torch.ones(()), atol=1e-5)
    assert found.min() >= 0


@pytest.mark.parametrize("level", [0, 128, 255])
def test_constant_image(level: int) -> None:
    """No colour to go by: the two kernels are then plain blurs, which the definition confirms."""
    _, _, probabilities = tissue_like(11, 1, 3, 20, 20)
    image = torch.full((1, 3, 20, 20), level, dtype=torch.uint8)
    settings = CrfSettings(iterations=2, gaussian_compat=1.0, bilateral_compat=2.0)
    found = dense_crf(image, probabilities, settings)
    assert (found - exact(image, probabilities, settings)).abs().max() < 0.02


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64])
def test_extremes_give_numbers(kind: torch.dtype) -> None:
    chance = torch.Generator().manual_seed(12)
    noise = torch.randint(0, 256, (1, 3, 40, 40), generator=chance, dtype=torch.uint8)
    lone = torch.zeros_like(noise)
    lone[..., 20, 20] = 255
    certain = F.one_hot(torch.randint(0, 3, (1, 40, 40), generator=chance), 3).permute(0, 3, 1, 2).to(kind)
    for image in (noise, lone):
        for probabilities in (certain, torch.zeros_like(certain), torch.ones_like(certain)):
            found = dense_crf(image, probabilities)
            assert torch.isfinite(found).all()
            assert torch.allclose(found.float().sum(1), torch.ones(()), atol=2e-3)


def test_no_iterations_and_no_weights_return_the_probabilities() -> None:
    image, _, probabilities = tissue_like(13, 1, 3, 20, 20)
    for settings in (CrfSettings(iterations=0), CrfSettings(gaussian_compat=0, bilateral_compat=0)):
        assert torch.allclose(dense_crf(image, probabilities, settings), probabilities, atol=1e-5)


def test_inputs_are_left_alone() -> None:
    image, _, probabilities = tissue_like(14, 1, 3, 20, 20)
    before = image.clone(), probabilities.clone()
    dense_crf(image, probabilities)
    assert torch.equal(image, before[0])
    assert torch.equal(probabilities, before[1])


def test_an_empty_batch() -> None:
    assert dense_crf(torch.zeros(0, 3, 8, 8), torch.zeros(0, 2, 8, 8)).shape == (0, 2, 8, 8)


@pytest.mark.parametrize(
    ("image", "probabilities", "says"),
    [
        (torch.zeros(3, 8, 8), torch.zeros(1, 2, 8, 8), "B×3×H×W"),
        (torch.zeros(1, 4, 8, 8), torch.zeros(1, 2, 8, 8), "B×3×H×W"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), torch.zeros(1, 2, 8, 8), "int64"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(2, 8, 8), "B×L×H×W"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 8, dtype=torch.uint8), "floating point"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 9), "one number and size"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(1, 2, 8, 8), "one number and size"),
    ],
)
def test_wrong_tensors(image: Tensor, probabilities: Tensor, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        dense_crf(image, probabilities)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": -1},
        {"gaussian_sxy": 0.5},
        {"bilateral_srgb": 0},
        {"bilateral_compat": -2},
        {"floor": 0},
        {"floor": float("nan")},
        {"colours": 0},
        {"grid_step": 1.5},
    ],
)
def test_wrong_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        CrfSettings(**wrong)  # type: ignore[arg-type]


def pydensecrf(image: Tensor, probabilities: Tensor) -> np.ndarray:
    """The reference implementation: 3×H×W uint8 and L×H×W to a label map."""
    densecrf = pytest.importorskip("pydensecrf.densecrf", reason="pip install 'histoproto[crf-oracle]'")
    labels, height, width = probabilities.shape
    crf = densecrf.DenseCRF2D(width, height, labels)
    unary = -probabilities.clamp(1e-5, 1).log().reshape(labels, -1).numpy()
    crf.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
    crf.addPairwiseGaussian(sxy=15, compat=30)
    crf.addPairwiseBilateral(sxy=10, srgb=20, rgbim=np.ascontiguousarray(image.permute(1, 2, 0).numpy()), compat=50)
    return np.array(crf.inference(5)).reshape(labels, height, width).argmax(0)


def test_agrees_with_pydensecrf_on_drawn_tissue() -> None:
    image, _, probabilities = tissue_like(15, 4, 4, 128, 128)
    found = dense_crf(image, probabilities).argmax(1).numpy()
    wanted = np.stack([pydensecrf(*pair) for pair in zip(image, probabilities, strict=True)])
    assert (found == wanted).mean() >= 0.98


@pytest.mark.skipif(not REGIONS.is_dir(), reason="no real tissue here")
@pytest.mark.parametrize("confidence", [0.5, 1.5, 5.0])
def test_agrees_with_pydensecrf_on_real_tissue(confidence: float) -> None:
    from histoproto.data.images import read_image

    chance = torch.Generator().manual_seed(16)
    agreement = []
    for file in sorted((REGIONS / "img").glob("*.png"))[::5]:
        image = torch.from_numpy(read_image(file)[:224, :224].copy()).permute(2, 0, 1)
        mask = torch.from_numpy(np.array(Image.open(REGIONS / "mask" / file.name)))[:224, :224]
        evidence = F.one_hot(mask.long(), 4).permute(2, 0, 1)[None].float()
        # As coarse and as wrong as activation maps are.
        evidence = F.adaptive_avg_pool2d(evidence, 14) + 0.3 * torch.randn(1, 4, 14, 14, generator=chance)
        evidence = F.interpolate(evidence, size=mask.shape, mode="bilinear")
        probabilities = (confidence * evidence).softmax(1)
        found = dense_crf(image[None], probabilities)[0].argmax(0).numpy()
        agreement.append((found == pydensecrf(image, probabilities[0])).mean())
    assert np.mean(agreement) >= 0.98


def test_threads_with_images_of_their_own_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("histoproto.inference.crf._pixels_at_once", lambda device: 40 * 30)
    images, chances = torch.rand(5, 3, 40, 30), torch.rand(5, 3, 40, 30)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = dense_crf(images, chances)
        torch.set_num_threads(2)
        with torch.inference_mode():
            shared = dense_crf(images, chances)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(shared, alone)
