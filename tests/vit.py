"""A tiny vision transformer as pathology encoders are published: registers, SwiGLU and a class token, like UNI2-h."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

ARGUMENTS = {
    "img_size": 64,
    "patch_size": 16,
    "embed_dim": 32,
    "depth": 3,
    "num_heads": 2,
    "init_values": 1e-5,
    "mlp_ratio": 2.66667 * 2,
    "no_embed_class": True,
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "silu",
    "reg_tokens": 2,
}


def tiny_vit(folder: Path) -> Path:
    """Write `config.json` and random weights of it into a new folder."""
    import timm
    from timm.layers import SwiGLUPacked

    torch.manual_seed(0)
    whole = timm.create_model("vit_tiny_patch16_224", num_classes=0, **{**ARGUMENTS, "mlp_layer": SwiGLUPacked})
    published = {"mean": [0.7, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "input_size": [3, 64, 64], "license": "unknown"}
    config = {"architecture": "vit_tiny_patch16_224", "model_args": ARGUMENTS, "pretrained_cfg": published}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(whole.state_dict(), folder / "model.safetensors")
    return folder
