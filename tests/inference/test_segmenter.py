from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fakes import ColourNetwork, colour_card
from histoproto.config import InferenceSettings
from histoproto.data.images import write_image
from histoproto.errors import DataError, ImageError, SettingError
from histoproto.inference import deciding as module
from histoproto.inference import large as large_module
from histoproto.inference.inputs import in_chunks
from histoproto.inference.overlay import blend_mask, overlay_picture
from histoproto.inference.segmenter import Segmentation, Segmenter
from histoproto.inference.windows import OVERLAP

RED, GREEN, BLUE, GREY = (200, 20, 20), (20, 200, 20), (20, 20, 200), (60, 60, 60)
PLAIN = InferenceSettings(background="none")


def picture(height: int, width: int, *colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Vertical stripes of equal width."""
    stripe = np.arange(width) * len(colours) // width
    return np.broadcast_to(np.array(colours, np.uint8)[stripe], (height, width, 3)).copy()


def one(result: Segmentation | list[Segmentation]) -> Segmentation:
    assert isinstance(result, Segmentation)
    return result


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(ColourNetwork(), colour_card(), device="cpu")  # type: ignore[arg-type]


def test_a_patch(segmenter: Segmenter) -> None:
    result = one(segmenter.segment(picture(64, 64, RED, BLUE)))
    assert result.labels.dtype == np.uint8
    assert np.array_equal(result.labels, np.broadcast_to(np.repeat([0, 2], 32).astype(np.uint8), (64, 64)))
    assert result.scores.shape == (3, 64, 64)
    assert np.isfinite(result.scores).all()
    assert np.array_equal(result.scores.argmax(axis=0), result.labels)
    assert (result.probabilities > 0.5).tolist() == [True, False, True]


def test_every_kind_of_input(segmenter: Segmenter, tmp_path: Path) -> None:
    images = [picture(64, 64, RED, BLUE), picture(64, 64, GREEN, RED), picture(48, 80, BLUE, GREEN)]
    expected = [one(segmenter.segment(image)).labels for image in images]
    for index, image in enumerate(images):
        write_image(tmp_path / f"{index}.png", image)
    assert np.array_equal(one(segmenter.segment(tmp_path / "1.png")).labels, expected[1])
    assert np.array_equal(one(segmenter.segment(str(tmp_path / "1.png"))).labels, expected[1])
    batch = segmenter.segment(np.stack(images[:2]))
    assert isinstance(batch, list)
    for many in (batch, segmenter.segment(tmp_path), segmenter.segment(images), segmenter.stream(iter(images))):
        for found, wanted in zip(many, expected, strict=False):  # type: ignore[arg-type]
            assert np.array_equal(found.labels, wanted)
    assert segmenter.segment([]) == []


def test_images_are_done_in_batches(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = ColourNetwork.class_maps

    def counted(self: ColourNetwork, x: torch.Tensor) -> object:
        sizes.append(len(x))
        return original(self, x)

    monkeypatch.setattr(ColourNetwork, "class_maps", counted)
    images = [picture(64, 64, RED, BLUE)] * 5 + [picture(32, 64, GREEN)] * 2
    assert len(list(segmenter.stream(images, batch_size=4))) == 7
    assert sizes == [4, 1, 2]


def test_oracle_labels(segmenter: Segmenter) -> None:
    image = picture(64, 64, RED, BLUE)
    assert (one(segmenter.segment(image, labels=(0, 0, 1))).labels == 2).all()
    assert (one(segmenter.segment(image, labels=(0, 0, 0))).labels == 3).all()
    rows = segmenter.segment(np.stack([image, image]), labels=[[1, 0, 0], [0, 1, 0]])
    assert [np.unique(row.labels).tolist() for row in rows] == [[0], [1]]  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (7, 33), (65, 64), (95, 96)])
@pytest.mark.parametrize("views", [1, 6])
def test_any_size(segmenter: Segmenter, shape: tuple[int, int], views: int) -> None:
    result = one(segmenter.segment(picture(*shape, GREEN), settings=InferenceSettings(background="none", views=views)))
    assert result.labels.shape == shape
    assert result.scores.shape == (3, *shape)
    assert (result.labels == 1).all()


@pytest.mark.parametrize("shape", [(200, 300), (30, 400), (97, 96)])
@pytest.mark.parametrize("fusion", ["raw", "minmax"])
def test_large_images_go_through_windows(segmenter: Segmenter, shape: tuple[int, int], fusion: str) -> None:
    image = picture(*shape, RED, GREEN, BLUE)
    settings = InferenceSettings(background="none", fusion=fusion)  # type: ignore[arg-type]
    result = one(segmenter.segment(image, settings=settings))
    assert result.scores.shape == (3, *shape)
    truth = np.broadcast_to(np.arange(shape[1]) * 3 // shape[1], shape)
    assert (result.labels == truth).mean() > 0.93
    assert (result.probabilities > 0.9).all()  # each tissue is in some window


@pytest.mark.parametrize("background", ["none", "glass", "activation"])
@pytest.mark.parametrize("fusion", ["raw", "minmax"])
def test_strips_are_parts_of_the_whole(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, fusion: str, background: str
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (203, 141, 3), np.uint8)
    image[:90] = picture(90, 141, RED, GREEN, (240, 240, 240))
    settings = InferenceSettings(background=background, fusion=fusion)  # type: ignore[arg-type]
    whole = one(segmenter.segment(image, settings=settings))
    monkeypatch.setattr("histoproto.inference.segmenter.HUGE", 1000)
    monkeypatch.setattr("histoproto.inference.segmenter.HUGE_OVERLAP", OVERLAP)
    monkeypatch.setattr("histoproto.inference.large.STRIP", 16 * 141)
    monkeypatch.setattr("histoproto.inference.background.STRIP_PIXELS", 10 * 141)
    strips = one(segmenter.segment(image, settings=settings))
    assert (whole.labels == strips.labels).mean() > 0.999
    assert whole.probabilities == pytest.approx(strips.probabilities, abs=1e-5)
    assert strips.scores.shape == (3, 0, 0)
    small = Segmenter(ColourNetwork(), colour_card(mpp=1.0), device="cpu")  # type: ignore[arg-type]
    assert one(small.segment(image, mpp=2.0, settings=settings)).labels.shape == (203, 141)


def test_the_crf_in_strips(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(400, 100, RED, GREEN, BLUE)
    monkeypatch.setattr("histoproto.inference.segmenter.HUGE", 1000)
    monkeypatch.setattr("histoproto.inference.large.STRIP", 64 * 100)
    labels = one(segmenter.segment(image, settings=InferenceSettings(background="none", crf=True))).labels
    assert (labels == np.broadcast_to(np.arange(100) * 3 // 100, (400, 100))).mean() > 0.93


def test_windows_are_gated_one_by_one() -> None:
    """A tissue that the classifier finds at one end of an image cannot appear at the other."""
    segmenter = Segmenter(ColourNetwork(), colour_card(), device="cpu")  # type: ignore[arg-type]
    image = picture(64, 640, GREY)  # where no tissue is found, the likeliest passes: green, by a hair
    image[..., 1] += 1
    image[:, :64] = RED
    labels = one(segmenter.segment(image)).labels
    assert (labels[:, :48] == 0).all()
    assert (labels[:, 128:] == 1).all()
    assert (one(segmenter.segment(image, labels=(0, 0, 1))).labels == 2).all()


def test_background_by_activation(segmenter: Segmenter) -> None:
    image = picture(64, 64, RED, GREY)
    for fusion in ("raw", "minmax"):
        settings = InferenceSettings(background="activation", fusion=fusion)  # type: ignore[arg-type]
        labels = one(segmenter.segment(image, settings=settings)).labels
        assert (labels[:, :28] == 0).all(), fusion
        assert (labels[:, 36:] == 3).all(), fusion
        large = one(segmenter.segment(picture(100, 200, RED, GREY), settings=settings)).labels
        assert (large[:, :80] == 0).all(), fusion
        assert (large[:, 180:] == 3).any(), fusion


def test_glass(segmenter: Segmenter) -> None:
    image = picture(64, 64, RED, (240, 240, 245))
    labels = one(segmenter.segment(image, settings=InferenceSettings(background="glass"))).labels
    assert (labels[:, :28] == 0).all()
    assert (labels[:, 36:] == 3).all()


@pytest.mark.parametrize("shape", [(64, 64), (150, 100)])
def test_the_crf_gets_pixels_and_probabilities(
    segmenter: Segmenter, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def crf(images: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
        calls.append((images, probabilities))
        assert images.shape[-2:] == probabilities.shape[-2:]
        return probabilities.flip(1)  # red becomes background, background red

    for where in (module, large_module):
        monkeypatch.setattr(where, "dense_crf", crf)
    settings = InferenceSettings(background="activation", fusion="minmax", crf=True)
    image = picture(*shape, RED, RED, RED, GREY)
    image[:2] = GREY
    plain = one(segmenter.segment(image, settings=settings.model_copy(update={"crf": False}))).labels
    swapped = one(segmenter.segment(image, settings=settings)).labels
    assert np.array_equal(swapped, 3 - plain)
    for images, probabilities in calls:
        assert images.dtype == torch.uint8
        assert max(images.shape[-2:]) <= 64
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones_like(probabilities[:, 0]))


def test_the_crf_itself(segmenter: Segmenter) -> None:
    """Maps of 8 px and more make a disc angular; the CRF puts its outline back on the colours."""
    rows, columns = np.mgrid[:64, :64]
    disc = (rows - 30) ** 2 + (columns - 33) ** 2 < 20**2
    image = np.where(disc[..., None], np.array(RED, np.uint8), np.array(BLUE, np.uint8))
    truth = np.where(disc, 0, 2)
    plain = one(segmenter.segment(image)).labels
    refined = one(segmenter.segment(image, settings=InferenceSettings(background="none", crf=True))).labels
    assert (plain == truth).mean() < 0.99
    assert (refined == truth).mean() > 0.99


def test_images_are_resampled_to_the_models_scale() -> None:
    segmenter = Segmenter(ColourNetwork(), colour_card(patch_size=64, mpp=0.5), device="cpu")  # type: ignore[arg-type]
    image = picture(128, 120, RED, GREEN)
    result = one(segmenter.segment(image, mpp=0.25))
    assert result.labels.shape == (128, 120)
    assert result.scores.shape == (3, 128, 120)
    small = one(segmenter.segment(image[::2, ::2]))
    assert np.array_equal(result.labels[::2, ::2], small.labels)
    assert np.array_equal(one(segmenter.segment(image, mpp=0.501)).labels, one(segmenter.segment(image)).labels)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((8, 8, 3)), "found float64"),
        (np.zeros((8, 8), np.uint8), r"found shape \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"found shape \(8, 8, 4\)"),
        (np.zeros((0, 8, 3), np.uint8), "found shape"),
        (np.zeros((2, 8, 8, 1), np.uint8), r"found shape \(8, 8, 1\)"),
        (7, "found int"),
        ("nowhere.png", "there is no image nowhere.png"),
    ],
)
def test_wrong_images_are_sentences(segmenter: Segmenter, image: object, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        segmenter.segment(image)  # type: ignore[arg-type]


def test_other_mistakes_are_sentences(segmenter: Segmenter, tmp_path: Path) -> None:
    image = picture(8, 8, RED)
    with pytest.raises(DataError, match="holds no images"):
        segmenter.segment(tmp_path)
    for labels in ([1, 0], [[1, 0, 0]], [0.5, 0, 1]):
        with pytest.raises(SettingError, match="expected labels of 0 and 1"):
            segmenter.segment(image, labels=labels)
    with pytest.raises(SettingError, match="does not know its own µm/px"):
        segmenter.segment(image, mpp=0.5)
    with pytest.raises(SettingError, match="must be from"):
        segmenter.segment(image, mpp=-1)
    with pytest.raises(SettingError, match="no device 'gpu'"):
        Segmenter(ColourNetwork(), colour_card(), device="gpu")  # type: ignore[arg-type]


def test_chunks_are_bounded_by_number_and_pixels() -> None:
    small, large = np.zeros((8, 8, 3), np.uint8), np.zeros((3000, 4000, 3), np.uint8)
    assert [len(chunk) for chunk in in_chunks((i, small) for i in range(300))] == [256, 44]
    assert [len(chunk) for chunk in in_chunks([(0, large), (1, small), (2, large), (3, large)])] == [2, 1, 1]


def test_overlay_shows_image_mask_and_legend() -> None:
    card = colour_card()
    image = picture(40, 60, GREY)
    labels = np.full((40, 60), 3, np.uint8)
    labels[10:30, 10:30] = 1
    blended = blend_mask(image, labels, card.tissues, opacity=0.5)
    assert np.array_equal(blended[labels == 3][:5], image[labels == 3][:5])
    green = card.tissues.rgb()[1].astype(float)
    np.testing.assert_allclose(blended[20, 20], (green + 60) / 2, atol=1)
    shown = overlay_picture(image, labels, card.tissues)
    assert np.array_equal(shown[:40, :60], image)
    assert (shown[40:] == card.tissues.rgb()[1]).all(axis=2).any()  # its colour in the legend
    assert not (shown[40:] == card.tissues.rgb()[0]).all(axis=2).any()
    assert overlay_picture(image[:1, :1], labels[:1, :1], card.tissues).ndim == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_the_same_masks() -> None:
    image = picture(150, 200, RED, GREEN, BLUE)
    settings = InferenceSettings(background="activation", fusion="minmax", views=6, crf=True)
    results = [
        one(Segmenter(ColourNetwork(), colour_card(), device).segment(image, settings=settings)).labels  # type: ignore[arg-type]
        for device in ("cpu", "cuda")
    ]
    assert (results[0] == results[1]).mean() > 0.999
