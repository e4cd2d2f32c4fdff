"""The methods by name. A new one is a file in this room and a line here."""

from __future__ import annotations

from torch import Tensor

from histoproto.config import Presets, Settings
from histoproto.errors import SettingError
from histoproto.methods.base import Method
from histoproto.methods.cam import CAM
from histoproto.methods.decoder import LPDWithDecoder, LPDWithDecoderAndMosaics
from histoproto.methods.lpd import LPD, PublishedLPD
from histoproto.methods.mosaic import LPDWithMosaics, Mosaic
from histoproto.methods.pbip import PBIP
from histoproto.methods.supervised import Supervised

METHODS: dict[str, type[Method]] = {
    "lpd": LPD,
    "lpd-published": PublishedLPD,
    "lpd+decoder": LPDWithDecoder,
    "lpd+decoder+mosaic": LPDWithDecoderAndMosaics,
    "lpd+mosaic": LPDWithMosaics,
    "pbip": PBIP,
    "cam": CAM,
    "mosaic": Mosaic,
    "supervised": Supervised,
}

PRESETS: Presets = {name: method.preset for name, method in METHODS.items()}
"""What each method starts from, for `load_settings`."""


def method_class(settings: Settings) -> type[Method]:
    """What trains the network that a run folder ends with: the method or, for a second stage, pixel supervision.

    Raises:
        SettingError: there is no such method.
    """
    if settings.method not in METHODS:
        raise SettingError(f"there is no method {settings.method!r}; there are {', '.join(METHODS)}")
    return Supervised if settings.training.second_stage else METHODS[settings.method]


def resolve(settings: Settings) -> Settings:
    """The settings with the architecture of their method; see `method_class`."""
    model = settings.model.model_copy(update={"architecture": method_class(settings).architecture})
    return settings.model_copy(update={"model": model})


def build_method(settings: Settings, frequency: Tensor) -> Method:
    """The method that the settings name.

    Args:
        settings: of the run.
        frequency: C, part of the training patches that hold each tissue.

    Raises:
        SettingError: there is no such method, or its settings do not fit each other.
    """
    settings = resolve(settings)
    return method_class(settings)(settings, frequency)
