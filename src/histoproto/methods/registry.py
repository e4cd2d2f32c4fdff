"""The methods by name: our own, a file in this room and a line here each, and those of other packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from histoproto import plugins
from histoproto.config import Settings
from histoproto.errors import SettingError
from histoproto.methods.base import Method
from histoproto.methods.cam import CAM
from histoproto.methods.decoder import LPDWithDecoder, LPDWithDecoderAndMosaics
from histoproto.methods.lpd import LPD, PublishedLPD
from histoproto.methods.mosaic import LPDWithMosaics, Mosaic
from histoproto.methods.pbip import PBIP
from histoproto.methods.supervised import Supervised

OWN: dict[str, type[Method]] = {
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


class _Methods(Mapping[str, type[Method]]):
    """Our own methods, then those of other packages, which are imported when they are asked for.

    Looking one up raises a SettingError if the package that offers it is broken.
    """

    def __getitem__(self, name: str) -> type[Method]:
        if name in OWN:
            plugins.warn_if_hidden("method", name)
            return OWN[name]
        found = plugins.find("method", name)
        if found is None:
            raise KeyError(name)
        if not (isinstance(found, type) and issubclass(found, Method)):
            raise plugins.broken("method", name, f"is no subclass of {Method.__module__}.Method")
        return found

    def __contains__(self, name: object) -> bool:
        return name in OWN or name in plugins.offered("method")

    def __iter__(self) -> Iterator[str]:
        yield from OWN
        yield from (name for name in plugins.offered("method") if name not in OWN)

    def __len__(self) -> int:
        return len(list(iter(self)))


class _Presets(Mapping[str, Mapping[str, Mapping[str, Any]]]):
    """The presets of `METHODS`."""

    def __getitem__(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        return METHODS[name].preset

    def __iter__(self) -> Iterator[str]:
        return iter(METHODS)

    def __len__(self) -> int:
        return len(METHODS)


METHODS: Mapping[str, type[Method]] = _Methods()
"""All methods that can be trained here."""

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = _Presets()
"""What each method starts from, for `load_settings`."""


def method_class(settings: Settings) -> type[Method]:
    """What trains the network that a run folder ends with: the method or, for a second stage, pixel supervision.

    Raises:
        SettingError: there is no such method, or the package that offers it is broken.
    """
    if settings.method not in METHODS:
        raise SettingError(f"there is no method {settings.method!r}; there are {', '.join(METHODS)}")
    return Supervised if settings.training.second_stage else METHODS[settings.method]


def resolve(settings: Settings) -> Settings:
    """The settings with the architecture of their method (see `method_class`), and the neck that their tuning needs."""
    own = {"architecture": method_class(settings).architecture, "neck": settings.training.tuning != "full"}
    model = settings.model.model_copy(update=own)
    return settings.model_copy(update={"model": model})


def build_method(settings: Settings, frequency: Tensor) -> Method:
    """The method that the settings name.

    Args:
        settings: of the run.
        frequency: C, part of the training patches that hold each tissue.

    Raises:
        SettingError: there is no such method, its settings do not fit each other, or it is another package's and fails.
    """
    settings = resolve(settings)
    method = method_class(settings)
    if method in OWN.values():
        return method(settings, frequency)
    return plugins.sound("method", settings.method, lambda: method(settings, frequency))
