"""Exported models and rewritten networks give the numbers of the network they came from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fakes import card_of
from histoproto.config import InferenceSettings, ModelSettings
from histoproto.errors import OutputError, RunError, WeightsError
from histoproto.inference.export import export_model
from histoproto.inference.onnx_network import OnnxNetwork
from histoproto.inference.segmenter import Segmenter
from histoproto.model.half_precision import HalfPrecision, half_type
from histoproto.model.network import (
    ClassMaps,
    DecodedPrototypeNetwork,
    LinearNetwork,
    Network,
    PrototypeNetwork,
    SegmentationNetwork,
)
from histoproto.model.rewriting import exportable, fold_normalisation
from histoproto.model.saving import ModelCard, save_model
from histoproto.tissue import TissueSet

DEFAULT = ModelSettings(weights=None, prototypes=3, dimension=16)


def random_statistics(network: Network) -> Network:
    """Normalisation that does something: fresh networks have mean 0 and variance 1."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network.eval()


def assert_alike(a: ClassMaps, b: ClassMaps, tolerance: float = 1e-4) -> None:
    assert len(a.maps) == len(b.maps)
    for one, other in zip((*a.maps, a.logits), (*b.maps, b.logits), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", [PrototypeNetwork, DecodedPrototypeNetwork, LinearNetwork, SegmentationNetwork])
def test_folding_and_making_exportable_keep_the_numbers(kind: type[PrototypeNetwork]) -> None:
    torch.manual_seed(0)
    network = random_statistics(kind(DEFAULT, 3))
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = network.class_maps(images)
        folded = fold_normalisation(network)
        left = sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert left == (1 if hasattr(network, "decoder") else 0)  # of its decoder, with no convolution before it
        assert_alike(folded.class_maps(images), expected, 1e-3)  # maps up to 9, through 48 layers
        assert_alike(exportable(network).class_maps(images), expected)
        assert_alike(network.class_maps(images), expected)


class _Crossed(Network):
    """Its normalisation comes *before* the convolution that is defined above it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def class_maps(self, x: Tensor) -> ClassMaps:
        maps = self.conv(self.norm(x))
        return ClassMaps((maps,), maps.mean(dim=(2, 3)))


def test_a_network_that_cannot_be_folded_stays_as_it_is() -> None:
    network = random_statistics(_Crossed())
    assert fold_normalisation(network) is network


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    card: ModelCard = card_of(DEFAULT, TissueSet.of("tumour", "stroma", "normal", "fat"))
    save_model(folder, random_statistics(PrototypeNetwork(DEFAULT, 4)), card.model_copy(update={"remainder": (3,)}))
    return folder


@pytest.mark.slow
def test_onnx_gives_the_same_masks_and_maps_at_any_size(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = export_model(run, tmp_path, "onnx")
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.json", ".histoproto"}
    torch_one, onnx_one = Segmenter.load(run, "cpu"), Segmenter.load(path, "cpu")
    assert isinstance(Segmenter.load(tmp_path, "cpu").network, OnnxNetwork)
    for batch, height, width in ((1, 32, 32), (5, 64, 160)):
        images = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            assert_alike(onnx_one.network.class_maps(images), torch_one.network.class_maps(images))
    images = (torch.rand(3, 50, 70, 3) * 255).to(torch.uint8).numpy()
    plain = InferenceSettings(background="none")
    for one, other in zip(
        torch_one.segment(images, settings=plain), onnx_one.segment(images, settings=plain), strict=True
    ):
        assert (one.labels == other.labels).mean() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "scale"), [("tf_efficientnet_lite0", 1.5), ("resnet18", 2.0)])
def test_a_model_that_enlarges_is_read_and_exported_as_it_is(encoder: str, scale: float, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    settings = DEFAULT.model_copy(update={"encoder": encoder, "input_scale": scale})
    if encoder.startswith(
        "tf"
    ):  # its published weights: random ones magnify the rounding of coordinates a thousandfold
        settings = settings.model_copy(update={"weights": "imagenet"})
    torch.manual_seed(0)
    network = PrototypeNetwork(settings, 3).eval()
    save_model(tmp_path / "run", network, card_of(settings, TissueSet.of("tumour", "stroma", "normal")))
    read = Segmenter.load(tmp_path / "run", "cpu").network
    exported = Segmenter.load(export_model(tmp_path / "run", tmp_path, "onnx"), "cpu").network
    for height, width in ((32, 32), (96, 160)):
        images = torch.rand(2, 3, height, width)
        with torch.no_grad():
            expected = network.class_maps(images)
            assert expected.maps[-1].shape[-1] == scale * width / 16
            assert_alike(read.class_maps(images), expected)
            assert_alike(exported.class_maps(images), expected, 1e-3)


@pytest.mark.slow
def test_torch_export_writes_a_program_for_others(run: Path, tmp_path: Path) -> None:
    path = export_model(run, tmp_path, "torch-export")
    images = torch.rand(1, 3, 96, 32)
    with torch.no_grad():
        *maps, logits = torch.export.load(path).module()(images)
        assert_alike(ClassMaps(tuple(maps), logits), Segmenter.load(run, "cpu").network.class_maps(images))
    with pytest.raises(RunError, match="for other software"):
        Segmenter.load(tmp_path)


def test_mistakes(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is the run itself"):
        export_model(run, run, "onnx")
    pytest.importorskip("onnxruntime")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(WeightsError, match="cannot be read as an ONNX model"):
        OnnxNetwork(tmp_path / "model.onnx", torch.device("cpu"))


def test_half_precision_changes_little_and_gives_32_bits() -> None:
    torch.manual_seed(0)
    network = PrototypeNetwork(ModelSettings(prototypes=3), 3).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        plain, fast = network.class_maps(images), HalfPrecision(network).class_maps(images)
    for a, b in zip((*plain.maps, plain.logits), (*fast.maps, fast.logits), strict=True):
        assert b.dtype == torch.float32
        assert (a - b).abs().mean() < 0.1 * a.abs().mean()
        assert (half_type(torch.device("cpu")) is None) == torch.equal(a, b)
