"""Teachers: frozen, from a folder, from a hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from histoproto.errors import WeightsError
from histoproto.model.teachers import Teacher


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
        (x - teacher.encoder.mean) / teacher.encoder.std, indices=[-1], norm=True, intermediates_only=True
    )[-1]
    torch.testing.assert_close(teacher.dense(x), expected)


def test_a_teacher_without_its_weights_names_the_alternatives(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"^(?!.*model\.weights).*loss\.teacher=NAME@PATH.*tf_efficientnet_lite0"):
        Teacher(f"local-dir:{tmp_path}/none")


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
