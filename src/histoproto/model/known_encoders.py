"""The encoders that are known by name: data alone.

Sources: the model cards and `config.json` of the repositories; for arguments and µm/px also the loaders of TRIDENT, eva
and lazyslide-models, and the papers named in docs/encoders.md.
"""

from __future__ import annotations

from typing import Any

from histoproto.model.known_encoder import HALF, KnownEncoder

_CC = "CC-BY-NC-ND-4.0"
_OWKIN = "Owkin non-commercial licence"
_LUNIT = "Lunit non-commercial licence"
_SEGFORMER = "NVIDIA Source Code License for SegFormer, non-commercial"
_SWIGLU: dict[str, Any] = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}
_VIRCHOW: dict[str, Any] = {"img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": "", **_SWIGLU}
_UNI2: dict[str, Any] = {
    "img_size": 224,
    "patch_size": 14,
    "depth": 24,
    "num_heads": 24,
    "init_values": 1e-5,
    "embed_dim": 1536,
    "mlp_ratio": 2.66667 * 2,
    "no_embed_class": True,
    "reg_tokens": 8,
    **_SWIGLU,
}
_GIGAPATH: dict[str, Any] = {
    "img_size": 224,
    "patch_size": 16,
    "embed_dim": 1536,
    "depth": 40,
    "num_heads": 24,
    "mlp_ratio": 5.33334,
}
_OPTIMUS: dict[str, Any] = {"img_size": 224, "init_values": 1e-5, "global_pool": "token"}
_OPTIMUS_MEAN, _OPTIMUS_STD = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)
_HIBOU_MEAN, _HIBOU_STD = (0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816)
_LUNIT_MEAN, _LUNIT_STD = (0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464)
_L16: dict[str, Any] = {"img_size": 224, "init_values": 1e-5}


def _mit(size: int, parameters: float, embedding: int) -> KnownEncoder:
    about = f"SegFormer's encoder B{size}{', the paper’s' if size == 1 else ''}"
    repository = f"nvidia/mit-b{size}"
    return KnownEncoder(
        f"mit_b{size}", about, repository, "segformer", parameters, embedding, None, _SEGFORMER, False, False, ()
    )  # fmt: skip


def _kaiko(name: str, architecture: str, parameters: float, embedding: int, token: int, size: int) -> KnownEncoder:
    return KnownEncoder(
        f"kaiko-{name}",
        "Kaiko's ViT, TCGA",
        f"1aurent/{architecture}.kaiko_ai_towards_large_pathology_fms",
        architecture,
        parameters,
        embedding,
        token,
        "not confirmed",
        None,
        False,
        arguments={"img_size": size},
        mean=HALF,
        std=HALF,
    )


KNOWN = (
    KnownEncoder("tf_efficientnet_lite0", "the default: EfficientNet-Lite0, ImageNet, comes with a package", None,
                 "tf_efficientnet_lite0", 3.4, 320, None, "Apache-2.0", True, False, (), "histoproto",
                 mean=HALF, std=HALF),
    _mit(0, 3.3, 256), _mit(1, 13.2, 512), _mit(2, 24.2, 512), _mit(3, 44.1, 512), _mit(4, 60.8, 512),
    _mit(5, 81.4, 512),
    KnownEncoder("uni", "UNI, ViT-L/16, DINOv2", "MahmoodLab/uni", "vit_large_patch16_224", 303.4, 1024, 16, _CC, False,
                 True, (0.5,), arguments=_L16),
    KnownEncoder("uni2-h", "UNI 2, ViT-H/14, 8 registers", "MahmoodLab/UNI2-h", "vit_giant_patch14_224", 681.4, 1536,
                 14, _CC, False, True, arguments=_UNI2),
    KnownEncoder("virchow", "Virchow, ViT-H/14", "paige-ai/Virchow", "vit_huge_patch14_224", 631.2, 1280, 14,
                 "Apache-2.0", True, True, (0.5,), arguments=_VIRCHOW),
    KnownEncoder("virchow2", "Virchow2, ViT-H/14, 4 registers", "paige-ai/Virchow2", "vit_huge_patch14_224", 631.2,
                 1280, 14, _CC, False, True, (0.25, 0.5, 1.0, 2.0), arguments={**_VIRCHOW, "reg_tokens": 4}),
    KnownEncoder("prov-gigapath", "Prov-GigaPath's tile encoder, ViT-g/16", "prov-gigapath/prov-gigapath",
                 "vit_giant_patch14_dinov2", 1135.0, 1536, 16, "Apache-2.0 with conditions", False, True, (0.5,),
                 arguments=_GIGAPATH),
    KnownEncoder("h-optimus-0", "H-optimus-0, ViT-g/14, 4 registers", "bioptimus/H-optimus-0",
                 "vit_giant_patch14_reg4_dinov2", 1134.8, 1536, 14, "Apache-2.0", True, False, arguments=_OPTIMUS,
                 mean=_OPTIMUS_MEAN, std=_OPTIMUS_STD),
    KnownEncoder("h-optimus-1", "H-optimus-1, ViT-g/14, 4 registers", "bioptimus/H-optimus-1",
                 "vit_giant_patch14_reg4_dinov2", 1134.8, 1536, 14, _CC, False, True, arguments=_OPTIMUS,
                 mean=_OPTIMUS_MEAN, std=_OPTIMUS_STD),
    KnownEncoder("phikon", "Phikon, ViT-B/16, iBOT", "owkin/phikon", "vit", 85.8, 768, 16, _OWKIN, False, False,
                 library="transformers"),
    KnownEncoder("phikon-v2", "Phikon-v2, ViT-L/16, DINOv2", "owkin/phikon-v2", "dinov2", 303.4, 1024, 16, _OWKIN,
                 False, False, (0.5,), "transformers"),
    KnownEncoder("hibou-b", "Hibou-B, ViT-B/14, 4 registers", "histai/hibou-b", "dinov2_with_registers", 85.7, 768, 14,
                 "Apache-2.0", True, True, library="transformers", mean=_HIBOU_MEAN, std=_HIBOU_STD),
    KnownEncoder("hibou-l", "Hibou-L, ViT-L/14, 4 registers", "histai/hibou-L", "dinov2_with_registers", 303.7, 1024,
                 14, "Apache-2.0", True, True, library="transformers", mean=_HIBOU_MEAN, std=_HIBOU_STD),
    KnownEncoder("midnight-12k", "Midnight-12k, ViT-g/14, TCGA", "kaiko-ai/midnight", "dinov2", 1136.5, 1536, 14, "MIT",
                 True, False, (0.25, 0.5, 1.0, 2.0), "transformers", mean=HALF, std=HALF),
    _kaiko("vits16", "vit_small_patch16_224", 21.7, 384, 16, 224),
    _kaiko("vits8", "vit_small_patch8_224", 21.7, 384, 8, 224),
    _kaiko("vitb16", "vit_base_patch16_224", 85.8, 768, 16, 224),
    _kaiko("vitb8", "vit_base_patch8_224", 85.8, 768, 8, 224),
    _kaiko("vitl14", "vit_large_patch14_reg4_dinov2", 304.4, 1024, 14, 518),
    KnownEncoder("lunit-vits16", "Lunit's DINO ViT-S/16", "1aurent/vit_small_patch16_224.lunit_dino",
                 "vit_small_patch16_224", 21.7, 384, 16, _LUNIT, False, False, mean=_LUNIT_MEAN, std=_LUNIT_STD),
    KnownEncoder("lunit-vits8", "Lunit's DINO ViT-S/8", "1aurent/vit_small_patch8_224.lunit_dino",
                 "vit_small_patch8_224", 21.7, 384, 8, _LUNIT, False, False, mean=_LUNIT_MEAN, std=_LUNIT_STD),
    KnownEncoder("vit_small_patch14_dinov2.lvd142m", "DINOv2 ViT-S/14 (also base, large, giant)",
                 "timm/vit_small_patch14_dinov2.lvd142m", "vit_small_patch14_dinov2", 22.1, 384, 14, "Apache-2.0", True,
                 False, ()),
    KnownEncoder("vit_small_patch16_dinov3.lvd1689m", "DINOv3 ViT-S/16 (also base, large, …)",
                 "timm/vit_small_patch16_dinov3.lvd1689m", "vit_small_patch16_dinov3", 21.6, 384, 16, "DINOv3 licence",
                 None, False, ()),
    KnownEncoder("conch", "CONCH's image encoder, ViT-B/16", "MahmoodLab/CONCH", "", 86.0, 512, 16, _CC, False, True,
                 problem="its weights are for a package of its own (conch), not for timm or transformers"),
    KnownEncoder("ctranspath", "CTransPath, Swin-T with a convolutional stem",
                 "1aurent/swin_tiny_patch4_window7_224.CTransPath", "swin_tiny_patch4_window7_224", 27.5, 768, None,
                 "GPL-3.0", None, False,
                 problem="timm's Swin has no convolutional stem; it would need timm 0.5.4 with changes of its authors"),
)  # fmt: skip


def find_known(name: str) -> KnownEncoder | None:
    """The record of a name, or of `hf-hub:OWNER/NAME[@REVISION]`; None if there is none."""
    source, _, repository = name.rpartition(":")
    wanted = repository.partition("@")[0].lower() if source in {"hf-hub", "hf_hub"} else None
    for record in KNOWN:
        if record.name == name or (wanted and (record.repository or "").lower() == wanted):
            return record
    return None
