"""Saving and loading a trained network: `model.safetensors` and `model.json`, a model card that a machine can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from safetensors.torch import save_file

from histoproto import plugins
from histoproto.config import InferenceSettings, ModelSettings
from histoproto.documents.ranges import Mpp, Positive, Probability, Side
from histoproto.documents.shapes import read_json_as
from histoproto.errors import RunError
from histoproto.files import replace_atomically
from histoproto.model.blueprint import Blueprint
from histoproto.model.encoder import Encoder
from histoproto.model.fit import ENCODER_PREFIX, refuse_misfit
from histoproto.model.network import EncodedNetwork, Network, PrototypeNetwork, build_network
from histoproto.model.origin import WeightsReference
from histoproto.model.weights import OFFLINE_ENCODER, read_state_dict, require_finite
from histoproto.tissue import TissueSet
from histoproto.version import __version__

WEIGHTS_FILE, CARD_FILE = "model.safetensors", "model.json"
FAMILIAR_FILE = "training-patches.safetensors"
"""How the training patches look: their mean and spread, in half precision (`histoproto.inference.strangeness`)."""
PROGRAM_FILE = "model.pt2"
"""A program of `torch.export`, in the place of weights in an exported model."""


class Familiar(BaseModel):
    """What a run knows of the look of its training patches, to say of images how unlike them they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Literal["training-patches.safetensors"] = "training-patches.safetensors"
    sha256: str
    """Of that file."""
    limits: dict[str, Positive]
    """By kind (`features`, `stain`, `sharpness`): the distance beyond which an image is strange."""
    calibrated_on: str
    """What the limits were fitted to."""


class Temperature(BaseModel):
    """By how much the chances of a map are softened, so that they are right as often as they say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Positive
    """Chances are the softmax of the maps divided by it; 1 leaves them as they are."""
    calibrated_on: str
    """What it was fitted to."""


class ModelCard(BaseModel):
    """Everything that must travel with the weights for them to be used rightly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    histoproto: str = __version__
    """Version that wrote it."""
    method: str
    second_stage: bool = False
    """Whether this is a segmentation network that was trained on the masks of that method."""
    model: ModelSettings
    inference: InferenceSettings
    """Defaults for prediction."""
    classes: dict[str, Any]
    """Tissues, as in `classes.yaml`."""
    patch_size: Side
    """Side in pixels of the patches it was trained on."""
    mpp: Mpp | None
    """Their scale in µm/px, where known: slides are read at it."""
    thresholds: tuple[Probability, ...]
    """Per tissue: it counts as present in a patch from this probability, in [0, 1]."""
    calibrated_on: str
    """What the thresholds were fitted to."""
    temperature: Temperature | None = None
    """Of the chances of tissues at a place; None: they were never calibrated (runs of earlier versions)."""
    familiar: Familiar | None = None
    """How the training patches look; None: nothing is known, and no image is called strange."""
    checkpoint: str
    """Which weights these are, and how they were chosen."""
    normalisation: dict[str, list[float]]
    """Mean and std of RGB in [0, 1]; applied inside the network, recorded for readers."""
    encoder_licence: str
    """Licence of the encoder's weights at the start of training."""
    encoder_weights: WeightsReference | None = None
    """The encoder's weights, where they were not tuned and the folder does not hold them."""
    left_out: tuple[tuple[int, int], ...] = ()
    """Prototypes that take no part, as tissue and number: somebody switched them off after training."""
    remainder: tuple[int, ...] = ()
    """Tissues that were in every training patch: what remains where no other one is seen."""
    training_data: dict[str, Any]
    """Layout, number of patches and fingerprint of the training data."""

    @model_validator(mode="after")
    def _one_threshold_each(self) -> ModelCard:
        if len(self.thresholds) != len(self.tissues):
            raise ValueError(f"{len(self.thresholds)} thresholds for {len(self.tissues)} tissues")
        if unknown := [tissue for tissue in self.remainder if not 0 <= tissue < len(self.tissues)]:
            raise ValueError(f"remainder names tissue {unknown[0]} of {len(self.tissues)}")
        return self

    @property
    def tissues(self) -> TissueSet:
        """The tissues, in index order."""
        return TissueSet.from_dict(self.classes, CARD_FILE)


def save_model(folder: Path, network: Network, card: ModelCard, with_encoder: bool = False) -> None:
    """Write weights and card into `folder`, each under a temporary name first.

    The card is completed with how the encoder is built. Weights of an encoder that are as they were published are only
    referred to where they are large, or must not be passed on.

    Args:
        folder: to write into.
        network: what was trained.
        card: of it.
        with_encoder: hold the encoder's weights in any case.

    Raises:
        WeightsError: the weights are not finite; nothing is written then.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    require_finite(state, _learnt(network), "the trained weights")
    encoder: Encoder | None = getattr(network, "encoder", None)
    if encoder is not None and encoder.blueprint is not None:
        built = card.model.model_copy(update={"blueprint": encoder.blueprint.model_dump(mode="json")})
        card = card.model_copy(update={"model": built})
    if encoder is not None and encoder.origin is not None and not with_encoder:
        card = card.model_copy(update={"encoder_weights": encoder.origin.reference(encoder)})
        if card.encoder_weights:
            state = {name: value for name, value in state.items() if not name.startswith(ENCODER_PREFIX)}
    with replace_atomically(folder / WEIGHTS_FILE, lasting=True) as temporary:
        save_file(state, temporary)
    write_card(folder, card)


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the card, which marks a run as finished."""
    with replace_atomically(folder / CARD_FILE, lasting=True) as temporary:
        temporary.write_text(card.model_dump_json(indent=2), encoding="utf-8")


def load_card(folder: Path) -> ModelCard:
    """The model card of a run folder.

    Raises:
        RunError: there is none.
        DocumentError: it was written by something else.
    """
    path = folder / CARD_FILE
    if not os.path.lexists(path):  # what is there and may not be read is not missing
        raise RunError(f"{folder} holds no trained model ({CARD_FILE} is missing); give the folder of a finished run")
    return read_json_as(path, ModelCard)


def load_model(folder: Path) -> tuple[Network, ModelCard]:
    """The trained network, in evaluation mode on the CPU, and its card.

    Raises:
        RunError: the folder holds no trained model.
        WeightsError: the weights cannot be read or do not fit the card.
    """
    card = load_card(folder)
    elsewhere = card.encoder_weights
    weights = elsewhere.find(folder) if elsewhere else None
    built = _built_alone(card).model_copy(update={"weights": weights and str(weights)})
    refuse_misfit(built, len(card.tissues), folder / WEIGHTS_FILE, weights)
    network = build_network(built, len(card.tissues))
    state = read_state_dict(folder / WEIGHTS_FILE)
    if elsewhere:
        state |= {name: value for name, value in network.state_dict().items() if name.startswith(ENCODER_PREFIX)}
    require_finite(state, _learnt(network), str(folder / WEIGHTS_FILE))
    network.load_state_dict(state)
    if isinstance(network, EncodedNetwork):
        network.remainder = card.remainder
    if card.left_out:
        if not isinstance(network, PrototypeNetwork):
            raise RunError(f"{CARD_FILE} in {folder} leaves prototypes out, but the network has none")
        network.bank.leave_out(card.left_out)
    return network.eval().to(memory_format=torch.channels_last), card


def _learnt(network: Network) -> set[str]:
    return {name for name, _ in network.named_parameters()}


def _built_alone(card: ModelCard) -> ModelSettings:
    """How the network of a card is built from what the run holds: of `NAME@FILE` the file was needed for training.

    Cards of earlier versions named timm's models with `features_only`.
    """
    if card.model.blueprint is not None:
        return card.model
    name = card.model.encoder if ":" in card.model.encoder else card.model.encoder.partition("@")[0]
    if name.startswith("mit_b") or name == OFFLINE_ENCODER or name in plugins.offered("encoder"):
        return card.model.model_copy(update={"encoder": name})
    blueprint = Blueprint(library="timm", architecture=name, maps="stages").model_dump(mode="json")
    return card.model.model_copy(update={"blueprint": blueprint})
