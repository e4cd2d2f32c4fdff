"""What is kept of a finished training: the weights of the chosen step and their card."""

from __future__ import annotations

from pathlib import Path

from histoproto.config import Settings
from histoproto.data.fingerprint import fingerprint
from histoproto.methods.base import Method
from histoproto.model.network import EncodedNetwork
from histoproto.model.saving import ModelCard, save_model
from histoproto.model.weights import read_state_dict
from histoproto.training.calibration import calibrate_temperature, calibrate_thresholds
from histoproto.training.callbacks import Checkpoints
from histoproto.training.familiar import know_patches
from histoproto.training.looking_back import Seen, look_back
from histoproto.training.material import Material
from histoproto.training.module import TrainingModule


def save(
    method: Method,
    module: TrainingModule,
    checkpoints: Checkpoints,
    material: Material,
    settings: Settings,
    out: Path,
) -> None:
    """Write the final weights and their card; the card comes last and marks the run as finished."""
    network = module.final_network.to("cpu")
    chosen = "last step; no patches were held out"
    if material.held_out is not None:
        network.load_state_dict(read_state_dict(checkpoints.best_path), strict=not module.frozen)
        by = f"mean average precision of image labels of {len(material.held_out)} held-out patches; no mask was used"
        if settings.data.validate_with == "masks":
            by = f"mIoU on {len(material.folder.val)} validation patches with MASKS"
        chosen = f"step {checkpoints.best['step']:.0f}, score {checkpoints.best['score']:.4f}: the latest within one "
        chosen += f"standard error of the best late {by}"
    seen = look_back(network, material.training.plain(), material.held_out, settings.inference)
    card = make_card(method, material, settings, calibrate_thresholds(seen), chosen)
    save_model(out, network, know_more(out, card, seen, network), settings.training.with_encoder)


def know_more(run: Path, card: ModelCard, seen: Seen, network: EncodedNetwork) -> ModelCard:
    """The card with what is known of doubt and of strangeness; what is kept of the training patches goes into `run`."""
    temperature = calibrate_temperature(seen, card.thresholds, card.inference)
    tells = type(network).class_maps is EncodedNetwork.class_maps  # else its features are its own affair
    known = know_patches(seen) if tells else None
    familiar = known and known[0].save(run, known[1])
    return card.model_copy(update={"temperature": temperature, "familiar": familiar})


def make_card(
    method: Method, material: Material, settings: Settings, thresholds: tuple[float, ...], chosen: str
) -> ModelCard:
    """The card of a network that these settings trained on this material."""
    held_out = len(material.patches) - len(material.training)
    encoder = method.network.encoder
    return ModelCard(
        method=settings.method,
        second_stage=settings.training.second_stage,
        model=settings.model,
        inference=settings.inference,
        classes=material.folder.tissues.to_dict(),
        patch_size=material.patch_size,
        mpp=material.mpp,
        thresholds=thresholds,
        calibrated_on=f"image labels of {len(material.training)} training and {held_out} held-out patches",
        checkpoint=chosen,
        normalisation={"mean": encoder.mean.flatten().tolist(), "std": encoder.std.flatten().tolist()},
        encoder_licence=encoder.licence,
        remainder=method.network.remainder,
        training_data={
            "layout": material.folder.layout,
            "patches": len(material.training),
            "held_out": held_out,
            "fingerprint": fingerprint(material.patches),
        },
    )
