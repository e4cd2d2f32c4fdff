"""Frozen runs: what they learn, that they resume exactly, and that predict, segment and export need nothing new."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from dying import train_until_killed
from histoproto.cli.app import app
from histoproto.config import Settings, load_settings
from histoproto.data.augment import dihedral
from histoproto.data.dataset import Augmentation, PatchDataset
from histoproto.data.images import write_mask
from histoproto.data.layouts import open_data
from histoproto.data.masks import read_mask
from histoproto.data.mosaic import MixedDataset
from histoproto.documents.tables import read_table
from histoproto.errors import SettingError
from histoproto.features import views
from histoproto.features.dataset import FeatureDataset
from histoproto.features.filling import fill
from histoproto.features.mosaics import MixedFeatures
from histoproto.features.shelf import Shelf, describe
from histoproto.inference.export import export_model
from histoproto.inference.segmenter import Segmenter
from histoproto.methods.base import features_of
from histoproto.methods.registry import PRESETS, build_method
from histoproto.model.saving import load_model
from histoproto.tissue import TissueSet
from histoproto.training.run import train

TINY = (
    "training.tuning=frozen",
    "model.prototypes=2",
    "training.epochs=2",
    "training.batch_size=4",
    "training.views=2",
    "training.checkpoint_every=2",
    "data.validation_fraction=0.25",
    "data.workers=0",
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HISTOPROTO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 masked patches of 64 px: red, green or both halves."""
    root = tmp_path_factory.mktemp("data")
    tissues = TissueSet.of("red", "green")
    tissues.write(root / "classes.yaml")
    rng = np.random.default_rng(0)
    for index in range(24):
        pixels = rng.integers(120, 255, (64, 64, 3), dtype=np.uint8)
        label = ("10", "01", "11")[index % 3]
        pixels[:, :32, 0 if label[0] == "1" else 1] = 60
        pixels[:, 32:, 1 if label[1] == "1" else 0] = 60
        name = f"region{index // 4}+{index}[{label}].png"
        (root / "train" / "img").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "train" / "img" / name)
        mask = np.zeros((64, 64), dtype=np.uint8)
        mask[:, 32:] = int(label != "10")
        mask[:, :32] = int(label == "01")
        write_mask(root / "train" / "mask" / name, mask, tissues)
    return root


def settings_of(method: str, *more: str) -> Settings:
    return load_settings(overrides=[f"method={method}", *TINY, *more], presets=PRESETS)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("runs") / "lpd", settings_of("lpd"))


def test_features_give_the_losses_that_images_give(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = settings_of("lpd", "loss.similarity=0")
    method = build_method(settings, torch.tensor([0.5, 0.5]))
    method.eval()
    plain = PatchDataset(open_data(data).train, 64)
    shelf = Shelf(tmp_path, describe(method.network.encoder, "lite0", 64))
    kept = FeatureDataset(plain, shelf, 1)
    fill(shelf, method.network.encoder, kept.pixels, kept.digests)
    method.network.neck.standardise(*kept.statistics())
    batches = [torch.utils.data.default_collate([dataset[index] for index in range(6)]) for dataset in (plain, kept)]
    one, two = (method.losses(batch, 0.5) for batch in batches)
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-2, atol=1e-3)
    # Standardised: mean 0 and deviation 1 over all patches, as an independent sum over images tells.
    maps = features_of(method.network, {"image": torch.stack([plain[i]["image"] for i in range(len(plain))])})
    for scale in maps:
        torch.testing.assert_close(scale.mean(dim=(0, 2, 3)), torch.zeros(scale.shape[1]), atol=2e-2, rtol=0)
        assert ((scale.std(dim=(0, 2, 3)) - 1).abs() < 2e-2).float().mean() > 0.95


def test_many_short_epochs_are_validated_twenty_times_at_most(data: Path, tmp_path: Path) -> None:
    short = settings_of("cam", "training.batch_size=16", "training.epochs=41")  # of one step each
    rows = read_table(train(data, tmp_path / "run", short) / "history.csv").rows
    assert [row["step"] for row in rows if row["val_map"]] == [str(step) for step in range(3, 42, 3)]


def test_mask_and_glass_are_turned_as_their_view_is(data: Path, tmp_path: Path) -> None:
    method = build_method(settings_of("cam"), torch.tensor([0.5, 0.5]))
    plain = PatchDataset(open_data(data).train, 64, Augmentation(0.0, 0))
    plain.read_label_map = lambda patch: np.asarray(Image.open(patch.image))[..., 0]
    shelf = Shelf(tmp_path, describe(method.network.encoder, "lite0", 64))
    kept = FeatureDataset(plain, shelf, 4, red_is_bright)
    fill(shelf, method.network.encoder, kept.pixels, kept.digests, kept.count)
    for epoch in range(6):
        sample = kept[epoch, 5]
        assert torch.equal(sample["glass"], sample["mask"] > 100)
        view = int(np.random.default_rng((0, epoch, 5)).integers(4))
        turned = dihedral(plain.plain()[5]["image"], views.turn(kept.digests[5], view))
        assert torch.equal(sample["mask"], (turned[0] * 255).round().long())


@pytest.mark.parametrize(
    "method", ["lpd", "lpd+mosaic", "lpd+decoder", "lpd+decoder+mosaic", "cam", "supervised", "pbip"]
)
def test_every_method_that_can_be_frozen_is(data: Path, tmp_path: Path, method: str) -> None:
    run = train(data, tmp_path / "run", settings_of(method))
    before = build_method(settings_of(method), torch.tensor([0.5, 0.5])).network.encoder.state_dict()
    network, card = load_model(run)
    assert card.model.neck
    after = network.encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any(adapter.weight.abs().sum() > 0 for adapter in network.neck.adapters)


def red_is_bright(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return pixels[..., 0] > 100


def test_mosaics_are_a_set_that_all_seeds_share(data: Path, tmp_path: Path) -> None:
    """Their features are those of an image whose pixels are as `known` says: red and green patches put together."""
    method = build_method(settings_of("lpd+decoder+mosaic"), torch.tensor([0.5, 0.5]))
    shelf = Shelf(tmp_path, describe(method.network.encoder, "lite0", 64))
    one, other = (
        MixedFeatures(MixedDataset(PatchDataset(open_data(data).train, 64, Augmentation(0.1, seed)), ("r", "g")), *how)
        for seed, how in ((0, (shelf, 2, red_is_bright)), (1, (shelf, 2, red_is_bright)))
    )
    assert one.mosaic_digests == other.mosaic_digests
    for part in (one, other):
        fill(shelf, method.network.encoder, part.pixels, part.digests, part.count, part.jitter)
    assert fill(shelf, method.network.encoder, one.mosaic_pixels, one.mosaic_digests) == len(set(one.mosaic_digests))
    sample, patch = one[3, len(one) + 2], one[3, 2]
    assert (patch["known"] == -1).all()
    assert sample["labels"].sum() == 0
    number = int(np.random.default_rng((3, len(one) + 2)).integers(len(one.mosaics)))
    image = torch.from_numpy(one.mosaic_pixels(number)).permute(2, 0, 1).float() / 255
    red, green, _ = image
    assert torch.equal(sample["glass"], red * 255 > 100)
    assert ((red < green) == (sample["known"] == 0)).float().mean() > 0.9
    expected = method.network.encoder.eval()(image[None])
    for found, scale in zip(sample["features"], expected, strict=True):
        torch.testing.assert_close(found.float(), scale[0].detach(), atol=2e-2, rtol=1e-2)


def test_predict_segment_and_export_need_nothing_new(run: Path, data: Path, tmp_path: Path) -> None:
    images = sorted((data / "train" / "img").iterdir())[:3]
    segmenter = Segmenter.load(run)
    found = [segmenter.segment(image) for image in images]
    for command in ("predict", "segment"):
        command = [command, run, images[0], "--out", tmp_path / command, "--device", "cpu"]
        more = ["--mpp", 1, "--model-mpp", 1] if command[0] == "segment" else []
        result = CliRunner().invoke(app, [str(part) for part in (*command, *more)])
        assert result.exit_code == 0, (result.output, result.exception)
    mask = tmp_path / "predict" / "mask" / f"{images[0].stem}.png"
    assert np.array_equal(read_mask(mask, segmenter.tissues), found[0].labels)
    assert list((tmp_path / "segment").rglob("areas.csv"))
    exported = export_model(run, tmp_path / "onnx", "onnx")
    other = Segmenter.load(exported.parent)
    for image, one in zip(images, found, strict=True):
        two = other.segment(image)
        np.testing.assert_allclose(two.scores, one.scores, atol=1e-2)
        assert (two.labels == one.labels).mean() > 0.99


def test_killed_and_resumed_equals_uninterrupted(data: Path, run: Path, tmp_path: Path) -> None:
    train_until_killed(data, tmp_path / "cut", 7, ["method=lpd", *TINY])
    checkpoint = torch.load(tmp_path / "cut" / "checkpoints" / "resume.ckpt", weights_only=True)
    assert not [name for name in checkpoint["state_dict"] if ".encoder." in name]
    resumed = train(data, tmp_path / "cut", resume=True)
    expected, found = load_file(run / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_head_first_goes_on_from_the_head_and_resumes_exactly(data: Path, tmp_path: Path) -> None:
    """Two steps in one batch each, then eight: killed in the first and in the second part."""
    overrides = ["method=lpd", *TINY, "training.tuning=head-first"]
    whole = train(data, tmp_path / "whole", load_settings(overrides=overrides, presets=PRESETS))
    expected, head = load_file(whole / "model.safetensors"), load_file(whole / "head" / "model.safetensors")
    changed = [name for name, value in expected.items() if not torch.equal(value, head[name])]
    assert any(name.startswith("encoder.") for name in changed)
    assert not any(name.startswith(("neck.means", "neck.deviations")) for name in changed)
    for stop in (1, 6):
        out = tmp_path / f"cut-{stop}"
        train_until_killed(data, out, stop, overrides)
        assert (out / "head" / "model.json").exists() == (stop > 2)
        found = load_file(train(data, out, resume=True) / "model.safetensors")
        assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.parametrize(("method", "more"), [("mosaic", ()), ("lpd", ("loss.refiner=image", "loss.similarity=0.1"))])
def test_what_needs_new_images_is_refused(data: Path, tmp_path: Path, method: str, more: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match="tuning=full"):
        train(data, tmp_path / "run", settings_of(method, *more))
    assert not (tmp_path / "run").exists()


def test_what_is_not_kept_is_told_with_the_name_that_was_asked_for(data: Path, run: Path) -> None:
    kept = CliRunner().invoke(app, ["features"]).output
    assert "tf_efficientnet_lite0" in kept
    none = CliRunner().invoke(app, ["features", "--encoder", "nosuch", "--clear"])
    assert "'nosuch'" in none.output
    assert CliRunner().invoke(app, ["features"]).output == kept


def test_pbip_keeps_its_similarity_loss_with_a_frozen_encoder() -> None:
    frozen = {
        method: load_settings(overrides=[f"method={method}", "training.tuning=frozen"], presets=PRESETS)
        for method in ("lpd", "pbip")
    }
    assert {method: settings.loss.similarity for method, settings in frozen.items()} == {"lpd": 0, "pbip": 0.1}
