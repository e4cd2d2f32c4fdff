"""Every method by itself: what it trains on, what it leaves behind, and what it stands for."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import default_collate

from histoproto.config import Settings, TrainingSettings, load_settings
from histoproto.data.dataset import Augmentation, PatchDataset, ResumableLoader, StepSampler
from histoproto.data.layouts import open_data
from histoproto.data.mosaic import MixedDataset, MosaicDataset, random_regions
from histoproto.errors import DataError, OutputError, RunError, SettingError
from histoproto.inference.background import without_glass
from histoproto.inference.fusion import fuse_scales
from histoproto.losses.pixel import pixel_loss, pseudo_mask
from histoproto.methods.base import Method
from histoproto.methods.pbip import cosine_kmeans
from histoproto.methods.registry import METHODS, PRESETS, build_method, resolve
from histoproto.model.network import log_odds
from histoproto.model.saving import load_model
from histoproto.report.prototype_page import write_prototypes
from histoproto.tissue import TissueSet
from histoproto.training.callbacks import Checkpoints
from histoproto.training.epochs import count_epochs
from histoproto.training.run import train

TINY = [
    "model.encoder=test_efficientnet",
    "model.weights=null",
    "model.prototypes=3",
    "training.epochs=2",
    "training.batch_size=4",
    "training.checkpoint_every=2",
    "data.validation_fraction=0.25",
    "data.workers=0",
    "loss.warmup=0.25",
]


def settings_of(method: str, *more: str) -> Settings:
    return load_settings(overrides=[f"method={method}", *TINY, *more], presets=PRESETS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 patches of 32 px, red, green or both halves, with masks of the training patches."""
    root = tmp_path_factory.mktemp("data")
    (root / "train" / "mask").mkdir(parents=True)
    TissueSet.of("red", "green").write(root / "classes.yaml")
    rng = np.random.default_rng(0)
    for index in range(24):
        label = ("10", "01", "11")[index % 3]
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[:, :16], mask[:, 16:] = label[0] == "0", label[1] == "1"
        pixels = rng.integers(120, 255, (32, 32, 3), dtype=np.uint8)
        pixels[mask == 0, 0] = 60
        pixels[mask == 1, 1] = 60
        name = f"region{index // 4}+{index}[{label}].png"
        Image.fromarray(pixels).save(root / "train" / name)
        Image.fromarray(mask).save(root / "train" / "mask" / name)
    return root


@pytest.mark.parametrize("method", METHODS)
def test_trains_and_loads(method: str, data: Path, tmp_path: Path) -> None:
    # The published code compares raw prototypes with features, so both must be of one size.
    fitting = ["model.dimension=64", "loss.similarity=0"] if method == "lpd-published" else []
    settings = settings_of(method, *fitting)
    run = train(data, tmp_path / "run", settings)
    network, card = load_model(run)
    assert card.method == method
    assert card.second_stage == (method == "pbip")
    out = network.class_maps(torch.rand(2, 3, 32, 32))
    assert out.logits.shape == (2, 2)
    assert all(maps.shape[:2] == (2, 2) for maps in out.maps)
    assert all(torch.isfinite(maps).all() for maps in out.maps)
    assert not (run / "pseudo-masks").exists()
    assert load_settings(run / "config.yaml") == resolve(settings)


def test_unknown_method_is_named() -> None:
    with pytest.raises(SettingError, match="there is no method 'lpp'; there are lpd, "):
        build_method(settings_of("lpp"), torch.tensor([0.5, 0.5]))


def test_presets_give_way_to_what_is_given() -> None:
    assert settings_of("pbip").training.second_stage
    assert settings_of("pbip").model.pooling == "mean"
    assert settings_of("pbip", "model.pooling=topk").model.pooling == "topk"
    assert settings_of("lpd").model.pooling == Settings().model.pooling
    with pytest.raises(SettingError, match="pbip are fixed"):
        build_method(settings_of("pbip", "loss.diversity=1", "training.second_stage=false"), torch.tensor([0.5, 0.5]))


def test_grad_cam_of_the_linear_network_is_its_cam() -> None:
    """Up to a constant and a positive factor: gradients of the pooled logit are the classifier's weights / (h·w)."""
    torch.manual_seed(0)
    network = build_method(settings_of("cam"), torch.tensor([0.5, 0.5])).network.eval()
    features = network.encoder(torch.rand(1, 3, 64, 64))[-1].detach().requires_grad_(True)
    maps = network.classifier(features)
    for tissue in range(2):
        (gradient,) = torch.autograd.grad(maps.mean(dim=(2, 3))[0, tissue], features, retain_graph=True)
        grad_cam = (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1)[0]
        cam = maps[0, tissue] - network.classifier.bias[tissue]
        torch.testing.assert_close(grad_cam * features.shape[2] * features.shape[3], cam, rtol=1e-4, atol=1e-5)


def test_pbip_bank_is_made_of_clusters_and_stays(data: Path, tmp_path: Path) -> None:
    run = train(data, tmp_path / "run", settings_of("pbip"))
    first, _ = load_model(run / "first-stage")
    settings = settings_of("pbip", "training.second_stage=false")
    method = build_method(settings, torch.tensor([0.5, 0.5]))
    folder = open_data(data)
    method.prepare(PatchDataset([patch for patch in folder.train if patch.group not in _held_out(run, data)], 32))
    torch.testing.assert_close(first.bank.prototypes, method.network.bank.prototypes)
    torch.testing.assert_close(first.bank.prototypes.norm(dim=-1), torch.ones(2, 3))


def _held_out(run: Path, data: Path) -> set[str]:
    from histoproto.training.holdout import hold_out

    _, held = hold_out(open_data(data).train, 0.25, load_settings(run / "config.yaml").seed)
    return {patch.group for patch in held}


def test_cosine_kmeans_finds_separate_directions() -> None:
    rng = np.random.default_rng(0)
    directions = np.eye(3, 8)
    vectors = np.repeat(directions, 20, axis=0) + 0.05 * rng.standard_normal((60, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    cosines = cosine_kmeans(vectors, 3, seed=0) @ directions.T
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2]
    assert (cosines.max(axis=1) > 0.99).all()
    few = cosine_kmeans(vectors[:2], 5, seed=0)
    assert few.shape == (5, 8)
    assert np.isfinite(few).all()


def test_pbip_needs_a_patch_of_each_tissue_alone(data: Path) -> None:
    method = build_method(settings_of("pbip", "training.second_stage=false"), torch.tensor([0.5, 0.5]))
    patches = [patch for patch in open_data(data).train if patch.labels != (0, 1)]
    with pytest.raises(DataError, match="number 2 of 2"):
        method.prepare(PatchDataset(patches, 32))


def test_mosaic_pixels_are_those_of_their_tissue(data: Path) -> None:
    plain = PatchDataset(open_data(data).train, 32, Augmentation(0.1, seed=3))
    dataset = MosaicDataset(plain, ("red", "green"))
    for index in range(6):
        sample, again = dataset[(1, index)], dataset[(1, index)]
        assert torch.equal(sample["mosaic"], again["mosaic"])
        assert torch.equal(sample["image"], plain[(1, index)]["image"])
        assert set(sample["mosaic_mask"].unique().tolist()) <= {0, 1}
        # A red patch has its red channel at 60, a green one its green channel.
        found = (sample["mosaic"][1] < sample["mosaic"][0]).long()
        assert (found == sample["mosaic_mask"]).float().mean() > 0.98
    assert not torch.equal(dataset[(2, 0)]["mosaic"], dataset[(1, 0)]["mosaic"])


def test_mosaics_in_place_are_known_and_carry_no_label(data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "teacher.npy", np.ones((24, 5, 2, 2), dtype=np.float16))
    plain = PatchDataset(open_data(data).train, 32, Augmentation(0.1, seed=3), tmp_path / "teacher.npy")
    dataset = MixedDataset(plain, ("red", "green"))
    assert len(dataset) == 24
    sample, mosaic, again = dataset[(1, 5)], dataset[(1, 29)], dataset[(1, 29)]
    assert torch.equal(sample["image"], plain[(1, 5)]["image"])
    assert (sample["known"] == -1).all()
    assert torch.equal(mosaic["image"], again["image"])
    found = (mosaic["image"][1] < mosaic["image"][0]).long()
    assert (found == mosaic["known"]).float().mean() > 0.98
    assert mosaic["labels"].tolist() == [0, 0]
    assert mosaic["teacher"].shape == sample["teacher"].shape
    assert not mosaic["teacher"].any()
    batches = list(ResumableLoader(dataset, StepSampler(24, 6, epochs=1, mosaics=1 / 3), lambda: 0, 0))
    assert [(batch["known"].flatten(1).amax(dim=1) >= 0).tolist() for batch in batches] == [
        [False] * 4 + [True] * 2
    ] * 4


def test_tissues_of_mosaics_in_place_are_as_frequent_as_in_patches(data: Path) -> None:
    patches = open_data(data).train
    rare = [patch for patch in patches if patch.labels == (1, 0)] * 9 + [patch for patch in patches if patch.labels[1]]
    shown = np.array([patch.labels for patch in rare]).sum(axis=0)  # 80 red, 16 green
    dataset = MixedDataset(PatchDataset(rare, 32, Augmentation(0.0)), ("red", "green"))
    red = np.mean([float((dataset[(0, len(rare) + i)]["known"] == 0).float().mean()) for i in range(96)])
    # Two pieces are always of two tissues, the one or two more are drawn: (1 + n · 80 / 96) / (2 + n) on average.
    expected = np.mean([(1 + extra * shown[0] / shown.sum()) / (2 + extra) for extra in (0, 1, 2)])
    assert abs(red - expected) < 0.06


def test_mosaics_in_place_teach_pixels_alone(data: Path) -> None:
    """Of the losses of patches none sees a mosaic; those of pixels do, even before the warm-up is over."""
    torch.manual_seed(0)
    method = build_method(settings_of("lpd+decoder+mosaic", "loss.similarity=0"), torch.tensor([0.5, 0.5])).eval()
    dataset = MixedDataset(PatchDataset(open_data(data).train, 32, Augmentation(0.0)), ("red", "green"))
    mixed = default_collate([dataset[(0, index)] for index in (0, 1, 2, 24, 25)])
    patches = {name: value[:3] for name, value in mixed.items()}
    plain, both = method.losses(patches, progress=0.9), method.losses(mixed, progress=0.9)
    for name in ("classification", "diversity"):
        torch.testing.assert_close(plain[name], both[name])
    assert "pixels" not in plain
    assert float(both["pixels"].detach()) > 0
    early = method.losses(mixed, progress=0.0)
    torch.testing.assert_close(early["pixels"], both["pixels"])
    decoded = method.network.decoder(method.network.encoder(mixed["image"]))
    known = pixel_loss(decoded.maps[0], mixed["known"], method.balance[0].sqrt())
    torch.testing.assert_close(early["decoder"], method.classification(decoded.logits[:3], patches["labels"]) + known)


def test_mosaics_need_two_tissues_alone(data: Path) -> None:
    patches = [patch for patch in open_data(data).train if patch.labels != (0, 1)]
    with pytest.raises(DataError, match="those that do: red"):
        MosaicDataset(PatchDataset(patches, 32), ("red", "green"))


def test_random_regions_use_every_piece_and_have_smooth_borders() -> None:
    rng = np.random.default_rng(0)
    used = []
    for count in (2, 3, 4) * 20:
        regions = random_regions(count, 64, rng).numpy()
        assert regions.shape == (64, 64)
        used.append(len(np.unique(regions)) / count)
        changes = (np.diff(regions, axis=0) != 0).sum() + (np.diff(regions, axis=1) != 0).sum()
        assert changes < 0.2 * 64 * 64  # of independent pixels it would be more than 1
    assert np.mean(used) > 0.9


def test_pixel_loss_against_a_loop() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.randint(-1, 4, (2, 8, 8))  # −1 and 3 are to be ignored
    weights = torch.tensor([1.0, 2.0, 0.5])
    large = torch.nn.functional.interpolate(maps, (8, 8), mode="bilinear", align_corners=False)
    total, mass = 0.0, 0.0
    for b in range(2):
        for i in range(8):
            for j in range(8):
                label = int(labels[b, i, j])
                if 0 <= label < 3:
                    total = total - weights[label] * large[b, :, i, j].log_softmax(dim=0)[label]
                    mass += float(weights[label])
    found = pixel_loss(maps, labels, weights)
    torch.testing.assert_close(found, total / mass)
    (expected,) = torch.autograd.grad(total / mass, maps)
    (gradient,) = torch.autograd.grad(found, maps)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    assert pixel_loss(maps, torch.full((2, 8, 8), 3)) == 0


def test_pseudo_mask_against_a_loop() -> None:
    torch.manual_seed(0)
    maps, present = torch.randn(4, 3, 5, 6), torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]])
    found = pseudo_mask(maps, present)
    for image, row, column in np.ndindex(4, 5, 6):
        allowed = [tissue for tissue in range(3) if present[image, tissue]]
        best = max(allowed, key=lambda tissue: float(maps[image, tissue, row, column]), default=-1)
        assert found[image, row, column] == best
    white = torch.full((4, 3, 5, 6), 0.9)
    white[:, 0, :, :3] = 0.5
    assert (without_glass(found, white)[..., :3] == found[..., :3]).all()
    assert (without_glass(found, white)[..., 3:] == -1).all()


def test_decoder_learns_from_the_masks_of_the_prototypes() -> None:
    settings = settings_of("lpd+decoder", "loss.similarity=0", "loss.decoder=2")
    torch.manual_seed(0)
    method = build_method(settings, torch.tensor([0.5, 0.6])).eval()
    batch = {"image": 0.8 * torch.rand(3, 3, 32, 32), "labels": torch.tensor([[1.0, 1], [1, 0], [0, 1]])}
    warm, later = method.losses(batch, 0.0), method.losses(batch, 0.5)
    out = method.network(batch["image"])
    fused = fuse_scales(out.merged, (32, 32), settings.inference.fusion_weights, "raw")
    masks = torch.where(batch["labels"][:, 0, None, None] == 0, 1, 0).expand(3, 32, 32).clone()
    masks[0] = (fused[0, 1] > fused[0, 0]).long()
    maps = method.network.class_maps(batch["image"]).maps[0]
    pixels = pixel_loss(maps, masks, method.balance[0].sqrt())
    torch.testing.assert_close(later["decoder"] - warm["decoder"], pixels)
    rest = sum(value for name, value in later.items() if name == "classification")
    torch.testing.assert_close(later["total"], rest + 0.75 * later["diversity"] + 2 * later["decoder"])
    warm["total"].backward()  # several devices wait for the gradient of every parameter
    assert all(p.grad is not None for p in method.network.parameters() if p.requires_grad)


def test_log_odds_against_the_softmax() -> None:
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    p = logits.softmax(dim=1)
    torch.testing.assert_close(log_odds(logits), (p / (1 - p)).log())
    assert torch.equal(log_odds(logits[:, :1]), logits[:, :1])


def test_supervised_says_that_masks_are_missing(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "train", tmp_path / "data" / "train", ignore=shutil.ignore_patterns("mask"))
    shutil.copy(data / "classes.yaml", tmp_path / "data")
    with pytest.raises(DataError, match="--train-masks"):
        train(tmp_path / "data", tmp_path / "run", settings_of("supervised"))
    assert not (tmp_path / "run").exists()


def test_smaller_fractions_lie_within_larger_ones(data: Path) -> None:
    from histoproto.training.material import gather

    def used(fraction: float) -> set[Path]:
        settings = settings_of("lpd", f"data.fraction={fraction}", "data.validation_fraction=0")
        return {patch.image for patch in gather(data, settings).training.patches}

    assert len(used(0.25)) == 6
    assert used(0.25) < used(0.5) < used(1.0)


def test_a_run_without_prototypes_says_so(data: Path, tmp_path: Path) -> None:
    run = train(data, tmp_path / "run", settings_of("cam"))
    with pytest.raises(RunError, match="no prototypes"):
        write_prototypes(run, data, tmp_path / "out")


KILLED = """
import sys, os, signal
import histoproto.training.callbacks as callbacks
from histoproto.config import load_settings
from histoproto.methods.registry import PRESETS
from histoproto.training.run import train
data, out, nth, *settings = sys.argv[1:]
steps, plain = 0, callbacks.Checkpoints.on_train_batch_end
def deadly(self, trainer, module, *rest):
    global steps
    plain(self, trainer, module, *rest)
    steps += 1
    if steps == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
callbacks.Checkpoints.on_train_batch_end = deadly
train(data, out, load_settings(overrides=settings, presets=PRESETS))
"""


@pytest.mark.parametrize("stop", [3, 13])
def test_two_stages_resume_exactly_in_either(data: Path, tmp_path: Path, stop: int) -> None:
    """Ten steps each: killed in the first and in the second."""
    overrides = ["method=cam", *TINY, "training.second_stage=true"]
    whole = train(data, tmp_path / "whole", load_settings(overrides=overrides, presets=PRESETS))
    command = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "cut"), str(stop), *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "cut" / "first-stage" / "model.json").exists() == (stop > 10)
    resumed = train(data, tmp_path / "cut", resume=True)
    expected, found = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_a_second_stage_may_start_from_a_finished_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = load_settings(overrides=["method=cam", *TINY], presets=PRESETS)
    both = load_settings(overrides=["method=cam", *TINY, "training.second_stage=true"], presets=PRESETS)
    first = train(data, tmp_path / "first", alone)
    whole = train(data, tmp_path / "whole", both)
    added = train(data, tmp_path / "added", both, first_stage=first)
    expected, found = load_file(whole / "model.safetensors"), load_file(added / "model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    one, two = (json.loads((run / "record.json").read_text()) for run in (first, added))
    assert two["seconds"] > one["seconds"]
    assert two["parameters"] > one["parameters"]

    other = load_settings(overrides=["method=cam", *TINY, "seed=1", "training.second_stage=true"], presets=PRESETS)
    with pytest.raises(RunError, match="trained with other settings"):
        train(data, tmp_path / "wrong", other, first_stage=first)
    shutil.copytree(data, tmp_path / "fewer")
    next((tmp_path / "fewer" / "train").glob("*.png")).unlink()
    with pytest.raises(RunError, match="trained on other patches"):
        train(tmp_path / "fewer", tmp_path / "wrong", both, first_stage=first)
    assert not (tmp_path / "wrong").exists()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OutputError, match="No space left"):
        train(data, tmp_path / "wrong", both, first_stage=first)
    assert not (tmp_path / "wrong").exists()


def test_encoder_of_the_second_stage_is_that_of_the_first_or_a_new_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["method=cam", *TINY]
    first = train(data, tmp_path / "first", load_settings(overrides=overrides))
    seen = []

    def stop(method: Method, *_: object) -> None:
        seen.append(method.network.encoder.state_dict())
        raise KeyboardInterrupt

    monkeypatch.setattr("histoproto.training.run.fit", stop)
    for encoder in ("first", "pretrained"):
        more = ["training.second_stage=true", f"training.second_stage_encoder={encoder}"]
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / f"from-{encoder}", load_settings(overrides=[*overrides, *more]), first_stage=first)
    trained = load_file(first / "model.safetensors")
    alike = [all(torch.equal(value, trained[f"encoder.{name}"]) for name, value in one.items()) for one in seen]
    assert alike == [True, False]


@pytest.mark.parametrize(
    ("more", "epochs"),
    [
        ({"second_stage": False, "second_stage_epochs": 3}, 8),
        ({}, 4),
        ({"second_stage_encoder": "pretrained"}, 8),
        ({"second_stage_epochs": 3}, 3),
        ({"epochs": 1}, 1),
    ],
)
def test_epochs_of_the_second_stage(more: dict[str, Any], epochs: int) -> None:
    training = TrainingSettings(**{"epochs": 8, "second_stage": True, **more})
    assert count_epochs(training, 100) == epochs


def test_ctrl_c_in_training_stays_one_and_can_be_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_validation_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "run", settings_of("cam"))
    signal.signal(signal.SIGINT, handler)  # Lightning has switched it off
    assert not (tmp_path / "run" / "model.json").exists()
    assert (train(data, tmp_path / "run", resume=True) / "model.json").exists()
