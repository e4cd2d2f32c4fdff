"""Vision transformers as encoders, and runs that refer to their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fakes import card_of
from histoproto.config import ModelSettings
from histoproto.errors import WeightsError
from histoproto.model import origin
from histoproto.model.encoders import build_encoder
from histoproto.model.network import PrototypeNetwork
from histoproto.model.saving import load_card, load_model, save_model
from histoproto.model.tokens import TokenEncoder, whole_tokens
from histoproto.tissue import TissueSet
from vit import tiny_vit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_vit(tmp_path / "vit")


def test_three_depths_without_prefix_tokens(folder: Path) -> None:
    """Against a pass through the blocks by hand: class and register tokens gone, positions interpolated."""
    encoder = build_encoder(f"local-dir:{folder}").eval()
    assert isinstance(encoder, TokenEncoder)
    assert encoder.mean.flatten().tolist() == pytest.approx([0.7, 0.5, 0.6])
    body: Any = encoder.body
    assert body.num_prefix_tokens == 3  # a class token and two registers
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found = encoder(x)
        tokens = body._pos_embed(body.patch_embed((x - encoder.mean) / encoder.std))
        by_hand = []
        for block in body.blocks:
            tokens = block(tokens)
            by_hand.append(body.norm(tokens)[:, 3:].transpose(1, 2).unflatten(2, (4, 6)))
    assert encoder.depths == (0, 1, 2)
    assert [tuple(m.shape) for m in found] == [(2, 32, 8, 12), (2, 32, 4, 6), (2, 32, 4, 6)]
    torch.testing.assert_close(found[1], by_hand[1])
    torch.testing.assert_close(found[2], by_hand[2])
    doubled = torch.nn.functional.interpolate(by_hand[0], (8, 12), mode="bilinear")
    torch.testing.assert_close(found[0], doubled)


def test_enlarging_and_sides_that_are_no_whole_tokens(folder: Path) -> None:
    encoder = build_encoder(f"local-dir:{folder}", input_scale=2).eval()
    with torch.no_grad():
        assert [m.shape[-1] for m in encoder(torch.rand(1, 3, 64, 64))] == [16, 8, 8]
        odd = build_encoder(f"local-dir:{folder}").eval()(torch.rand(1, 3, 50, 38))
    assert [tuple(m.shape[-2:]) for m in odd] == [(6, 4), (3, 2), (3, 2)]
    assert [whole_tokens(n, 16) for n in (1, 23, 24, 50)] == [16, 16, 32, 48]


def test_a_bare_file_needs_the_arguments(folder: Path) -> None:
    """As weights are handed on without their `config.json`."""
    arguments = json.loads((folder / "config.json").read_text())["model_args"]
    whole = build_encoder(f"local-dir:{folder}").eval()
    bare = build_encoder(f"vit_tiny_patch16_224@{folder / 'model.safetensors'}", arguments=arguments).eval()
    assert "model.safetensors" in bare.licence
    with torch.no_grad():
        x = torch.rand(1, 3, 64, 64)
        torch.testing.assert_close(whole(x * whole.std + whole.mean), bare(x * bare.std + bare.mean))
    with pytest.raises(WeightsError, match=r"model\.safetensors.*fit the encoder vit_tiny"):
        build_encoder(
            f"vit_tiny_patch16_224@{folder / 'model.safetensors'}",
            arguments={"embed_dim": 32, "depth": 3, "num_heads": 2},
        )


@pytest.mark.parametrize("registers", [0, 4])
def test_transformers_run_no_code_of_the_repository(tmp_path: Path, registers: int) -> None:
    """A DINOv2 as Hibou (with registers) or Phikon-v2 (without) are published."""
    transformers = pytest.importorskip("transformers")
    kind = "Dinov2WithRegisters" if registers else "Dinov2"
    more = {"num_register_tokens": registers} if registers else {}
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        use_swiglu_ffn=True,
        **more,
    )
    whole = getattr(transformers, f"{kind}Model")(config).eval()
    whole.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values |= {"model_type": "dinov2", "auto_map": {"AutoModel": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    with pytest.raises(WeightsError, match="normalised"):
        build_encoder(f"local-dir:{tmp_path}")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.2] * 3}))
    encoder = build_encoder(f"local-dir:{tmp_path}").eval()
    x = torch.rand(1, 3, 70, 56)
    with torch.no_grad():
        last = whole((x - 0.5) / 0.2).last_hidden_state[:, 1 + registers :]
        torch.testing.assert_close(encoder(x)[2], last.transpose(1, 2).unflatten(2, (5, 4)))


def run_of(folder: Path, out: Path, **more: Any) -> PrototypeNetwork:
    settings = ModelSettings(encoder=f"local-dir:{folder}", prototypes=2, dimension=8)
    network = PrototypeNetwork(settings, 2).eval()
    save_model(out, network, card_of(settings, TissueSet.of("a", "b")), **more)
    return network


def test_a_run_refers_to_weights_that_it_did_not_change(folder: Path, tmp_path: Path) -> None:
    """Weights under an unknown licence are not copied; a model needs the file, and nothing else of the folder."""
    network, x = run_of(folder, tmp_path / "run"), torch.rand(1, 3, 64, 64)
    card = load_card(tmp_path / "run")
    assert card.encoder_weights is not None
    assert card.model.blueprint is not None
    assert (tmp_path / "run/model.safetensors").stat().st_size < 20_000
    (folder / "config.json").unlink()
    loaded, _ = load_model(tmp_path / "run")
    with torch.no_grad():
        torch.testing.assert_close(loaded.class_maps(x).logits, network.class_maps(x).logits)
    weights = folder / "model.safetensors"
    weights.rename(tmp_path / "run/kept.safetensors")
    with pytest.raises(WeightsError, match=r"no longer at .*copy or link.*--with-encoder"):
        load_model(tmp_path / "run")
    save_file({"x": torch.zeros(2)}, weights)
    with pytest.raises(WeightsError, match="is not the file"):
        load_model(tmp_path / "run")


def test_the_file_may_be_put_into_the_run(folder: Path, tmp_path: Path) -> None:
    run_of(folder, tmp_path / "run")
    content = (folder / "model.safetensors").read_bytes()
    reference = load_card(tmp_path / "run").encoder_weights
    assert reference is not None
    (folder / "model.safetensors").unlink()
    named = tmp_path / "run" / reference.beside
    assert named.name != "model.safetensors"  # that is the run's own
    named.write_bytes(content)
    load_model(tmp_path / "run")


def test_a_run_holds_weights_that_were_tuned_or_asked_for(folder: Path, tmp_path: Path) -> None:
    run_of(folder, tmp_path / "asked", with_encoder=True)
    settings = ModelSettings(encoder=f"local-dir:{folder}", prototypes=2, dimension=8)
    network = PrototypeNetwork(settings, 2)
    with torch.no_grad():
        next(network.encoder.parameters()).add_(1)
    save_model(tmp_path / "tuned", network, card_of(settings, TissueSet.of("a", "b")))
    (folder / "model.safetensors").unlink()
    for name in ("asked", "tuned"):
        assert load_card(tmp_path / name).encoder_weights is None
        load_model(tmp_path / name)


def test_small_free_weights_are_copied(folder: Path) -> None:
    module = torch.nn.Linear(2, 2)
    file = folder / "model.safetensors"
    assert origin.Origin("x", file, None, True, module).reference(module) is None
    assert origin.Origin("x", file, None, False, module).reference(module) is not None


def test_runs_of_earlier_versions_are_read_as_they_were_built(tmp_path: Path) -> None:
    """They had timm's features of the last three blocks, and no blueprint."""
    from histoproto.model.blueprint import Blueprint

    blueprint = Blueprint(library="timm", architecture="test_vit", maps="stages").model_dump(mode="json")
    settings = ModelSettings(encoder="test_vit", weights=None, prototypes=2, dimension=8)
    network = PrototypeNetwork(settings.model_copy(update={"blueprint": blueprint}), 2).eval()
    save_model(tmp_path, network, card_of(settings, TissueSet.of("a", "b")))
    content = json.loads((tmp_path / "model.json").read_text())
    del content["model"]["blueprint"], content["model"]["input_scale"], content["encoder_weights"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    x = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path)[0].class_maps(x).logits, network.class_maps(x).logits)
